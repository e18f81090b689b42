"""Home folder: its paths, locks, processing log and settings, and plain error messages. Imports no stage."""
