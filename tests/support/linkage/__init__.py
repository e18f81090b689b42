"""Populations with known true links, and the linkage as run by the pipeline."""
