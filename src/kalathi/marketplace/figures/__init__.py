"""Figures of days for the overviews: counted as orders move, and not at each view."""
