"""Files as they are published: their bytes, sums, signatures, types, and the stores that they lie in."""
