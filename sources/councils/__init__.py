"""One YAML file per council: how its exports' columns, codes, dates and encoding map to the source contracts.

`council_file.py` reads and checks them. A council without a file, or a file sent with the contract's own column names,
is read as the contract says.
"""
