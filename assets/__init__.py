"""What happens, in the order data flows: intake, linkage, children, release, export.

Each stage has its Dagster assets (`assets.py`), thin around the pure functions of the modules beside it. Assets may
use `sources`, `privacy` and `ndl_export`; those three never use each other, save for the public reference data.
"""
