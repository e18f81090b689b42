"""Which pseudonymised rows are the same child.

`link` is the whole of it. The steps, a module each: `rows` (load), `entities` (own numbers within a service),
`candidates` and `model` (pairs and match weights between services), `assignment` (one to one), `identity`
(child_ids), `report` (what a reviewer needs to see). `estimate` shows where the fixed parameters of `model.json`
come from.
"""

from privacy.linkage.link import LINK_COLUMNS, LinkResult, link

__all__ = ["LINK_COLUMNS", "LinkResult", "link"]
