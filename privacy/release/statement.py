"""The privacy statement of a release, as a record for machines and a page for people.

It uses the vocabulary of NIST SP 800-226: what is protected, under which definition and parameters, by which mechanism,
who is trusted, and what is outside the guarantee. All of it is public: it is made from plans, the ledger, the policy
and the provenance of measurements, never from their numbers. Sentences that are true of every release are in
`statement.yaml`, the page in `statement.md.j2`, and the fields of the OpenDP registry of deployments in
`registry.yaml`.

`compute_inference` says how much could be found out at most by an attacker who knows every other row, everything
published elsewhere, the plans and every noisy count. What remains is a statistical test between two tables that differ
by one row added (whether a child is counted) or, at twice the rho, by one row replaced (which category a counted child
is in).
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

import jinja2
import numpy as np
import scipy
import yaml

from privacy.doors.shipped import read_yaml
from privacy.release.approval import Signed
from privacy.release.canonical import hash_json
from privacy.release.ledger import NANO, Reservation, collect_charges
from privacy.release.ledger_storage import CHILD, Entry, EntryKind
from privacy.release.mechanism import Measurement, combine_measurements, compute_epsilon
from privacy.release.plan import METHOD, Plan
from privacy.release.policy import Policy

FALSE_ALARMS = 0.05
# Renyi orders above 1; each gives a valid bound, and the best of them is used
_ORDERS = 1 + np.geomspace(1e-3, 1e3, 400)


def compute_inference(rho: float) -> dict[str, Any]:
    """Return, JSON-ready, how often in 100 (rounded) an attacker answers each question correctly at a cost of `rho`."""
    return {
        "false_alarms_in_100": round(100 * FALSE_ALARMS),
        "questions": [
            {
                **question,
                "rho": round(question["rho_factor"] * rho, 9),
                "guessed_in_100": count_guessed_in_100(question["rho_factor"] * rho),
                "found_in_100": round(100 * compute_most_found(question["rho_factor"] * rho)),
            }
            for question in read_sentences()["inference"]
        ],
    }


def count_guessed_in_100(rho: float) -> int:
    """Return how often in 100, rounded up, the best guess between two equally likely tables is right.

    Phi(sqrt(2 rho) / 2), for Gaussian noise (Neyman and Pearson); tests compare it with that of the discrete noise.
    """
    return math.ceil(100 * NormalDist().cdf(math.sqrt(2 * rho) / 2))


def compute_most_found(rho: float, false_alarms: float = FALSE_ALARMS) -> float:
    """Return the largest share of present children that a test with this share of `false_alarms` can find.

    An attacker can do no better than a statistical test of one table against the other. Zero-concentrated differential
    privacy bounds the Renyi divergences between the two (Bun and Steinke 2016, definition 1.1). No test increases them,
    so they bound how often a test finds the child.

    `rho` is the privacy loss, above 0; `false_alarms` is between 0 and 1. For every order a above 1, outcomes with
    probabilities (q, 1 - q) and (p, 1 - p) have Renyi divergence at most rho a; the bound is the smallest, over
    all orders, of the largest q that an order allows.
    """

    def compute_excess(found: float) -> float:
        # In logarithms, because powers of orders up to 1,001 underflow.
        yes = _ORDERS * np.log(found) + (1 - _ORDERS) * np.log(false_alarms)
        no = _ORDERS * np.log1p(-found) + (1 - _ORDERS) * np.log1p(-false_alarms)
        return float(np.max(np.logaddexp(yes, no) / (_ORDERS - 1) - rho * _ORDERS))

    # just under 1, where log1p(-found) is not finite
    highest = 1 - 1e-12
    return (
        highest if compute_excess(highest) < 0 else float(scipy.optimize.brentq(compute_excess, false_alarms, highest))
    )


Record = dict[str, Any]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class MeasuredCohort:
    """A cohort of a release: the release that measured it, plans and measurements by family, and those on request."""

    cohort: str
    release: str
    plans: Mapping[str, Plan]
    measurements: Mapping[str, Measurement]
    on_request: tuple["MeasuredOnRequest", ...] = ()

    def combine(self, family: str) -> tuple[Plan, Measurement]:
        """Combine all measurements of a family into one plan and measurement."""
        more = [(each.plan, each.measurement) for each in self.on_request if each.plan.family.name == family]
        return combine_measurements(self.plans[family], self.measurements[family], more)


@dataclass(frozen=True, eq=False)
class MeasuredOnRequest:
    """A later measurement of a family, made for tables that users requested."""

    release: str
    plan: Plan
    measurement: Measurement
    tables: tuple[str, ...]
    """Names of the tables it was measured for."""


def build_privacy_record(
    measured: Sequence[MeasuredCohort],
    entries: Iterable[Entry],
    policy: Policy,
    *,
    release: str,
    approvals: Mapping[str, Sequence[Signed]] = MappingProxyType({}),
) -> Record:
    """Return the statement as JSON-ready values, for the cohorts of a release and the entries of the ledger.

    `approvals` are keyed by the release that was measured under them.

    `privacy_parameters` are those of a child in the largest cohort; cohorts are disjoint, so each child has those of
    their own cohort. A cohort's `accounts` hold those of every unit, and its `joint_parameters` those of somebody with
    a row in each. The statement depends on the ledger only up to the charges of what is published, so it stays the same
    when later releases are charged. Raises ValueError if a family was not charged and committed under its plan, or its
    measurement has another plan.
    """
    ledger = list(entries)
    charges = collect_charges(ledger)
    drawn = {own: list(_iter_drawn(own, charges, policy)) for own in measured}
    charged = {own: [entry for entry, _ in found] for own, found in drawn.items()}
    # Any earlier charge that had not ended was given back before the last of these was made: `session.settle`.
    ledger = ledger[: max(entry.seq for of_cohort in charged.values() for entry in of_cohort)]
    cohorts = [_build_cohort(own, charged[own], ledger, policy, release, approvals) for own in measured]
    largest = max(cohorts, key=lambda entry: float(entry["privacy_parameters"]["rho"]))
    sentences = read_sentences()
    counted = [approval["demonstration"] for entry in cohorts for approval in entry["approvals"]]
    signed_by = "demonstration" if any(counted) else "people" if counted else "nobody"
    return sentences | {
        "release": release,
        "sign_off": sentences["sign_off"][signed_by],
        "privacy_parameters": largest["privacy_parameters"],
        "joint_parameters": largest["joint_parameters"],
        "larger_changes": [change for account in largest["accounts"] for change in account["larger_changes"]],
        "inference": compute_inference(float(largest["privacy_parameters"]["rho"])),
        "cohorts": cohorts,
        "families": [family for of_cohort in drawn.values() for _, family in of_cohort],
        "reliability": asdict(policy.reliability),
    }


def render_privacy_page(record: Record) -> str:
    """Return the record as a page of Markdown."""
    return _fill_template((_FOLDER / "statement.md.j2").read_text(encoding="utf-8"), record)


def _fill_template(text: str, record: Record, **more: Any) -> str:
    """Fill in a template with the values of the record."""
    # Strict, so that a misspelt name is an error and not a gap in the statement.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["number"] = "{:g}".format
    units = {family["family"]: family["privacy_unit"] for family in record["families"]}
    several = len(record["cohorts"]) > 1
    return environment.from_string(text).render(record, several=several, privacy_units=units, **more)


@cache
def read_sentences() -> Record:
    """Read the sentences that are true of every release, with measured figures filled in."""
    text = jinja2.Template((_FOLDER / "statement.yaml").read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)
    sentences: Record = yaml.safe_load(text.render(read_yaml(_FOLDER / "measured.yaml")))
    return sentences


def _iter_drawn(
    own: MeasuredCohort, charges: Mapping[tuple[str, str, str], Reservation], policy: Policy
) -> Iterator[tuple[Entry, Record]]:
    """Yield the charge and the record of each measurement, with facts about the request if it was made on request."""
    found = [(own.release, plan, own.measurements[family], dict[str, Any]()) for family, plan in own.plans.items()]
    for each in own.on_request:
        about = {"measured_in": each.release, "tables": list(each.tables)}
        found.append((each.release, each.plan, each.measurement, about))
    for release, plan, measurement, about in found:
        family = plan.family.name
        charge = charges.get((own.cohort, release, family))
        if charge is None or not charge.is_committed or charge.entry.plan_sha256 != plan.sha256:
            raise ValueError(f"the ledger has no committed charge of {family}, release {release}, under this plan")
        if measurement.plan_sha256 != plan.sha256:
            raise ValueError(f"the measurement of {family} was made under another plan")
        yield charge.entry, _build_family(plan, measurement, charge.entry, policy) | about


def _build_cohort(
    own: MeasuredCohort,
    charged: Sequence[Entry],
    ledger: Sequence[Entry],
    policy: Policy,
    release: str,
    approvals: Mapping[str, Sequence[Signed]],
) -> Record:
    """Return the parameters and accounts of one cohort, up to the last charge of what is published."""
    units = sorted({entry.unit for entry in charged})
    accounts = [
        _build_account(unit, own, [entry for entry in charged if entry.unit == unit], ledger, policy, release)
        for unit in units
    ]
    return {
        "cohort": own.cohort,
        "measured_in": own.release,
        "privacy_parameters": accounts[units.index(CHILD)]["privacy_parameters"],
        "joint_parameters": _build_parameters(sum(entry.nano_rho for entry in charged) / NANO, policy.delta),
        "accounts": accounts,
        "approvals": [
            _build_approval(signed)
            for each in dict.fromkeys(entry.release for entry in charged)
            for signed in approvals.get(each, ())
        ],
    }


def _build_account(
    unit: str, own: MeasuredCohort, charged: Sequence[Entry], ledger: Sequence[Entry], policy: Policy, release: str
) -> Record:
    """Return the parameters and budget for one unit, from its charges and the ledger so far."""
    spent = sum(entry.nano_rho for entry in charged) / NANO
    by_this_release = sum(entry.nano_rho for entry in charged if entry.release == release) / NANO
    mine = [entry for entry in ledger if (entry.cohort, entry.unit) == (own.cohort, unit)]
    cap = next(entry.nano_rho for entry in mine if entry.kind == EntryKind.APPROVE) / NANO
    to_date = sum(charge.entry.nano_rho for charge in collect_charges(mine).values()) / NANO
    return {
        "unit": unit,
        "privacy_parameters": _build_parameters(spent, policy.delta),
        "larger_changes": [
            {**change, **_build_parameters(change["rho_factor"] * spent, policy.delta)}
            for change in read_sentences()["larger_changes"][unit]
        ],
        "budget": {
            "cap_rho": cap,
            "charged_by_this_release_rho": round(by_this_release, 9),
            "charged_to_date_rho": round(to_date, 9),
            "remaining_rho": round(cap - to_date, 9),
        },
    }


def _build_approval(signed: Signed) -> Record:
    """Return who approved a measurement, with the name only if the policy makes it public."""
    # Without the hash of the decision sheet, which has bands and numbers of rows: the hash would confirm a guess of
    # them. The line of the ledger covers it, under a signature that cannot be guessed.
    person = signed.person
    return {
        "role": person.role,
        "name": person.name if person.public else "",
        "signed_at": signed.line.recorded_at,
        "demonstration": signed.is_demonstration,
        "request_sha256": hash_json(signed.request),
        "ledger_line": signed.line.entry_hash,
    }


def _build_family(plan: Plan, measurement: Measurement, charged: Entry, policy: Policy) -> Record:
    return {
        "cohort": charged.cohort,
        "family": plan.family.name,
        "privacy_unit": plan.family.unit,
        "charged_to": charged.unit,
        **_build_parameters(charged.nano_rho / NANO, policy.delta),
        "noise_source": measurement.noise_source,
        "opendp_version": measurement.opendp_version,
        **read_sentences()["families"],
        "marginals_measured": len(plan.sigmas),
        "noise_scale_least": min(plan.sigmas.values()),
        "noise_scale_greatest": max(plan.sigmas.values()),
        "method": METHOD,
        "plan_sha256": plan.sha256,
        "ledger_entry": charged.entry_hash,
    }


def _build_parameters(rho: float, delta: float) -> Record:
    """Return rho, and the epsilon it gives at delta, rounded up to four decimals."""
    # Up, so that the statement never claims more protection than there is.
    return {"rho": round(rho, 9), "epsilon": math.ceil(compute_epsilon(rho, delta) * 1e4) / 1e4, "delta": delta}


def build_deployment(record: Record, published_on: str, curators: Sequence[str], address: str) -> Record:
    """Return the statement as a `deployment` of the registry, JSON-ready; `address` is a web address of the release."""
    values = {"published_on": published_on, "address": address}
    found: Record = {
        section: {field: _fill_template(text, record, **values) for field, text in texts.items()}
        for section, texts in read_yaml(_FOLDER / "registry.yaml").items()
    }
    found["basic"]["data_curators"] = list(curators)
    found["privacy_loss"]["privacy_parameters"] = record["privacy_parameters"]
    found["administrative"]["registry_authors"] = list(curators)
    return found


def build_registry_entry(deployed: Record) -> Record:
    """Return the registry's file for a `deployment`: a draft, in full detail (tier 3), named as the registry does."""
    basic = deployed["basic"]
    named = (basic["name"], *basic["data_curators"], basic["publication_date"][:4])
    slug = "-".join(re.sub(r"\W+", "-", name.lower()).strip("-") for name in named)
    return {"url_slug": slug, "status": "Draft", "tier": 3}
