"""Removes personal data on request, after retention and from landing; backs up and restores records and keys."""
