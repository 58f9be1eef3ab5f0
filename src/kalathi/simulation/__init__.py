"""The demo, and later traffic of realistic customers and couriers. Talks to the marketplace over HTTP only."""
