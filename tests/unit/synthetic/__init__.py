"""Slips of the synthetic generator."""
