"""Lines of the disclosure log, each anchored in the processing log: a log that was lost, cut short or replaced by an
older copy lacks a line that the processing log knows."""

from __future__ import annotations

import re

from assets.home import processing_log
from assets.home.paths import Home
from assets.home.processing_log import Processing
from privacy import chained_log
from privacy.returns import disclosures
from privacy.returns.disclosures import Disclosure

_ANCHOR = re.compile(r".*; line (\d+) ([0-9a-f]{64})", re.DOTALL)


def disclose(home: Home, disclosure: Disclosure) -> None:
    """Add a line to the disclosure log and its anchor to the processing log, durable on return. Raises `LogBroken`."""
    line = disclosures.record(home.disclosures, disclosure)
    processing_log.record(
        home,
        Processing.RETURN,
        disclosure.source,
        disclosure.cohort,
        disclosure.council,
        file_mac=disclosure.extract_mac,
        note=f"{disclosure.what}: {disclosure.recipient_name}; line {line['seq']} {line['entry_hash']}",
    )


def check_anchored(home: Home) -> int:
    """Check that the disclosure log is unbroken and has every line that the processing log knows; how many it has.

    Raises `LogBroken`.
    """
    hashes = [line["entry_hash"] for line in chained_log.entries(home.disclosures)]
    notes = (entry.note for entry in processing_log.verify(home) if entry.what == Processing.RETURN)
    for number, known in (anchor.groups() for note in notes if (anchor := _ANCHOR.fullmatch(note))):
        if hashes[int(number) - 1 : int(number)] != [known]:
            raise chained_log.LogBroken(
                f"{home.disclosures}: it lacks line {number}, which the processing log knows: it was removed, or"
                " this is an old copy. Restore the newest copy of the log from a backup, with its head; until then no"
                " return is made or withdrawn"
            )
    return len(hashes)
