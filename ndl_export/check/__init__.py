"""Checks of a release's content, independent of who made it."""
