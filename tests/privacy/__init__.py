"""What would have to be true for a privacy reviewer to sign."""
