"""Orders: the machine (pure), the commands, how an order is shown, and its rows."""
