"""Who had sent what when a cohort was linked, and when a release was measured.

The first is noted beside the confidential tables, of which it is true; the second is fixed with the release, so that
the bundle states the same however often it is made. Both hold names of councils and sources, nothing of a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from assets.home.paths import Home
from assets.linkage.inputs import Extracts, changed, delivered, deliveries_in, extracts_in, named, noted
from ndl_export.facts.missing import SOURCES, Missing, short
from privacy.doors.files import write_json
from privacy.release.ledger import Ledger, ReleaseConflict

Sent = Mapping[str, Sequence[str]]
"""Councils by source."""

PROFILE = "eyfsp"


class NotLinked(Exception):
    """The cohort has no confidential tables, or linkage broke off while it wrote them."""


class CouncilsMissing(Exception):
    """A council takes part but has sent no EYFS Profile extract for the cohort."""


class OutOfDate(Exception):
    """The confidential tables are not of the extracts that are in."""


def note_sent(home: Home, cohort: str, sent: Sent) -> None:
    """Say of which councils, by source, the confidential tables are made."""
    write_json(home.sent(cohort), {source: sorted(councils) for source, councils in sent.items()})


def note_taking_part(home: Home, cohort: str, councils: Sequence[str]) -> None:
    """Say which councils took part when the cohort was linked."""
    write_json(home.taking_part(cohort), sorted(councils))


def note_made_from(home: Home, cohort: str, extracts: Extracts) -> None:
    """Say of which extracts, to the row, the confidential tables are made."""
    write_json(home.made_from(cohort), {name: asdict(extract) for name, extract in extracts.items()})


def check_of_what_is_in(home: Home, cohort: str, councils: Sequence[str]) -> None:
    """Raises `OutOfDate` where an extract came in, or changed, since the confidential tables were made."""
    if moved := changed(noted(home.made_from(cohort)), extracts_in(home, cohort, councils)):
        raise OutOfDate(
            f"cohort {cohort}: {named(moved)} came in or changed since it was linked: run the linkage, then the"
            " release; nothing was charged"
        )


def fix_measured_from(home: Home, cohort: str, version: str) -> None:
    """Fix with the release, until its first charge, of which deliveries the tables are that it measures."""
    if not Ledger(home.ledger).is_charged(cohort, version):
        write_json(home.measured_from(cohort, version), delivered(noted(home.made_from(cohort))))


def measured_from_what_is_in(home: Home, cohort: str, version: str, councils: Sequence[str]) -> bool:
    """Whether the release was measured from the deliveries that are in; rows of them may have been removed since."""
    path = home.measured_from(cohort, version)
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return bool(measured) and measured == deliveries_in(home, cohort, councils)


def taking_part_noted(home: Home, cohort: str) -> list[str]:
    """The councils that took part when the cohort was linked; raises `NotLinked`."""
    if not home.taking_part(cohort).exists():
        raise NotLinked(f"cohort {cohort} has not been linked; run the linkage first")
    return [str(name) for name in json.loads(home.taking_part(cohort).read_text(encoding="utf-8"))]


def missing_of(home: Home, cohort: str, councils: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By source, the councils that take part and are not in the cohort's confidential tables; raises `NotLinked`."""
    path = home.sent(cohort)
    if not path.exists():
        raise NotLinked(f"cohort {cohort} has not been linked; run the linkage first")
    sent = json.loads(path.read_text(encoding="utf-8"))
    absent = {source: tuple(sorted(set(councils) - set(sent[source]))) for source in SOURCES}
    return {source: names for source, names in absent.items() if names}


def check_complete(cohort: str, missing: Missing) -> None:
    """Raises `CouncilsMissing` where a council that takes part has no EYFS Profile extract in."""
    if absent := missing.get(PROFILE):
        raise CouncilsMissing(
            f"cohort {cohort} has no EYFS Profile extract from {', '.join(absent)}."
            " Take it in and link again, or release without them by saying so (allow_missing, --allow-missing)."
        )


def fix_missing(home: Home, cohort: str, version: str, missing: Mapping[str, tuple[str, ...]]) -> None:
    """Fix what is missing with the release, before its first charge.

    Raises `ReleaseConflict` where the release was charged when something else was missing.
    """
    path = home.missing(cohort, version)
    if path.exists() and Ledger(home.ledger).is_charged(cohort, version):
        fixed = stated_missing(home, cohort, version)
        if fixed != missing:
            raise ReleaseConflict(
                f"release {version} of cohort {cohort} was measured with this missing: {_listed(cohort, fixed)};"
                f" now it is: {_listed(cohort, missing)}. A revision is a new release, and draws on the same budget."
            )
        return
    write_json(path, missing)


def stated_missing(home: Home, cohort: str, version: str) -> dict[str, tuple[str, ...]]:
    """What was missing when the release was measured, by source."""
    content = json.loads(home.missing(cohort, version).read_text(encoding="utf-8"))
    return {source: tuple(councils) for source, councils in content.items()}


def _listed(cohort: str, missing: Missing) -> str:
    return ", ".join(short({cohort: missing})) or "nothing"
