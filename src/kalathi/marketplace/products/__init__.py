"""Stock and prices that shops publish: batches, their checks, and their effect on the listings."""
