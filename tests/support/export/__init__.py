"""Releases with made-up figures, servers to publish them to, and validators of what was published."""
