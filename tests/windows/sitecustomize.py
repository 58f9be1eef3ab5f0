"""Python imports this module at its start if this folder is on its path: so each process of a test is simulated."""

from tests.windows.simulation import simulate

simulate()
