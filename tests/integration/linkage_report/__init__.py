"""The linkage report, its negative control, and the explanation of a link."""
