"""Ingests extracts: reads each identifiable file in one pass, validates and promotes the result, and reports on it."""
