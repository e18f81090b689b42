"""Council files: one YAML file per council that maps its exports' columns, codes, dates and encoding to the contracts.

`council_file.py` reads and checks them. Extracts of a council without a file, and extracts under contract column names,
are read in contract form.
"""
