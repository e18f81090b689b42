"""Homes that hold nothing but what is public: a ledger, and a release as far as it says how it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assets.home.paths import Home
from assets.release.requests.request import Request
from ndl_export.facts.noisy_counts import NoisyCounts, write_noisy_counts
from ndl_export.facts.on_request import Further, OnRequest, RequestedTable
from privacy.release.ledger import Ledger
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support.release.sizes import known, noisy_counts

COHORT, VERSION = "202425", "2026.11.0"


def public_home(folder: Path, councils: Sequence[str] = PILOT) -> Home:
    """A home whose first release spent the policy's split."""
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
    """The bundle's folder; nothing is charged."""
    bundle = home.release / version
    bundle.mkdir(parents=True)
    facts = {"version": version, "cohorts": [COHORT], "councils": list(councils), "missing": {}}
    (bundle / "datapackage.json").write_text(json.dumps(facts))
    (bundle / "privacy_statement.json").write_text("{}")
    write_noisy_counts(bundle, {COHORT: noisy_counts(known(councils).base)}, version)
    (on_request or OnRequest()).write(bundle, version)
    return bundle


def answered(request: Request, plan: Plan, version: str) -> OnRequest:
    """What a release states that answered a request by a measurement; the counts are none that were drawn."""
    table = RequestedTable(
        request.definition, request.family, request.cohorts, version, request.asked_by, "2026-11-27", request.purpose
    )
    counts = {names: np.zeros(plan.family.shape(names), dtype=np.int64) for names in plan.sigmas}
    return OnRequest((table,), {Further(COHORT, request.family, version): NoisyCounts(plan.to_json(), counts)})
