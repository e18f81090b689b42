"""A linked home folder."""

from tests.support.linkage.linked_home import facts, frames, home, key_folder, keys, page

__all__ = ["facts", "frames", "home", "key_folder", "keys", "page"]
