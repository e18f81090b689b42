"""One module a format; each opens a landed file as a `Table` of text.

A reader streams, evaluates nothing that a file says (no formula, entity or reference), puts nothing on disk, and stops
with a sentence that names the file. It knows of the contract only what helps to find a header.
"""
