"""Releases put where readers get them, withdrawn, and compared."""
