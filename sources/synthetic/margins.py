"""Councils of the synthetic world, the same for every seed and cohort: their children, and a map of postcodes.

Margins are the number of children in each group, and how many of them reach a good level of development. England and
the pilot councils have published figures of 2024/25 (`sources/reference`), completed by `pilot_mix.csv`. For other
councils, sizes, mixes and rates have a plausible spread, drawn with a fixed seed and scaled so that every national
total equals the published one. Every cohort has the margins of 2024/25.

The map has the council, small area and deprivation decile of each postcode, the same at every scale. Postcodes of the
pilot councils are in their real districts; those of other councils are in areas whose letters the Royal Mail does not
use. Units, small areas (LSOA) and deciles are invented everywhere: deprived areas are more common in councils with more
children eligible for free school meals.
"""

import zlib
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from privacy.doors.shipped import read_yaml
from sources.reference import read_rows
from sources.reference.code_lists import ASIAN, BLACK, MIXED, OTHER, WHITE
from sources.reference.places import COUNTRY, PILOT, Place, load_places
from sources.reference.published_figures import (
    ETHNIC_GROUP as ETHNICITY,
    FIRST_LANGUAGE as LANGUAGE,
    FSM,
    SEN,
    SEX,
    TERM_OF_BIRTH as TERM,
    TOTAL,
    load_children,
)
from sources.synthetic.drawing import Bools, Floats, Ints, Texts, pick, round_to_totals

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

_PILOT_MIX = read_rows(Path(__file__).with_name("pilot_mix.csv"))
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
    children, gld, elgs = (
        np.array([_get_total(place.new_la_code, figure) for place in councils])
        for figure in ("children_count", "gld_children_count", "elgs_expected_average")
    )
    children = children.astype(np.int64)
    counts = {topic: _compute_pilot_counts(topic, councils, children) for topic in TOPICS}
    rates = {topic: _compute_pilot_rates(topic, councils, gld / children) for topic in (SEX, FSM, ETHNICITY, SEN)}
    # First language and term of birth have the national rates, shifted by the gap between the pilot and England.
    gap = gld.sum() / children.sum() - _get_total(COUNTRY[0], "gld_children_percent") / 100
    pooled = {topic: _compute_national_rates(topic) + gap for topic in (LANGUAGE, TERM)}
    return Margins(councils, children, gld, elgs, counts, rates, pooled)


@cache
def _build_england() -> Margins:
    pilot = _build_pilot()
    others = tuple(place for name, place in load_places().items() if name not in PILOT)
    rng = np.random.default_rng(_SPREAD_SEED)
    sizes = _draw_other_sizes(rng, others, int(_get_total(COUNTRY[0], "children_count")) - int(pilot.children.sum()))
    counts = {topic: _draw_other_counts(rng, topic, others, sizes, pilot.counts[topic]) for topic in TOPICS}
    # Councils with more children on free school meals have lower rates; `+=` keeps the national number.
    fsm_share = counts[FSM][:, 1] / sizes
    rate = 0.7 - 0.5 * fsm_share + rng.normal(0, 0.018, len(others))
    rate += (_get_total(COUNTRY[0], "gld_children_count") - pilot.gld.sum() - (rate * sizes).sum()) / sizes.sum()
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
    """Draw sizes that are not published: log-normal around the usual size of their kind, adding up to `total`."""
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
        national = _compute_national_counts(SEX)
        published = np.array([_get_published(SEX, place.new_la_code, "children_count")[0] for place in councils])
        female = np.where(np.isnan(published), national[0] / national.sum(), published / children)
        shares = np.array([female, 1 - female]).T
    else:
        shares = _get_pilot_mix(topic, councils, "children_share")
    return round_to_totals(shares, children)


def _compute_pilot_rates(topic: str, councils: tuple[Place, ...], total: Floats) -> Floats:
    """Return shares at GLD by council and breakdown, NaN if unpublished.

    The first breakdown (girls, Unknown) is never NaN: if unpublished, it is the total plus the national gap.
    """
    if topic == SEX:
        rates = np.array([_get_published(SEX, place.new_la_code, "gld_children_percent") for place in councils]) / 100
    else:
        rates = _get_pilot_mix(topic, councils, "gld_percent") / 100
    rates[:, -1] = np.nan
    by_gap = total + _compute_national_rates(topic)[0] - _get_total(COUNTRY[0], "gld_children_percent") / 100
    rates[:, 0] = np.where(np.isnan(rates[:, 0]), by_gap, rates[:, 0])
    return rates


def _get_published(topic: str, code: str, figure: str) -> Floats:
    """Return a figure of one area by breakdown of the topic, NaN if unpublished."""
    rows = load_children(topic).get((code, _YEAR), {})
    return np.array([float(rows.get(label, {}).get(figure) or np.nan) for label in TOPICS[topic]])


def _get_total(code: str, figure: str) -> float:
    return float(load_children(SEX)[code, _YEAR][TOTAL][figure])


def _compute_national_counts(topic: str) -> Ints:
    counts = _get_published(topic, COUNTRY[0], "children_count").astype(np.int64)
    # Published breakdowns need not add up to the total; the last one takes the difference.
    counts[-1] += int(_get_total(COUNTRY[0], "children_count")) - counts.sum()
    return counts


def _compute_national_rates(topic: str) -> Floats:
    """Return published national shares at GLD, NaN for the last breakdown."""
    rates = _get_published(topic, COUNTRY[0], "gld_children_percent") / 100
    rates[-1] = np.nan
    return rates


def _get_pilot_mix(topic: str, councils: tuple[Place, ...], figure: str) -> Floats:
    """Return a figure of `pilot_mix.csv` by council and breakdown of the topic, NaN if it is blank."""
    rows = {(row["council"], row["breakdown"]): row for row in _PILOT_MIX if row["breakdown_topic"] == topic}
    return np.array(
        [[float(rows[place.council, label][figure] or np.nan) for label in TOPICS[topic]] for place in councils]
    )


_DISTRICTS = read_yaml(Path(__file__).with_name("pilot_districts.yaml"))
ROYAL_MAIL_AREAS = frozenset((Path(__file__).parent / "royal_mail_areas.txt").read_text(encoding="ascii").split())
"""Two-letter postcode areas in use, which invented ones avoid."""
# The last two letters of a postcode are never C, I, K, M, O or V.
_UNIT_LETTERS = "ABDEFGHJLNPQRSTUWXYZ"
_UNITS_A_DISTRICT = 9 * len(_UNIT_LETTERS) ** 2  # sectors 1 to 9 and two letters
_POSTCODES_A_CHILD = 1.2
_POSTCODES_AN_LSOA = 40
_SHARE_NOT_IN_DIRECTORY = 0.005
_POSITION = (np.arange(1, 11) - 5.5) / 4.5  # of deciles 1 to 10, scaled from -1 to 1
_FSM_TILT = np.array([0.4, 1.5, 0.0])
"""Log ratio of children in the most deprived to a middle decile: FSM unknown, eligible, not eligible."""


@dataclass(frozen=True)
class SyntheticGeography:
    """Postcodes sorted by council, as in the margins, and decile, 1 to 10."""

    postcode: Texts
    lsoa: Texts
    decile: Ints
    listed: Bools
    first: Ints
    """Index of the first postcode of (council, decile), shape (councils, 11); the last column is the council's end."""

    def draw(self, rng: np.random.Generator, council: Ints, fsm: Ints) -> Ints:
        """Draw a home postcode (index) for children of these councils and FSM codes (as in `TOPICS`)."""
        size = np.diff(self.first, axis=1)
        tilt = np.exp(-_FSM_TILT[:, None] * _POSITION)
        table = size[:, None, :] * tilt[None, :, :]
        decile = pick(rng, table[council, fsm])
        return self.first[council, decile] + np.floor(rng.random(len(council)) * size[council, decile]).astype(np.int64)

    def get_quintile(self, postcode: Ints) -> Ints:
        """Return the IMD quintile, 1 (most deprived) to 5, of postcodes by index; 0 if not in the directory."""
        return np.where(self.listed[postcode], (self.decile[postcode] + 1) // 2, 0)

    def write_directory(self, path: Path) -> None:
        """Write the postcode look-up of the landing folder: `postcode, lsoa21cd, imd_decile`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        order = np.argsort(self.postcode[self.listed], kind="stable")
        columns = {"postcode": self.postcode, "lsoa21cd": self.lsoa, "imd_decile": self.decile}
        table = pa.table({name: pa.array(values[self.listed][order]) for name, values in columns.items()})
        options = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
        pyarrow.csv.write_csv(table, path, options)


def build_geography(england: bool) -> SyntheticGeography:
    """Build the map of the pilot councils or of all England; the pilot councils are the same in both."""
    # At full size, so that the map is the same at every scale.
    full = build_margins(england, 1.0)
    fsm_share = full.counts[FSM][:, 1] / full.children
    parts = [
        _build_council_postcodes(place.council, int(size), float(share), index)
        for index, (place, size, share) in enumerate(zip(full.councils, full.children, fsm_share, strict=True))
    ]
    postcode, lsoa, decile, listed = (np.concatenate(part) for part in zip(*parts, strict=True))
    council = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    edges = np.searchsorted(council * 100 + decile, np.arange(len(parts))[:, None] * 100 + np.arange(1, 12))
    return SyntheticGeography(postcode, lsoa, decile, listed, edges)


def _build_council_postcodes(council: str, size: int, fsm_share: float, index: int) -> tuple[Texts, Texts, Ints, Bools]:
    """Build one council's postcodes, LSOA codes, deciles and whether each is in the directory, sorted by decile."""
    # Seeded by name alone, so that a pilot council has the same postcodes in the pilot and in England.
    rng = np.random.default_rng(zlib.crc32(council.encode()))
    wanted = int(size * _POSTCODES_A_CHILD) + 60
    districts = _DISTRICTS.get(council) or _invent_districts(index, wanted)
    space = len(districts) * _UNITS_A_DISTRICT
    unit = np.sort(rng.choice(space, min(wanted, space), replace=False))
    area = np.arange(len(unit)) // _POSTCODES_AN_LSOA
    weights = np.exp(-(12 * (fsm_share - 0.17) + 0.1) * _POSITION)
    decile = pick(rng, np.tile(weights, (int(area[-1]) + 1, 1)))[area] + 1
    order = np.argsort(decile, kind="stable")
    unit, area, decile = unit[order], area[order], decile[order]
    lsoa = np.strings.add("E019", np.strings.zfill((index * 600 + area).astype("U5"), 5))
    return _format_postcodes(np.array(districts), unit), lsoa, decile, rng.random(len(unit)) >= _SHARE_NOT_IN_DIRECTORY


def _format_postcodes(districts: Texts, unit: Ints) -> Texts:
    """Return the postcodes of unit numbers: district, sector 1 to 9, two letters."""
    letters = np.array(list(_UNIT_LETTERS))
    base = len(letters)
    district, rest = np.divmod(unit, _UNITS_A_DISTRICT)
    sector, pair = np.divmod(rest, base**2)
    inward = np.strings.add(np.strings.add((sector + 1).astype("U1"), letters[pair // base]), letters[pair % base])
    return np.strings.add(np.strings.add(districts[district], " "), inward)


def _invent_districts(index: int, postcodes: int) -> list[str]:
    """Return enough districts of one area whose letters no real postcode has."""
    # Postcodes never have Q, V or X in the first place, nor I, J or Z in the second; I is left out of the first too.
    firsts, seconds = "ABCDEFGHJKLMNOPRSTUWYZ", "ABCDEFGHKLMNOPQRSTUVWXY"
    areas = [first + second for first, second in product(firsts, seconds) if first + second not in ROYAL_MAIL_AREAS]
    count = postcodes // 2500 + 1
    return [f"{areas[index - len(PILOT)]}{number}" for number in range(1, count + 1)]
