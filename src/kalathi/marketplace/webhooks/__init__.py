"""The outbox and the delivery of webhooks: what was told, when it is tried, how an attempt ended. Knows no orders."""
