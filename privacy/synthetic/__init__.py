"""Draws synthetic rows from the noisy counts of a release: post-processing, which costs no privacy.

`problem` says what a model is fitted to: the measured marginals of the attributes that are kept, and the combinations
that no row can have. `model` fits a graphical model to that and draws rows; it alone knows the library that does it.
Nothing here reads a file.
"""
