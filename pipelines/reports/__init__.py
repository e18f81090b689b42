"""Reports that commands print for people."""
