"""A lock that lets one publisher at a time write to a place; a publisher that died does not block the next.

On a file system this is a kernel lock on the folder. In an object store, every publisher writes a marker beside the
releases and keeps changing it. It continues only if it sees no other marker: of two publishers, the later one sees
both. A marker that does not change belongs to a dead publisher. Conditional writes would need no markers, but stores
without support for `If-None-Match` ignore it and overwrite: rclone's S3 server does (version 1.75).
"""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ndl_export.files.stores import Store, StoreError, explain_errors
from privacy.doors.locks import take_if_free

FOLDER = ".publishing"
BEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 60.0
"""A marker that has not changed for this long belongs to a publisher that died."""
_LOOK_AGAIN_SECONDS = 1.0
_MARKER_LIMIT = 1000  # bytes


class PublishRefused(Exception):
    """Nothing was sent; the message says why."""


class PlaceInUse(PublishRefused):
    """Another publisher is writing to the place, or has taken it over."""


def lock_place(store: Store) -> AbstractContextManager[Callable[[], None]]:
    """Keep other publishers out for the block, and yield a function that checks this. Both raise `PlaceInUse`."""
    return _lock_folder(store) if store.protocol == "file" else _hold_marker(store)


@contextmanager
def _lock_folder(store: Store) -> Iterator[Callable[[], None]]:
    with explain_errors(store.url):
        Path(store.root).mkdir(parents=True, exist_ok=True)
        handle = take_if_free(Path(store.root))
    if handle is None:
        raise _build_busy_error(store)
    try:
        # Nobody can take over a kernel lock, so there is nothing to check.
        yield lambda: None
    finally:
        os.close(handle)


@contextmanager
def _hold_marker(store: Store) -> Iterator[Callable[[], None]]:
    """Hold a marker in an object store for the block, and yield the check."""
    mine, over = f"{FOLDER}/{uuid.uuid4().hex}", threading.Event()
    store.list_sizes()  # so that an error names the place, not a marker
    _write_marker(store, mine, 0)
    try:
        while others := _list_markers(store) - {mine}:
            # Otherwise two that began together would each wait for the other's marker.
            store.remove(mine)
            _wait_for(store, others)
            _write_marker(store, mine, 0)
        heart = threading.Thread(target=_keep_alive, args=(store, mine, over), daemon=True)
        heart.start()
        try:
            yield lambda: _check(store, mine)
        finally:
            over.set()
            heart.join()
    finally:
        if mine in _list_markers(store):
            store.remove(mine)


def _wait_for(store: Store, others: set[str]) -> None:
    """Wait until these markers are gone, and delete those of dead publishers. Raises `PlaceInUse` if one is alive."""
    # Looks for changes rather than comparing times, because the clocks of two machines may differ.
    before, since = {name: store.read(name, _MARKER_LIMIT) for name in others}, time.monotonic()
    while others:
        # At random, so that two do not look and write in step for ever.
        time.sleep(random.uniform(0.1, _LOOK_AGAIN_SECONDS))
        now = {name: store.read(name, _MARKER_LIMIT) for name in others}
        others = {name for name, content in now.items() if content is not None}
        if any(now[name] != before[name] for name in others):
            raise _build_busy_error(store)
        if time.monotonic() - since > DEAD_AFTER_SECONDS:
            for name in others & _list_markers(store):
                store.remove(name)


def _keep_alive(store: Store, mine: str, over: threading.Event) -> None:
    number = 0
    while not over.wait(BEAT_SECONDS):
        try:
            # A publisher that took this one for dead removed the marker, which must not come back.
            if store.read(mine, _MARKER_LIMIT) is None:
                return
            _write_marker(store, mine, number := number + 1)
        except StoreError:
            continue  # sending a file will fail too, and report the error


def _check(store: Store, mine: str) -> None:
    if store.read(mine, _MARKER_LIMIT) is None:
        raise _build_busy_error(store)


def _list_markers(store: Store) -> set[str]:
    return {f"{FOLDER}/{name.rpartition('/')[2]}" for name in store.list_sizes(FOLDER) or {}}


def _write_marker(store: Store, mine: str, number: int) -> None:
    store.put(mine, f"{number}\n".encode(), changes=True)


def _build_busy_error(store: Store) -> PlaceInUse:
    return PlaceInUse(
        f"another publisher is at work at {store.url}: wait until it has ended, and run the same command again; what"
        " readers find is complete"
    )
