"""What the platform knows and decides. Imports the standard library and itself, nothing else."""
