"""Media's way in."""
