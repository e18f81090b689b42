"""Libraries are loaded without looking for garbage among what they make, a fifth of the time it takes; nor is it looked
through whenever there may be some later, for it stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Nothing is looked through for garbage in the block, nor ever after what is there at its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
