"""Streaming of landed extracts, in any dialect, into contract form.

`landing.py` finds the files, `open.py` streams one as text under contract column names, and `project.py` builds
the SQL that converts it to typed columns and finds broken rules. Values stay in memory: no module here writes or logs
them or puts them in a message.
"""
