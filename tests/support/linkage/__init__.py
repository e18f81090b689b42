"""Populations with the truth, and the linkage as the pipeline runs it."""
