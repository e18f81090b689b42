"""Names by ethnic group, from the lists in `names/`, with Zipf-like frequencies."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import yaml

from sources.synthetic.drawing import AnyArray, Floats, Ints, Texts, pick

NAME_TYPE = "U40"
_LISTS = Path(__file__).parent / "names"
_TAIL_SHARE, _DOUBLE_FORENAME_SHARE, _DOUBLE_SURNAME_SHARE = 0.3, 0.05, 0.05

NAME_GROUPS: dict[str, dict[str, float]] = {
    "WBRI": {"british": 0.96, "irish": 0.04},
    "WIRI": {"irish": 1},
    "WIRT": {"irish": 1},
    "WROM": {"eastern_european": 0.8, "british": 0.2},
    "WOTH": {"eastern_european": 0.62, "western_european": 0.3, "arabic": 0.08},
    "MWBC": {"british": 0.55, "caribbean": 0.45},
    "MWBA": {"british": 0.5, "african": 0.5},
    "MWAS": {"british": 0.5, "south_asian_muslim": 0.25, "indian": 0.15, "other_asian": 0.1},
    "MOTH": {"british": 0.5, "western_european": 0.2, "arabic": 0.2, "chinese": 0.1},
    "AIND": {"indian": 0.85, "south_asian_muslim": 0.15},
    "APKN": {"south_asian_muslim": 1},
    "ABAN": {"south_asian_muslim": 1},
    "CHNE": {"chinese": 1},
    "AOTH": {"other_asian": 0.4, "south_asian_muslim": 0.25, "arabic": 0.25, "indian": 0.1},
    "BCRB": {"caribbean": 1},
    "BAFR": {"african": 0.75, "arabic": 0.25},
    "BOTH": {"caribbean": 0.5, "african": 0.5},
    "OOTH": {"arabic": 0.7, "western_european": 0.2, "other_asian": 0.1},
    "REFU": {"british": 0.8, "eastern_european": 0.1, "arabic": 0.1},
    "NOBT": {"british": 0.8, "south_asian_muslim": 0.1, "african": 0.1},
}
"""Name group of each DfE ethnicity code; those of mixed heritage draw forename and surname apart."""
_GROUPS = tuple(sorted({group for mix in NAME_GROUPS.values() for group in mix}))


@dataclass(frozen=True)
class Vocabulary:
    """Words and how often each is drawn, as a cumulative share."""

    words: Texts
    cumulative: Floats

    def draw(self, rng: np.random.Generator, size: int) -> Texts:
        return self.words[np.searchsorted(self.cumulative, rng.random(size), side="right")]


def draw_forenames(rng: np.random.Generator, group: Ints, female: AnyArray) -> Texts:
    """A forename for each child by name group (index of `name_groups`) and sex."""
    names = np.empty(len(group), dtype=NAME_TYPE)
    for index, name in enumerate(_GROUPS):
        for is_girl, column in ((True, "girls"), (False, "boys")):
            chosen = np.flatnonzero((group == index) & (female == is_girl))
            names[chosen] = _vocabulary(name, column).draw(rng, len(chosen))
    return names


def draw_surnames(rng: np.random.Generator, group: Ints) -> Texts:
    """A surname for each child by name group; some families with British names are double-barrelled."""
    names = np.empty(len(group), dtype=NAME_TYPE)
    for index, name in enumerate(_GROUPS):
        chosen = np.flatnonzero(group == index)
        names[chosen] = _vocabulary(name, "surnames").draw(rng, len(chosen))
    family = np.isin(group, [_GROUPS.index(name) for name in ("british", "irish", "caribbean")])
    double = np.flatnonzero(family & (rng.random(len(group)) < _DOUBLE_SURNAME_SHARE))
    second = _vocabulary("british", "surnames").draw(rng, len(double))
    names[double] = np.strings.add(np.strings.add(names[double], "-"), second)
    return names


def name_groups(rng: np.random.Generator, ethnicity: Ints, codes: tuple[str, ...]) -> tuple[Ints, Ints]:
    """Name groups of the forename and the surname of children by ethnicity (index of `codes`)."""
    mix = np.array([[NAME_GROUPS[code].get(group, 0.0) for group in _GROUPS] for code in codes])
    forename = pick(rng, mix[ethnicity])
    mixed = np.array([code.startswith("M") for code in codes])[ethnicity]
    return forename, np.where(mixed, pick(rng, mix[ethnicity]), forename)


@cache
def _vocabulary(group: str, column: str) -> Vocabulary:
    """A name list; its head falls off as 1 / rank, its tail of composed rare names is flat."""
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
    cumulative = np.cumsum(weights)
    cumulative[-1] = 1.0
    return Vocabulary(words, cumulative)


def _composed(parts: dict[str, str]) -> list[str]:
    return [stem + ending for stem, ending in product(parts["stems"].split(), parts["endings"].split())]


def nickname(rng: np.random.Generator, names: Texts) -> Texts:
    """A short form or other spelling of each name that has one."""
    return _other_form(rng, names, "nicknames.csv")


def in_own_script(rng: np.random.Generator, names: Texts) -> Texts:
    """Names as written in the script of their language, where the list has them."""
    return _other_form(rng, names, "native_script.csv")


def _other_form(rng: np.random.Generator, names: Texts, file: str) -> Texts:
    known, others = _forms(file)
    low, high = np.searchsorted(known, names, side="left"), np.searchsorted(known, names, side="right")
    found = high > low
    index = low + np.floor(rng.random(len(names)) * (high - low)).astype(np.int64)
    return np.where(found, others[np.where(found, index, 0)], names)


@cache
def _forms(file: str) -> tuple[Texts, Texts]:
    """Names in order, and another form of each, from a two-column list; a name with several forms has several rows."""
    with (_LISTS / file).open(encoding="utf-8", newline="") as lines:
        rows = sorted(tuple(row) for row in list(csv.reader(lines))[1:])
    names, others = zip(*rows, strict=True)
    return np.array(names, dtype=NAME_TYPE), np.array(others, dtype=NAME_TYPE)
