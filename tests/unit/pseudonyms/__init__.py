"""Keys, normaliser and tokens."""
