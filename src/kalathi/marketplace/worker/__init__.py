"""The worker: reads due jobs of the shops that it owns, runs them, and writes their results."""
