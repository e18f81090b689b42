"""Estimates the linkage model's parameters (`privacy/linkage/model.json`) from synthetic pairs.

    python -m bench.linkage.estimate            # prints m and u beside the current ones
    python -m bench.linkage.estimate --write    # puts them into model.json
    python -m bench.linkage.estimate --report   # prints docs/linkage-parameters.md: the current ones, and how made

Two records are made for each of 60,000 children, the second with the errors of `RATES`. Their tokens are made under
throw-away keys and compared with the model's own conditions. m is a level's share among the two records of one child. u
is its share among records of different children, given the same date of birth so that names can be compared; for the
date of birth itself, among all pairs of birthdays of a cohort. Shares are rounded to two figures. An m below 0.0005 and
a u below 0.00005 are raised to that, because rarer events are not counted reliably. Levels that synthetic pairs cannot
show are set by hand in `set_by_hand.yaml`, with the reason, and left out of the counting.
"""

import json
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import yaml

from bench import pages
from privacy import pseudonyms
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_text
from privacy.keys import KeyRing
from privacy.linkage import blocks, model, rows
from privacy.normalise import NORMALISER_VERSION, RAREST_BAND, load_given_name_forms, load_name_bands

CHILDREN = 60_000
SEED = 20260601
_NUMBERS = np.arange(100, 100 + CHILDREN).astype(str)
"""Used in place of inward codes, so that no two children share a postcode."""
LEAST_M, LEAST_U, LEAST_U_OF_BANDS = 0.0005, 0.00005, 0.0000005
RATES = {
    "typing error in surname": 0.17,
    "typing error in forename": 0.17,
    "short or pet form of forename": 0.06,
    "another forename": 0.015,
    "another surname": 0.02,
    "half of a double surname": 0.3,
    "names exchanged": 0.003,
    "another date of birth": 0.06,
    "moved, or postcode wrong": 0.1,
    "sex wrong": 0.008,
}
"""Share of second records with each error. The rates of typing errors, replaced names and wrong dates lie between
those of children's records and those of the dirtier public linkage sets. They were chosen by the F1 on these sets
(`bench/linkage`), so the model has been tuned on them. `half of a double surname` is a share of the double surnames."""
FURTHER_ERROR = 0.5
"""Share of the names with a typing error that have a second one."""
DOUBLE_SURNAMES = 0.04
RARE_SURNAMES, RARE_FORENAMES = 40_000, 4_000
BANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "surname": ((0.25, 0.0034), (0.22, 0.00064), (0.12, 0.00026), (0.17, 0.0001), (0.24, 0.00005)),
    "forename": ((0.15, 0.014), (0.33, 0.005), (0.27, 0.0018), (0.15, 0.0006), (0.06, 0.0002), (0.04, 0.0001)),
}
"""For each band of names, most common first: the share of children, and how often two children in it have the same
name, by the public lists behind the bands. Surnames are assumed to be 1.6 times as common as listed, and rare names
to be more common than listed, because families and communities live near each other."""

SET: dict[str, dict[str, list[float]]] = yaml.safe_load(
    Path(__file__).with_name("set_by_hand.yaml").read_text(encoding="utf-8")
)
"""m and u of the levels that are set by hand, by comparison."""
OF_A_FAMILY = frozenset(
    {
        "day and month exchanged",
        "same, of a crowd",
        "alike, one household",
        "same, one family",
        "different, one family",
        "all but its start or end the same, one family",
        "starts or ends the same, one family",
        "starts or ends the same, one address, another date",
        "starts or ends the same, another forename and home",
        "ends the same, one address and date",
        "different, one address, another date",
        "different, one household",
        "different, one address and date",
        "different, and so is the date",
        "different, at another home",
    }
)
"""Levels of `SET` about households. Synthetic pairs have no households, so these levels are left out of the
counting."""


def estimate(seed: int = SEED) -> dict[str, dict[str, list[float]]]:
    """Return m and u of every level of every comparison, in the form of `model.json`."""
    rng = np.random.default_rng(seed)
    first = _draw_children(rng)
    second = _draw_second_record(rng, first)
    others = {column: np.roll(values, 1) for column, values in second.items()} | {
        "date_of_birth": first["date_of_birth"]
    }
    with tempfile.TemporaryDirectory() as directory:
        keys = KeyRing.create(Path(directory) / "keys", at_sender=True)
        m = _measure_shares(keys, first, second)
        u = _measure_shares(keys, first, others)
        for name, bands in BANDS.items():
            u[name] |= {
                level: share * same for level, (share, same) in zip(model.EXACT[name].values(), bands, strict=True)
            }
        u["date_of_birth"] = _measure_shares(keys, *_pair_birthdays(), "date_of_birth")["date_of_birth"]
    parameters: dict[str, dict[str, list[float]]] = {}
    for comparison, levels in model.LEVELS.items():
        fixed = SET.get(comparison, {})
        parameters[comparison] = {
            level: fixed.get(level)
            or [
                _round(m[comparison].get(level, 0), LEAST_M),
                _round(u[comparison].get(level, 0), find_least_u(level)),
            ]
            for level in (*levels, "different")
        }
    return parameters


def find_least_u(level: str) -> float:
    """Return the least u for a level: names are rarer than pairs of this many children can show."""
    return LEAST_U_OF_BANDS if level.startswith("exact") else LEAST_U


def _round(share: float, least: float) -> float:
    """Return two significant figures, counted from the nearer of 0 and 1, so that 0.996 does not become 1."""
    share = max(share, least)
    return float(f"{share:.2g}") if share < 0.5 else round(1 - float(f"{1 - share:.2g}"), 6)


def _pair_birthdays() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    days = np.datetime64("2019-09-01") + np.arange(366)
    count = len(days) ** 2
    names = {"surname": np.full(count, "SMITH"), "forename": np.full(count, "MARY"), "sex": np.full(count, "F")}
    return (
        names | {"date_of_birth": np.repeat(days, len(days)), "postcode": np.full(count, "LS1 1AA")},
        names | {"date_of_birth": np.tile(days, len(days)), "postcode": np.full(count, "LS1 1AA")},
    )


def _draw_children(rng: np.random.Generator) -> dict[str, np.ndarray]:
    double = rng.random(CHILDREN) < DOUBLE_SURNAMES
    surnames = _group_by_band("surname", load_name_bands("surname"), invent_names(rng, RARE_SURNAMES))
    surname, other = (_draw_names(rng, surnames, BANDS["surname"]) for _ in range(2))
    forenames = _group_by_band("forename", load_name_bands("given_name"), invent_names(rng, RARE_FORENAMES))
    return {
        "surname": np.where(double, np.char.add(np.char.add(surname, "-"), other), surname),
        "forename": _draw_names(rng, forenames, BANDS["forename"]),
        "date_of_birth": np.datetime64("2019-09-01") + rng.integers(0, 366, CHILDREN),
        "postcode": np.char.add("LS1 ", _NUMBERS),
        "sex": rng.choice(np.array(["F", "M"]), CHILDREN),
    }


def invent_names(rng: np.random.Generator, count: int) -> list[str]:
    """Return invented names of two or three syllables."""
    letters = np.array(["".join(rng.choice(list("BCDFGHKLMNPRSTW"), 1)) + rng.choice(list("AEIOU")) for _ in range(60)])
    ends = np.array(
        ["TON", "S", "LEY", "MAN", "SON", "FORD", *rng.choice(letters, 90), *np.char.add(rng.choice(letters, 90), "N")]
    )
    made = np.char.add(np.char.add(rng.choice(letters, count), rng.choice(letters, count)), rng.choice(ends, count))
    return sorted(set(made.tolist()))


def _group_by_band(which: str, bands: dict[str, int], rare: list[str]) -> list[np.ndarray]:
    names = {band: [name for name, of in bands.items() if of == band] for band in model.BANDS[which]}
    names[RAREST_BAND] = [name for name in rare if name not in bands]
    return [np.array(sorted(of_band)) for of_band in names.values()]


def _draw_names(
    rng: np.random.Generator, names: list[np.ndarray], bands: tuple[tuple[float, float], ...]
) -> np.ndarray:
    """Draw a band by its share of children, then any name of the band."""
    band = rng.choice(len(bands), CHILDREN, p=[share for share, _ in bands])
    drawn = np.stack([rng.choice(of_band, CHILDREN).astype("U40") for of_band in names])
    return drawn[band, np.arange(CHILDREN)]


def _draw_second_record(rng: np.random.Generator, first: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    hit = {error: rng.random(CHILDREN) < rate for error, rate in RATES.items()}
    short = {canonical: form for form, canonical in load_given_name_forms().items()}
    record = dict(first)
    pet = np.array([short.get(name, name) for name in first["forename"]])
    record["forename"] = np.where(hit["short or pet form of forename"], pet, record["forename"])
    record["forename"] = np.where(hit["another forename"], rng.permutation(first["forename"]), record["forename"])
    half = np.array([name.rpartition("-")[2] for name in first["surname"]])
    record["surname"] = np.where(hit["half of a double surname"], half, record["surname"])
    record["surname"] = np.where(hit["another surname"], rng.permutation(first["surname"]), record["surname"])
    for name in ("surname", "forename"):
        record[name] = np.where(hit[f"typing error in {name}"], _mistype(rng, record[name]), record[name])
        again = hit[f"typing error in {name}"] & (rng.random(CHILDREN) < FURTHER_ERROR)
        record[name] = np.where(again, _mistype(rng, record[name]), record[name])
    exchanged = hit["names exchanged"]
    record["surname"], record["forename"] = (
        np.where(exchanged, record["forename"], record["surname"]),
        np.where(exchanged, record["surname"], record["forename"]),
    )
    record["date_of_birth"] = np.where(
        hit["another date of birth"], _change_dates(rng, first["date_of_birth"]), first["date_of_birth"]
    )
    moved = hit["moved, or postcode wrong"]
    record["postcode"] = np.where(moved, np.char.add("LS2 ", _NUMBERS), first["postcode"])
    record["sex"] = np.where(hit["sex wrong"], np.where(first["sex"] == "F", "M", "F"), first["sex"])
    return record


def _mistype(rng: np.random.Generator, names: np.ndarray) -> np.ndarray:
    """Return names with one letter left out, added, changed, or swapped with the next, at a random position."""
    letters = rng.choice(list("AEIOURSTLNM"), len(names))
    kinds = rng.integers(0, 4, len(names))
    places = (rng.random(len(names)) * np.char.str_len(names)).astype(int)
    made = []
    for name, letter, kind, at in zip(names.tolist(), letters, kinds, places, strict=True):
        middle = ("", letter + name[at], letter, name[at + 1 : at + 2] + name[at])[kind]
        made.append(name[:at] + middle + name[at + (2 if kind == 3 else 1) :])
    return np.array(made)


def _change_dates(rng: np.random.Generator, dates: np.ndarray) -> np.ndarray:
    """Return other dates: a quarter with another day, half with another month, a quarter with both."""
    months, days = dates.astype("datetime64[M]"), (dates - dates.astype("datetime64[M]")).astype(int)
    kind = rng.integers(0, 4, len(dates))
    other_days, other_months = rng.integers(0, 28, len(dates)), months + rng.integers(1, 9, len(dates))
    days = np.where(kind == 0, other_days, np.where(kind == 3, other_days, np.minimum(days, 27)))
    return np.where(kind == 0, months, other_months).astype("datetime64[D]") + days


def _measure_shares(
    keys: KeyRing, left: dict[str, np.ndarray], right: dict[str, np.ndarray], *comparisons: str
) -> dict[str, dict[str, float]]:
    """Return the share of each level among the pairs (left[i], right[i]) that can be compared."""
    con = open_in_memory()
    pseudonyms.prepare(con)
    columns = {"surname", "forename", "date_of_birth", "postcode"}
    for side, records in (("l", left), ("r", right)):
        con.register("records", pa.table({"pair": np.arange(len(records["sex"])), **records}))
        place = "'any' AS council, 'any' AS cohort"
        typed = f"(SELECT {place}, * REPLACE (date_of_birth::DATE AS date_of_birth) FROM records)"
        tokens = pseudonyms.tokenise(con, typed, columns, ["pair", "sex"], keys, second_keying=False, whole=False)
        con.register("tokens", tokens)
        made = {token.name for token in pseudonyms.list_token_columns(columns)}
        con.execute(
            f"CREATE TABLE tokens_{side} AS SELECT pair, sex, {rows.build_compared_sql(made)} FROM tokens"
        ).fetchall()
    has = [f"true AS has_{word}_{side}" for word in ("dob", "postcode", "surname", "forename") for side in "lr"]
    sides = [
        f"l.{c} AS {c}_l, r.{c} AS {c}_r" for c in ("sex", "surname_band", "forename_band", *pseudonyms.TOKEN_COLUMNS)
    ]
    con.execute(
        f"CREATE TABLE pairs AS SELECT {', '.join(sides + has)} FROM tokens_l l JOIN tokens_r r USING (pair)"
    ).fetchall()
    return {name: _read_level_shares(con, name) for name in comparisons or model.LEVELS}


def _read_level_shares(con: duckdb.DuckDBPyConnection, comparison: str) -> dict[str, float]:
    counted = {level: sql for level, sql in model.LEVELS[comparison].items() if level not in OF_A_FAMILY}
    whens = " ".join(f"WHEN {condition} THEN {quote_text(level)}" for level, condition in counted.items())
    counts = con.execute(
        f"""
        SELECT CASE {whens or "WHEN false THEN ''"} ELSE 'different' END AS level, count(*) FROM pairs
         WHERE NOT coalesce({model.NULL_LEVELS[comparison]}, false) GROUP BY level
        """
    ).fetchall()
    total = sum(count for _, count in counts)
    return {level: count / total for level, count in counts}


def render_page() -> str:
    """Return the page `docs/linkage-parameters.md` in Markdown: every current parameter, and how it was made."""
    comparisons = {
        name: [
            (level, m, u, model.compute_weight(name, level), _explain_source(name, level, m, u))
            for level, (m, u) in levels.items()
        ]
        for name, levels in model.load_parameters()["comparisons"].items()
    }
    return pages.render(
        Path(__file__).with_name("parameters.md.j2"),
        model_version=model.load_parameters()["version"],
        tokens_version=pseudonyms.PSEUDONYM_VERSION,
        normaliser_version=NORMALISER_VERSION,
        free_bits=blocks.FREE_BITS,
        children=CHILDREN,
        seed=SEED,
        comparisons=comparisons,
        rates={**RATES, "another typing error in a name that has one": FURTHER_ERROR},
    )


def _explain_source(comparison: str, level: str, m: float, u: float) -> str:
    if level in SET.get(comparison, {}):
        return "set by hand"
    return "counted, at the least value" if m <= LEAST_M or u <= find_least_u(level) else "counted"


def main(arguments: list[str]) -> None:
    """Print the estimates beside the current parameters; with --write, save them; with --report, print the page."""
    if "--report" in arguments:
        print(render_page(), end="")
        return
    found = estimate()
    in_force = model.load_parameters()
    for comparison, levels in found.items():
        for level, (m, u) in levels.items():
            now = in_force["comparisons"].get(comparison, {}).get(level, ["-", "-"])
            print(f"{comparison:14} {level:26} m {m:<10g} u {u:<10g} in force: m {now[0]} u {now[1]}")
    if "--write" in arguments:
        content = in_force | {"comparisons": found}
        Path(model.__file__).with_name("model.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
