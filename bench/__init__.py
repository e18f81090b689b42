"""Benchmarks, and rivals to be compared with: commands that measure and write pages of docs/. No test is here."""
