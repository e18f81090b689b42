"""What the pages of a release say."""
