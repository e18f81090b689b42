"""Families, tables and noise sources that exist for tests alone; places of a ledger; measurements that are killed."""
