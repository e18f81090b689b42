"""Makes files from pseudopeople's sample population, which comes with the package, with its default noise.

    python make_pseudopeople.py FOLDER
    python make_pseudopeople.py FOLDER SEED    # children known to four services, each a census with its own noise

Each file has its own seed.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pseudopeople
from services import COUNCILS, KNOWN, MOVED, draw_postcodes, make_nhs_number, make_upn, select_contract_columns

SEED = 0
HELD_OUT = {2020: 701, 2030: 702, 2040: 703}
"""Seed of each year's census. Seeds are replaced after a change of the model, so that it has not been tuned on them."""
HELD_OUT_FORMS = (2030, 704)

_SIZES = (0.35, 0.05, 0.05, 0.07, 0.2, 0.1, 0.07, 0.11)
"""Share of the people in each council."""


def record(source: str, seed: int) -> pd.DataFrame:
    """Return the whole population as recorded by one source, everybody as a child born within one school year.

    Forms are left out, duplicated, misread and mistyped by pseudopeople's defaults.
    """
    place = list(KNOWN).index(source)
    rng = np.random.default_rng([seed, place])
    people = pseudopeople.generate_decennial_census(year=2020, seed=10 * seed + place)
    people = people[rng.random(len(people)) < KNOWN[source]].reset_index(drop=True)
    ids = people["simulant_id"].astype(str)
    child = ids.str.rpartition("_")[2].astype(int)
    home = people["household_id"].astype(str).map(lambda each: zlib.crc32(each.encode()) / 2**32)
    lines = people[["street_number", "street_name", "zipcode"]].astype(object).fillna("").astype(str)
    address = lines["street_number"] + lines["street_name"] + lines["zipcode"]
    moved = rng.random(len(people)) < MOVED[source]
    return pd.DataFrame(
        {
            "child": child,
            "council": [COUNCILS[int(each)] for each in np.searchsorted(np.cumsum(_SIZES), home.clip(upper=0.99))],
            "sex": people["sex"].astype(object).map({"Female": "F", "Male": "M"}),
            "surname": people["last_name"].astype(object),
            "forename": people["first_name"].astype(object),
            "date_of_birth": _move_birthday(people["date_of_birth"].astype(object)),
            "postcode": np.where(moved, draw_postcodes(len(people), rng), [_read_postcode(each) for each in address]),
            "nhs_number": [make_nhs_number(each) for each in child],
            "upn": [make_upn(each) for each in child],
        }
    )


def _move_birthday(written: pd.Series) -> pd.Series:
    """Return the same month and day in the school year of one cohort; None if the date cannot be read."""
    found = pd.to_datetime(written, format="%m/%d/%Y", errors="coerce")
    year = np.where(found.dt.month >= 9, 2019, 2020)
    return pd.Series([f"{y}-{d:%m-%d}" if pd.notna(d) else None for y, d in zip(year, found, strict=True)])


def _read_postcode(address: str) -> str:
    return str(draw_postcodes(1, np.random.default_rng(zlib.crc32(address.encode())))[0])


def write_four_services(folder: Path, seed: int) -> None:
    """Write one Parquet file per source in the columns of the contracts."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in KNOWN:
        select_contract_columns(record(source, seed), source).to_parquet(folder / f"{source}.parquet")


def write_two_files(folder: Path) -> None:
    """Write censuses and tax forms, to be linked two at a time."""
    census, forms = pseudopeople.generate_decennial_census, pseudopeople.generate_taxes_w2_and_1099
    census(year=2020, seed=SEED).to_parquet(folder / "pp_a.parquet")
    census(year=2030, seed=SEED).to_parquet(folder / "pp_c.parquet")
    forms(year=2020, seed=SEED).to_parquet(folder / "pp_b.parquet")
    held_out = folder / "holdout"
    held_out.mkdir(exist_ok=True)
    for year, seed in HELD_OUT.items():
        census(year=year, seed=seed).to_parquet(held_out / f"census{year}_s{seed}.parquet")
    year, seed = HELD_OUT_FORMS
    forms(year=year, seed=seed).to_parquet(held_out / f"w2_{year}_s{seed}.parquet")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        write_four_services(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        write_two_files(Path(sys.argv[1]))
