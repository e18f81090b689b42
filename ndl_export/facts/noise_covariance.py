"""What the noise in counts of different rows and councils has in common: `noise_covariance.parquet`.

Figures of a release are made from the same noisy counts, so their noise is not independent: an interval of a sum needs
the covariances. They are held for the two counts of `gld_headline`, children and children with a good level of
development, between all rows of one breakdown topic. They follow from the noise plan alone and are the same for every
council of a region, or of the whole where the plan has no regions, so a few numbers are the whole matrix:

    Cov(row i of council a, row j of council b) = same_...[i, j] where a is b,
                                                  apart_...[i, j] for two councils of a region, else 0
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NOISE_COVARIANCE_FILE = "noise_covariance.parquet"
KEYS = ("cohort", "region_code", "breakdown_topic", "breakdown", "sex", "other_breakdown", "other_sex")
COUNTS = ("children", "gld_children", "gld")
"""Of the number of children in both rows; of the children with a good level of development in the row and the number of
children in the other; of the children with a good level of development in both."""
WITHIN = ("same", "apart")

_DESCRIPTIONS = {
    "cohort": "Academic year of the assessment, as time_period in the tables",
    "region_code": "Region whose councils it is about; an empty text where all councils are measured as one group",
    "breakdown_topic": "The characteristic that both rows break down by",
    "breakdown": "The level of the breakdown topic",
    "sex": "Sex",
    "other_breakdown": "The level of the other row",
    "other_sex": "Sex of the other row",
    "same_children": "Covariance of children_count with that of the other row, of one council",
    "same_gld_children": "Covariance of gld_children_count with children_count of the other row, of one council",
    "same_gld": "Covariance of gld_children_count with that of the other row, of one council",
    "apart_children": "As same_children, where the other row is of another council of the region",
    "apart_gld_children": "As same_gld_children, where the other row is of another council of the region",
    "apart_gld": "As same_gld, where the other row is of another council of the region",
}
SCHEMA = pa.schema(
    [
        pa.field(
            name,
            pa.string() if name in KEYS else pa.float64(),
            nullable=False,
            metadata={"description": description},
        )
        for name, description in _DESCRIPTIONS.items()
    ]
)


def write_noise_covariance(folder: Path, covariance: pa.Table, version: str) -> None:
    """Write the table, which has the columns of `SCHEMA`, into `folder`: the same bytes for the same numbers."""
    pq.write_table(
        covariance.cast(SCHEMA).replace_schema_metadata({b"release_version": version.encode()}).combine_chunks(),
        folder / NOISE_COVARIANCE_FILE,
        version="2.6",
        compression="zstd",
        compression_level=9,
        write_statistics=False,
    )


def covariance_faults(covariance: pa.Table, cohorts: Collection[str]) -> Iterator[str]:
    """What is wrong with the file's form; whether the plans give these numbers, `readiness recompute` tells."""
    if not covariance.schema.equals(SCHEMA):
        yield "its columns are not those of the noise covariance"
    elif others := set(covariance["cohort"].to_pylist()) - set(cohorts):
        yield f"it is of other cohorts than the release: {', '.join(sorted(others))}"
