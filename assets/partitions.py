"""Partitions: council x cohort for what is about one sender, cohort for everything after linkage."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from sources.reference.cohorts import cohort_codes
from sources.reference.places import places

LAST_COHORT_YEAR = 2030

COHORTS = dg.StaticPartitionsDefinition(cohort_codes(LAST_COHORT_YEAR))
COUNCILS = dg.StaticPartitionsDefinition(list(places()))
COUNCIL_COHORTS = dg.MultiPartitionsDefinition({"cohort": COHORTS, "council": COUNCILS})

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def council_cohort(council: str, cohort: str) -> str:
    """Key of one sender's partition."""
    return str(dg.MultiPartitionKey({"cohort": cohort, "council": council}))


def parts(key: str) -> tuple[str, str]:
    """(council, cohort) of a partition key; dimensions stand in order of their names."""
    cohort, council = key.split("|")
    return council, cohort


def all_councils(cohort: str) -> dict[str, str]:
    """Run tags that ask for every council of a cohort in one run."""
    councils = list(places())
    return {
        RANGE_START: council_cohort(councils[0], cohort),
        RANGE_END: council_cohort(councils[-1], cohort),
    }


def only(councils: Iterable[str], cohort: str) -> list[str]:
    """Partition keys of these councils."""
    return [council_cohort(council, cohort) for council in councils]
