"""Removal of personal data: on request, at the end of its retention period, and from landing once ingested."""
