"""The embedded stack: PostgreSQL, Valkey and Envoy from their wheels, each a direct child of whoever starts it."""
