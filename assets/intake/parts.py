"""The parts of an extract that have been read, and what is kept of each.

A part is read once: it is known by the MAC of its content, and read again only under other circumstances. Parts that
are found together go through one pass, and their rows lie in the same files: payload, quarantine and marks in a folder
of the extract, tokens in the tokens zone, sealed to the linkage. The marks are sealed to the intake, which alone puts
parts together (`composing`). A note of each part, written last, says that it is in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake.deliveries import file_mac
from assets.pseudonymise.findings import RuleCount
from assets.pseudonymise.stream_extract import Staged
from privacy.doors.files import promote, promote_all, write_json
from privacy.keys import KeyRing
from sources.extract.part_names import Place, are_comparable, place_of
from sources.extract.table import SheetTaken

Key = tuple[str, str, str]
"""Source, cohort and council of an extract."""


@dataclass(frozen=True)
class Part:
    """One part of an extract as it was read.

    `number` is its own for good: row 17 of part 3 is known by both. `file` is the sender's name of it, which no message
    repeats; `arrived` counts the runs that found new parts. `rows_deleted` are rows that delete a record.
    """

    number: int
    file: str
    sender_mac: str
    file_mac: str
    arrived: int
    read_at: str
    made_under: dict[str, Any]
    headings: dict[str, str]
    rows_read: int
    rows_kept: int
    rows_rejected: int
    rows_deleted: int
    rules: tuple[RuleCount, ...]
    rows_forgotten: int = 0
    kept_in: str = ""
    """How the names of the files begin in which its rows lie."""
    of_several: bool = False
    """Whether its file held rows of other cohorts too."""
    moved: bool = False
    """It has no row of its own: it says which records a file of several cohorts gives to others now."""
    sheet: SheetTaken | None = None
    """The one that it was read from, of a workbook."""
    withdrawn: str = ""
    """Why it should not have been sent: none of its rows is kept, and its file is not read again."""

    @property
    def has_rows(self) -> bool:
        """Whether its file holds rows of the extract; an empty file is a month without news."""
        return not self.moved and self.rows_read + self.rows_deleted > 0


_PART = TypeAdapter(Part)


@dataclass(frozen=True)
class Kept:
    """Where the rows of parts lie that were read together."""

    payload: Path
    quarantine: Path
    marks: Path
    tokens: Path

    @property
    def unsealed(self) -> list[Path]:
        return [self.payload, self.quarantine]

    @property
    def sealed(self) -> list[tuple[Path, str]]:
        """Each sealed file, and the name of the key that opens it."""
        return [(self.tokens, "tokens"), (self.marks, "intake")]


def kept(home: Home, key: Key, stem: str) -> Kept:
    """The files whose names begin with `stem`; of a source that is not linked there are no tokens."""
    payload, quarantine, marks = (
        home.parts(*key) / f"{stem}.{kind}.parquet" for kind in ("payload", "quarantine", "marks")
    )
    return Kept(payload, quarantine, marks, home.tokens_of_parts(*key) / f"{stem}.parquet")


def stem_of(parts: Sequence[Part]) -> str:
    """How the names of files of these parts begin, read as they were."""
    said = json.dumps([[part.file_mac, part.made_under] for part in parts], sort_keys=True)
    return f"{parts[0].number}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def noted(home: Home, key: Key) -> list[Part]:
    """The parts of an extract that have been read, those that were withdrawn too, by number."""
    notes = (_PART.validate_json(path.read_bytes()) for path in home.parts(*key).glob("*.json"))
    return sorted(notes, key=lambda part: part.number)


def held(home: Home, key: Key) -> list[Part]:
    """The parts of an extract of which rows are kept, by number."""
    return [part for part in noted(home, key) if not part.withdrawn]


def withdrawn(home: Home, key: Key) -> list[Part]:
    """The parts of an extract that were withdrawn, by number."""
    return [part for part in noted(home, key) if part.withdrawn]


def keep(home: Home, key: Key, parts: Sequence[Part], staged: Staged, marks: Path) -> None:
    """Put parts that were read together in place; what an earlier reading left goes when this one is durable."""
    stem = stem_of(parts)
    place = kept(home, key, stem)
    promote_all([(marks, place.marks), *staged.moves(place.payload, place.quarantine, place.tokens)])
    for part in parts:
        note(home, key, replace(part, kept_in=stem))
    clear(home, key)


def clear(home: Home, key: Key) -> None:
    """Remove the files in which no part's rows lie any more."""
    in_use = {part.kept_in for part in held(home, key)}
    for folder in (home.parts(*key), home.tokens_of_parts(*key)):
        for path in folder.glob("*-*.parquet"):
            if path.name.partition(".")[0] not in in_use:
                path.unlink()


def mac_of_moved(keys: KeyRing, mac: str) -> str:
    """By which it is known what a file of several cohorts, of this MAC, says in those that it takes records from."""
    return file_mac(keys, hashlib.sha256(f"moved {mac}".encode()).hexdigest())


def keep_moved(home: Home, key: Key, part: Part, marks: Path) -> None:
    """Put in place what says which records other cohorts have now."""
    stem = stem_of([part])
    promote(marks, kept(home, key, stem).marks)
    note(home, key, replace(part, kept_in=stem))


def drop(home: Home, key: Key) -> None:
    """Keep nothing of parts, because a whole file took their place; but which numbers were given."""
    for folder in (home.parts(*key), home.tokens_of_parts(*key)):
        for path in (*folder.glob("*.json"), *folder.glob("*.parquet")):
            path.unlink()


def note(home: Home, key: Key, part: Part) -> None:
    """Write what is known of a part, unless that is written."""
    path = home.parts(*key) / f"{part.number}.json"
    if not path.exists() or _PART.validate_json(path.read_bytes()) != part:
        write_json(path, asdict(part))


def numbers(home: Home, key: Key) -> dict[str, int]:
    """The number of every part that was ever found, by the MAC of its content; none is given twice."""
    path = home.parts(*key) / "numbers"
    found: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def give_numbers(home: Home, key: Key, macs: Sequence[str]) -> dict[str, int]:
    """The numbers of parts, of those that are new too: they count on."""
    known = numbers(home, key)
    new = [mac for mac in dict.fromkeys(macs) if mac not in known]
    following = max(known.values(), default=0) + 1
    if new:
        known |= {mac: following + place for place, mac in enumerate(new)}
        write_json(home.parts(*key) / "numbers", known)
    return known


def called_as_they_lie(parts: Iterable[Part], names: Mapping[str, str]) -> list[Part]:
    """Parts under the names that their files have now (by MAC), where they still lie in landing."""
    return [replace(part, file=names.get(part.file_mac, part.file)) for part in parts]


@dataclass(frozen=True)
class Ordered:
    """The parts of an extract in their order; `ties` gives those that neither names nor runs put in an order a number
    in common. `by` says what the order is by."""

    parts: tuple[Part, ...]
    ties: tuple[int, ...]
    by: str


def in_order(parts: Sequence[Part]) -> Ordered:
    """By the dates or numbers in their names, if all have one; else by the run that found them, and by name in it."""
    if are_comparable(places := [place_of(part.file) for part in parts]):
        of_dates = places and places[0] and places[0].form == "date"
        keys = [(_numbers(place), part.arrived) for place, part in zip(places, parts, strict=True)]
        return _sorted(parts, keys, "the dates in their names" if of_dates else "the numbers in their names")
    together = {part.arrived: [other for other in parts if other.arrived == part.arrived] for part in parts}
    apart = {run: are_comparable([place_of(part.file) for part in of]) for run, of in together.items()}
    arrivals = [(part.arrived, _numbers(place_of(part.file)) if apart[part.arrived] else ()) for part in parts]
    return _sorted(parts, arrivals, "when they came")


def _sorted(parts: Sequence[Part], keys: Sequence[Any], by: str) -> Ordered:
    ordered = sorted(zip(keys, parts, strict=True), key=lambda pair: (pair[0], pair[1].number))
    first = {key: place for place, (key, _) in reversed([*enumerate(ordered)])}
    return Ordered(tuple(part for _, part in ordered), tuple(first[key] for key, _ in ordered), by)


def _numbers(place: Place | None) -> tuple[int, ...]:
    return place.numbers if place else ()
