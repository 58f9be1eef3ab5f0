"""The steps from one shape of the tables to the next, for both databases. Run by `migrating.py`, never by hand."""
