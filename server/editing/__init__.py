"""Editing on the wire."""
