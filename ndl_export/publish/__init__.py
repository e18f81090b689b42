"""Releases after they are made: uploading them for readers, withdrawing them and comparing them."""
