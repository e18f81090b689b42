"""Keys, and clear text to tokens to links."""

from tests.support.linkage.populations import linked, tokenise
