"""Revisions and change sets in PostgreSQL."""
