"""Synthetic children made from a published release: an optional part, which no other asset reads."""
