"""Onboarding of councils: a council file is drafted from samples, and a sample is read with it and reported.

`sample.py` drafts a file (`readiness council new`), `check.py` reads a sample with one (`readiness council check`).
Both read identifiable extracts in memory and disclose only what `sample.py` allows: headings, shares, shapes, and
values of coded payload columns that many rows share. Known headings are in `../councils/headings.yaml`.
"""
