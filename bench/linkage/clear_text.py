"""The rival: Splink on clear text, trained by expectation maximisation on the same files, then assigned one to one."""

import logging

import duckdb
import numpy as np
import pandas as pd
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from privacy.linkage.assignment import match_one_to_one

_COLUMNS = ("forename", "surname", "date_of_birth", "postcode", "sex")
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Spreads small numbers over all 64 bits, because ties are compared on all of them."""


def clear_text_pairs(left: pd.DataFrame, right: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """Return pairs with a posterior of at least `threshold` (left, right: positions in the frames), one to one."""
    con = duckdb.connect()
    con.execute("SET enable_progress_bar = false")
    frames = [_prepare(left), _prepare(right)]
    present = [column for column in _COLUMNS if all(frame[column].notna().any() for frame in frames)]
    settings = SettingsCreator(
        link_type="link_only",
        comparisons=_build_comparisons(present),
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in _build_rules(present)],
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=False,
    )
    logging.disable(logging.WARNING)
    api = DuckDBAPI(con)
    tables = [api.register(frame, dataset_display_name=name) for frame, name in zip(frames, ("a", "b"), strict=True)]
    linker = Linker(tables, settings, log_level=50, validate_settings=False)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("forename", "surname", "date_of_birth")]
        if "date_of_birth" in present
        else [block_on("forename", "surname", "postcode")],
        recall=0.5 if "date_of_birth" in present else 0.4,
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=4e6, seed=1)
    for rule in (("date_of_birth",), ("postcode",), ("forename", "surname")):
        if set(rule) <= set(present):
            linker.training.estimate_parameters_using_expectation_maximisation(block_on(*rule))
    made = linker.inference.predict(threshold_match_probability=threshold).as_pandas_dataframe()
    logging.disable(logging.NOTSET)
    from_a = made.source_dataset_l == "a"
    one = made.unique_id_l.where(from_a, made.unique_id_r).to_numpy(np.int64)
    other = made.unique_id_r.where(from_a, made.unique_id_l).to_numpy(np.int64)
    weight = made.match_weight.to_numpy(float) - np.log2(threshold / (1 - threshold))
    tie = (one * 1_000_003 + other).astype(np.uint64) * _SPREAD
    kept = match_one_to_one(one, other, np.maximum(weight, 0), tie)
    return pd.DataFrame({"left": one[kept], "right": other[kept], "weight": weight[kept]})


def _prepare(frame: pd.DataFrame) -> pd.DataFrame:
    """Return names, dates and postcodes in one case, without leading or trailing spaces; blanks are missing."""
    out = pd.DataFrame({"unique_id": np.arange(len(frame))})
    for column in _COLUMNS:
        values = (
            frame[column].astype("object").reset_index(drop=True) if column in frame else pd.Series([None] * len(frame))
        )
        text = values.where(values.notna(), "").astype(str).str.strip().str.upper()
        if column == "postcode":
            text = text.str.replace(" ", "").where(~text.str.startswith("ZZ99"), "")
        if column == "date_of_birth":
            text = text.str[:10].where(~text.str.startswith("1900-01-01"), "")
        out[column] = text.where(text != "", None)
    out["outward"] = out.postcode.str[:-3].where(out.postcode.str.len() > 4, out.postcode.str[:3])
    return out.astype(dict.fromkeys((*_COLUMNS, "outward"), "str")).astype(object).where(lambda f: f.notna(), None)


def _build_comparisons(present: list[str]) -> list[object]:
    return [comparison for column, comparison in _ALL.items() if column in present]


def _name(column: str, other: str) -> cl.CustomComparison:
    return cl.CustomComparison(
        output_column_name=column,
        comparison_levels=[
            cll.NullLevel(column),
            cll.ExactMatchLevel(column).configure(tf_adjustment_column=column),
            cll.CustomLevel(f"{column}_l = {other}_r", "exchanged"),
            cll.JaroWinklerLevel(column, 0.92),
            cll.JaroWinklerLevel(column, 0.85),
            cll.JaroWinklerLevel(column, 0.7),
            cll.ElseLevel(),
        ],
    )


_ALL = {
    "forename": _name("forename", "surname"),
    "surname": _name("surname", "forename"),
    "date_of_birth": cl.LevenshteinAtThresholds("date_of_birth", [1, 2]),
    "postcode": cl.CustomComparison(
        output_column_name="postcode",
        comparison_levels=[
            cll.NullLevel("postcode"),
            cll.ExactMatchLevel("postcode"),
            cll.LevenshteinLevel("postcode", 1),
            cll.LevenshteinLevel("postcode", 2),
            cll.CustomLevel("outward_l = outward_r", "outward part"),
            cll.ElseLevel(),
        ],
    ),
    "sex": cl.ExactMatch("sex"),
}


def _build_rules(present: list[str]) -> list[tuple[str, ...]]:
    rules = [
        ("postcode", "date_of_birth"),
        ("postcode", "substr(surname, 1, 2)"),
        ("postcode", "substr(forename, 1, 2)"),
        ("date_of_birth", "substr(surname, 1, 2)"),
        ("date_of_birth", "substr(forename, 1, 2)"),
        ("date_of_birth", "right(surname, 2)"),
        ("date_of_birth", "right(forename, 2)"),
        ("date_of_birth", "outward"),
        ("forename", "surname"),
    ]
    return [r for r in rules if not ({"postcode", "date_of_birth"} & set(r)) - set(present)]
