"""Which pseudonymised rows are the same child: `link.link` is the whole of it.

`report`, `control` and `explain` watch it at work, for those who must judge it; `estimate` shows where the fixed
parameters of `model.json` come from.
"""
