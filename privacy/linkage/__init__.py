"""Probabilistic linkage of pseudonymised rows to children. `link.link` runs every step.

`report` observes a linkage for reviewers. `bench.linkage.estimate` produces `model.json`.
"""
