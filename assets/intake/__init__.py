"""Ingests extracts: one pass over each identifiable file, then validation, promotion and a report."""
