"""The whole platform on one machine: what `ani up` starts, watches over, and ends."""
