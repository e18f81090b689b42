"""The linkage model: agreement levels rebuilt from compound tokens, and their fixed, versioned m and u
probabilities.

Names can be compared wherever a date of birth or a postcode is shared, and every candidate pair shares one of them.
So levels, and m and u, are those of clear text; `estimate.py` shows where the numbers of `model.json` come from.
Nothing is trained on the records being linked.

Two levels keep households apart. When date of birth and postcode agree, a surname that is alike adds next to
nothing: twins share all three. When postcode and surname agree, a forename that disagrees decides against the pair:
a twin, a brother, a cousin.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from typing import Any


def _equal(left: str, right: str | None = None) -> str:
    return f"t_{left}_l = t_{right or left}_r"


def _any(*tests: str) -> str:
    return "(" + " OR ".join(tests) + ")"


def _exchanged_with_dob() -> str:
    """Each name in the other's place, one of them exactly, the other at least by sound."""
    forward = _any(*(_equal("surname_dob", f"{form}_dob") for form in _FORENAME_FORMS))
    back = _any(*(_equal(f"{form}_dob", "surname_dob") for form in _FORENAME_FORMS))
    forward_sound = _any(forward, _equal("surname_sound_dob", "forename_sound_dob"))
    back_sound = _any(back, _equal("forename_sound_dob", "surname_sound_dob"))
    return _any(f"{forward} AND {back_sound}", f"{forward_sound} AND {back}")


def _part(name: str) -> str:
    """One record has the whole name, the other has it as its first or last word."""
    words = (f"{name}_first_dob", f"{name}_last_dob")
    return _any(*(_equal(w, f"{name}_dob") for w in words), *(_equal(f"{name}_dob", w) for w in words))


_FORENAME_FORMS = ("forename", "forename_written")
_EXCHANGED_WITH_DOB = _exchanged_with_dob()
_EXCHANGED_AT_HOME = (
    f"({_equal('surname_postcode', 'forename_postcode')} AND {_equal('forename_postcode', 'surname_postcode')})"
)
_EXCHANGED = _any(_EXCHANGED_WITH_DOB, _EXCHANGED_AT_HOME)
_BOTH = _equal("dob_postcode")
_SAME_SURNAME = _any(_equal("surname_dob"), _equal("surname_postcode"))
_LIKE_SURNAME = _any(*(_equal(f"surname_{form}_dob") for form in ("sound", "start", "end")))
_SAME_FORENAME = _any(_equal("forename_dob"), _equal("forename_postcode"))
_SOUNDS, _STARTS, _ENDS = ((f"surname_{form}_dob", f"forename_{form}_dob") for form in ("sound", "start", "end"))
_SAME_DOB = _any(
    _BOTH,
    *map(_equal, ("surname_dob", "forename_dob", *_SOUNDS, *_STARTS, *_ENDS)),
    _part("surname"),
    _part("forename"),
    _EXCHANGED_WITH_DOB,
)
_SAME_POSTCODE = _any(_BOTH, *map(_equal, ("surname_postcode", "forename_postcode")), _EXCHANGED_AT_HOME)

NULL_LEVELS: dict[str, str] = {
    "date_of_birth": "NOT has_dob_l OR NOT has_dob_r",
    "postcode": "NOT has_postcode_l OR NOT has_postcode_r",
    "surname": f"NOT has_surname_l OR NOT has_surname_r OR NOT {_any(_SAME_DOB, _SAME_POSTCODE)}",
    "forename": f"NOT has_forename_l OR NOT has_forename_r OR NOT {_any(_SAME_DOB, _SAME_POSTCODE)} OR {_EXCHANGED}",
    "sex": "sex_l IS NULL OR sex_r IS NULL",
    "nhs_number": "t_nhs_l IS NULL OR t_nhs_r IS NULL",
}
"""When a comparison says nothing. Names in each other's place are weighed once, as a surname level."""

LEVELS: dict[str, dict[str, str]] = {
    "date_of_birth": {"same": _SAME_DOB},
    "postcode": {"same": _SAME_POSTCODE},
    "surname": {
        "alike, one household": f"{_BOTH} AND {_any(_SAME_SURNAME, _part('surname'), _LIKE_SURNAME)}",
        "exact": _SAME_SURNAME,
        "exchanged with forename": _EXCHANGED,
        "part": _part("surname"),
        "sounds the same": _equal("surname_sound_dob"),
        "starts or ends the same": _any(_equal("surname_start_dob"), _equal("surname_end_dob")),
    },
    "forename": {
        "exact": f"{_SAME_FORENAME} AND t_forename_written_dob_l IS NOT DISTINCT FROM t_forename_written_dob_r",
        "another form": _SAME_FORENAME,
        "part": _part("forename"),
        "sounds the same": _equal("forename_sound_dob"),
        "starts the same": _equal("forename_start_dob"),
        "ends the same": _equal("forename_end_dob"),
        "different, one household": _any(_equal("surname_postcode"), f"{_BOTH} AND {_part('surname')}"),
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

    One over the number of children, rounded to a power of two: an order of magnitude, so that one record more or
    less changes no link.
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
