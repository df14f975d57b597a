"""Catalog's way in."""
