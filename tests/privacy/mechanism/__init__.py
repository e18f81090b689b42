"""The noise, its charge, and the figures computed from it."""
