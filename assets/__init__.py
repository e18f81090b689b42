"""What happens, in the order data flows: intake, linkage, children, release, export.

The Dagster assets of a stage are in its `assets.py`, a thin layer over the functions of the modules next to it. Assets
may use `sources`, `privacy` and `ndl_export`; those three never use each other, except for public reference data.
"""
