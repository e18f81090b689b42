"""The quality report: what it says, what it may never say, and that its page can be read."""
