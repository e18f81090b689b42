"""Makes children known to four services, with FEBRL names corrupted by gecko: frames in contract columns.

    python make_gecko.py PUBLIC_SETS FOLDER SEED CHILDREN

PUBLIC_SETS holds `febrl3.parquet`. The linkage was tuned on neither these names nor these errors. Writes one Parquet
file per source into the folder.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from gecko import mutator
from services import COUNCILS, KNOWN, MOVED, draw_postcodes, make_nhs_number, make_upn, select_contract_columns

SLIPS = {"eyfsp": 0.02, "school_census": 0.02, "early_years_census": 0.05, "hv_reviews": 0.05}
"""Share of each source's surnames, and of its forenames, with an error; a third of this for dates."""


def draw_population(names: pd.DataFrame, children: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the true children; 3 in 100 are twins."""
    home = np.arange(children)
    twin = rng.random(children) < 0.015
    home[1:] = np.where(twin[1:], home[:-1], home[1:])
    born = pd.Timestamp("2019-09-01") + pd.to_timedelta(rng.integers(0, 366, children)[home], unit="D")
    drawn = {part: rng.choice(names[part].dropna().to_numpy(str), children) for part in ("first_name", "surname")}
    frame = pd.DataFrame(
        {
            "child": np.arange(children),
            "council": rng.choice(COUNCILS, children)[home],
            "sex": rng.choice(["F", "M"], children),
            "surname": drawn["surname"][home],
            "forename": drawn["first_name"],
            "date_of_birth": born.strftime("%Y-%m-%d"),
            "postcode": draw_postcodes(children, rng)[home],
            "nhs_number": [make_nhs_number(number) for number in range(children)],
            "upn": [make_upn(number) for number in range(children)],
        }
    )
    return frame


def record(children: pd.DataFrame, source: str, rng: np.random.Generator) -> pd.DataFrame:
    """Return the children as recorded by one source."""
    seen = children[rng.random(len(children)) < KNOWN[source]].reset_index(drop=True)
    moved = rng.random(len(seen)) < MOVED[source]
    seen.loc[moved, "postcode"] = draw_postcodes(int(moved.sum()), rng)
    letters = "abcdefghijklmnopqrstuvwxyz"
    slips, third = SLIPS[source], SLIPS[source] / 3
    wrong = [
        (slips / 4, mutator.with_insert(letters, rng=rng)),
        (slips / 4, mutator.with_delete(rng=rng)),
        (slips / 4, mutator.with_transpose(rng=rng)),
        (slips / 4, mutator.with_substitute(letters, rng=rng)),
    ]
    days = mutator.with_datetime_offset(max_delta=40, unit="d", dt_format="%Y-%m-%d", rng=rng)
    return mutator.mutate_data_frame(
        seen,
        [
            ("surname", wrong),
            ("forename", wrong),
            (("surname", "forename"), (slips / 10, mutator.with_permute(rng=rng))),
            ("date_of_birth", (third, days)),
        ],
    )


def main() -> None:
    sets, folder, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(seed)
    names = pd.read_parquet(sets / "febrl3.parquet")
    children = draw_population(names[names.rid.str.endswith("org")], int(sys.argv[4]), rng)
    folder.mkdir(parents=True, exist_ok=True)
    for source in KNOWN:
        select_contract_columns(record(children, source, rng), source).to_parquet(folder / f"{source}.parquet")


if __name__ == "__main__":
    main()
