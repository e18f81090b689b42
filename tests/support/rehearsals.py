"""Releases of tests are rehearsed only where a test is marked `rehearsed`: it takes as long as making them.

The processes of commands (`tests.support.warm`) rehearse if the environment has `REHEARSED`.
"""

import os

from assets.release import rehearsal

REHEARSED = "TESTS_REHEARSED"
_make = rehearsal._make


def rehearse_in_this_process(wanted: bool) -> None:
    """Let rehearsals in this process build the whole release, or nothing."""
    rehearsal._make = _make if wanted else lambda *_: None


rehearse_in_this_process(REHEARSED in os.environ)
