"""A developer's benchmark of the linkage, not part of the tests: public two-file sets, ours beside clear text.

`sets` turns every set into a pair of frames in contract columns with the truth; `ours` sends them through intake and
linkage; `clear_text` is the rival that sees the names; `python -m bench.linkage FOLDER` prints the table. The data are
not in the repository: the docstring of `sets` lists their sources.
"""
