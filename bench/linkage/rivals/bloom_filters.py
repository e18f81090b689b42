"""clkhash and anonlink: each record becomes a Bloom filter, and filters are compared by their Dice coefficient.

    python bloom_filters.py LEFT.parquet RIGHT.parquet PAIRS.parquet

Writes left, right (positions) and weight (Dice coefficient above the threshold). Every record of one file is compared
with every record of the other. Only month and day of the date of birth are encoded: within one cohort the year carries
no information.
"""

import sys

import anonlink
import clkhash.clk
import clkhash.schema
import pandas as pd
from frames import list_filled_in_both, prepare

SECRET = "a secret that both sides hold"
THRESHOLD = 0.8
CLOSEST = 10
"""Candidates kept for each record."""
LENGTH = 1024
FEATURES = {
    "forename": ({"n": 2}, 200),
    "surname": ({"n": 2}, 200),
    "date_of_birth": ({"n": 1, "positional": True}, 200),
    "postcode": ({"n": 1, "positional": True}, 200),
    "sex": ({"n": 1}, 50),
}
"""n-grams of each column and the number of hashes spent on it, whatever its length."""


def main(left_path: str, right_path: str, pairs_path: str) -> None:
    left, right = (
        frame.assign(date_of_birth=frame.date_of_birth.str[len("2020-") :])
        for frame in (prepare(left_path), prepare(right_path))
    )
    columns = list_filled_in_both(left, right)
    schema = clkhash.schema.from_json_dict(_build_schema(columns))
    filters = [_encode(frame[columns], schema) for frame in (left, right)]
    dice, _, (at, to) = anonlink.candidate_generation.find_candidate_pairs(
        filters, anonlink.similarities.dice_coefficient, THRESHOLD, k=CLOSEST
    )
    pd.DataFrame({"left": at, "right": to, "weight": pd.Series(dice) - THRESHOLD}).to_parquet(pairs_path)


def _encode(frame: pd.DataFrame, schema: clkhash.schema.Schema) -> list[object]:
    rows = frame.fillna("").to_numpy().tolist()
    return clkhash.clk.generate_clks(rows, schema, SECRET, validate=False, max_workers=1)


def _build_schema(columns: list[str]) -> dict[str, object]:
    features = []
    for column in columns:
        ngrams, hashes = FEATURES[column]
        hashing = {
            "comparison": {"type": "ngram", **ngrams},
            "strategy": {"bitsPerFeature": hashes},
            "hash": {"type": "blakeHash"},
        }
        features.append({"identifier": column, "format": {"type": "string", "encoding": "utf-8"}, "hashing": hashing})
    kdf = {"type": "HKDF", "hash": "SHA256", "keySize": 64}
    return {"version": 3, "clkConfig": {"l": LENGTH, "kdf": kdf}, "features": features}


if __name__ == "__main__":
    main(*sys.argv[1:])
