"""Bundles, release directories, publishing, and the analyst database, of made-up figures."""
