"""The intake's parts that need no files."""
