"""Valid, odd and hostile extracts in every format, and helpers that ingest them."""
