"""Windows as far as it can be simulated on Linux: see `simulation.py`."""
