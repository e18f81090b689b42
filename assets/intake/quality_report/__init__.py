"""Quality reports: one for the sender of each extract, and one for a council about all its extracts of a cohort.

`profile` summarises the values, `compare` sets them against the last delivery and published figures, and `report`
builds the facts from the intake's results and writes the pages. Reports hold counts, shares, rule names, row numbers
and codes of the contract, but never a value of a row.
"""
