"""The documentation, made as a site."""
