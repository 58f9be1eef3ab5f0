"""The database: change sets, group commit, SQLite and PostgreSQL, migrations, backups."""
