"""The plans that a release measures under, and those of earlier measurements: what the ledger was charged for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from assets.home.paths import Home
from assets.release.planning import plan_family
from assets.release.record import CohortRecord, policy_of, read_record
from ndl_export.facts.noisy_counts import plan_files
from ndl_export.facts.on_request import Further
from ndl_export.facts.released import DATAPACKAGE_FILE
from ndl_export.tables import FAMILIES
from privacy.doors import files
from privacy.release.ledger import Ledger
from privacy.release.plan import Plan, PlanError
from privacy.release.store import StoreError


def plan_of(home: Home, cohort: str, version: str, councils: Sequence[str], family: str) -> Plan:
    """The plan under which the release measures a family: of the policy's split that it spends, for tables on request,
    or of a clerical review. Raises `StoreError`."""
    record = read_record(home, version)
    if family not in FAMILIES or (cohort in record and record[cohort].measured_in != version):
        return further_plan(home, cohort, version, family)
    return plan_family(family, councils, policy_of(record, cohort))


def published_plans(home: Home, cohort: str, release: str) -> dict[str, Plan]:
    """The plan of each family that an earlier release published a cohort under. Raises `StoreError` where the release
    directory does not hold one any more, or another."""
    return {family: _published(home, cohort, release, family) for family in FAMILIES}


def further_plans(home: Home, cohort: str, entry: CohortRecord) -> dict[tuple[str, str], Plan]:
    """The plan of everything that was measured of a cohort for tables on request, or is to be, by release and family.
    Raises `StoreError`."""
    return {
        (release, family): further_plan(home, cohort, release, family)
        for release, families in entry.further.items()
        for family in families
    }


def further_plan(home: Home, cohort: str, release: str, family: str) -> Plan:
    """The plan of what a release measures of a family for tables on request. Raises `StoreError`."""
    published = home.release / release / Further(cohort, family, release).plan_file
    return _read(home, published if published.exists() else home.request_plan(release, cohort, family), release, cohort)


def keep_plan(home: Home, cohort: str, release: str, plan: Plan) -> None:
    """Keep the plan of what is to be measured for tables on request, until it is charged and published."""
    files.write(home.request_plan(release, cohort, plan.family.name), plan.to_json())


def _published(home: Home, cohort: str, release: str, family: str) -> Plan:
    bundle = home.release / release
    try:
        cohorts = json.loads((bundle / DATAPACKAGE_FILE).read_bytes())["cohorts"]
        name = plan_files(cohorts)[cohort, family]
    except (OSError, ValueError, KeyError):
        raise StoreError(
            f"the plan of {family}, cohort {cohort}, is not in {bundle}: keep earlier releases in the release directory"
        ) from None
    plan = _read(home, bundle / name, release, cohort)
    if Ledger(home.ledger).find(cohort, release, family) is None:
        raise StoreError(f"the ledger has no charge of {family} of release {release}, cohort {cohort}")
    return plan


def _read(home: Home, path: Path, release: str, cohort: str) -> Plan:
    """A plan, and where it was charged, the one that the ledger recorded."""
    try:
        plan = Plan.from_json(path.read_bytes())
    except (OSError, PlanError):
        raise StoreError(f"{path} is no plan any more: restore it from a backup, and keep earlier releases") from None
    charged = Ledger(home.ledger).find(cohort, release, plan.family.name)
    if charged is not None and charged.entry.plan_sha256 != plan.sha256:
        raise StoreError(f"{path} is not the plan that the ledger recorded for release {release}, cohort {cohort}")
    return plan
