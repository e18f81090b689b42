"""Releases of made-up figures, servers to publish them to, and judges of what was published."""
