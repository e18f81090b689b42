"""Probabilistic linkage of pseudonymised rows to children. `link.link` runs every step.

`report` and `explain` observe a linkage for reviewers. `bench.linkage.estimate` produces `model.json`.
"""
