"""Names by ethnic group, from the lists in `names/`, with Zipf-like frequencies; other properties by ethnic group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import yaml

from sources.reference import rows_of
from sources.synthetic.drawing import AnyArray, Floats, Ints, Texts, pick

NAME_TYPE = "U40"
_LISTS = Path(__file__).parent / "names"
_TAIL_SHARE, _DOUBLE_FORENAME_SHARE, _DOUBLE_SURNAME_SHARE = 0.3, 0.05, 0.05


@dataclass(frozen=True)
class Ethnicity:
    """Properties of children with one DfE ethnicity code; `ethnicity.yaml` documents each number."""

    share: float
    names: Mapping[str, float]
    languages: Mapping[str, float] = field(default_factory=lambda: {"ARA": 0.4, "POL": 0.2, "URD": 0.2, "FRN": 0.2})
    other_language: float = 0.0
    fsm: float = 0.0


ETHNICITIES = {
    code: Ethnicity(**likely)
    for code, likely in yaml.safe_load(Path(__file__).with_name("ethnicity.yaml").read_text(encoding="utf-8")).items()
}
"""By code; children of mixed heritage draw forename and surname independently."""
_GROUPS = tuple(sorted({group for ethnicity in ETHNICITIES.values() for group in ethnicity.names}))


def draw_forenames(rng: np.random.Generator, group: Ints, female: AnyArray) -> Texts:
    """Draw a forename for each child by name group (as returned by `name_groups`) and sex."""
    names = np.empty(len(group), dtype=NAME_TYPE)
    for index, name in enumerate(_GROUPS):
        for is_girl, column in ((True, "girls"), (False, "boys")):
            chosen = np.flatnonzero((group == index) & (female == is_girl))
            names[chosen] = _drawn(rng, name, column, len(chosen))
    return names


def draw_surnames(rng: np.random.Generator, group: Ints) -> Texts:
    """Draw a surname for each child by name group; some British, Irish and Caribbean ones are double-barrelled."""
    names = np.empty(len(group), dtype=NAME_TYPE)
    for index, name in enumerate(_GROUPS):
        chosen = np.flatnonzero(group == index)
        names[chosen] = _drawn(rng, name, "surnames", len(chosen))
    family = np.isin(group, [_GROUPS.index(name) for name in ("british", "irish", "caribbean")])
    double = np.flatnonzero(family & (rng.random(len(group)) < _DOUBLE_SURNAME_SHARE))
    second = _drawn(rng, "british", "surnames", len(double))
    names[double] = np.strings.add(np.strings.add(names[double], "-"), second)
    return names


def name_groups(rng: np.random.Generator, ethnicity: Ints, codes: tuple[str, ...]) -> tuple[Ints, Ints]:
    """Draw the name groups of children's forename and surname by ethnicity (index of `codes`)."""
    mix = np.array([[ETHNICITIES[code].names.get(group, 0.0) for group in _GROUPS] for code in codes])
    forename = pick(rng, mix[ethnicity])
    mixed = np.array([code.startswith("M") for code in codes])[ethnicity]
    return forename, np.where(mixed, pick(rng, mix[ethnicity]), forename)


def _drawn(rng: np.random.Generator, group: str, column: str, size: int) -> Texts:
    words, shares = _vocabulary(group, column)
    return rng.choice(words, size, p=shares)


@cache
def _vocabulary(group: str, column: str) -> tuple[Texts, Floats]:
    """Return names and their shares: a head that falls roughly as 1 / rank, and a flat tail of composed rare names."""
    content = yaml.load((_LISTS / f"{group}.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    head = list(dict.fromkeys(content[column].split()))
    if column == "surnames":
        tail, share = _composed(content), _TAIL_SHARE
    else:
        tail = _composed(content[f"double_{column}"]) if f"double_{column}" in content else []
        share = _DOUBLE_FORENAME_SHARE if tail else 0.0
    weights = 1 / (np.arange(len(head)) + 10) ** 0.9
    weights = np.concatenate([weights / weights.sum() * (1 - share), np.full(len(tail), share / max(1, len(tail)))])
    words = np.array([word.replace("_", " ") for word in (*head, *tail)], dtype=NAME_TYPE)
    return words, weights


def _composed(parts: dict[str, str]) -> list[str]:
    return [stem + ending for stem, ending in product(parts["stems"].split(), parts["endings"].split())]


def other_form(rng: np.random.Generator, names: Texts, file: str) -> Texts:
    """Return another form of each name that has one in this file of `names/`; other names are unchanged."""
    known, others = _forms(file)
    low, high = np.searchsorted(known, names, side="left"), np.searchsorted(known, names, side="right")
    found = high > low
    index = low + np.floor(rng.random(len(names)) * (high - low)).astype(np.int64)
    return np.where(found, others[np.where(found, index, 0)], names)


@cache
def _forms(file: str) -> tuple[Texts, Texts]:
    """Return sorted names, and another form of each, from a two-column list; a name has one row for each form."""
    names, others = zip(*sorted(tuple(row.values()) for row in rows_of(_LISTS / file)), strict=True)
    return np.array(names, dtype=NAME_TYPE), np.array(others, dtype=NAME_TYPE)
