"""Families, tables and noise sources for tests; ledger backends; measurements that are killed."""
