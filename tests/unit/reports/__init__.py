"""Profiles, words and the rule of a quality report."""
