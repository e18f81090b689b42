"""Keys, and clear text to tokens to links."""

from tests.support.linkage.populations import keys, linked, tokenise

__all__ = ["keys", "linked", "tokenise"]
