"""The privacy statement in the fields of the OpenDP registry of deployments of differential privacy.

Names of sections and fields, and the words that a field allows, are those of the registry's own records
(github.com/opendp/deployments-registry-data), so that an entry can be filed as it stands. Everything is taken from the
statement's own values; nothing is said here that is not said there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]


def deployment(record: Record, published_on: str, curators: Sequence[str]) -> Record:
    """The statement as a `deployment` of the registry, JSON-ready."""
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
