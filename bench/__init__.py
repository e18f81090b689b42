"""Benchmarks, including rival methods: commands that measure and write pages of docs/. No tests."""
