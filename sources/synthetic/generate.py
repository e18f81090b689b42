"""Make the extracts of one cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sources.reference.cohorts import Cohort
from sources.synthetic.columns import Rows
from sources.synthetic.returns import early_years_census, eyfsp, hv_reviews, parent_experience, school_census
from sources.synthetic.truth import write_truth
from sources.synthetic.world import draw_world
from sources.synthetic.writing import write_source

DEFAULT_SEED = 20260601
_RETURNS = {
    "eyfsp": eyfsp.rows,
    "school_census": school_census.rows,
    "early_years_census": early_years_census.rows,
    "hv_reviews": hv_reviews.rows,
    "parent_experience": parent_experience.rows,
}


def generate(
    landing: Path,
    cohort: str,
    *,
    scale: float = 1.0,
    seed: int = DEFAULT_SEED,
    councils: Literal["pilot", "england"] = "pilot",
    contract_names: bool = False,
) -> None:
    """Write the extracts of a cohort into `landing` and the truth beside it.

    - `landing/<council>/<source>/<cohort>.<ext>`: in the council's own dialect, or the contract's with `contract_names`
      and for councils without a council file.
    - `landing/reference/postcode_directory.csv`.
    - `truth.parquet` and `truth_tables.parquet` in the folder that holds `landing`.

    `scale` times the children of 2024/25: 26,132 in the pilot, 589,471 in England. The same arguments give the same
    bytes. Raises `InvalidCohort` for a cohort and `ValueError` for a scale that cannot be.
    """
    if scale <= 0:
        raise ValueError(f"scale must be above 0, not {scale}")
    world = draw_world(Cohort(cohort), seed, councils == "england", scale, contract_names)
    landing.mkdir(parents=True, exist_ok=True)
    world.geography.write_directory(landing / "reference" / "postcode_directory.csv")
    linkable: dict[str, Rows] = {}
    for source, rows_of in _RETURNS.items():
        rows = rows_of(world)
        write_source(landing, source, rows, world)
        linkable[source] = Rows(rows.council, rows.person, rows.table.select([]))
    write_truth(landing.resolve().parent, world, linkable)
