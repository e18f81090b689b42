"""Measure a cohort's confidential tables once, and turn stored measurements into a bundle.

The only path from the restricted zone to the release zone: what passes are noisy integers that the ledger has charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assets.home.cohort_lock import in_turn, turn
from assets.home.errors import check_readable
from assets.home.paths import Home
from assets.home.processing_log import What, record
from assets.home.removal_lock import while_in_use
from assets.linkage.taking_part import (
    check_complete,
    check_of_what_is_in,
    fix_measured_from,
    fix_missing,
    measured_from_what_is_in,
    missing_of,
    stated_missing,
)
from assets.release.budget_share import WHOLE, check_share, fix_share, policy_of, share_of
from assets.release.expected_accuracy import check_accuracy
from assets.release.noise_workload import plan_family
from assets.release.series import (
    Asked,
    Series,
    fix_series,
    fixed_series,
    measured_now,
    published_plan,
    series_for,
    with_absent,
)
from assets.release.tabulate import tabulate
from ndl_export.analyst_db import build_database
from ndl_export.bundle.make import write_bundle
from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.facts.publisher import publisher
from ndl_export.facts.release_facts import ReleaseFacts, Thresholds, Version
from ndl_export.tables import FAMILIES
from ndl_export.tables.model import COUNCIL
from privacy.keys import KeyRing
from privacy.release.child_table import input_mac, true_counts
from privacy.release.ledger import Ledger
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.session import measure_once, measured_before
from privacy.release.statement import MeasuredCohort, deployment, privacy_page, privacy_record
from privacy.release.store import read


@while_in_use
def measure_release(
    home: Home,
    keys: KeyRing,
    cohort: str,
    version: str,
    councils: Sequence[str],
    *,
    allow_missing: bool,
    share: float | None = None,
    others: Sequence[str] = (),
    reuse: bool = False,
) -> dict[tuple[str, str], Measurement]:
    """Begin a release and measure, or read back, every family of each cohort that it measures itself.

    Nobody else works on these cohorts meanwhile, so that all of it is of the same extracts. Raises what `begin_release`
    and `measure_family` do.
    """
    with turn(home, {cohort, *others}):
        cohorts = begin_release(
            home, cohort, version, councils, allow_missing=allow_missing, share=share, others=others, reuse=reuse
        )
        return {
            (each, family): measure_family(home, keys, family, each, version, councils)
            for family in FAMILIES
            for each in cohorts
        }


@in_turn
def begin_release(
    home: Home,
    cohort: str,
    version: str,
    councils: Sequence[str],
    *,
    allow_missing: bool,
    share: float | None = None,
    others: Sequence[str] = (),
    reuse: bool = False,
) -> list[str]:
    """Fix with the release which cohorts it is of, and for those that it measures itself, which it returns, who has
    sent what, and the share of the policy's split that it spends; by default the whole, or what it was begun with. To
    be called before each of its measurements. Of a cohort that the release has measured already, from the deliveries
    that are in, no table is looked at.

    Raises `NotLinked`, `OutOfDate`, `CouncilsMissing` where a council has no EYFS Profile extract in and that is not
    allowed, `ReleaseConflict` where the release was begun with other cohorts or other councils missing,
    `InvalidPublisher` where nobody could publish it, `SeriesRefused`, what `fix_share` raises, and `NotAccurateEnough`
    where the plan of a family is not expected to be worth its budget: all families are looked at before the first is
    charged. A revision that spends a share is not held to it.
    """
    publisher()
    asked = Asked(cohort, others or None, reuse)
    cohorts = measured_now(series_for(home, version, asked), version)
    to_measure = [each for each in cohorts if not _stands(home, each, version, councils)]
    missing = {each: missing_of(home, each, councils) for each in to_measure}
    for each in to_measure:
        if not Ledger(home.ledger).is_charged(each, version):
            check_of_what_is_in(home, each, councils)
        if not allow_missing:
            check_complete(each, missing[each])
    for each in cohorts:
        check_share(home, each, version, share)
    fix_series(home, version, asked)
    for each in to_measure:
        fix_share(home, each, version, share)
        fix_missing(home, each, version, missing[each])
        fix_measured_from(home, each, version)
    for each in to_measure:
        _check_worth(home, each, version, councils)
    return cohorts


def _stands(home: Home, cohort: str, version: str, councils: Sequence[str]) -> bool:
    """Whether every family is measured and paid for, and nobody has sent anything else since: a repeat needs no table.

    Rows that were removed on request since are in what was published, and in no later release. A correction is another
    matter: whoever sent it expects it in, so the release is refused as charged with another table.
    """
    measured = Ledger(home.ledger).is_measured(cohort, version, FAMILIES)
    return measured and measured_from_what_is_in(home, cohort, version, councils)


def _check_worth(home: Home, cohort: str, version: str, councils: Sequence[str]) -> None:
    """Raise `NotAccurateEnough` for a whole release, not charged yet, one of whose families is not worth its budget."""
    if Ledger(home.ledger).is_charged(cohort, version) or share_of(home, cohort, version) != WHOLE:
        return
    policy = policy_of(home, cohort, version)
    for family in FAMILIES:
        check_accuracy(family, plan_family(family, councils, policy), councils, policy)


@while_in_use
@in_turn
def measure_family(
    home: Home, keys: KeyRing, family: str, cohort: str, version: str, councils: Sequence[str]
) -> Measurement:
    """Charge the ledger and draw the noise of one family, or read back what the same release drew before.

    Raises what `measure_once` does, and `Damaged` where the table was cut short.
    """
    policy = policy_of(home, cohort, version)
    plan = plan_family(family, councils, policy)
    if _stands(home, cohort, version, councils):
        return measured_before(Ledger(home.ledger), home.restricted, cohort=cohort, release=version, plan=plan)
    record(home, What.MEASUREMENT, cohort=cohort, release=version, note=family)
    table = home.confidential(family, cohort)
    check_readable(home, table)
    ledger = Ledger(home.ledger)
    ledger.approve(cohort, policy.cap_rho)
    return measure_once(
        ledger,
        home.restricted,
        cohort=cohort,
        release=version,
        family=family,
        plan=plan,
        input_mac=input_mac(table, keys.subkey("input-mac", family), plan.family.columns),
        count=lambda: true_counts(table, plan),
    )


@in_turn
def publish_bundle(home: Home, keys: KeyRing, cohort: str, version: str, councils: Sequence[str]) -> Path:
    """Write and sign the bundle of a release from its stored measurements; returns its folder.

    `councils` take part in the cohorts that the release measured itself. Raises `StoreError` where a measurement is not
    there, or not the one that the ledger recorded, and `NotGiven` for one that does not give the tables of today.
    """
    series = fixed_series(home, version, cohort)
    measured = [_measured_cohort(home, each, origin, version, councils) for each, origin in series.items()]
    took_part = {own.cohort: own.plans["pupil"].family.attribute(COUNCIL).categories for own in measured}
    everyone = sorted({council for each in took_part.values() for council in each})
    missing = missing_in(home, series, took_part)
    policy = policy_of(home, cohort, version)
    tables = tabulate(measured, everyone, policy.reliability, missing)
    record = privacy_record(measured, Ledger(home.ledger).entries(), policy, release=version)
    published_on = Version.parse(version).first_day
    published_by = publisher()
    record["deployment"] = deployment(record, published_on, [published_by.name])
    facts = ReleaseFacts(
        version=version,
        cohorts=tuple(series),
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
    )
    return write_bundle(home.release, facts, tables, keys.signing_key)


def missing_in(
    home: Home, series: Series, took_part: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """By cohort and source, who had sent nothing when it was measured; councils that took no part in it included."""
    everyone = {council for each in took_part.values() for council in each}
    return {
        cohort: with_absent(stated_missing(home, cohort, origin), everyone, took_part[cohort])
        for cohort, origin in series.items()
    }


def _measured_cohort(home: Home, cohort: str, origin: str, version: str, councils: Sequence[str]) -> MeasuredCohort:
    """A cohort as it was measured for the release `origin`: this one, `version`, or an earlier one."""
    if origin == version:
        policy = policy_of(home, cohort, version)
        plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    else:
        plans = {family: published_plan(home, cohort, origin, family) for family in FAMILIES}
    measurements = {family: _measured(home, cohort, origin, plan) for family, plan in plans.items()}
    return MeasuredCohort(cohort, origin, plans, measurements)


def _measured(home: Home, cohort: str, version: str, plan: Plan) -> Measurement:
    """The measurement that the charge paid for: the very file that the ledger recorded, where it recorded one.

    Raises `StoreError` where it is not there, or another.
    """
    family = plan.family.name
    charged = Ledger(home.ledger).find(cohort, version, family)
    recorded = charged.end.measurement_sha256 if charged and charged.end else None
    return read(home.restricted, cohort, version, family, plan=plan, sha256=recorded)[0].measurement


def publish_database(home: Home) -> Path:
    """Rebuild the analyst database from every bundle."""
    return build_database(home.release)
