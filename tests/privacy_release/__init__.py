"""Tests of `privacy.release`: what would have to be true for a privacy reviewer to sign.

`examples` declares families and draws tables; `doubles` holds the noise sources that exist for tests alone, and
`processes` what is run in another process to be killed. Every other module tests the module it is named after.
"""
