"""The generator of synthetic extracts, read by other means than the project's own."""
