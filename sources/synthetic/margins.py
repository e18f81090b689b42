"""Margins: the number of children in each group, and how many of them reach a good level of development.

England and the pilot councils have published figures of 2024/25 (`sources/reference`), completed by `pilot_mix.csv`.
For other councils, sizes, mixes and rates have a plausible spread, drawn with a fixed seed and scaled so that every
national total equals the published one. Every cohort has the margins of 2024/25.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from sources.reference import read_rows
from sources.reference.code_lists import ASIAN, BLACK, MIXED, OTHER, WHITE
from sources.reference.places import COUNTRY, PILOT, Place, load_places
from sources.reference.published_figures import ETHNIC_GROUP as ETHNICITY
from sources.reference.published_figures import FIRST_LANGUAGE as LANGUAGE
from sources.reference.published_figures import FSM, SEN, SEX, TOTAL, load_children
from sources.reference.published_figures import TERM_OF_BIRTH as TERM
from sources.synthetic.drawing import Floats, Ints, round_to_totals

UNKNOWN = "Unknown"
_YEAR = "202425"
TOPICS: dict[str, tuple[str, ...]] = {
    SEX: ("Female", "Male"),
    FSM: (UNKNOWN, "Eligible for free school meals", "Not eligible for free school meals"),
    ETHNICITY: (UNKNOWN, ASIAN, BLACK, MIXED, OTHER, WHITE),
    LANGUAGE: (UNKNOWN, "Other than English", "English"),
    SEN: (UNKNOWN, "Education, health and care plan", "SEN support / SEN without an EHC plan", "No SEN provision"),
    TERM: ("Autumn-born", "Spring-born", "Summer-born"),
}
"""Breakdowns of each topic; the rate of the last one follows from the others and the total."""

_SPREAD_SEED = 202425
_SIZE_BY_KIND = {"E06": 0.75, "E08": 1.1, "E09": 0.85, "E10": 2.6}
"""Relative size of unitary, metropolitan, London and county authorities."""
_TINY = {"city-of-london": 30, "isles-of-scilly": 20}
_MINORITY_TILT = {"London": 3.0, "West Midlands": 1.5}
_MINORITY = (ASIAN, BLACK, OTHER, "Other than English")
_ELGS_IF_GLD, _ELGS_IF_NOT = 16.97, 8.1
"""Average goals at the expected level; with the published GLD rates they give the published national 14.1."""


@dataclass(frozen=True)
class Margins:
    """Figures by council; arrays have one row per council, `counts` and `rates` one column per breakdown.

    `rates` are shares at GLD, NaN if they follow from the total; `pooled_rates` are for all councils together.
    """

    councils: tuple[Place, ...]
    children: Ints
    gld: Floats
    average_elgs: Floats
    counts: dict[str, Ints]
    rates: dict[str, Floats]
    pooled_rates: dict[str, Floats]

    def compute_pull(self) -> Floats:
        """Return weights of the councils from which children move into a council (row), mostly in the same region."""
        region = np.array([place.region_code for place in self.councils])
        pull = self.children.astype(np.float64) * np.where(region[:, None] == region, 20.0, 1.0)
        np.fill_diagonal(pull, 0)
        return pull


def build_margins(england: bool, scale: float) -> Margins:
    """Return the margins of the pilot councils or of all England, with `scale` times the children."""
    full = _build_england() if england else _build_pilot()
    if scale == 1:
        return full
    # At least one child, so that every council has files at any scale.
    children = np.maximum(1, np.round(full.children * scale)).astype(np.int64)
    counts = {topic: round_to_totals(counts.astype(float), children) for topic, counts in full.counts.items()}
    return replace(full, children=children, gld=full.gld * children / full.children, counts=counts)


@cache
def _build_pilot() -> Margins:
    councils = tuple(load_places()[name] for name in PILOT)
    totals = [_get_published(SEX, place.new_la_code)[TOTAL] for place in councils]
    children = np.array([int(row["children_count"]) for row in totals])
    gld = np.array([float(row["gld_children_count"]) for row in totals])
    elgs = np.array([float(row["elgs_expected_average"]) for row in totals])
    counts = {topic: _compute_pilot_counts(topic, councils, children) for topic in TOPICS}
    rates = {topic: _compute_pilot_rates(topic, councils, gld / children) for topic in (SEX, FSM, ETHNICITY, SEN)}
    # First language and term of birth have the national rates, shifted by the gap between the pilot and England.
    gap = gld.sum() / children.sum() - _get_national_gld()
    pooled = {topic: _compute_national_rates(topic) + gap for topic in (LANGUAGE, TERM)}
    return Margins(councils, children, gld, elgs, counts, rates, pooled)


@cache
def _build_england() -> Margins:
    pilot = _build_pilot()
    others = tuple(place for name, place in load_places().items() if name not in PILOT)
    rng = np.random.default_rng(_SPREAD_SEED)
    national = _get_published(SEX, COUNTRY[0])[TOTAL]
    sizes = _draw_other_sizes(rng, others, int(national["children_count"]) - int(pilot.children.sum()))
    counts = {topic: _draw_other_counts(rng, topic, others, sizes, pilot.counts[topic]) for topic in TOPICS}
    # Councils with more children on free school meals have lower rates; `+=` keeps the national number.
    fsm_share = counts[FSM][:, 1] / sizes
    rate = 0.7 - 0.5 * fsm_share + rng.normal(0, 0.018, len(others))
    rate += (float(national["gld_children_count"]) - pilot.gld.sum() - (rate * sizes).sum()) / sizes.sum()
    elgs = _ELGS_IF_GLD * rate + _ELGS_IF_NOT * (1 - rate)
    blank = {topic: np.full((len(others), values.shape[1]), np.nan) for topic, values in pilot.rates.items()}
    return Margins(
        pilot.councils + others,
        np.concatenate([pilot.children, sizes]),
        np.concatenate([pilot.gld, rate * sizes]),
        np.concatenate([pilot.average_elgs, elgs]),
        {topic: np.vstack([pilot.counts[topic], counts[topic]]) for topic in TOPICS},
        {topic: np.vstack([values, blank[topic]]) for topic, values in pilot.rates.items()},
        {topic: _compute_national_rates(topic) for topic in TOPICS},
    )


def _draw_other_sizes(rng: np.random.Generator, councils: tuple[Place, ...], total: int) -> Ints:
    """Draw sizes of councils without published figures.

    They are log-normal around the size of their kind and sum to `total`.
    """
    kind = np.array([_SIZE_BY_KIND[place.new_la_code[:3]] for place in councils])
    size = kind * rng.lognormal(0, 0.45, len(councils))
    tiny = np.array([_TINY.get(place.council, 0) for place in councils])
    size[tiny > 0] = 0
    return tiny + round_to_totals(size[None, :], np.array([total - tiny.sum()]))[0]


def _draw_other_counts(
    rng: np.random.Generator, topic: str, councils: tuple[Place, ...], sizes: Ints, pilot_counts: Ints
) -> Ints:
    """Draw children by breakdown in the other councils, spread around the national mix and fitted to both totals."""
    totals = _compute_national_counts(topic) - pilot_counts.sum(axis=0)
    spread = {SEX: 4000, TERM: 4000, FSM: 60, ETHNICITY: 25, LANGUAGE: 15, SEN: 150}[topic]
    # Above 0, because fitting multiplies, and an empty cell would stay empty.
    table = rng.gamma(spread * totals / totals.sum(), size=(len(councils), len(totals))) + 1e-4
    tilt = np.array([_MINORITY_TILT.get(place.region_name, 1.0) for place in councils])
    minority = np.isin(TOPICS[topic], _MINORITY)
    table[:, minority] *= tilt[:, None]
    # Iterative proportional fitting, to the national totals and then to the sizes of the councils.
    for _ in range(200):
        table *= (totals / table.sum(axis=0))[None, :]
        table *= (sizes / table.sum(axis=1))[:, None]
    return round_to_totals(table, sizes)


def _compute_pilot_counts(topic: str, councils: tuple[Place, ...], children: Ints) -> Ints:
    if topic == TERM:
        shares = np.tile(_compute_national_counts(topic), (len(councils), 1)).astype(float)
    elif topic == SEX:
        female = _compute_national_counts(SEX)[0] / _compute_national_counts(SEX).sum()
        known = [_get_published(SEX, place.new_la_code).get("Female", {}) for place in councils]
        share = [int(row["children_count"]) / n if row else female for row, n in zip(known, children, strict=True)]
        shares = np.array([share, 1 - np.array(share)]).T
    else:
        mix = _load_pilot_mix()
        keys = [[(place.council, topic, label) for label in TOPICS[topic]] for place in councils]
        shares = np.array([[float(mix[key]["children_share"]) for key in row] for row in keys])
    return round_to_totals(shares, children)


def _compute_pilot_rates(topic: str, councils: tuple[Place, ...], total: Floats) -> Floats:
    """Return shares at GLD by council and breakdown, NaN if unpublished.

    The first breakdown (girls, Unknown) is never NaN: if unpublished, it is the total plus the national gap.
    """
    rates = np.full((len(councils), len(TOPICS[topic])), np.nan)
    for row, place in enumerate(councils):
        for column, label in enumerate(TOPICS[topic][:-1]):
            if topic == SEX:
                percent = _get_published(SEX, place.new_la_code).get(label, {}).get("gld_children_percent")
            else:
                percent = _load_pilot_mix()[place.council, topic, label]["gld_percent"]
            rates[row, column] = float(percent or np.nan) / 100
    by_gap = total + _compute_national_rates(topic)[0] - _get_national_gld()
    rates[:, 0] = np.where(np.isnan(rates[:, 0]), by_gap, rates[:, 0])
    return rates


def _get_published(topic: str, code: str) -> Mapping[str, Mapping[str, str]]:
    """Return published rows of one area by breakdown of the topic; empty if the area has no figures for it."""
    return load_children(topic).get((code, _YEAR), {})


def _list_national_rows(topic: str) -> list[Mapping[str, str]]:
    rows = _get_published(topic, COUNTRY[0])
    return [rows[label] for label in TOPICS[topic]]


def _compute_national_counts(topic: str) -> Ints:
    counts = np.array([int(row["children_count"]) for row in _list_national_rows(topic)])
    # Published breakdowns need not add up to the total; the last one takes the difference.
    counts[-1] += int(_get_published(SEX, COUNTRY[0])[TOTAL]["children_count"]) - counts.sum()
    return counts


def _compute_national_rates(topic: str) -> Floats:
    """Return published national shares at GLD, NaN for the last breakdown."""
    rates = np.array([float(row["gld_children_percent"]) / 100 for row in _list_national_rows(topic)])
    rates[-1] = np.nan
    return rates


def _get_national_gld() -> float:
    return float(_get_published(SEX, COUNTRY[0])[TOTAL]["gld_children_percent"]) / 100


@cache
def _load_pilot_mix() -> dict[tuple[str, str, str], dict[str, str]]:
    rows = read_rows(Path(__file__).with_name("pilot_mix.csv"))
    return {(row["council"], row["breakdown_topic"], row["breakdown"]): row for row in rows}
