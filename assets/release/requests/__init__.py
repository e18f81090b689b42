"""Requested tables: what was requested, which release answers it, and what measuring it would cost."""
