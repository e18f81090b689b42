"""Scripts that run outside the product's environment, each in its own, built from the `.txt` or `.in` beside it.

`recordlinkage_ecm` and `bloom_filters` are rival methods: they read two files of a set and write the pairs they would
link, with weights. `make_febrl` and `make_pseudopeople` write the sets that come with packages; `make_gecko` writes
extracts that it corrupts. Nothing here imports the project, and the project imports nothing from here.
"""
