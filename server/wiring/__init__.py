"""The composition root of a server process: which adapter stands behind which port."""
