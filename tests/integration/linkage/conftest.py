"""Keys, and clear text to tokens to links."""

from tests.support.linkage.fixtures import keys, linked, tokenise

__all__ = ["keys", "linked", "tokenise"]
