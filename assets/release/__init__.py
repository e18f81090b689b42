"""Measurements charged and stored once, and the published tables made of them."""
