"""The operations of all contexts, in a schema of their own."""
