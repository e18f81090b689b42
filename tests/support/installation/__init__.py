"""Whole installations: with a release, run in separate processes, with servers."""
