"""Self-contained pages that the restricted zone and the senders get: markup by function, parts, words, one template.

A page asks nothing of the network, holds its own style, and is well-formed XML. What a page says belongs to the package
of its report (`quality_report`, `linkage_report`), not here.
"""
