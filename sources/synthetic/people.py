"""The true children of a cohort: their identity, homes and schools, before any service records them.

Names by ethnic group come from the lists in `names/`, with Zipf-like frequencies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from privacy.doors.shipped import read_yaml
from sources.reference import read_rows
from sources.reference.code_lists import ETHNICITY_CODES, MAJOR_GROUP
from sources.reference.cohorts import TERMS_OF_BIRTH, Cohort
from sources.synthetic.drawing import Bools, Floats, Ints, Streams, Texts, assign, pick, rank_within, round_to_totals
from sources.synthetic.margins import (
    ETHNICITY,
    FSM,
    LANGUAGE,
    SEN,
    SEX,
    TERM,
    TOPICS,
    UNKNOWN,
    Margins,
    SyntheticGeography,
)

NAME_TYPE = "U40"
_LISTS = Path(__file__).parent / "names"
_TAIL_SHARE, _DOUBLE_FORENAME_SHARE, _DOUBLE_SURNAME_SHARE = 0.3, 0.05, 0.05


_LIKELY: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("ethnicity.yaml"))
"""Properties of children by DfE ethnicity code; the file documents each number."""
CODES = tuple(ETHNICITY_CODES)
_GROUPS = tuple(sorted({group for code in CODES for group in _LIKELY[code]["names"]}))
_USUAL_LANGUAGES = {"ARA": 0.4, "POL": 0.2, "URD": 0.2, "FRN": 0.2}
_LANGUAGES = [_LIKELY[code].get("languages", _USUAL_LANGUAGES) for code in CODES]
LANGUAGE_CODES = ("", "ENG", *sorted({code for mix in _LANGUAGES for code in mix}))


def draw_forenames(rng: np.random.Generator, group: Ints, female: Bools) -> Texts:
    """Draw a forename for each child by name group (as returned by `draw_name_groups`) and sex."""
    return _draw_words(rng, group, {"girls": female, "boys": ~female})


def draw_surnames(rng: np.random.Generator, group: Ints) -> Texts:
    """Draw a surname for each child by name group; some British, Irish and Caribbean ones are double-barrelled."""
    names = _draw_words(rng, group, {"surnames": np.ones(len(group), dtype=bool)})
    family = np.isin(group, [_GROUPS.index(name) for name in ("british", "irish", "caribbean")])
    double = np.flatnonzero(family & (rng.random(len(group)) < _DOUBLE_SURNAME_SHARE))
    words, shares = _load_vocabulary("british", "surnames")
    second = rng.choice(words, len(double), p=shares)
    names[double] = np.strings.add(np.strings.add(names[double], "-"), second)
    return names


def draw_name_groups(rng: np.random.Generator, ethnicity: Ints) -> tuple[Ints, Ints]:
    """Draw the name groups of children's forename and surname by ethnicity (index of `CODES`)."""
    mix = np.array([[_LIKELY[code]["names"].get(group, 0.0) for group in _GROUPS] for code in CODES])
    forename = pick(rng, mix[ethnicity])
    # Codes of mixed heritage begin with M; forename and surname may then come from different groups.
    mixed = np.array([code.startswith("M") for code in CODES])[ethnicity]
    return forename, np.where(mixed, pick(rng, mix[ethnicity]), forename)


def _draw_words(rng: np.random.Generator, group: Ints, lists: Mapping[str, Bools]) -> Texts:
    """Draw a name for each child from the lists of its name group; `lists` maps each list to those who use it."""
    names = np.empty(len(group), dtype=NAME_TYPE)
    for index, name in enumerate(_GROUPS):
        for column, users in lists.items():
            words, shares = _load_vocabulary(name, column)
            chosen = np.flatnonzero((group == index) & users)
            names[chosen] = rng.choice(words, len(chosen), p=shares)
    return names


@cache
def _load_vocabulary(group: str, column: str) -> tuple[Texts, Floats]:
    """Return names and their shares: a head that falls roughly as 1 / rank, and a flat tail of composed rare names."""
    content = yaml.load((_LISTS / f"{group}.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    head = list(dict.fromkeys(content[column].split()))
    if column == "surnames":
        tail, share = _compose_names(content), _TAIL_SHARE
    else:
        tail = _compose_names(content[f"double_{column}"]) if f"double_{column}" in content else []
        share = _DOUBLE_FORENAME_SHARE if tail else 0.0
    weights = 1 / (np.arange(len(head)) + 10) ** 0.9
    weights = np.concatenate([weights / weights.sum() * (1 - share), np.full(len(tail), share / max(1, len(tail)))])
    # Lists are split at spaces, so a name of two words has an underscore in them.
    words = np.array([word.replace("_", " ") for word in (*head, *tail)], dtype=NAME_TYPE)
    return words, weights


def _compose_names(parts: dict[str, str]) -> list[str]:
    return [stem + ending for stem, ending in product(parts["stems"].split(), parts["endings"].split())]


def draw_other_form(rng: np.random.Generator, names: Texts, file: str) -> Texts:
    """Return another form of each name that has one in this file of `names/`; other names are unchanged."""
    known, others = _load_forms(file)
    low, high = np.searchsorted(known, names, side="left"), np.searchsorted(known, names, side="right")
    found = high > low
    index = low + np.floor(rng.random(len(names)) * (high - low)).astype(np.int64)
    return np.where(found, others[np.where(found, index, 0)], names)


@cache
def _load_forms(file: str) -> tuple[Texts, Texts]:
    """Return sorted names, and another form of each, from a two-column list; a name has one row for each form."""
    names, others = zip(*sorted(tuple(row.values()) for row in read_rows(_LISTS / file)), strict=True)
    return np.array(names, dtype=NAME_TYPE), np.array(others, dtype=NAME_TYPE)


Dates = npt.NDArray[np.datetime64]

LEAVERS_SHARE = 0.06
"""Children known to early services who moved away before the Profile, per child with a Profile."""
TWIN_SHARE = 0.0296
"""Share of children who are twins: 1.5% of maternities."""
_COUSIN_SHARE = 0.004
"""Share of children who have the surname and postcode of another child of the cohort but are not twins."""
_MOVED_COUNCIL, _MOVED_WITHIN = 0.04, 0.12
"""Shares of children who lived in another council, or elsewhere in the same council, in their early years."""
_CHILDREN_A_SCHOOL = 35
_TEMPORARY_UPN, _SECOND_UPN = 0.01, 0.003

_OTHER_WHITE_BY_LANGUAGE = 0.6
"""Share of White children with another White background, per share of children with another first language."""
UPN_LETTERS = np.array(list("ABCDEFGHJKLMNPQRTUVWXYZ"))
"""Check letters in order of remainder (modulus 23); a letter in the number counts as its position here."""
_DIGITS = np.array(list("0123456789"))


@dataclass(frozen=True)
class People:
    """Children, one entry each; indices are into `Margins.councils`, `TOPICS`, `CODES`, `LANGUAGE_CODES` and
    `SyntheticGeography`.

    Children with a Profile (`pupil`) come first, sorted by council.
    """

    council: Ints
    pupil: Bools
    categories: dict[str, Ints]
    """Topic -> index of the child's breakdown."""
    in_census: Bools
    ethnicity: Ints
    language: Ints
    twin: Bools
    born: Dates
    surname: Texts
    forename: Texts
    postcode: Ints
    early_council: Ints
    early_postcode: Ints
    estab: Ints
    urn: Ints
    nhs_number: Texts
    upn: Texts
    """As in the Profile return: permanent, with few exceptions."""
    census_upn: Texts
    """As in the school census: for some children an earlier, often temporary number."""

    def __len__(self) -> int:
        return len(self.council)


@dataclass(frozen=True)
class _Families:
    """Index of the child whose birth and home each child shares, or its own: twins share both, cousins the home."""

    birth: Ints
    home: Ints
    twin: Bools


def draw_people(
    streams: Streams,
    cohort: Cohort,
    margins: Margins,
    geography: SyntheticGeography,
    leavers_share: float = LEAVERS_SHARE,
) -> People:
    """Draw all children of the cohort in these councils; leavers are added to the children with a Profile."""
    leavers = np.round(margins.children * leavers_share).astype(np.int64)
    council = np.repeat(np.tile(np.arange(len(margins.councils)), 2), np.concatenate([margins.children, leavers]))
    pupil = np.arange(len(council)) < margins.children.sum()
    nhs_number = draw_nhs_numbers(streams("nhs numbers"), len(council))
    # Published margins count pupils; leavers are separate strata, so they change none.
    stratum = council + np.where(pupil, 0, len(margins.councils))
    counts = {
        topic: np.vstack([c, round_to_totals(c.astype(np.float64) + 1e-9, leavers)])
        for topic, c in margins.counts.items()
    }
    families = _pair_families(streams("families"), stratum)
    in_census = _draw_in_census(streams("in census"), stratum, counts)[families.home]
    categories, ethnicity = _draw_characteristics(streams("characteristics"), stratum, counts, in_census, families)
    postcode = geography.draw(streams("homes"), council, categories[FSM])[families.home]
    early_council, early_postcode = _draw_early_homes(
        streams("moves"), margins, geography, council, categories[FSM], postcode
    )
    surname, forename = _draw_names(streams("names"), ethnicity, categories[SEX] == 0, families)
    estab, urn = _draw_schools(streams("schools"), council, margins.children, families)
    upn, census_upn = _draw_upns(streams("upns"), margins, cohort, council, estab)
    return People(
        council,
        pupil,
        categories,
        in_census,
        ethnicity,
        _draw_languages(streams("languages"), ethnicity, categories[LANGUAGE])[families.home],
        families.twin,
        _draw_births(streams("births"), cohort, categories[TERM])[families.birth],
        surname,
        forename,
        postcode,
        early_council[families.home],
        early_postcode[families.home],
        estab,
        urn,
        nhs_number,
        upn,
        census_upn,
    )


def _pair_families(rng: np.random.Generator, stratum: Ints) -> _Families:
    """Pair neighbours of the same stratum as twins or cousins."""
    index = np.arange(len(stratum))
    # Only odd positions, so that no child is in two pairs.
    second = (index % 2 == 1) & (stratum == np.roll(stratum, 1))
    lot = rng.random(len(stratum))
    twin, cousin = second & (lot < TWIN_SHARE), second & (lot >= 1 - _COUSIN_SHARE)
    birth = np.where(twin, index - 1, index)
    pair = twin.copy()
    pair[index[twin] - 1] = True
    return _Families(birth, np.where(cousin, index - 1, birth), pair)


def _draw_in_census(rng: np.random.Generator, stratum: Ints, counts: dict[str, Ints]) -> Bools:
    """Draw whether each child is in the spring census; the others are Unknown in every characteristic from it."""
    missing = np.min([counts[topic][:, 0] for topic in (FSM, ETHNICITY, LANGUAGE, SEN)], axis=0)
    size = counts[FSM].sum(axis=1)
    return assign(rng, stratum, np.stack([missing, size - missing], axis=1)) == 1


def _draw_characteristics(
    rng: np.random.Generator, stratum: Ints, counts: dict[str, Ints], in_census: Bools, families: _Families
) -> tuple[dict[str, Ints], Ints]:
    """Draw each topic's breakdown, and the ethnicity code, with plausible dependencies between them."""
    missing = {0: np.where(in_census, 0.0, np.inf)}
    term = assign(rng, stratum, counts[TERM])[families.birth]
    sex = assign(rng, stratum, counts[SEX])
    major = assign(rng, stratum, counts[ETHNICITY], missing)
    other_language = counts[LANGUAGE][:, 1] / np.maximum(1, counts[LANGUAGE].sum(axis=1))
    minor = _draw_minor_ethnicity(rng, major, other_language[stratum])
    speaks_other = _get_by_code("other_language")[minor]
    language = assign(rng, stratum, counts[LANGUAGE], missing | {1: speaks_other})
    fsm = assign(rng, stratum, counts[FSM], missing | {1: _get_by_code("fsm")[minor]})
    major, minor, language, fsm = (values[families.home] for values in (major, minor, language, fsm))
    need = 0.9 * sex + 0.6 * (fsm == 1) + 0.35 * (term == 2)
    sen = assign(rng, stratum, counts[SEN], missing | {1: need, 2: need})
    # Children who are not in the census have no characteristic from it, whatever was drawn.
    sen = np.where(in_census, sen, 0)
    return {SEX: sex, FSM: fsm, ETHNICITY: major, LANGUAGE: language, SEN: sen, TERM: term}, minor


def _get_by_code(likelihood: str) -> Floats:
    return np.array([_LIKELY[code].get(likelihood, 0.0) for code in CODES])


def _draw_minor_ethnicity(rng: np.random.Generator, major: Ints, other_language: Floats) -> Ints:
    """Draw the ethnicity code (index of `CODES`) within the major group.

    Councils with more speakers of other languages have more children of another White background.
    """
    groups = np.array([MAJOR_GROUP.get(code, UNKNOWN) for code in CODES])
    mix = np.array([np.where(groups == label, _get_by_code("share"), 0.0) for label in TOPICS[ETHNICITY]])
    probabilities = mix[major]
    other = np.where(major == len(mix) - 1, other_language * _OTHER_WHITE_BY_LANGUAGE, 0.0)
    probabilities *= (1 - other)[:, None]
    probabilities[:, CODES.index("WOTH")] = other
    return pick(rng, probabilities)


def _draw_languages(rng: np.random.Generator, ethnicity: Ints, language: Ints) -> Ints:
    """Draw the first-language code (index of `LANGUAGE_CODES`) by ethnicity and `language`: Unknown, other, English."""
    table = np.array([[mix.get(code, 0.0) for code in LANGUAGE_CODES] for mix in _LANGUAGES])
    return np.select([language == 0, language == 2], [0, 1], pick(rng, table[ethnicity]))


def _draw_births(rng: np.random.Generator, cohort: Cohort, term: Ints) -> Dates:
    """Draw dates of birth, uniform within the term."""
    first_months = [first for first, _ in TERMS_OF_BIRTH.values()]
    edges = [np.datetime64(f"{cohort.born_from.year + (month < 9)}-{month:02d}-01") for month in first_months]
    start = np.array(edges, dtype="datetime64[D]")
    days = np.append(np.diff(start), np.datetime64(cohort.born_to) + 1 - start[-1]).astype(np.int64)
    return start[term] + np.floor(rng.random(len(term)) * days[term]).astype("timedelta64[D]")


def _draw_early_homes(
    rng: np.random.Generator, margins: Margins, geography: SyntheticGeography, council: Ints, fsm: Ints, postcode: Ints
) -> tuple[Ints, Ints]:
    """Draw the council and postcode in which each child lived until about age three."""
    lot = rng.random(len(council))
    across, within = lot < _MOVED_COUNCIL, (lot >= _MOVED_COUNCIL) & (lot < _MOVED_COUNCIL + _MOVED_WITHIN)
    early = council.copy()
    early[across] = pick(rng, margins.compute_pull()[council[across]])
    home = postcode.copy()
    home[across | within] = geography.draw(rng, early[across | within], fsm[across | within])
    return early, home


def _draw_names(rng: np.random.Generator, ethnicity: Ints, female: Bools, families: _Families) -> tuple[Texts, Texts]:
    """Draw surnames and forenames; twins have different forenames."""
    forename_group, surname_group = draw_name_groups(rng, ethnicity)
    surname = draw_surnames(rng, surname_group[families.home])[families.home]
    forename = draw_forenames(rng, forename_group, female)
    twins = np.flatnonzero(families.birth != np.arange(len(ethnicity)))
    # Redrawn until they differ: twins with the same forename could not be distinguished by name.
    while len(twins := twins[forename[twins] == forename[families.birth[twins]]]):
        forename[twins] = draw_forenames(rng, forename_group[twins], female[twins])
    return surname, forename


def _draw_schools(rng: np.random.Generator, council: Ints, children: Ints, families: _Families) -> tuple[Ints, Ints]:
    """Draw each child's school: establishment number (2000 to 3999) and URN."""
    schools = np.clip(children // _CHILDREN_A_SCHOOL, 1, 1800)
    school = np.floor(rng.random(len(council)) * schools[council]).astype(np.int64)[families.home]
    return 2000 + school, 100_000 + (np.cumsum(schools) - schools)[council] + school


def _draw_upns(
    rng: np.random.Generator, margins: Margins, cohort: Cohort, council: Ints, estab: Ints
) -> tuple[Texts, Texts]:
    """Draw the UPN in the Profile and the UPN in the census, which are the same for most children."""
    la_code = np.array([int(place.old_la_code) for place in margins.councils])[council]
    serial = 1 + rank_within(council * 10_000 + estab, rng.random(len(council)))
    upn = _build_upns(la_code, estab, cohort.first_year, serial, _DIGITS)
    lot = rng.random(len(council))
    temporary, second = lot < _TEMPORARY_UPN, lot > 1 - _SECOND_UPN
    census_upn = upn.copy()
    # Serials of temporary numbers end in a letter, so none is equal to a permanent one.
    spare = _build_upns(la_code, estab, cohort.first_year, serial, UPN_LETTERS)
    census_upn[temporary] = spare[temporary]
    earlier = _build_upns(la_code, estab, cohort.first_year - 1, serial, _DIGITS)
    census_upn[second] = earlier[second]
    still = lot < _TEMPORARY_UPN / 3
    upn[still] = census_upn[still]
    return upn, census_upn


def draw_nhs_numbers(rng: np.random.Generator, size: int) -> Texts:
    """Draw distinct NHS numbers reserved for tests, from 999 000 0000 on. Raises `ValueError` if there are too few."""
    valid = _list_nhs_numbers()
    if size > len(valid):
        raise ValueError(
            f"{size:,} children need NHS numbers; the test range holds {len(valid):,}: use a smaller scale"
        )
    return rng.permutation(valid)[:size].astype("U10")


@cache
def _list_nhs_numbers() -> Ints:
    """List all valid NHS numbers of the range reserved for tests, in order."""
    stem = 999_000_000 + np.arange(1_000_000)
    digits = stem[:, None] // 10 ** np.arange(8, -1, -1) % 10
    check = (11 - digits @ np.arange(10, 1, -1) % 11) % 11
    # Modulus 11: numbers whose check digit would be 10 are not used.
    return (stem * 10 + check)[check != 10]


def _build_upns(la_code: Ints, estab: Ints, year: int, serial: Ints, last: Texts) -> Texts:
    """Build UPNs: check letter, authority, school, year of issue and serial number, which ends in one of `last`.

    Serial numbers are below 1,000 if `last` has ten digits, below 2,300 if it has the letters of temporary numbers.
    """
    serial, place = np.divmod(serial, len(last))
    stem = ((la_code * 10_000 + estab) * 100 + year % 100) * 100 + serial
    digits = stem[:, None] // 10 ** np.arange(10, -1, -1) % 10
    remainder = (digits @ np.arange(2, 13) + 13 * place) % 23  # weights 2 to 13, modulus 23
    return np.strings.add(np.strings.add(UPN_LETTERS[remainder], stem.astype("U11")), last[place])
