"""The shop's XML feed, which the marketplace reads about hourly. Read it, and find its faults before the marketplace
does."""
