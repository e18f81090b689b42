"""What a sender pseudonymises itself, and what the pipeline makes of it."""
