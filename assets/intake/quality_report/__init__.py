"""The quality report that goes back to the sender of an extract, and to a council about all its extracts of a cohort.

First the `facts`, as JSON-ready dictionaries (with `compare` for the last delivery and published figures), then the
`page` and its templates, on the page kit. Everything here is a function of what intake found: nothing reads an extract,
a folder or the clock. Counts, shares, rule names, row numbers and codes of the contract go into a report; a value of a
row never does.
"""
