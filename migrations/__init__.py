"""The history of the database's schema, run by Alembic; `adapters/postgres/migrate.py` is the way in."""
