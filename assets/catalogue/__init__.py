"""What Dagster's catalogue shares: partitions, conditions, descriptions, and the one resource that assets need."""
