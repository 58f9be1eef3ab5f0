"""Events and their delivery: bodies, retries, attempts and their outcomes. Knows no orders."""
