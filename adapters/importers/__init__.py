"""What other sources tell, read piece by piece as the catalog's facts."""
