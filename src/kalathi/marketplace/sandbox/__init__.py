"""What makes the marketplace a sandbox: demo orders, triggers of webhooks, faults on demand, named scenarios."""
