"""Shared parts of the Dagster catalogue: partitions, automation conditions, asset descriptions and run tags."""
