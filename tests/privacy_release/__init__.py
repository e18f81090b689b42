"""Tests of `privacy.release`: what would have to be true for a privacy reviewer to sign.

`examples` declares families and draws tables; `doubles` holds the noise sources that exist for tests alone, `processes`
what is run in another process to be killed, `crash` a measurement that is killed at any moment, with the evidence that
it must leave. `backends` are the two places where a ledger lives, `postgres` a server for one of them. Every other
module tests the module it is named after; the audit of the whole release is in `tests/audit`.
"""
