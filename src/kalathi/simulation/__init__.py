"""The demo, traffic of simulated customers, shops and couriers, and the listener. They use the marketplace only through
its HTTP API."""
