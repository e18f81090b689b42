"""How far long work is, for the console, which shows it while the work goes on."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_doing: list[str] = []
"""What is being counted now, the innermost last."""


def count_done(items: Iterable[T], number: int, what: str) -> Iterator[T]:
    """Yield the items; meanwhile `describe_progress` says how many of the `number` are done."""
    _doing.append(f"0 of {number} {what}")
    try:
        for done, item in enumerate(items, 1):
            _doing[-1] = f"{done} of {number} {what}"
            yield item
    finally:
        _doing.pop()


def describe_progress() -> str:
    """Return how far the work is, such as "12 of 40 extracts"; empty if nothing is counted."""
    return _doing[-1] if _doing else ""
