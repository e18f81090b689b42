"""The privacy statement of a release, as a record for machines and a page for people.

Vocabulary of NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees: what is protected, under which
definition and parameters, by which mechanism, trusting whom, and what lies outside the guarantee. Everything in it is
public: it is made from plans, the ledger, the policy and the provenance of measurements, never from their numbers.

`deployment` says the same in the fields of the OpenDP registry of deployments of differential privacy. Names of
sections and fields, and the words that a field allows, are those of the registry's own records
(github.com/opendp/deployments-registry-data), so that an entry can be filed as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from privacy.release.ledger import NANO
from privacy.release.ledger_storage import Entry, EntryKind
from privacy.release.mechanism import Measurement, epsilon
from privacy.release.plan import METHOD, Plan
from privacy.release.policy import Policy

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class MeasuredCohort:
    """A cohort of a release: for which release it was measured, and its plans and measurements by family."""

    cohort: str
    release: str
    plans: Mapping[str, Plan]
    measurements: Mapping[str, Measurement]


_NEIGHBOURS = (
    "two tables are neighbours if one is the other with one row added or removed; every category of every attribute is "
    "public and fixed beforehand"
)

_GROUPS = (
    ("one row replaced by another", 2, "one cell of a table loses 1 and one gains 1: squared L2 distance 2"),
    (
        "two rows added or removed, such as those of two siblings, or two responses of one parent",
        4,
        "a cell may change by 2: squared L2 distance 4",
    ),
)
"""Changes larger than a neighbour, each with the factor on rho: zCDP of Gaussian noise grows with squared distance."""

_OUTSIDE = (
    "Official statistics on the EYFS Profile are published exactly, by council and characteristic, by their own "
    "producer. The guarantee is in addition to whatever they disclose; what it newly protects is the linked facts.",
    "The guarantee starts at the linked row. Linkage, de-duplication and derivation happen before it and can change "
    "more than one row when one record changes; their parameters are fixed beforehand and never fitted to the data.",
    "Which council's extract of which source had been taken is stated exactly. Whether one is taken depends on checks "
    "of its quality, which come before the guarantee.",
    "What is true of a group is learnt on purpose, and may be applied to a member of the group, in the data or not.",
    "Facts about one child that are counted in another cohort are charged to that cohort, and the two add up.",
    "Security of the extracts, of the keys and of the restricted zone rests on other controls, and so does protection "
    "against side channels such as the time a computation takes.",
)

_DOMAIN = (
    "any table with one row for each child (or response) and, in every column, a category of its public domain; all "
    "domains stand in the noise plans, published with the release"
)

_STATED_EXACTLY = "which council's extract of which source had been taken; nothing that is counted from records"

_PRE_PROCESSING = (
    "linkage, de-duplication and derivation, with parameters fixed beforehand and none fitted to these data; no "
    "category, threshold or noise scale was chosen by looking at the data of this cohort, and no budget was spent on it"
)

_COMPOSITION = (
    "zCDP adds up over the tables measured, over families and over releases of a cohort; OpenDP's own privacy map of "
    "each family's tables together is what is charged, and its privacy filter refuses a draw beyond it"
)

_BUDGET_OVER_TIME = (
    "Everything ever released about a cohort is charged to one budget that is approved once and never refilled; "
    "cohorts are different children, and each has its own"
)

_PARALLEL = (
    "cohorts are disjoint sets of children, so the parameters of different cohorts are not added up: what holds for a "
    "child is what its own cohort was charged, all tables together, and the largest of them holds for every child"
)

_JUSTIFICATION = (
    "The budget and its split are the policy's. The noise of each table is chosen by convex optimisation for the "
    "accuracy of the published cells, from public facts alone, before the data are read; the plan's hash stands in the "
    "ledger before noise is drawn. The mechanism, its charge and its noise are tested at every change"
)

_CONSIDERATIONS = {
    "privacy parameters": "rho is stated for all tables together; epsilon follows from it at the delta given",
    "unit of privacy": "one row is one child, counted once; larger changes cost what is stated for them",
    "contribution bounding": "each row is counted in one cell of each table; a child with two rows stops the count",
    "mechanism and precision": "integer noise from an exact sampler; no floating-point number is drawn or rounded",
    "composition and budget": _BUDGET_OVER_TIME,
    "utility": "every figure has the 95% interval of its noise; accuracy is stated before the budget is spent",
    "bias": "estimates are unbiased; counts shown are rounded and not below 0; small groups have wide intervals and "
    "are flagged or withheld more often; errors of records and links are not in the intervals",
    "trust model": "central: the curator sees the records, under the controls below",
    "side channels": "which figures exist, file names and numbers of rows do not depend on the data of any child",
    "data security and access": "true counts of tables exist in memory only, in a restricted zone; noisy counts are "
    "stored with the hash of their charge",
    "data collection exposure": "identifiers are replaced by keyed tokens at intake, or at the sender",
}
"""What NIST SP 800-226 asks an evaluator to consider, and where this release stands."""

_TRUST = (
    "central model: a trusted curator holds the child table in a restricted zone and adds the noise; nobody outside it "
    "sees a true count"
)

_POST_PROCESSING = (
    "every published figure, interval and flag is computed from the noisy counts and public facts alone, and costs no "
    "further privacy; nothing is suppressed, kept or ordered by a true count"
)


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
    return {
        "vocabulary": "NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees",
        "release": release,
        "neighbouring_relation": _NEIGHBOURS,
        "privacy_measure": "zero-concentrated differential privacy, rho-zCDP (Bun and Steinke 2016)",
        "privacy_parameters": largest["privacy_parameters"],
        "larger_changes": largest["larger_changes"],
        "cohorts": cohorts,
        "families": [
            _family(own.cohort, plan, charges[own.cohort, family], own.measurements[family], policy)
            for own in measured
            for family, plan in own.plans.items()
        ],
        "trust_model": _TRUST,
        "data_domain": _DOMAIN,
        "unprotected_quantities": _STATED_EXACTLY,
        "pre_processing": _PRE_PROCESSING,
        "composition": _COMPOSITION,
        "composition_of_cohorts": _PARALLEL,
        "budget_over_time": _BUDGET_OVER_TIME,
        "justification": _JUSTIFICATION,
        "considerations": _CONSIDERATIONS,
        "measurements": "noisy_counts.parquet holds every noisy count as drawn, noise_plan_<family>.json its plan, one "
        "for each cohort where there are several",
        "post_processing": _POST_PROCESSING,
        "reliability": asdict(policy.reliability),
        "outside_the_guarantee": list(_OUTSIDE),
    }


def privacy_page(record: Record) -> str:
    """The record as a page of Markdown."""
    several = len(record["cohorts"]) > 1
    lines = [
        f"# Privacy statement: cohort{'s' * several} {', '.join(entry['cohort'] for entry in record['cohorts'])}, "
        f"release {record['release']}",
        "",
        *_promise(record, several),
        "",
        "## What is protected",
        "",
        *(
            f"- Privacy unit of the {name} tables: one {unit}, one row of its table."
            for name, unit in {each["family"]: each["privacy_unit"] for each in record["families"]}.items()
        ),
        f"- Neighbouring relation: {record['neighbouring_relation']}.",
        f"- Privacy measure: {record['privacy_measure']}.",
        f"- Trust model: {record['trust_model']}.",
        f"- Stated exactly, without noise: {record['unprotected_quantities']}.",
        "",
        f"A larger change is protected less{', in each cohort' * several}:",
        "",
        f"| {'cohort | ' * several}change | rho | epsilon | why |",
        f"|{'---|' * several}---|---|---|---|",
        *(
            f"| {_cell(entry, several)}{change['change']} | {change['rho']:g} ({change['rho_factor']}x) "
            f"| {change['epsilon']:g} | {change['reason']} |"
            for entry in record["cohorts"]
            for change in entry["larger_changes"]
        ),
        "",
        "## How",
        "",
        f"| {'cohort | ' * several}tables | rho | epsilon | mechanism | noise scale | tables measured | plan "
        "| ledger entry |",
        f"|{'---|' * several}---|---|---|---|---|---|---|---|",
        *(f"| {_cell(family, several)}{_family_row(family)}" for family in record["families"]),
        "",
        f"Composition: {record['composition']}. Post-processing: {record['post_processing']}.",
        "",
        "## Budget",
        "",
        *(_budget(entry, record["release"], several) for entry in record["cohorts"]),
        *(("", _NEVER_RETURNED) if several else ()),
        "",
        f"{record['budget_over_time']}.",
        "",
        "## What lies outside the guarantee",
        "",
        *(f"- {sentence}" for sentence in record["outside_the_guarantee"]),
        "",
        "## Points that an evaluation looks at",
        "",
        *(f"- **{point.capitalize()}**: {answer}." for point, answer in record["considerations"].items()),
        f"- **Before the guarantee**: {record['pre_processing']}.",
        f"- **Why these choices**: {record['justification']}.",
        "",
        "## Check it",
        "",
        "`noisy_counts.parquet` holds every noisy count as it was drawn, "
        f"`noise_plan_<family>{'_<cohort>' * several}.json` what was measured "
        "with which noise. The SHA-256 of a plan file is the plan of the table above, which the ledger held before the "
        "noise was drawn. `methodology.md` says how every figure follows from the two. `privacy_statement.json` says "
        "all of this to machines, with an entry for the OpenDP registry of deployments under `deployment`.",
        "",
    ]
    return "\n".join(lines)


def _promise(record: Record, several: bool) -> list[str]:
    """The guarantee in a sentence, and where there are several cohorts the guarantee of each."""
    stated, terms = record["privacy_parameters"], f"The terms are those of {record['vocabulary']}."
    guarantee = (
        f"**rho = {stated['rho']:g}** zero-concentrated differential privacy: "
        f"**epsilon = {stated['epsilon']:g}** at delta = {stated['delta']:g}, all its tables together."
    )
    if not several:
        return [f"This release satisfies {guarantee} {terms}"]
    return [
        f"For every child, this release satisfies {guarantee} {terms}",
        "",
        "A child is counted in one cohort, and has the guarantee of that one, all tables of the cohort together:",
        "",
        "| cohort | rho | epsilon | delta | noise drawn for release |",
        "|---|---|---|---|---|",
        *(
            f"| {entry['cohort']} | {own['rho']:g} | {own['epsilon']:g} | {own['delta']:g} | {entry['measured_in']} |"
            for entry in record["cohorts"]
            for own in [entry["privacy_parameters"]]
        ),
        "",
        f"In short: {record['composition_of_cohorts']}. Whoever is counted in two of them has both rows, added up in "
        "rho: a child who stays in Reception for a second year, a parent who answers the survey in two years. Counts "
        "drawn for an earlier release are used again as they are, which costs nothing.",
    ]


def _cell(entry: Record, several: bool) -> str:
    """The first cell of a row, where cohorts are told apart."""
    return f"{entry['cohort']} | " if several else ""


def _budget(entry: Record, release: str, several: bool) -> str:
    budget, about = entry["budget"], f"cohort {entry['cohort']}" if several else "this cohort"
    charged = (
        f"This release was charged {budget['charged_by_this_release_rho']:g}"
        if entry["measured_in"] == release
        else f"This release was charged nothing: it uses the noisy counts of release {entry['measured_in']}"
    )
    sentence = (
        f"Everything released about {about} may cost rho {budget['cap_rho']:g} at most. {charged}; with it, "
        f"{budget['charged_to_date_rho']:g} has been charged and {budget['remaining_rho']:g} is left."
    )
    return f"- {sentence}" if several else f"{sentence} {_NEVER_RETURNED}"


_NEVER_RETURNED = "A charge is recorded before its noise is drawn and is never returned."


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


def _family_row(family: Record) -> str:
    noise = f"{family['noise_scale_least']:.2f} to {family['noise_scale_greatest']:.2f}"
    source = f"{family['mechanism']}, {family['noise_source']} {family['opendp_version']}"
    return (
        f"{family['family']} | {family['rho']:g} | {family['epsilon']:g} | {source} | {noise} "
        f"| {family['marginals_measured']} | `{family['plan_sha256'][:16]}` | `{family['ledger_entry'][:16]}` |"
    )


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
                f"{family} tables: one {unit}"
                for family, unit in {each["family"]: each["privacy_unit"] for each in record["families"]}.items()
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
