"""Extracts sound, odd and hostile, in every format, and what takes them in."""
