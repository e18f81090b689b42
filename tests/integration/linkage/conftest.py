"""Keys, and clear text to tokens to links."""

from tests.support.linkage.populations import key_folder, keys, linked, tokenise

__all__ = ["key_folder", "keys", "linked", "tokenise"]
