"""How the platform is, and how it sees the caller."""
