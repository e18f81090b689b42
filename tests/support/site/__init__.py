"""Pages of made-up figures, read strictly, and what must stand on them."""
