"""Measure a cohort's confidential tables once, and turn stored measurements into a bundle.

The only path from the restricted zone to the release zone: what passes are noisy integers that the ledger has charged.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assets.home.at_work import in_turn, turn, while_in_use
from assets.home.errors import check_readable
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.release.anchors import published_charges
from assets.release.begin import (
    Asked,
    ReleaseRecord,
    begin_release,
    check_asked,
    fixed_record,
    policy_of,
    read_record,
    stands,
)
from assets.release.imprint import announce, day_of, publisher_of
from assets.release.noise_covariance import noise_covariance
from assets.release.planning import plan_family
from assets.release.sign_off import check_again, check_measurement, publish_approved
from assets.release.standing import bundle_stands
from assets.release.tabulate import tabulate
from ndl_export.bundle.make import write_bundle
from ndl_export.facts.missing import SOURCES, Missing
from ndl_export.facts.noisy_counts import NoisyCounts, plan_files
from ndl_export.facts.release_facts import ReleaseFacts, Thresholds, Version
from ndl_export.facts.released import DATAPACKAGE_FILE
from ndl_export.tables import FAMILIES
from ndl_export.tables.model import COUNCIL
from privacy.keys import KeyRing
from privacy.release.approval import SignOffs
from privacy.release.child_table import input_mac, true_counts
from privacy.release.ledger import Ledger
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.policy import Stage
from privacy.release.session import measure_once, measured_before, settle
from privacy.release.statement import MeasuredCohort, deployment, privacy_page, privacy_record, registry_entry
from privacy.release.store import StoreError


@while_in_use
def measure_release(
    home: Home, keys: KeyRing, cohort: str, version: str, councils: Sequence[str], asked: Asked
) -> dict[tuple[str, str], Measurement]:
    """Begin a release and measure, or read back, every family of each cohort that it measures itself.

    Nobody else works on these cohorts meanwhile, so that all of it is of the same extracts. What runs that died have
    begun is ended first. Raises what `begin_release` and `measure_family` do.
    """
    check_asked(home, cohort, version, asked)
    with turn(home, {cohort, *asked.others}):
        if not all(stands(home, each, version, councils) for each in {cohort, *asked.others}):
            settle(Ledger(home.ledger), home.restricted, cohort, lambda: published_charges(home, keys))
        cohorts = begin_release(home, cohort, version, councils, asked)
        return {
            (each, family): measure_family(home, each, keys, family, version, councils)
            for family in FAMILIES
            for each in cohorts
        }


@while_in_use
@in_turn
def measure_family(
    home: Home, cohort: str, keys: KeyRing, family: str, version: str, councils: Sequence[str]
) -> Measurement:
    """Charge the ledger and draw the noise of one family, or read back what the same release drew before.

    Raises what `measure_once` and `published_charges` do, `WaitsForApproval` before the first charge, and `Damaged`
    where the table was cut short.
    """
    policy = policy_of(read_record(home, version), cohort)
    plan = plan_family(family, councils, policy)
    if stands(home, cohort, version, councils):
        return measured_before(Ledger(home.ledger), home.restricted, cohort=cohort, release=version, plan=plan)
    ledger = Ledger(home.ledger)
    charged = ledger.find(cohort, version, family)
    if charged is None or charged.end is None:
        approved = check_measurement(home, keys, cohort, version, councils)
        unit = plan.family.unit
        ledger.approve(cohort, policy.accounts[unit].cap_rho, approved, unit=unit)
    record(home, Processing.MEASUREMENT, cohort=cohort, release=version, note=family)
    table = home.confidential(family, cohort)
    check_readable(home, table)
    with ThreadPoolExecutor(1) as beside:
        counted = beside.submit(true_counts, table, plan)
        mac = input_mac(table, keys.subkey("input-mac", family), plan.family.columns)
    return measure_once(
        ledger,
        home.restricted,
        cohort=cohort,
        release=version,
        family=family,
        plan=plan,
        input_mac=mac,
        count=counted.result,
        published=lambda: published_charges(home, keys),
    )


@in_turn
def publish_bundle(home: Home, cohort: str, keys: KeyRing, version: str, councils: Sequence[str]) -> Path:
    """Write and sign the bundle of a release from its stored measurements, and publish it once people have approved it;
    returns its folder. What stands is not made again.

    `councils` take part in the cohorts that the release measured itself. Raises `InvalidVersion`, `NotBegun`,
    `StoreError` where a measurement is not there, or not the one that the ledger recorded, `NotGiven` for one that does
    not give the tables of today, what `published_charges` and `check_known` do for what else is published, and
    `WaitsForApproval`: then the bundle is held.
    """
    Version.parse(version)
    announce(home, keys, version, dt.date.today())
    if not bundle_stands(home, keys, version, councils):
        Ledger(home.ledger).check_known(published_charges(home, keys, but=version))
        check_again(home, version)
        made = _make_bundle(home, cohort, keys, version, councils)
        if made.parent != home.release:
            publish_approved(home, keys, cohort, version)
    return home.release / version


def _make_bundle(home: Home, cohort: str, keys: KeyRing, version: str, councils: Sequence[str]) -> Path:
    """The bundle's folder, among those that are held; where it was published before, that one."""
    fixed = fixed_record(home, version)
    policy = policy_of(fixed, cohort)
    measured = [_measured_cohort(home, each, fixed, version, councils) for each in fixed]
    took_part = {own.cohort: own.plans["pupil"].family.attribute(COUNCIL).categories for own in measured}
    everyone = sorted({council for each in took_part.values() for council in each})
    missing = {
        own.cohort: _with_absent(fixed_record(home, own.release)[own.cohort].missing, everyone, took_part[own.cohort])
        for own in measured
    }
    tables = tabulate(measured, everyone, policy.reliability, missing)
    ledger = Ledger(home.ledger)
    signed = SignOffs(ledger)
    approvals = {own.release: signed.allowed(Stage.MEASUREMENT, own.release) for own in measured}
    record = privacy_record(measured, ledger.entries(), policy, release=version, approvals=approvals)
    day = day_of(home, version, dt.date.today())
    published_by = publisher_of(home, keys, version)
    record["deployment"] = deployment(record, day.day, [published_by.name], published_by.address)
    record["registry"] = registry_entry(record["deployment"])
    facts = ReleaseFacts(
        version=version,
        published_on=day.day,
        was_announced=day.announced,
        cohorts=tuple(fixed),
        councils=tuple(everyone),
        privacy_record=record,
        privacy_page=privacy_page(record),
        noisy_counts={
            own.cohort: {
                family: NoisyCounts(plan.to_json(), own.measurements[family].noisy)
                for family, plan in own.plans.items()
            }
            for own in measured
        },
        publisher=published_by.name,
        contact=published_by.contact,
        address=published_by.address,
        organisation=published_by.organisation,
        status=published_by.status,
        thresholds=Thresholds(
            policy.reliability.unreliable_half_width,
            policy.reliability.withheld_half_width,
            policy.reliability.denominator_standard_errors,
        ),
        missing=missing,
        notice=published_by.notice,
        doi=published_by.doi,
        noise_covariance=noise_covariance(measured, missing),
    )
    return write_bundle(home.release, facts, tables, keys.signing_key, held_in=home.held)


def _with_absent(missing: Missing, councils: Collection[str], took_part: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What is missing of a cohort in a release of all these councils: those that took no part in it sent nothing."""
    absent = set(councils) - set(took_part)
    found = {source: tuple(sorted({*missing.get(source, ()), *absent})) for source in SOURCES}
    return {source: names for source, names in found.items() if names}


def _measured_cohort(
    home: Home, cohort: str, fixed: ReleaseRecord, version: str, councils: Sequence[str]
) -> MeasuredCohort:
    """A cohort of the release `version`, as it was measured for it or for an earlier one."""
    origin = fixed[cohort].measured_in
    if origin == version:
        policy = policy_of(fixed, cohort)
        plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    else:
        plans = {family: _published_plan(home, cohort, origin, family) for family in FAMILIES}
    ledger, drawn_for = Ledger(home.ledger), {"cohort": cohort, "release": origin}
    measurements = {
        family: measured_before(ledger, home.restricted, **drawn_for, plan=plan) for family, plan in plans.items()
    }
    return MeasuredCohort(cohort, origin, plans, measurements)


def _published_plan(home: Home, cohort: str, origin: str, family: str) -> Plan:
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
