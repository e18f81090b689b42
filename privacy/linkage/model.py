"""The linkage model: agreement levels rebuilt from compound tokens, and their fixed, versioned m and u probabilities.

Names can be compared wherever a date of birth or a postcode is shared, and every candidate pair shares one of them (or
the pair of names with the month or the day of birth). So levels, and m and u, are those of clear text; `estimate.py`
shows where the numbers of `model.json` come from. Nothing is trained on the records being linked.

Two levels make a household of a match: when date of birth, postcode and surname all agree, the pair may as well be twins.
The surname then adds next to nothing, and a forename that disagrees decides against the pair.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from typing import Any

_DOB = "dob"
_POSTCODE = "postcode"
_FORENAME_FORMS = ("forename", "forename_written")
_PARTS = {"surname": ("surname_first", "surname_last"), "forename": ("forename_first", "forename_last")}


def _same(left: str, right: str, *contexts: str) -> str:
    return " OR ".join(f"t_{left}_{c}_l = t_{right}_{c}_r" for c in contexts or (_DOB, _POSTCODE))


def _exchanged(context: str) -> str:
    """Each name in the other's place, one of them exactly, the other at least by sound."""
    forward = " OR ".join(f"t_surname_{context}_l = t_{form}_{context}_r" for form in _FORENAME_FORMS)
    back = " OR ".join(f"t_{form}_{context}_l = t_surname_{context}_r" for form in _FORENAME_FORMS)
    forward_sound = f"{forward} OR t_surname_sound_{context}_l = t_forename_sound_{context}_r"
    back_sound = f"{back} OR t_forename_sound_{context}_l = t_surname_sound_{context}_r"
    return f"(({forward}) AND ({back_sound}) OR ({forward_sound}) AND ({back}))"


def _part(name: str, *contexts: str) -> str:
    return " OR ".join(
        f"{_same(part, name, *contexts)} OR {_same(name, part, *contexts)}" for part in _PARTS[name]
    )


def _any_name_in(context: str) -> str:
    kinds = [("surname", "sound"), ("forename", "sound")]
    tests = [_same(name, name, context) for name in ("surname", "forename")]
    tests += [_same(f"{name}_{kind}", f"{name}_{kind}", context) for name, kind in kinds]
    tests += [_part("surname", context), _part("forename", context), _exchanged(context)]
    if context == _DOB:
        tests += [_same(part, part, context) for part in ("surname_start", "forename_start", "surname_end")]
    return " OR ".join(tests)


_BOTH = "t_dob_postcode_l = t_dob_postcode_r"
_SAME_DOB = f"({_BOTH} OR {_any_name_in(_DOB)})"
_SAME_POSTCODE = f"({_BOTH} OR {_any_name_in(_POSTCODE)})"
_SAME_MONTH = "t_names_month_l = t_names_month_r"
_SAME_DAY = "t_names_day_l = t_names_day_r"
_NAMES_AGREE = f"{_SAME_MONTH} OR {_SAME_DAY}"
_SHARED = f"({_SAME_DOB} OR {_SAME_POSTCODE} OR {_NAMES_AGREE})"
_HOUSEHOLD = f"({_BOTH} AND ({_same('surname', 'surname')} OR {_part('surname')}))"
_EXCHANGED = f"({_exchanged(_DOB)} OR {_exchanged(_POSTCODE)})"
_SAME_WRITTEN = " OR ".join(
    f"t_forename_written_{c}_l IS NOT DISTINCT FROM t_forename_written_{c}_r AND t_forename_{c}_l = t_forename_{c}_r"
    for c in (_DOB, _POSTCODE)
)

NULL_LEVELS: dict[str, str] = {
    "date_of_birth": "NOT has_dob_l OR NOT has_dob_r",
    "postcode": "NOT has_postcode_l OR NOT has_postcode_r",
    "surname": f"NOT has_surname_l OR NOT has_surname_r OR NOT {_SHARED}",
    "forename": f"NOT has_forename_l OR NOT has_forename_r OR NOT {_SHARED} OR {_EXCHANGED}",
    "sex": "sex_l IS NULL OR sex_r IS NULL",
    "nhs_number": "t_nhs_l IS NULL OR t_nhs_r IS NULL",
}
"""When a comparison says nothing. Names in each other's place are weighed once, as a surname level."""

LEVELS: dict[str, dict[str, str]] = {
    "date_of_birth": {"same": _SAME_DOB, "same month": _SAME_MONTH, "same day": _SAME_DAY},
    "postcode": {"same": _SAME_POSTCODE},
    "surname": {
        "exact, one household": f"{_BOTH} AND ({_same('surname', 'surname')})",
        "exact": f"{_same('surname', 'surname')} OR ({_NAMES_AGREE}) AND NOT {_EXCHANGED}",
        "exchanged with forename": _EXCHANGED,
        "part": _part("surname"),
        "sounds the same": _same("surname_sound", "surname_sound"),
        "starts or ends the same": f"{_same('surname_start', 'surname_start', _DOB)} OR {_same('surname_end', 'surname_end', _DOB)}",
    },
    "forename": {
        "exact": f"{_SAME_WRITTEN} OR {_NAMES_AGREE}",
        "another form": _same("forename", "forename"),
        "part": _part("forename"),
        "sounds the same": _same("forename_sound", "forename_sound"),
        "starts the same": _same("forename_start", "forename_start", _DOB),
        "different, one household": _HOUSEHOLD,
    },
    "sex": {"same": "sex_l = sex_r"},
    "nhs_number": {"same": "t_nhs_l = t_nhs_r"},
}
"""SQL condition of each level over `_l` and `_r` columns, strongest first; what is left is "different"."""


@cache
def parameters() -> dict[str, Any]:
    """The content of `model.json`: version, and [m, u] for each level of each comparison."""
    loaded: dict[str, Any] = json.loads(resources.files("privacy.linkage").joinpath("model.json").read_text())
    return loaded


def weight(comparison: str, level: str) -> float:
    """Match weight of one level: log2(m / u)."""
    m, u = parameters()["comparisons"][comparison][level]
    return math.log2(m / u)


def prior(records: int) -> float:
    """Probability that two random records of two services are one child, for services of this many children.

    One over the number of children, rounded to a power of two: an order of magnitude, so that one record more or less
    changes no link.
    """
    return 2.0 ** -round(math.log2(max(records, 2)))


def splink_settings(records: int) -> dict[str, Any]:
    """Settings of a Splink linker over the table of patterns (`unique_id`, sex, has_*, token columns)."""
    return {
        "link_type": "dedupe_only",
        "probability_two_random_records_match": prior(records),
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": True,
        "blocking_rules_to_generate_predictions": [],
        "comparisons": [_comparison(name) for name in LEVELS],
    }


def _comparison(name: str) -> dict[str, Any]:
    probabilities = parameters()["comparisons"][name]
    levels: list[dict[str, Any]] = [
        {"sql_condition": NULL_LEVELS[name], "label_for_charts": "missing", "is_null_level": True}
    ]
    for label, (m, u) in probabilities.items():
        levels.append(
            {
                "sql_condition": LEVELS[name].get(label, "ELSE"),
                "label_for_charts": label,
                "m_probability": m,
                "u_probability": u,
            }
        )
    return {"output_column_name": name, "comparison_levels": levels}
