"""Which pseudonymised rows are the same child: `link.link` is the whole of it.

`report` and `explain` watch it at work, for those who must judge it. `bench.linkage.estimate` makes `model.json`.
"""
