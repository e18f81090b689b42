"""Which cohorts a release is of, and for which release each was measured: fixed with it before its first charge.

A release measures its own cohort. Others stand beside it as a time series: with the noisy counts that an earlier
published release drew for them, which costs nothing, or measured now where none ever did.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from assets.home.paths import Home
from ndl_export.bundle.make import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE
from ndl_export.bundle.release_directory import versions
from ndl_export.facts.missing import SOURCES, Missing
from ndl_export.facts.noisy_counts import plan_files
from ndl_export.facts.previous import cohort_statements
from ndl_export.facts.release_facts import Version
from ndl_export.facts.withdrawals import withdrawals
from privacy.doors.files import write_json
from privacy.release.ledger import Ledger, ReleaseConflict
from privacy.release.plan import Plan
from privacy.release.store import StoreError

Series = Mapping[str, str]
"""By cohort, the release that it was measured for."""


class SeriesRefused(Exception):
    """A release cannot be of these cohorts; the message says why and what to do."""


@dataclass(frozen=True)
class Asked:
    """The cohorts that a release is to be of: its own, and others beside it; None for those it was begun with.

    With `reuse`, its own is not measured either: all are published from what was drawn before.
    """

    cohort: str
    others: Collection[str] | None = None
    reuse: bool = False


def series_for(home: Home, version: str, asked: Asked) -> Series:
    """What the release is of: as it was begun, or as it would be begun now. Writes nothing.

    Raises `ReleaseConflict` where it was begun with other cohorts, and `SeriesRefused`.
    """
    others = set(asked.others or ())
    if asked.cohort in others:
        raise SeriesRefused(f"cohort {asked.cohort} is the release's own: name only others beside it")
    wanted = {asked.cohort, *others}
    if home.series(version).exists() and (Ledger(home.ledger).cohorts_charged(version) or _published(home, version)):
        fixed = fixed_series(home, version, asked.cohort)
        if (asked.others is not None and fixed.keys() != wanted) or asked.cohort not in fixed:
            raise ReleaseConflict(
                f"release {version} was begun with cohorts {', '.join(fixed)}, not {', '.join(sorted(wanted))}."
                " Another set of cohorts is another release: give it a version of its own."
            )
        return fixed
    if strangers := Ledger(home.ledger).cohorts_charged(version) - wanted:
        raise ReleaseConflict(
            f"release {version} was charged for cohort {', '.join(sorted(strangers))}. Another set of cohorts is"
            " another release: give it a version of its own."
        )
    measured_now = set() if asked.reuse else {asked.cohort}
    found = {each: version if each in measured_now else _origin(home, each, version) for each in sorted(wanted)}
    if asked.reuse and (unmeasured := [each for each, origin in found.items() if origin == version]):
        raise SeriesRefused(f"cohort {', '.join(unmeasured)} was never measured: there is nothing to use again")
    return found


def fix_series(home: Home, version: str, asked: Asked) -> Series:
    """The same, and fixed with the release."""
    series = series_for(home, version, asked)
    if not home.series(version).exists() or fixed_series(home, version, asked.cohort) != series:
        write_json(home.series(version), series)
    return series


def fixed_series(home: Home, version: str, cohort: str) -> Series:
    """What the release was begun with; the cohort alone, where it was begun before there were several."""
    path = home.series(version)
    found: Series = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {cohort: version}
    return found


def measured_now(series: Series, version: str) -> list[str]:
    """Cohorts that the release measures itself."""
    return [cohort for cohort, origin in series.items() if origin == version]


def published_plan(home: Home, cohort: str, origin: str, family: str) -> Plan:
    """The plan that an earlier release published a cohort under: the very one that the ledger was charged for.

    Raises `StoreError` where the release directory does not hold it any more, or another.
    """
    bundle = home.release / origin
    charged = Ledger(home.ledger).find(cohort, origin, family)
    try:
        cohorts = json.loads((bundle / DATAPACKAGE_FILE).read_bytes())["cohorts"]
        plan = Plan.from_json((bundle / plan_files(cohorts)[cohort, family]).read_bytes())
    except (OSError, ValueError, KeyError):
        raise StoreError(
            f"the plan of {family}, cohort {cohort}, is not in {bundle}: keep earlier releases in the release directory"
        ) from None
    if charged is None or charged.entry.plan_sha256 != plan.sha256:
        raise StoreError(f"the plan of {family}, cohort {cohort}, in {bundle} is not the one that the ledger recorded")
    return plan


def with_absent(missing: Missing, councils: Collection[str], took_part: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What is missing of a cohort in a release of all these councils: councils that took no part have sent nothing."""
    absent = set(councils) - set(took_part)
    found = {source: tuple(sorted({*missing.get(source, ()), *absent})) for source in SOURCES}
    return {source: names for source, names in found.items() if names}


def _origin(home: Home, cohort: str, version: str) -> str:
    """The newest release before this one that measured the cohort and is published; this one where none ever did."""
    measured = Ledger(home.ledger).releases_charged(cohort)
    if version in measured or not measured:
        return version
    withdrawn = withdrawals(home.release)
    published = [str(each) for each in versions(home.release) if each < Version.parse(version)]
    fit = [
        each for each in published if each in measured and each not in withdrawn and _measured_there(home, cohort, each)
    ]
    if not fit:
        raise SeriesRefused(
            f"cohort {cohort} was charged for release {', '.join(sorted(measured))}, and none of these is published"
            f" before {version} and stands. Publish the cohort on its own first (readiness run --cohort {cohort})."
        )
    return fit[-1]


def _measured_there(home: Home, cohort: str, version: str) -> bool:
    stated = cohort_statements(json.loads((home.release / version / PRIVACY_RECORD_FILE).read_bytes()))
    return cohort in stated and stated[cohort]["measured_in"] == version


def _published(home: Home, version: str) -> bool:
    return (home.release / version).exists()
