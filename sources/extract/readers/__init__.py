"""Readers, one module per format; each opens a landed file as a `TextTable`.

A reader streams, evaluates nothing in a file (no formula, entity or reference), writes nothing to disk, and stops with
a message that names the file. It uses the contract only to find the header.
"""
