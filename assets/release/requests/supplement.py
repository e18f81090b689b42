"""Requested tables that a release publishes, and what it measures for them.

A release that answers requests reuses the noisy counts of an earlier one, and measures the additions on the same
confidential tables. All counts then describe the same children, and every figure is made from all of them. Later
releases that use the same noisy counts publish the tables again. What is measured is decided here, from public facts
alone, and kept as a plan before anybody signs.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace

from assets.home.paths import Home
from assets.linkage.inputs import delivered, record_of_tables
from assets.release.record import (
    CohortRecord,
    ReleaseRecord,
    fixed_record,
    further_plans,
    keep_plan,
    published_plans,
    read_record,
)
from assets.release.requests.planning import Known, plan_requests
from assets.release.requests.register import NoSuchRequest, Registered, open_request
from assets.release.requests.released import released
from ndl_export.facts.directory_files import withdrawals
from ndl_export.facts.release_facts import Version
from ndl_export.facts.released import versions
from privacy.release.ledger import Ledger, ReleaseConflict
from privacy.release.policy import load_policy


class RecordsMoved(Exception):
    """The confidential tables of a cohort have changed since the release measured them; the message says what to do."""


def used_again(home: Home, cohort: str, origin: str, version: str) -> CohortRecord:
    """Return the record of a cohort measured by release `origin`, for publication in `version`.

    Its requested tables are those of the newest earlier release that is not withdrawn.
    """
    withdrawn, before = withdrawals(home.release), Version.parse(version)
    for earlier in sorted(versions(home.release), reverse=True):
        if earlier < before and str(earlier) not in withdrawn:
            found = read_record(home, str(earlier)).get(cohort)
            if found and found.measured_in == origin:
                return CohortRecord(origin, requested=found.requested, further=found.further)
    return CohortRecord(origin)


def base_for(home: Home, names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the release on which a check of these requests is based, and its cohorts, the newest first.

    Raises `NoSuchRequest` and `NotReleased`.
    """
    found = released(home, [open_request(home, name).request for name in names], None)
    return found.version, sorted(found.cohorts, reverse=True)


def with_requests(home: Home, version: str, record: ReleaseRecord, names: Sequence[str]) -> ReleaseRecord:
    """Return the record of a release that answers these requests; keep the plans of what is to be measured.

    Raises `NoSuchRequest`, `ReleaseConflict` if a cohort of a request is not one that the release reuses,
    `RecordsMoved`, `BudgetExceeded`, `StoreError`, and what `plan_requests` raises.
    """
    asked = [_open(home, name, version) for name in dict.fromkeys(names)]
    wanted = {cohort for each in asked for cohort in each.request.cohorts}
    for cohort in sorted(wanted):
        if cohort not in record or record[cohort].measured_in == version:
            raise ReleaseConflict(
                f"release {version} does not publish cohort {cohort} from the noisy counts of an earlier release; a"
                f" request of it is answered by one that does (--with-cohort {cohort})"
            )
    found = dict(record)
    for cohort in sorted(wanted):
        own = [each for each in asked if cohort in each.request.cohorts]
        found[cohort] = _with_requests_of(home, version, cohort, record[cohort], own)
    return found


def known_of(home: Home, cohort: str, entry: CohortRecord) -> Known:
    """Return what is known of a cohort that a release publishes from earlier noisy counts. Raises `StoreError`."""
    base, further = published_plans(home, cohort, entry.measured_in), further_plans(home, cohort, entry)
    return Known.of(home.release / entry.measured_in, cohort, base, tuple(further.values()))


def _open(home: Home, name: str, version: str) -> Registered:
    found = open_request(home, name)
    if found.answered_in not in ("", version):
        raise NoSuchRequest(f"{name} stands in release {found.answered_in} already")
    return found


def _with_requests_of(
    home: Home, version: str, cohort: str, entry: CohortRecord, asked: Sequence[Registered]
) -> CohortRecord:
    known = known_of(home, cohort, entry)
    planned = plan_requests([each.request for each in asked], cohort, known, load_policy())
    plans = {family: plan for family, plan in planned.items() if plan is not None}
    if plans:
        check_same_records(home, cohort, entry.measured_in)
        ledger = Ledger(home.ledger)
        for unit in {plan.family.unit for plan in plans.values()}:
            own = {family: plan.rho for family, plan in plans.items() if plan.family.unit == unit}
            ledger.check_fits(cohort, version, own, unit=unit)
    for plan in plans.values():
        keep_plan(home, cohort, version, plan)
    documents = tuple(each.table(version).document() for each in asked)
    further = {**entry.further, version: tuple(plans)} if plans else entry.further
    return replace(entry, requested=(*entry.requested, *documents), further=further)


def check_same_records(home: Home, cohort: str, origin: str) -> None:
    """Raise `RecordsMoved` unless the confidential tables are made from what release `origin` was measured from.

    Whether every row is the same is checked at the measurement, by the MAC that the ledger recorded.
    """
    if delivered(record_of_tables(home, cohort).extracts) != fixed_record(home, origin)[cohort].measured_from:
        raise _records_moved(cohort, origin)


def check_same_table(home: Home, cohort: str, origin: str, family: str, mac: str) -> None:
    """Raise `RecordsMoved` unless a table's MAC is that of the table which release `origin` measured.

    Children removed on request since then are in no later measurement. The same deliveries without those few count as
    the same records: the difference is far below the noise, and a revision would cost everybody budget.
    """
    charged = Ledger(home.ledger).find(cohort, origin, family)
    same = charged is not None and hmac.compare_digest(charged.entry.input_mac, mac)
    if not (same or home.any_forgotten(cohort)):
        raise _records_moved(cohort, origin)


def _records_moved(cohort: str, origin: str) -> RecordsMoved:
    return RecordsMoved(
        f"the records of cohort {cohort} have changed since release {origin} measured them, and a table on request is"
        " made from the same ones, so that it agrees with what is published: release a revision of the cohort, then"
        " answer the request from that"
    )
