"""Finds which pseudonymised rows belong to one child; `link.link` does all of it.

`report` and `explain` watch it at work, for those who must judge it. `bench.linkage.estimate` makes `model.json`.
"""
