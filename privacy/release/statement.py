"""The privacy statement of a release, as a record for machines and a page for people.

Vocabulary of NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees: what is protected, under which
definition and parameters, by which mechanism, trusting whom, and what lies outside the guarantee. Everything in it is
public: it is made from plans, the ledger, the policy and the provenance of measurements, never from their numbers. The
sentences that are true of every release stand in `statement.yaml`, the page in `statement.md.j2`.

`deployment` says the same in the fields of the OpenDP registry of deployments of differential privacy. Names of
sections and fields, and the words that a field allows, are those of the registry's own records
(github.com/opendp/deployments-registry-data), so that an entry can be filed as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from privacy.release.ledger import NANO
from privacy.release.ledger_storage import Entry, EntryKind
from privacy.release.mechanism import Measurement, epsilon
from privacy.release.plan import METHOD, Plan
from privacy.release.policy import Policy

Record = dict[str, Any]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class MeasuredCohort:
    """A cohort of a release: for which release it was measured, and its plans and measurements by family."""

    cohort: str
    release: str
    plans: Mapping[str, Plan]
    measurements: Mapping[str, Measurement]


_GROUPS = (
    ("one row replaced by another", 2, "one cell of a table loses 1 and one gains 1: squared L2 distance 2"),
    (
        "two rows added or removed, such as those of two siblings, or two responses of one parent",
        4,
        "a cell may change by 2: squared L2 distance 4",
    ),
)
"""Changes larger than a neighbour, each with the factor on rho: zCDP of Gaussian noise grows with squared distance."""


def privacy_record(
    measured: Sequence[MeasuredCohort], entries: Iterable[Entry], policy: Policy, *, release: str
) -> Record:
    """The statement as JSON-ready values, for the cohorts of a release and the entries of the ledger.

    `privacy_parameters` are those of the largest cohort: cohorts are disjoint, so each child has those of its own.
    Depends on the ledger only up to the charges of what is published, so it stays the same when later releases are
    charged. Raises ValueError where a family was not charged and committed under its plan, or its measurement has
    another plan.
    """
    ledger = list(entries)
    charges = {
        (own.cohort, family): _charge(plan, [e for e in ledger if e.cohort == own.cohort], own.release)
        for own in measured
        for family, plan in own.plans.items()
    }
    last = max(entry.seq for entry in charges.values())
    cohorts = [_cohort(own, charges, [e for e in ledger if e.seq <= last], policy, release) for own in measured]
    largest = max(cohorts, key=lambda entry: float(entry["privacy_parameters"]["rho"]))
    return _sentences() | {
        "release": release,
        "privacy_parameters": largest["privacy_parameters"],
        "larger_changes": largest["larger_changes"],
        "cohorts": cohorts,
        "families": [
            _family(own.cohort, plan, charges[own.cohort, family], own.measurements[family], policy)
            for own in measured
            for family, plan in own.plans.items()
        ],
        "reliability": asdict(policy.reliability),
    }


def privacy_page(record: Record) -> str:
    """The record as a page of Markdown."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["number"] = "{:g}".format
    page = environment.from_string((_FOLDER / "statement.md.j2").read_text(encoding="utf-8"))
    return page.render(record, several=len(record["cohorts"]) > 1, privacy_units=_privacy_units(record))


def _sentences() -> Record:
    """What is said of every release."""
    sentences: Record = yaml.safe_load((_FOLDER / "statement.yaml").read_text(encoding="utf-8"))
    return sentences


def _privacy_units(record: Record) -> dict[str, str]:
    """What one row is, in words, by family."""
    return {family["family"]: family["privacy_unit"] for family in record["families"]}


def _cohort(
    own: MeasuredCohort, charges: Mapping[tuple[str, str], Entry], ledger: list[Entry], policy: Policy, release: str
) -> Record:
    """What holds for the children of one cohort; `ledger` up to the last charge of what is published."""
    entries = [entry for entry in ledger if entry.cohort == own.cohort]
    to_date = sum(entry.nano_rho for entry in entries if entry.kind == EntryKind.RESERVE) / NANO
    spent = sum(charges[own.cohort, family].nano_rho for family in own.plans) / NANO
    cap = next(entry.nano_rho for entry in entries if entry.kind == EntryKind.APPROVE) / NANO
    return {
        "cohort": own.cohort,
        "measured_in": own.release,
        "privacy_parameters": _parameters(spent, policy.delta),
        "larger_changes": [
            {"change": change, "rho_factor": factor, **_parameters(factor * spent, policy.delta), "reason": reason}
            for change, factor, reason in _GROUPS
        ],
        "budget": {
            "cap_rho": cap,
            "charged_by_this_release_rho": round(spent, 9) if own.release == release else 0.0,
            "charged_to_date_rho": round(to_date, 9),
            "remaining_rho": round(cap - to_date, 9),
        },
    }


def _charge(plan: Plan, ledger: list[Entry], release: str) -> Entry:
    family = plan.family.name
    own = {e.kind: e for e in ledger if (e.release, e.family, e.plan_sha256) == (release, family, plan.sha256)}
    if EntryKind.RESERVE not in own or EntryKind.COMMIT not in own:
        raise ValueError(f"the ledger has no committed charge of {family}, release {release}, under this plan")
    return own[EntryKind.RESERVE]


def _family(cohort: str, plan: Plan, charged: Entry, measurement: Measurement, policy: Policy) -> Record:
    if measurement.plan_sha256 != plan.sha256:
        raise ValueError(f"the measurement of {plan.family.name} was made under another plan")
    return {
        "cohort": cohort,
        "family": plan.family.name,
        "privacy_unit": plan.family.unit,
        **_parameters(charged.nano_rho / NANO, policy.delta),
        "mechanism": "discrete Gaussian noise on integer counts (Canonne, Kamath and Steinke 2020)",
        "noise_source": measurement.noise_source,
        "opendp_version": measurement.opendp_version,
        "l2_sensitivity_of_each_marginal": 1,
        "contribution_bound": "one row, counted once in every marginal",
        "marginals_measured": len(plan.sigmas),
        "noise_scale_least": min(plan.sigmas.values()),
        "noise_scale_greatest": max(plan.sigmas.values()),
        "composition": "adaptive composition of zCDP: rho adds up over marginals",
        "method": METHOD,
        "plan_sha256": plan.sha256,
        "ledger_entry": charged.entry_hash,
    }


def _parameters(rho: float, delta: float) -> Record:
    """rho, and the epsilon it gives at delta, rounded up to four decimals."""
    return {"rho": round(rho, 9), "epsilon": math.ceil(epsilon(rho, delta) * 1e4) / 1e4, "delta": delta}


def deployment(record: Record, published_on: str, curators: Sequence[str]) -> Record:
    """The statement as a `deployment` of the registry, JSON-ready; nothing is said here that is not said there."""
    return {
        "product": {
            "name": f"School readiness: linked early-years statistics, release {record['release']}",
            "data_curators": list(curators),
            "intended_use": "To compare councils and groups of children in readiness for school, and to see which "
            "children early services had not joined up",
            "data_product_type": "Summary statistics",
            "data_product_region": "England",
            "data_product_sector": "Education",
            "description": "Counts and rates, with intervals, from linked early-years records of "
            + ("one cohort" if len(record["cohorts"]) == 1 else f"{len(record['cohorts'])} cohorts"),
            "publication_date": published_on,
        },
        "dp_variant": {
            "variant_name": "Zero-concentrated DP",
            "input_metric": "Number of rows added to or removed from the child table (symmetric distance)",
            "bound_on_input_distance": "1",
            "output_measure": "Zero-concentrated divergence",
            "bound_on_output_distance": f"rho = {record['privacy_parameters']['rho']:g}",
            "data_domain": record["data_domain"],
            "unprotected_quantities": record["unprotected_quantities"],
        },
        "privacy_loss": {
            "privacy_unit": "; ".join(
                f"{family} tables: one {unit}" for family, unit in _privacy_units(record).items()
            ),
            "privacy_unit_description": record["neighbouring_relation"],
            "privacy_parameters": record["privacy_parameters"],
            "privacy_parameters_description": "All tables of the release together, as if every family counted the "
            "same children. "
            + _of_cohorts(record)
            + " ".join(
                f"For {change['change']}: rho {change['rho']:g}, epsilon {change['epsilon']:g}."
                for change in record["larger_changes"]
            ),
        },
        "model": {
            "model_name": "Central",
            "model_name_description": record["trust_model"],
            "actors": "Councils and health services send records; the curator links, counts and adds noise; anyone "
            "reads what is published",
            "release_type": "Many releases",
            "release_type_description": f"One cohort a year, and corrections. {record['budget_over_time']}",
            "data_source_type": "Static",
            "access_type": "Non-interactive",
        },
        "accounting": {"post_processing": record["post_processing"], "composition": record["composition"]},
        "implementation": {
            "pre_processing_eda_hyperparameter_tuning": record["pre_processing"],
            "mechanisms": " ".join(
                f"{_cohort_of(family, record)}{family['family']}: {family['mechanism']}, scales "
                f"{family['noise_scale_least']:g} to {family['noise_scale_greatest']:g} on "
                f"{family['marginals_measured']} tables of counts; "
                f"{family['noise_source']} {family['opendp_version']}."
                for family in record["families"]
            ),
            "justification": record["justification"],
        },
    }


def _of_cohorts(record: Record) -> str:
    """The parameters of each cohort, where there are several; those of the release are the largest."""
    if len(record["cohorts"]) == 1:
        return ""
    stated = ((entry["cohort"], entry["privacy_parameters"]) for entry in record["cohorts"])
    each = " ".join(f"Cohort {cohort}: rho {own['rho']:g}, epsilon {own['epsilon']:g}." for cohort, own in stated)
    return f"The largest of the cohorts; {record['composition_of_cohorts']}. {each} "


def _cohort_of(family: Record, record: Record) -> str:
    return f"{family['cohort']} " if len(record["cohorts"]) > 1 else ""
