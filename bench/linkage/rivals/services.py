"""Children known to four services, for the scripts that make them: coverage of each service, and contract columns."""

import numpy as np
import pandas as pd

COUNCILS = ("leeds", "hammersmith-and-fulham", "halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral")
KNOWN = {"eyfsp": 0.985, "school_census": 0.98, "early_years_census": 0.88, "hv_reviews": 0.85}
"""Share of the children in each source."""
MOVED = {"eyfsp": 0.0, "school_census": 0.01, "early_years_census": 0.06, "hv_reviews": 0.09}
"""Share of each source's records with a different address."""


def draw_postcodes(count: int, rng: np.random.Generator) -> np.ndarray:
    letters = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
    numbers, ends = (rng.integers(1, most, count) for most in (40, 10)), (rng.choice(letters, count) for _ in range(2))
    parts = zip(*numbers, *ends, strict=True)
    return np.array([f"L{district} {sector}{first}{last}" for district, sector, first, last in parts])


def make_nhs_number(number: int) -> str:
    """Return a valid NHS number of the reserved range; a number without a check digit gets its neighbour's."""
    while True:
        body = f"999{number % 1_000_000:06d}"
        check = (11 - sum((10 - place) * int(digit) for place, digit in enumerate(body)) % 11) % 11
        if check < 10:
            return f"{body}{check}"
        number += 500_000


def make_upn(number: int) -> str:
    digits = f"8{number:010d}1"
    total = sum(place * int(digit) for place, digit in enumerate(digits, 2))
    return "ABCDEFGHJKLMNPQRTUVWXYZ"[total % 23] + digits


def select_contract_columns(records: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return records of a source without the identifiers it does not hold, numbered within each council."""
    frame = records.sort_values("council", kind="stable").reset_index(drop=True)
    held = {"eyfsp": ["upn"], "school_census": ["upn"], "hv_reviews": ["nhs_number"]}.get(source, [])
    frame = frame.drop(columns=[name for name in ("upn", "nhs_number") if name not in held])
    if source == "hv_reviews":
        frame["local_patient_id"] = "P" + frame["child"].astype(str)
    frame["row_key"] = frame.groupby("council").cumcount() + 1
    return frame
