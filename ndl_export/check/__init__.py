"""What must be true of the content of a release, whoever made it."""
