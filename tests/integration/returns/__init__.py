"""Returns: who gets one, what it says, and how the sender opens it."""
