"""Media on PostgreSQL."""
