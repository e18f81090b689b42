"""A linked home folder."""

from tests.support.linkage.linked_home import facts, frames, home, page
