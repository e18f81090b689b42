"""Published files: their bytes, checksums, signatures and media types, and the stores that hold them."""
