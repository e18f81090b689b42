"""Checks that a file in landing has arrived completely: two looks at it agree, or a marker says so.

A sender may write `<name>.ready` next to a complete file. Files with names that transfer tools and office programs give
to unfinished files are never treated as extracts.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.home.paths import Home
from privacy.doors import clock
from privacy.doors.regular import is_link_out
from sources.extract.landing import READY, Landed, get_state, is_unfinished, iter_candidates, list_files

YOUNG_SECONDS = 5.0
"""A file that has not changed for this long is assumed to be complete."""
SETTLED_SECONDS = 600.0
"""A file that arrived this long ago is assumed to be complete without a second look."""
PAUSE_SECONDS = 1.5
"""Pause between two looks at files that changed recently."""


@dataclass(frozen=True)
class Look:
    """An extract at one moment: a hash of sizes and times, whether a marker calls it complete, and its last change."""

    landed: Landed
    identity: str
    ready: bool
    unfinished: bool
    changed: float

    def is_whole(self, earlier_identity: str | None) -> bool:
        """Check whether the extract is complete, given its identity at an earlier look."""
        return not self.unfinished and (self.ready or self.identity == earlier_identity)


def iter_looks(landing: Path) -> Iterator[Look]:
    """Yield a look at every extract in landing, except those that disappear in the meantime."""
    for landed in iter_candidates(landing):
        try:
            yield _look(landed)
        except FileNotFoundError:
            continue


def find_still_arriving(landing: Path, cohort: str) -> list[str]:
    """Return the names of the cohort's extracts that are still being written.

    Waits `PAUSE_SECONDS` if one changed recently.
    """
    first = {look.landed: look for look in iter_looks(landing) if look.landed.cohort == cohort}
    young = [
        look for look in first.values() if look.changed > clock.read_file_time() - YOUNG_SECONDS and not look.ready
    ]
    moving = {look.landed.name for look in first.values() if look.unfinished}
    if young:
        time.sleep(PAUSE_SECONDS)
        again = {look.landed: look for look in iter_looks(landing) if look.landed.cohort == cohort}
        moving |= {
            look.landed.name
            for look in young
            if look.landed not in again or not again[look.landed].is_whole(look.identity)
        }
    return sorted(moving)


def find_not_taken(landing: Path, home: Home) -> dict[str, set[str]]:
    """Return, by cohort, the councils with an extract that arrived or changed since the intake last dealt with it.

    The intake may have taken it in, found it unchanged or stopped it. Extracts that are still being written are left
    out. Only times are compared: no file is opened.
    """
    found: dict[str, set[str]] = {}
    for look in iter_looks(landing):
        landed, now = look.landed, clock.read_file_time()
        store = home.get_extract(*landed.key)
        results = [store.quality, store.stopped]
        if landed.several and not store.parts.exists():
            # its time is that at which files were found to contain no row of this cohort
            results.append(home.get_sorted_files_path(store.source, store.council))
        dealt_with = max((path.stat().st_mtime for path in results if path.exists()), default=0.0)
        # the time of change, because a copy may keep the modification time of its original
        came = max((path.stat().st_ctime for each in landed.paths for path in list_files(each)), default=now)
        settled = look.ready or (not look.unfinished and came < now - SETTLED_SECONDS)
        if settled and came > dealt_with:
            found.setdefault(landed.cohort, set()).add(landed.council)
    return found


def _is_marked(path: Path) -> bool:
    """Check whether a marker says that the file is complete."""
    # an older marker belongs to the file that this one replaced
    changed = max((times[1] for times in get_state(path)), default=0)
    try:
        return path.with_name(path.name + READY).stat().st_mtime_ns >= changed
    except OSError:  # no marker exists, or its name would be too long
        return False


def _look(landed: Landed) -> Look:
    seen = get_state(*landed.paths)
    changed = max((times[1] for times in seen), default=0)
    # a link that leads out of landing could lead to the whole disk, so it is not searched
    leads_out = landed.within and is_link_out(landed.path, landed.within)
    return Look(
        landed,
        hashlib.sha256(json.dumps(seen).encode()).hexdigest(),
        ready=all(_is_marked(path) for path in landed.paths),
        unfinished=not leads_out and any(is_unfinished(path.name) for path in landed.path.rglob("*")),
        changed=changed / 1e9,
    )
