"""Quality report for the sender of an extract, and for a council about all its extracts of a cohort.

`facts` builds JSON-ready dictionaries from what the intake found (with `compare` for the last delivery and published
figures, and `profile` for the values), and `publish` renders and writes the pages. Counts, shares, rule names, row
numbers and codes of the contract go into a report; a value of a row never does.
"""
