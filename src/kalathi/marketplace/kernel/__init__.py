"""What every slice stands on: time, ids, money, errors, settings, the database and what is due."""
