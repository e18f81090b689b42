"""Onboarding a council: write its council file from samples, and show how a sample is read under it.

`write.py` drafts a file (`readiness council new`), `check.py` reads a sample under one (`readiness council check`).
Both see identifiable extracts, in memory, and say of them only what `sample.py` allows: headings, shares, shapes, and
values of coded payload columns that many rows share. What they recognise headings by stands in
`../councils/headings.yaml`.
"""
