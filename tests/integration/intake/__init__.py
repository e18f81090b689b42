"""Extracts, sound, odd and hostile, through the readers and the intake."""
