"""Draws synthetic rows from the noisy counts of a release: post-processing, which costs no privacy.

`model` defines what is fitted (the measured marginals of the attributes kept, and the combinations that no row can
have), fits a graphical model and draws rows; only it uses the modelling library. `repair` changes a few rows so that
published rates hold. Nothing here reads a file.
"""
