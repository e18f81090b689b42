"""Reading of landed extracts, whatever their dialect, into contract form, as a stream.

`landed.py` finds the files, `open.py` streams one as text under contract column names, and `project.py` builds the SQL
that types it and finds broken rules. Values stay in memory: nothing here writes or logs them or puts them in a
message.
"""
