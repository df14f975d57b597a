"""Catalog in PostgreSQL: its tables, its statements, and its store."""
