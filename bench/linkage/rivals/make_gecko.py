"""Children known to four services under names of the FEBRL set, corrupted by gecko: frames in contract columns.

python make_gecko.py PUBLIC_SETS FOLDER SEED CHILDREN

PUBLIC_SETS holds `febrl3.parquet`. Neither names nor errors are those that the linkage was tuned on. In the folder, one
Parquet file a source.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from gecko import mutator

COUNCILS = ("leeds", "hammersmith-and-fulham", "halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral")
KNOWN = {"eyfsp": 0.985, "school_census": 0.98, "early_years_census": 0.88, "hv_reviews": 0.85}
"""Share of the children whom each source has."""
MOVED = {"eyfsp": 0.0, "school_census": 0.01, "early_years_census": 0.06, "hv_reviews": 0.09}
"""Share of its records with another address."""
SLIPS = {"eyfsp": 0.02, "school_census": 0.02, "early_years_census": 0.05, "hv_reviews": 0.05}
"""Share of each source's surnames, and of its forenames, that are written wrongly; a third of it of the dates."""


def population(names: pd.DataFrame, children: int, rng: np.random.Generator) -> pd.DataFrame:
    """True children; 3 in 100 are twins."""
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
            "postcode": postcodes(children, rng)[home],
            "nhs_number": [nhs_number(number) for number in range(children)],
            "upn": [upn(number) for number in range(children)],
        }
    )
    return frame


def postcodes(count: int, rng: np.random.Generator) -> np.ndarray:
    letters = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
    numbers, ends = (rng.integers(1, most, count) for most in (40, 10)), (rng.choice(letters, count) for _ in range(2))
    parts = zip(*numbers, *ends, strict=True)
    return np.array([f"L{district} {sector}{first}{last}" for district, sector, first, last in parts])


def nhs_number(number: int) -> str:
    """A valid number of the reserved range; one without a check digit gives its neighbour's."""
    while True:
        body = f"999{number % 1_000_000:06d}"
        check = (11 - sum((10 - place) * int(digit) for place, digit in enumerate(body)) % 11) % 11
        if check < 10:
            return f"{body}{check}"
        number += 500_000


def upn(number: int) -> str:
    digits = f"8{number:010d}1"
    total = sum(place * int(digit) for place, digit in enumerate(digits, 2))
    return "ABCDEFGHJKLMNPQRTUVWXYZ"[total % 23] + digits


def recorded(children: pd.DataFrame, source: str, rng: np.random.Generator) -> pd.DataFrame:
    """The children as one source has them."""
    seen = children[rng.random(len(children)) < KNOWN[source]].reset_index(drop=True)
    moved = rng.random(len(seen)) < MOVED[source]
    seen.loc[moved, "postcode"] = postcodes(int(moved.sum()), rng)
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
    children = population(names[names.rid.str.endswith("org")], int(sys.argv[4]), rng)
    folder.mkdir(parents=True, exist_ok=True)
    for source in KNOWN:
        frame = recorded(children, source, rng).sort_values("council", kind="stable").reset_index(drop=True)
        in_school = source in ("eyfsp", "school_census")
        frame = frame.drop(columns="nhs_number" if in_school or source == "early_years_census" else "upn")
        if source == "early_years_census":
            frame = frame.drop(columns="upn")
        if source == "hv_reviews":
            frame["local_patient_id"] = "P" + frame["child"].astype(str)
        frame["row_key"] = frame.groupby("council").cumcount() + 1
        frame.to_parquet(folder / f"{source}.parquet")


if __name__ == "__main__":
    main()
