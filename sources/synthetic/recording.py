"""Records that services keep of the true children of a cohort (`World`), with the errors of real records.

Rows of a source are Arrow columns in contract form, under contract column names.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.doors.shipped import read_yaml
from sources.councils.council_file import load_council_file
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.reference import read_rows
from sources.reference.cohorts import Cohort
from sources.synthetic.attainment import Attainment, draw_attainment
from sources.synthetic.drawing import AnyArray, Bools, Floats, Ints, Streams, Texts, build_streams
from sources.synthetic.margins import SEX, Margins, SyntheticGeography, build_geography, build_margins
from sources.synthetic.people import LEAVERS_SHARE, NAME_TYPE, Dates, People, draw_other_form, draw_people

PLACEHOLDER_DATE = np.datetime64("1900-01-01")
PLACEHOLDER_POSTCODE = "ZZ99 3VZ"
_PLAIN_LETTERS = read_rows(Path(__file__).parent / "names" / "plain_letters.csv")
_SHORT_FORM = partial(draw_other_form, file="nicknames.csv")
_IN_OWN_SCRIPT = partial(draw_other_form, file="native_script.csv")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NEIGHBOURS = "snvfrghjoklknmpowtdyibecux"
"""A neighbouring key of each of `_LETTERS` on a British keyboard."""


_SLIPS: dict[str, dict[str, float]] = read_yaml(Path(__file__).with_suffix(".yaml"))
"""Share of the records of each source with each kind of error."""


@dataclass(frozen=True)
class RecordedIdentity:
    """Children as recorded by one service; all arrays have the same length. `sex` indexes F, M."""

    surname: Texts
    forename: Texts
    sex: Ints
    born: Dates
    postcode: Texts

    def __getitem__(self, rows: Ints) -> "RecordedIdentity":
        return RecordedIdentity(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def build_columns(self) -> dict[str, pa.Array]:
        """Return the demographic columns of the contracts."""
        return {
            "surname": build_text(self.surname),
            "forename": build_text(self.forename),
            "sex": build_codes(self.sex, ("F", "M")),
            "date_of_birth": build_dates(self.born),
            "postcode": build_text(self.postcode),
        }


def _record(rng: np.random.Generator, source: str, true: RecordedIdentity, holds_unicode: Bools) -> RecordedIdentity:
    """Return these children as recorded for a source; `holds_unicode` says whether a system can store any script."""
    size, slips = len(true.surname), _SLIPS[source]

    def draw_slips(kind: str) -> Bools:
        return rng.random(size) < slips[kind]

    forename, surname = true.forename.copy(), true.surname.copy()
    _change(rng, forename, draw_slips("short_form"), _SHORT_FORM)
    for names in (forename, surname):
        own_script = draw_slips("native_script") & holds_unicode
        _change(rng, names, own_script, _IN_OWN_SCRIPT)
        _change(
            rng,
            names,
            # Fixed-width text is an array of code points; those from 128 on are accented letters and other scripts.
            draw_slips("accents_lost") & (names.view(np.uint32).reshape(size, -1) >= 128).any(axis=1),
            lambda _, chosen: strip_accents(chosen),
        )
        _change(rng, names, draw_slips("apostrophe_changed") & (np.strings.find(names, "'") >= 0), _change_apostrophes)
        _change(rng, names, draw_slips("typing"), mistype_words)
    _change(rng, surname, draw_slips("double_barrel") & (np.strings.find(surname, "-") >= 0), _shorten_surnames)
    swapped = draw_slips("names_swapped")
    forename, surname = np.where(swapped, surname, forename), np.where(swapped, forename, surname)
    forename[draw_slips("forename_missing")] = ""
    sex = np.where(draw_slips("sex_wrong"), 1 - true.sex, true.sex)
    return RecordedIdentity(
        surname, forename, sex, _record_dates(rng, true.born, slips), _record_postcodes(rng, true.postcode, slips)
    )


def mistype_words(rng: np.random.Generator, words: Texts) -> Texts:
    """Return words with a letter after the first mistyped, swapped or left out; words under four letters stay."""
    letters = words.astype(NAME_TYPE).view(np.uint32).reshape(len(words), -1).copy()
    length = np.strings.str_len(words)
    # Kind 3 leaves the word as it is.
    kind = np.where(length < 4, 3, rng.integers(0, 3, len(words)))
    place = 1 + np.floor(rng.random(len(words)) * np.maximum(1, length - 2)).astype(np.int64)
    row = np.arange(len(words))
    key = letters[row, place]
    known = np.array([ord(letter) for letter in _LETTERS])
    at = np.clip(np.searchsorted(known, key), 0, len(known) - 1)
    beside = np.where(known[at] == key, np.array([ord(letter) for letter in _NEIGHBOURS])[at], key)
    letters[row, place] = np.where(kind == 0, beside, key)
    swap = row[kind == 1]
    letters[swap, place[swap]], letters[swap, place[swap] + 1] = letters[swap, place[swap] + 1], key[swap]
    gone = row[kind == 2]
    # 39 is the last place of `NAME_TYPE`.
    shifted = np.minimum(np.arange(letters.shape[1]) + (np.arange(letters.shape[1]) >= place[gone, None]), 39)
    letters[gone] = np.take_along_axis(letters[gone], shifted, axis=1)
    return letters.reshape(-1).view(NAME_TYPE)


def strip_accents(names: Texts) -> Texts:
    """Return names without accents; letters of other scripts are unchanged."""
    folded = pa.array(names, pa.string())
    # Letters such as ø have no mark to remove.
    for row in _PLAIN_LETTERS:
        folded = pc.replace_substring(folded, row["letter"], row["plain"])
    # Only marks after Latin letters: in other scripts they are part of the spelling.
    marks_apart = pc.utf8_normalize(folded, form="NFD")
    plain = pc.utf8_normalize(pc.replace_substring_regex(marks_apart, r"([A-Za-z])\p{Mn}+", r"\1"), form="NFC")
    return np.asarray(plain.to_numpy(zero_copy_only=False), dtype=NAME_TYPE)


def swap_day_month(born: Dates) -> Dates:
    """Return dates with day and month exchanged if the result is a date; others are unchanged."""
    months = born.astype("datetime64[M]")
    day = (born - months).astype(np.int64) + 1
    month = months.astype(np.int64) % 12 + 1
    january = born.astype("datetime64[Y]").astype("datetime64[M]")
    swapped = (january + (day - 1)).astype("datetime64[D]") + (month - 1)
    # Days 13 and above cannot be months.
    return np.where(day <= 12, swapped, born)


def _record_dates(rng: np.random.Generator, born: Dates, slips: Mapping[str, float]) -> Dates:
    lot = rng.random(len(born))
    edges = np.cumsum([slips["day_month_swapped"], slips["day_wrong"], slips["date_placeholder"]])
    near = born + rng.choice(np.array([-10, -1, 1, 10]), len(born)).astype("timedelta64[D]")
    choices = [swap_day_month(born), near, np.full(len(born), PLACEHOLDER_DATE)]
    return np.select([lot < edge for edge in edges], choices, born)


def _record_postcodes(rng: np.random.Generator, postcode: Texts, slips: Mapping[str, float]) -> Texts:
    lot = rng.random(len(postcode))
    written = np.where(
        rng.random(len(postcode)) < slips["postcode_unspaced"], np.strings.replace(postcode, " ", ""), postcode
    )
    mistaken = np.flatnonzero(lot < slips["postcode_typing"])
    last = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))[rng.integers(0, 20, len(mistaken))]
    stem = postcode[mistaken].astype("U8")
    letters = stem.view("U1").reshape(len(stem), 8).copy()
    letters[np.arange(len(stem)), np.strings.str_len(stem) - 1] = last
    written = written.astype("U8")
    written[mistaken] = letters.reshape(-1).view("U8")
    edge = slips["postcode_typing"] + slips["postcode_missing"]
    written[(lot >= slips["postcode_typing"]) & (lot < edge)] = ""
    written[(lot >= edge) & (lot < edge + slips["postcode_placeholder"])] = PLACEHOLDER_POSTCODE
    return written


def _change(
    rng: np.random.Generator, names: Texts, chosen: Bools, change: Callable[[np.random.Generator, Texts], Texts]
) -> None:
    """Apply `change` in place to the chosen names."""
    rows = np.flatnonzero(chosen)
    # A stream for each change, even if no name is chosen: more errors of one kind must not alter those of others.
    own = rng.spawn(1)[0]
    if len(rows):
        names[rows] = change(own, names[rows])


def _change_apostrophes(rng: np.random.Generator, names: Texts) -> Texts:
    forms = [np.strings.replace(names, "'", form) for form in ("’", "", " ")]
    return np.select([rng.random(len(names)) < share for share in (0.3, 0.6)], forms[:2], forms[2])


def _shorten_surnames(rng: np.random.Generator, surnames: Texts) -> Texts:
    """Return double-barrelled surnames with only one part, or with a space for the hyphen."""
    first, _, second = np.strings.partition(surnames, "-")
    lot = rng.random(len(surnames))
    return np.select([lot < 0.4, lot < 0.75], [first, second], np.strings.replace(surnames, "-", " "))


@dataclass(frozen=True)
class Rows:
    """Rows of one source from every council, sorted by council and position in the file.

    `council` indexes `Margins.councils`; `person` indexes `People`, and is None if the source is not about children.
    """

    council: Ints
    person: Ints | None
    table: pa.Table


def build_codes(index: AnyArray, values: Sequence[str]) -> pa.DictionaryArray:
    """Return a column of codes: `index` into `values`; an empty value is blank."""
    dictionary = pa.array([value or None for value in values], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), dictionary)


def build_text(values: Texts) -> pa.Array:
    """Return a column of text; empty is blank."""
    column = pa.array(values, pa.string())
    return pc.if_else(pc.equal(column, ""), None, column)


def build_dates(values: npt.NDArray[np.datetime64]) -> pa.Array:
    """Return a column of dates; NaT is blank."""
    return pa.array(values.astype("datetime64[D]"), pa.date32())


def build_decimals(values: Floats) -> pa.DictionaryArray:
    """Return a column of numbers as text, without trailing zeros; NaN is blank."""
    distinct, index = np.unique(values, return_inverse=True)
    return build_codes(index, ["" if np.isnan(value) else f"{value:.10g}" for value in distinct])


def order_rows(council: Ints, key: AnyArray, again: Ints) -> tuple[Ints, Bools]:
    """Return the indices of all rows and those sent `again` by council, the latter last, then by `key`, and which are
    sent again."""
    sent = np.concatenate([np.arange(len(council)), again])
    late = np.arange(len(sent)) >= len(council)
    order = np.lexsort((key[sent], late, council[sent]))
    return sent[order], late[order]


def build_rows(council: Ints, person: Ints, table: pa.Table, key: AnyArray, again: Ints) -> Rows:
    """Return the rows of `table` in the order of `order_rows`."""
    sent, _ = order_rows(council, key, again)
    return Rows(council[sent], person[sent], table.take(pa.array(sent)))


_JOINED_SHARE = 0.05
"""Share of pupils who moved in from outside after the early years, unknown to the early services of these councils."""


@dataclass(frozen=True)
class World:
    """The true children of a cohort, their attainment, and the dialects of the services."""

    cohort: Cohort
    streams: Streams
    margins: Margins
    geography: SyntheticGeography
    people: People
    attainment: Attainment
    contract_names: bool

    @cached_property
    def joined_late(self) -> Bools:
        """Children unknown to the early services."""
        return self.people.pupil & (self.streams("joined late").random(len(self.people)) < _JOINED_SHARE)

    def get_dialect(self, council: str, source: str) -> Dialect:
        return CONTRACT_DIALECT if self.contract_names else load_council_file(council).get_dialect(source)

    def identify(self, person: Ints, postcode: Ints) -> RecordedIdentity:
        """Return the true identity of children with these home postcodes (indices)."""
        people = self.people
        return RecordedIdentity(
            people.surname[person],
            people.forename[person],
            people.categories[SEX][person],
            people.born[person],
            self.geography.postcode[postcode],
        )

    def record_children(
        self, rng: np.random.Generator, source: str, council: Ints, true: RecordedIdentity
    ) -> RecordedIdentity:
        """Return children as recorded by these councils' systems."""
        # What a system can store shows in the encoding of its exports.
        encodings = [self.get_dialect(place.council, source).encoding for place in self.margins.councils]
        holds_unicode = np.array([encoding.lower().startswith("utf") for encoding in encodings])
        return _record(rng, source, true, holds_unicode[council])

    def vary_by_council(self, what: str, low: float, high: float) -> Floats:
        """Return a rate between two bounds for each council, the same for every seed."""
        keys = [zlib.crc32(f"{what} {place.council}".encode()) for place in self.margins.councils]
        return np.array([low + (high - low) * (key % 1000) / 999 for key in keys])


def draw_world(
    cohort: Cohort, seed: int, england: bool, scale: float, contract_names: bool, leavers_share: float = LEAVERS_SHARE
) -> World:
    """Draw the children of a cohort and everything that their records depend on."""
    streams = build_streams(seed, cohort)
    figures, places = build_margins(england, scale), build_geography(england)
    # In this order: attainment depends on deprivation, which follows from the homes.
    people = draw_people(streams, cohort, figures, places, leavers_share)
    attainment = draw_attainment(streams, people, figures, places.get_quintile(people.postcode))
    return World(cohort, streams, figures, places, people, attainment, contract_names)
