"""How events reach those who react to them, and how work that comes with the clock is begun."""
