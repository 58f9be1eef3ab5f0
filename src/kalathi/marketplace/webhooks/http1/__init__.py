"""The HTTP/1.1 client that sends webhooks (RFC 9112). The status line of an answer decides; see `responses`."""
