"""Measure a cohort's confidential tables once, and turn stored measurements into a bundle.

The only path from the restricted zone to the release zone: what passes are noisy integers that the ledger has charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assets.expected_accuracy import check_accuracy
from assets.home import Home
from assets.plain_words import check_readable
from assets.sent import check_complete, fix_missing, missing_of, stated_missing
from assets.share import WHOLE, fix_share, policy_of, share_of
from assets.tabulate import tabulate
from assets.turns import in_turn
from assets.workload import plan_family
from ndl_export.analyst_db import build_database
from ndl_export.bundle import write_bundle
from ndl_export.noisy_counts import NoisyCounts
from ndl_export.publisher import publisher
from ndl_export.release_facts import ReleaseFacts, Thresholds, Version
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from privacy.release import (
    Ledger,
    Measurement,
    Plan,
    input_mac,
    measure_once,
    privacy_page,
    privacy_record,
    true_counts,
)
from privacy.release.registry import deployment
from privacy.release.store import read


@in_turn
def begin_release(
    home: Home,
    cohort: str,
    version: str,
    councils: Sequence[str],
    *,
    allow_missing: bool,
    share: float | None = None,
) -> None:
    """Fix with the release who has sent what, and the share of the policy's split that it spends; by default the whole,
    or what it was begun with. To be called before each of its measurements.

    Raises `NotLinked`, `CouncilsMissing` where a council has no EYFS Profile extract in and that is not allowed,
    `ReleaseConflict` where the release was begun with other councils missing, `InvalidPublisher` where nobody could
    publish it, what `fix_share` raises, and `NotAccurateEnough` where the plan of a family is not expected to be worth
    its budget: all families are looked at before the first is charged. A revision that spends a share is not held to it.
    """
    publisher()
    missing = missing_of(home, cohort, councils)
    if not allow_missing:
        check_complete(cohort, missing)
    fix_share(home, cohort, version, share)
    fix_missing(home, cohort, version, missing)
    _check_worth(home, cohort, version, councils)


def _check_worth(home: Home, cohort: str, version: str, councils: Sequence[str]) -> None:
    """Raise `NotAccurateEnough` for a whole release, not charged yet, one of whose families is not worth its budget."""
    entries = Ledger(home.ledger).entries()
    charged = any((entry.cohort, entry.release) == (cohort, version) for entry in entries)
    if charged or share_of(home, cohort, version) != WHOLE:
        return
    policy = policy_of(home, cohort, version)
    for family in FAMILIES:
        check_accuracy(family, plan_family(family, councils, policy), councils, policy)


@in_turn
def measure_family(
    home: Home, keys: KeyRing, family: str, cohort: str, version: str, councils: Sequence[str]
) -> Measurement:
    """Charge the ledger and draw the noise of one family, or read back what the same release drew before.

    Raises what `measure_once` does, and `Damaged` where the table was cut short.
    """
    policy = policy_of(home, cohort, version)
    plan = plan_family(family, councils, policy)
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

    Raises `StoreError` where a measurement is not there, or not the one that the ledger recorded.
    """
    policy, missing = policy_of(home, cohort, version), stated_missing(home, cohort, version)
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    measurements = {family: _measured(home, cohort, version, plan) for family, plan in plans.items()}
    tables = tabulate(
        {family: (plan, measurements[family]) for family, plan in plans.items()},
        councils,
        cohort,
        policy.reliability,
        missing,
    )
    record = privacy_record(
        list(plans.values()), Ledger(home.ledger).entries(), policy, measurements, cohort=cohort, release=version
    )
    published_on = Version.parse(version).first_day
    published_by = publisher()
    record["deployment"] = deployment(record, published_on, [published_by.name])
    facts = ReleaseFacts(
        version=version,
        cohorts=(cohort,),
        councils=tuple(councils),
        privacy_record=record,
        privacy_page=privacy_page(record),
        noisy_counts={
            family: NoisyCounts(plan.to_json(), measurements[family].noisy) for family, plan in plans.items()
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
    )
    return write_bundle(home.release, facts, tables, keys.signing_key)


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
