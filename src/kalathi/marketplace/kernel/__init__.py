"""The base of every slice: time, ids, money, errors, settings, the database and due jobs."""
