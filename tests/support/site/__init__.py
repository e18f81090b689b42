"""Pages with made-up figures, parsed strictly, and their expected content."""
