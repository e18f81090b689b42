"""The linkage model: agreement levels rebuilt from compound tokens, with fixed, versioned m and u probabilities.

Names can be compared if the records share a date of birth, a postcode or both names, as every candidate pair does
unless it shares only an NHS number. The levels, and m and u, are therefore the same as for clear text.
`bench/linkage/estimate.py` produces `model.json`. Nothing is trained on the records being linked.

Some levels keep households apart: twins share date of birth, postcode and surname, so a similar surname then adds
almost nothing, and a different forename counts against the pair (`docs/linkage.md`). If everything but the forename
agrees, the pair is either a child whose forename was replaced or a twin whose own record is missing: `candidates`
weighs the two.

`build_waterfall` shows how a weight adds up (prior, the Bayes factor of each comparison in bits, posterior) from the
model alone, so that it can be explained without a record.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache, partial
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from privacy.normalise import RAREST_BAND
from privacy.pseudonyms import RARE_SURNAME


def _build_equal_sql(*tokens: str | tuple[str, str]) -> str:
    """Return SQL: one of these tokens is the same. A tuple is the token of the left record and that of the right."""
    pairs = ((each, each) if isinstance(each, str) else each for each in tokens)
    return _join_tests(*(f"t_{left}_l = t_{right}_r" for left, right in pairs))


def _join_tests(*tests: str) -> str:
    return "(" + " OR ".join(tests) + ")"


def _build_not_sql(condition: str) -> str:
    # A missing token makes a condition NULL, and NOT NULL would not hold either.
    return f"NOT coalesce({condition}, false)"


def _build_exchanged_sql(context: str) -> str:
    """Return SQL: the two names are swapped, one exactly and the other at least in its start or its sound."""
    # Tokens of the written form and of the sound exist only with the date of birth.
    forms, parts = (_FORENAME_FORMS, ("start", "sound")) if context == "dob" else (("forename",), ("start",))
    exact = [(f"surname_{context}", f"{form}_{context}") for form in forms]
    loose = [(f"forename_{part}_{context}", f"surname_{part}_{context}") for part in parts]
    ways = ((exact, loose), ([pair[::-1] for pair in exact], [pair[::-1] for pair in loose]))
    return _join_tests(*(f"({_build_equal_sql(*a)} AND {_build_equal_sql(*b)})" for a, b in ways))


def _build_both_alike_sql(context: str) -> str:
    """Return SQL: each name resembles the other record's other name, in its start, its end or its sound."""
    forms = ("start", "end", "sound") if context == "dob" else ("start", "end")
    one_way = [(f"surname_{form}_{context}", f"forename_{form}_{context}") for form in forms]
    return f"({_build_equal_sql(*one_way)} AND {_build_equal_sql(*(pair[::-1] for pair in one_way))})"


def _build_part_sql(name: str) -> str:
    """Return SQL: the whole name in one record is the first or last word of the name in the other."""
    words = [(f"{name}_{word}_dob", f"{name}_dob") for word in ("first", "last")]
    return _build_equal_sql(*words, *(pair[::-1] for pair in words))


_FORENAME_FORMS = ("forename", "forename_written")
_NAMES = ("surname", "forename")
_EXCHANGED_WITH_DOB, _EXCHANGED_AT_HOME = _build_exchanged_sql("dob"), _build_exchanged_sql("postcode")
_EXCHANGED = _join_tests(_EXCHANGED_WITH_DOB, _EXCHANGED_AT_HOME)
_BOTH_ALIKE = {context: _build_both_alike_sql(context) for context in ("dob", "postcode")}
_IN_OTHER_PLACE = _build_equal_sql(
    *((f"{a}_{context}", f"{b}_{context}") for context in ("dob", "postcode") for a, b in (_NAMES, _NAMES[::-1]))
)
_SAME_NAMES = _build_equal_sql("names", "names_outward", "names_day", "names_month")
_SAME_OUTWARD = _join_tests(
    _build_equal_sql("dob_outward"),
    _build_equal_sql("names_outward"),
    f"(surname_band_l < {RARE_SURNAME} AND {_build_equal_sql('names_day', 'names_month')})",
)
"""Tokens of a common surname with the day or month of birth also contain a part of the postcode."""
# There is no token of a date or a postcode alone, because its frequency would give it away. Whether one agrees shows in
# any token that contains it.
_BOTH = _build_equal_sql("dob_postcode")
_SAME = {
    name: _join_tests(_build_equal_sql(f"{name}_dob"), _build_equal_sql(f"{name}_postcode"), _SAME_NAMES)
    for name in _NAMES
}
_OTHER_SURNAME, _OTHER_FORENAME = (_build_not_sql(_SAME[name]) for name in _NAMES)
_STARTS, _ENDS = (
    {name: _build_equal_sql(f"{name}_{end}_dob", f"{name}_{end}_postcode") for name in _NAMES}
    for end in ("start", "end")
)
_NEARLY = {name: _build_equal_sql(f"{name}_front_postcode", f"{name}_rest_postcode") for name in _NAMES}
_SAME_DOB = _join_tests(
    _BOTH,
    _build_equal_sql("dob_outward"),
    *(_build_equal_sql(f"{name}{form}_dob") for name in _NAMES for form in ("", "_sound", "_start", "_end")),
    *map(_build_part_sql, _NAMES),
    _EXCHANGED_WITH_DOB,
    _BOTH_ALIKE["dob"],
)
_SAME_POSTCODE = _join_tests(
    _BOTH,
    *map(_build_equal_sql, ("day_postcode", "month_postcode")),
    *(_build_equal_sql(f"{name}{form}_postcode") for name in _NAMES for form in ("", "_start", "_end")),
    _EXCHANGED_AT_HOME,
    _BOTH_ALIKE["postcode"],
)
_ANOTHER_DATE = f"{_SAME_POSTCODE} AND has_dob_l AND has_dob_r AND {_build_not_sql(_SAME_DOB)}"
_ONLY_EXCHANGED = f"({_EXCHANGED} AND {_OTHER_FORENAME})"
"""Excludes names like Ahmed Ahmed, where both names are the same."""
_ONLY_ALIKE_EXCHANGED = " AND ".join(
    (_join_tests(*_BOTH_ALIKE.values()), *(_build_not_sql(_join_tests(_STARTS[name], _ENDS[name])) for name in _NAMES))
)
"""Excludes names like Ali Alia, which resemble each other as they are written."""
_COMPARABLE = _join_tests(_SAME_DOB, _SAME_POSTCODE, _SAME_NAMES)
_ONE_FAMILY = f"{_build_equal_sql('surname_postcode')} AND {_build_not_sql(_BOTH)}"
_ANOTHER_HOME = _build_not_sql(_join_tests(_SAME_POSTCODE, _SAME_OUTWARD))
_END = {name: _join_tests(_STARTS[name], _ENDS[name]) for name in _NAMES}
_BOTH_ENDS = {name: f"{_STARTS[name]} AND {_ENDS[name]}" for name in _NAMES}
_LIKE_SURNAME = _join_tests(
    _SAME["surname"],
    _build_part_sql("surname"),
    _build_equal_sql("surname_sound_dob"),
    _BOTH_ENDS["surname"],
)

# The commonest surnames share one band, so that no band gives a surname away.
BANDS = {"surname": (0, 2, 3, 4, RAREST_BAND), "forename": tuple(range(RAREST_BAND + 1))}
EXACT = {name: {band: f"exact, band {band}" for band in bands} for name, bands in BANDS.items()}
"""Labels of the levels at which a name is the same, by its band, most common names first."""
# Two children often have two forms of one of the commonest names (Mohammed, Muhammad), twins among them.
OTHER_FORM_OF_COMMON = "another form, band 0"

NULL_LEVELS: dict[str, str] = {
    "date_of_birth": "NOT has_dob_l OR NOT has_dob_r",
    "postcode": f"(NOT has_postcode_l OR NOT has_postcode_r) AND {_build_not_sql(_SAME_OUTWARD)}",
    "surname": f"NOT has_surname_l OR NOT has_surname_r OR NOT {_COMPARABLE}",
    "forename": f"NOT has_forename_l OR NOT has_forename_r OR NOT {_COMPARABLE} OR {_ONLY_EXCHANGED}"
    f" OR {_ONLY_ALIKE_EXCHANGED}",
    "sex": "sex_l IS NULL OR sex_r IS NULL",
    "nhs_number": "t_nhs_l IS NULL OR t_nhs_r IS NULL",
}
"""SQL: when a comparison carries no information. Swapped names are weighed once, as a surname level."""

LEVELS: dict[str, dict[str, str]] = {
    "date_of_birth": {
        # Only `dob_postcode` keeps day and month in order; other tokens of a whole date sort the two.
        "day and month exchanged": f"t_dob_postcode_l <> t_dob_postcode_r AND {_SAME_DOB} AND {_SAME_POSTCODE}",
        "same": _SAME_DOB,
        "same day of the month": _build_equal_sql("day_postcode", "names_day"),
        "same month": _build_equal_sql("month_postcode", "names_month"),
    },
    "postcode": {
        "same, of a crowd": f"{_SAME_POSTCODE} AND (crowded_l OR crowded_r)",
        "same": _SAME_POSTCODE,
        "same outward part": _SAME_OUTWARD,
    },
    "surname": {
        "alike, one household": f"{_BOTH} AND {_LIKE_SURNAME} AND {_OTHER_FORENAME}",
        "same, one family": f"{_SAME['surname']} AND {_SAME_POSTCODE} AND {_OTHER_FORENAME}",
        **{label: f"{_SAME['surname']} AND surname_band_l = {band}" for band, label in EXACT["surname"].items()},
        "exchanged with forename": _ONLY_EXCHANGED,
        "exchanged with forename, both misspelt": _ONLY_ALIKE_EXCHANGED,
        "in the place of the forename": f"{_IN_OTHER_PLACE} AND {_OTHER_FORENAME}",
        "part": _build_part_sql("surname"),
        "all but its start or end the same": _NEARLY["surname"],
        "sounds the same": _build_equal_sql("surname_sound_dob"),
        "starts and ends the same": _BOTH_ENDS["surname"],
        "starts or ends the same, one address, another date": (
            f"{_END['surname']} AND {_ANOTHER_DATE} AND {_build_not_sql(_build_equal_sql('day_postcode'))}"
        ),
        "starts or ends the same, another forename and home": (
            f"{_END['surname']} AND {_ANOTHER_HOME} AND {_OTHER_FORENAME}"
        ),
        "starts the same": _STARTS["surname"],
        "ends the same, one address and date": f"{_ENDS['surname']} AND {_BOTH}",
        "ends the same": _ENDS["surname"],
        "different, one address and date": f"{_BOTH} AND {_OTHER_FORENAME}",
        "different, one address, another date": _ANOTHER_DATE,
        "different, and so is the date": _build_not_sql(_SAME_DOB),
        "different, at another home": _ANOTHER_HOME,
    },
    "forename": {
        **{
            label: (
                f"{_SAME['forename']} AND t_forename_written_dob_l IS NOT DISTINCT FROM t_forename_written_dob_r"
                f" AND forename_band_l = {band}"
            )
            for band, label in EXACT["forename"].items()
        },
        OTHER_FORM_OF_COMMON: f"{_SAME['forename']} AND forename_band_l = {BANDS['forename'][0]}",
        "another form": _SAME["forename"],
        "part": _build_part_sql("forename"),
        "all but its start or end the same, one family": f"{_NEARLY['forename']} AND {_ONE_FAMILY}",
        "all but its start or end the same": _NEARLY["forename"],
        "sounds the same": _build_equal_sql("forename_sound_dob"),
        "starts and ends the same": _BOTH_ENDS["forename"],
        "starts or ends the same, one family": f"{_END['forename']} AND {_ONE_FAMILY}",
        "starts the same": _STARTS["forename"],
        "ends the same, one address and date": f"{_ENDS['forename']} AND {_BOTH}",
        "ends the same": _ENDS["forename"],
        # Another child with the same date and postcode is far more often a twin than a coincidence (50 times as often
        # in a cohort of 3,000).
        "different, one household": f"{_BOTH} AND {_LIKE_SURNAME}",
        "different, one family": _build_equal_sql("surname_postcode"),
        "different, one address and date": f"{_BOTH} AND {_OTHER_SURNAME}",
        "different, at another home": _ANOTHER_HOME,
    },
    "sex": {
        # A forename usually implies the sex, so an equal sex adds nothing to an equal forename.
        "same, as the forename": f"sex_l = sex_r AND {_SAME['forename']}",
        "same": "sex_l = sex_r",
        "different, the forename is the same": _SAME["forename"],
    },
    "nhs_number": {"same": "t_nhs_l = t_nhs_r"},
}
"""SQL condition of each level over `_l` and `_r` columns, strongest first; anything else is "different"."""


REFERENCE_RECORDS = 26_000  # number of children to which `model.json` applies unscaled
_MOST_BY_CHANCE = 0.1  # caps each level, so that the share of "different" stays positive
MISSING = "nothing to compare"


@cache
def load_parameters() -> dict[str, Any]:
    """Return the content of `model.json`: version, `free_bits` (see `blocks`), and [m, u] by comparison and level."""
    loaded: dict[str, Any] = json.loads(_find_model_file().read_text(encoding="utf-8"))
    return loaded


def hash_parameters() -> str:
    """Return the SHA-256 of `model.json`, which the person who signs off a release approves."""
    return hashlib.sha256(_find_model_file().read_bytes()).hexdigest()


def _find_model_file() -> Traversable:
    return resources.files("privacy.linkage").joinpath("model.json")


def compute_weight(comparison: str, level: str, records: int | None = None) -> float:
    """Return the match weight of a level, log2(m / u), for services of this size (default: that of `model.json`)."""
    m, u = load_parameters()["comparisons"][comparison][level]
    return math.log2(m / (u if records is None else compute_chance_share(comparison, level, records)))


def convert_to_bits(probability: float) -> float:
    """Return the log2 odds of a probability."""
    return float(np.log2(probability / (1 - probability)))


def convert_to_probability(odds: float) -> float:
    """Return the probability for these log2 odds."""
    return 1 / (1 + 2.0**-odds)


def list_weights(comparison: str, children: int) -> dict[str | None, float]:
    """Return the match weight of each level, in the order of Splink's numbers: from 0 ("different") to the strongest.

    The last, which has Splink's number -1, is None: nothing to compare.
    """
    levels = reversed(load_parameters()["comparisons"][comparison])
    return {**{level: compute_weight(comparison, level, children) for level in levels}, None: 0.0}


def name_levels(numbers: Mapping[str, int]) -> dict[str, str | None]:
    """Return the level of each comparison with these numbers of Splink's."""
    return {name: [*list_weights(name, REFERENCE_RECORDS)][numbers[name]] for name in LEVELS}


def compute_prior(records: int) -> float:
    """Return the probability that two random records of two services are one child: one over the published number."""
    return 1 / max(records, 2)


def compute_chance_share(comparison: str, level: str, records: int) -> float:
    """Return u of one level for services with this many children.

    A postcode, or its outward part, is shared by as many children in a large country as in a small one. These two
    shares are therefore proportional to the prior, but scaled by powers of two, because they are not known more
    precisely. The numbers in `model.json` are for `REFERENCE_RECORDS` children.
    """
    u: float = load_parameters()["comparisons"][comparison][level][1]
    if comparison != "postcode":
        return u
    scale = 2.0 ** (round(math.log2(REFERENCE_RECORDS)) - round(math.log2(max(records, 2))))
    agree = {
        name: min(load_parameters()["comparisons"][comparison][name][1] * scale, _MOST_BY_CHANCE)
        for name in LEVELS[comparison]
    }
    return agree[level] if level in agree else 1 - sum(agree.values())


def build_splink_settings(records: int) -> dict[str, Any]:
    """Return the settings of a Splink linker over the table of patterns (`unique_id`, sex, has_*, token columns)."""
    return {
        # `candidates` finds the pairs, so one table without blocking rules is enough.
        "link_type": "dedupe_only",
        "probability_two_random_records_match": compute_prior(records),
        "retain_matching_columns": True,  # among them the numbers of the levels
        "retain_intermediate_calculation_columns": True,
        "blocking_rules_to_generate_predictions": [],
        "comparisons": [_build_comparison(name, records) for name in LEVELS],
    }


def list_level_sql(settings: Mapping[str, Any]) -> list[str]:
    """Return SQL for the number of each comparison's level, over the columns of two patterns (named `_l` and `_r`)."""
    found = []
    for comparison in settings["comparisons"]:
        conditions = [level["sql_condition"] for level in comparison["comparison_levels"]]
        cases = (f"WHEN {each} THEN {place}" for place, each in enumerate(conditions) if each != "ELSE")
        found.append(f"CASE {' '.join(cases)} END")
    return found


def _build_comparison(name: str, records: int) -> dict[str, Any]:
    missing = {"sql_condition": NULL_LEVELS[name], "label_for_charts": "missing", "is_null_level": True}
    levels = [
        {
            "sql_condition": LEVELS[name].get(label, "ELSE"),
            "label_for_charts": label,
            "m_probability": m,
            "u_probability": compute_chance_share(name, label, records),
        }
        for label, (m, _) in load_parameters()["comparisons"][name].items()
    ]
    return {"output_column_name": name, "comparison_levels": [missing, *levels]}


def build_waterfall(levels: Mapping[str, str | None], children: int, decided: float | None = None) -> dict[str, Any]:
    """Return how the weight of a pair with these levels (None: nothing to compare) adds up.

    Keys: prior and prior_bits; comparisons, each with its level, m, u and bits; correction, the bits that factors
    outside the pair (households, rivals, no other partner) add to reach `decided`, if given; weight and posterior.
    """
    before = compute_prior(children)
    terms: list[dict[str, Any]] = []
    for name in LEVELS:
        m, u, bits, level = None, None, 0.0, levels[name]
        if level is not None:
            m, u = load_parameters()["comparisons"][name][level][0], compute_chance_share(name, level, children)
            bits = compute_weight(name, level, children)
        terms.append({"comparison": name, "level": level or MISSING, "m": m, "u": u, "bits": bits})
    total = convert_to_bits(before) + sum(term["bits"] for term in terms)
    decided = total if decided is None else decided
    return {
        "prior": before,
        "prior_bits": convert_to_bits(before),
        "comparisons": terms,
        "correction": decided - total,
        "weight": decided,
        "posterior": convert_to_probability(decided),
    }


def build_examples(children: int) -> list[dict[str, Any]]:
    """Return example waterfalls of patterns made from the model's levels, for services with this many children.

    First, every comparison at its strongest level. Then, without an NHS number (as in most education records), one at a
    time at its weakest level or with nothing to compare. Last, all at their weakest. Rules about pairs are left out.
    """
    levels_of_all = load_parameters()["comparisons"]
    strongest, weakest = (
        {name: find(levels_of_all[name], key=partial(compute_weight, name)) for name in LEVELS} for find in (max, min)
    )
    usual: dict[str, str | None] = {**strongest, "nhs_number": None}
    patterns: list[tuple[str, Mapping[str, str | None]]] = [
        ("everything agrees as well as it can", strongest),
        ("the same without NHS numbers", usual),
    ]
    for name in LEVELS:
        words = name.replace("_", " ").replace("nhs", "NHS")
        ends = (weakest[name],) if usual[name] is None else (weakest[name], None)
        patterns += [(f"{words}: {end or MISSING}", usual | {name: end}) for end in ends]
    patterns.append(("everything disagrees as much as it can", weakest))
    return [{"title": title, **build_waterfall(levels, children)} for title, levels in patterns]
