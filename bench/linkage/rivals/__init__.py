"""Scripts that run outside the product's environment, each in one of its own, made from the `.txt` or `.in` beside it.

`recordlinkage_ecm` and `bloom_filters` are rival methods: they read two files of a set and write the pairs they would
link, with weights. `make_febrl` and `make_pseudopeople` make the sets that come out of packages,
`make_gecko` extracts that it corrupts. Nothing here imports
the project, nor does the project import anything from here.
"""
