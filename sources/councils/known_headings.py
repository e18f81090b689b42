"""Usual meanings of headings and values, from a table of known ones (`headings.yaml`) and similarity to them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sources.contracts.model import Column, Kind, Role, SourceContract
from sources.reference.code_lists import GOALS

SURE_SCORE = 0.9
"""A heading with at least this score is matched to the column; a lower score is a guess that a person must check."""
LIKE_SCORE = 0.6  # lower scores count as no match

_NEAR_LIKENESS = 0.8
_TELLING_LENGTH = 5
"""Shorter headings are similar to too many others."""
_NOISE_WORDS = frozenset(
    "pupil student child childs patient person learner the of legal current code flag yn s".split()
)
_HEADINGS_FILE = Path(__file__).with_name("headings.yaml")


def squash(text: str) -> str:
    """Return only the letters and digits, in lower case."""
    return re.sub(r"[\W_]", "", text.lower())


@cache
def split_words(heading: str) -> tuple[str, ...]:
    """Return the significant words of a heading, sorted: `PupilSENStatus` and `SEN status` have the same."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", heading)
    return tuple(sorted(word for word in re.split(r"[\W_]+", parted.lower()) if word and word not in _NOISE_WORDS))


def score_heading(column: Column, heading: str) -> float:
    """Score from 0 to 1 how well `heading` matches a contract column, by its words alone."""
    known = _load_headings()["headings"].get(column.name, ())
    return _score(heading, (column.name, *known, *([column.description] if column.codes else [])))


def score_part(part: str, heading: str) -> float:
    """Score from 0 to 1 how well `heading` matches an input of derived columns (`parts` in headings.yaml)."""
    return _score(heading, tuple(_load_headings()["parts"][part]))


def find_similar_column(contract: SourceContract, heading: str) -> str | None:
    """Return the contract column most similar to a heading; None if none is similar."""
    best = max(contract.columns, key=lambda column: score_heading(column, heading))
    return best.name if score_heading(best, heading) >= LIKE_SCORE else None


def is_identifier_heading(contract: SourceContract, heading: str) -> bool:
    """Return whether a heading is a known heading of an identifier, whose values must not be shown."""
    identifiers = contract.select_role(Role.IDENTIFIER)
    return (
        any(score_heading(column, heading) >= SURE_SCORE for column in identifiers)
        or score_part("full_name", heading) >= SURE_SCORE
    )


def find_code(column: Column, value: str) -> tuple[str, bool] | None:
    """Return the contract code of a value, and whether it is known (True) or guessed; None if there is no match."""
    known = _build_known_values(column)
    folded = squash(value) or value.strip()
    if folded in known:
        return known[folded], True
    codes = column.codes or {}
    if (led := re.match(r"(\w+) *[-:.=] ", value)) and led[1] in codes:  # K - SEN support
        return led[1], True
    if len(numbers := [number for number in re.findall(r"\d\d", value) if number in codes]) == 1:  # ASQ-3 27m
        return numbers[0], True
    # Shorter values resemble too many others.
    if len(folded) < 4:
        return None
    near = difflib.get_close_matches(folded, [form for form in known if len(form) >= 4], n=1, cutoff=_NEAR_LIKENESS)
    return (known[near[0]], False) if near else None


def _score(heading: str, known: Iterable[str]) -> float:
    folded, telling, best = squash(heading), split_words(heading), 0.0
    for form in known:
        if folded == squash(form):
            return 1.0
        if telling and telling == split_words(form):
            best = max(best, SURE_SCORE)
        elif (
            len(folded) >= _TELLING_LENGTH
            and (near := compute_likeness(folded, squash(form), _NEAR_LIKENESS)) >= _NEAR_LIKENESS
        ):
            # Always below SURE_SCORE: a spelling that is only near must be checked by a person.
            best = max(best, near * _NEAR_LIKENESS)
    return best


def compute_likeness(one: str, other: str, least: float) -> float:
    """Return the share of letters that two texts have in common, in order; 0 if it is below `least`.

    Most texts below `least` are ruled out cheaply, by their lengths or by their letters in any order.
    """
    compared = difflib.SequenceMatcher(None, one, other)
    if compared.real_quick_ratio() < least or compared.quick_ratio() < least:
        return 0.0
    return near if (near := compared.ratio()) >= least else 0.0


@cache
def _load_headings() -> Mapping[str, Any]:
    # BaseLoader leaves every value text; other loaders would read `No` as false.
    table = yaml.load(_HEADINGS_FILE.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(table, dict)
    return table


def _build_known_values(column: Column) -> dict[str, str]:
    """Map folded values to codes: known values, the contract's labels and then its codes, which take precedence."""
    if column.kind is not Kind.CODE:
        return {}
    codes = column.codes or {}
    # The 17 goals have the same codes, so `headings.yaml` has them once.
    groups = ["goal" if column.name in GOALS else column.name, *(["yes_no"] if {"Y", "N"} <= set(codes) else [])]
    forms = {
        (squash(value) or value): code
        for group in groups
        for code, values in _load_headings()["values"].get(group, {}).items()
        for value in values
    }
    labels: dict[str, str] = {}
    for code, label in codes.items():
        labels.setdefault(squash(label), code)
    return forms | labels | {squash(code): code for code in codes}
