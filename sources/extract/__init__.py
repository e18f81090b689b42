"""Open a landed extract, whatever its dialect, and bring it to contract form, streamed.

`landed.py` finds the files; `open.py` streams one as text under contract column names; `project.py` writes the SQL that
types it and finds what is broken. Values stay in memory: nothing here writes, logs or puts a value into a message.
"""
