"""The outside world, one folder or file for each technology."""
