"""Homes with only public content: a ledger, and the parts of a release that say how it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.release.requests.request import Request
from ndl_export.check.content_checks import build_table_layouts
from ndl_export.facts.noisy_counts import NoisyCounts, write_noisy_counts
from ndl_export.facts.on_request import Further, OnRequest, RequestedTable
from ndl_export.tables.rows import Layout
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from privacy.release.ledger import Ledger
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support.release.sizes import known, noisy_counts

COHORT, VERSION = "202425", "2026.11.0"
WITHHELD_GROUP = "Other ethnic group"


def public_home(folder: Path, councils: Sequence[str] = PILOT) -> Home:
    """Create a home whose first release spent the policy's split."""
    home, policy = Home(folder), load_policy()
    folder.mkdir(exist_ok=True)
    ledger = Ledger(home.ledger)
    for unit, account in policy.accounts.items():
        ledger.approve(COHORT, account.cap_rho, unit=unit)
        for family, rho in account.split.items():
            charge = ledger.reserve(COHORT, VERSION, family, rho, "p" * 64, "m" * 64, unit=unit)
            ledger.commit(charge, "f" * 64)
    add_release(home, VERSION, councils)
    return home


def add_release(home: Home, version: str, councils: Sequence[str] = PILOT, on_request: OnRequest | None = None) -> Path:
    """Add a release without a charge, and return the bundle's folder."""
    bundle = home.release / version
    bundle.mkdir(parents=True)
    facts = {"version": version, "cohorts": [COHORT], "councils": list(councils), "missing": {}}
    (bundle / "datapackage.json").write_text(json.dumps(facts))
    (bundle / "privacy_statement.json").write_text("{}")
    base = known(councils).base
    write_noisy_counts(bundle, {COHORT: noisy_counts(base)}, version)
    plans = {(COHORT, family): plan.to_json() for family, plan in base.items()}
    for name, rows in build_table_layouts(tuple(councils), (COHORT,), plans=plans).items():
        pq.write_table(_without_figures(rows), bundle / f"{name}.parquet")
    (on_request or OnRequest()).write(bundle, version)
    return bundle


def _without_figures(rows: Layout) -> pa.Table:
    """Return the keys and flags of a table, in which only the rates of one group are withheld, in councils."""
    keys = rows.keys
    in_council = pc.is_valid(keys["la_name"])
    group = pc.is_in(keys["breakdown"], pa.array([WITHHELD_GROUP])) if "breakdown" in keys.column_names else None
    withheld = pc.if_else(pc.and_(in_council, group), Flag.WITHHELD.value, None) if group is not None else None
    nothing = pa.nulls(len(keys), pa.string())
    flags = {
        get_column_name(each, ColumnRole.FLAG): nothing if each.is_count or withheld is None else withheld
        for each in rows.table.measures
    }
    return pa.table({name: keys[name] for name in keys.column_names} | flags)


def answered(request: Request, plan: Plan, version: str) -> OnRequest:
    """Return what a release states about a request that it answered by a measurement; the counts are zeros."""
    table = RequestedTable(
        request.definition, request.family, request.cohorts, version, request.asked_by, "2026-11-27", request.purpose
    )
    counts = {names: np.zeros(plan.family.shape(names), dtype=np.int64) for names in plan.sigmas}
    return OnRequest((table,), {Further(COHORT, request.family, version): NoisyCounts(plan.to_json(), counts)})
