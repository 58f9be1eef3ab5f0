"""The sandbox: demo orders, triggers of webhooks, faults, scenarios."""
