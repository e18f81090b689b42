"""Paths below a home folder, and how its files are written, locked and described in messages. Imports no stage."""
