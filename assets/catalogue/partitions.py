"""Partitions: council x cohort for what is about one sender, cohort for everything after linkage."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from sources.reference.cohorts import cohort_codes
from sources.reference.places import PILOT, places

LAST_COHORT_YEAR = 2030

COHORTS = dg.StaticPartitionsDefinition(cohort_codes(LAST_COHORT_YEAR))
COUNCIL_NAMES = (*PILOT, *(council for council in places() if council not in PILOT))
"""The pilot first, so that a range of partitions that holds the pilot holds nothing else."""
COUNCILS = dg.StaticPartitionsDefinition(COUNCIL_NAMES)
COUNCIL_COHORTS = dg.MultiPartitionsDefinition({"cohort": COHORTS, "council": COUNCILS})

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def council_cohort(council: str, cohort: str) -> str:
    """Key of one sender's partition."""
    return str(dg.MultiPartitionKey({"cohort": cohort, "council": council}))


def parts(key: str) -> tuple[str, str]:
    """(council, cohort) of a partition key; dimensions stand in order of their names."""
    cohort, council = key.split("|")
    return council, cohort


def one_run(councils: Iterable[str], cohort: str) -> dict[str, str]:
    """Run tags that ask for the smallest range of partitions holding these councils of a cohort, as one run."""
    positions = [COUNCIL_NAMES.index(council) for council in councils]
    return {
        RANGE_START: council_cohort(COUNCIL_NAMES[min(positions)], cohort),
        RANGE_END: council_cohort(COUNCIL_NAMES[max(positions)], cohort),
    }
