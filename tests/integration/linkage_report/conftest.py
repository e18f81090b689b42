"""A linked home folder."""

from tests.support.linkage.linked_home import facts, frames, home, page
from tests.support.linkage.populations import key_folder, keys

__all__ = ["facts", "frames", "home", "key_folder", "keys", "page"]
