"""Streaming reader of the EYFS Profile return as XML, with pupils in the form of the DfE Common Transfer File.

Expat parses the file block by block, and a tree is built of one pupil at a time, so memory does not grow with the file.
A document type declaration stops the extract, so there is no entity to expand; processing instructions, comments and
XInclude elements are ignored, and nothing is ever fetched. docs/formats.md lists the elements that are read, with their
sources.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element
from xml.parsers import expat

import pyarrow as pa

from privacy.doors.shipped import read_yaml
from sources.contracts import CONTRACTS, Rule, model
from sources.errors import build_error
from sources.extract.readers.content import Content
from sources.extract.table import SOURCE_ROW, TextTable
from sources.reference.code_lists import GOALS

_ELEMENTS = read_yaml(Path(__file__).with_name("eyfsp_elements.yaml"))
IDENTITY: dict[str, str] = _ELEMENTS["identity"]
PLACE: dict[str, str] = _ELEMENTS["place"]
PUPILS, WRAPPERS, ADDRESSES, POSTCODES, ASSESSMENTS, FACTS = (
    frozenset(_ELEMENTS[kind]) for kind in ("pupils", "wrappers", "addresses", "postcodes", "assessments", "facts")
)
KEY_STAGE = "keystage"
STAGES = frozenset({"", "EYF", "EYFS", "EYFSP", "FSP"})
NOT_RESULTS = frozenset({"T", "E"})
"""Result status codes of targets and estimates."""
ACADEMIC_YEAR = "academic_year"
COLUMNS = tuple(column.name for column in CONTRACTS["eyfsp"].columns if column.name != "nhs_number")
IMPOSSIBLE_YEAR = model.reject(
    "impossible-year", "The year of the return, or the year or date of a result, is not from 2000 to 2099."
)
OLD_GOALS = model.stop("old-goals", next(iter(CONTRACTS["eyfsp"].refused_columns.values())) + ".")

_OLD_GOAL = "goal of before September 2021"
_AREAS = frozenset(goal[:3] for goal in GOALS)
_GOALS = {goal[4:]: goal for goal in GOALS}
_COMPONENT = re.compile(r"(?:(com|pse|phy|lit|mat|utw|exp)[ _-]?)?([eg](?:0[1-9]|1[0-7]))")
_LEAVES = frozenset({*IDENTITY, *PLACE, *POSTCODES, *FACTS, "academicyear"})
_BLOCK_BYTES = 1 << 20
_BATCH_ROWS, _BATCH_BYTES = 4096, 16 << 20
_LONGEST_NAME = 64  # characters of an element's name, and of a value outside pupils
_MAX_DEPTH = 64
_TEXT_BYTES = 8 << 10  # limit of a value
_MAX_TOKEN_BYTES = 8 << 20  # limit of a tag or comment, which Expat holds in memory
_BREAKS_OFF = frozenset(
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)


class _Refused(Exception):
    """Raised in a callback to stop the parse; its arguments are the rule (as in `build_error`) and a detail."""


def open_eyfsp_xml(content: Content) -> TextTable:
    """Open an XML return as a table, whose batches raise `ExtractStopped`. `source_row` is the pupil's position."""
    set_aside: dict[Rule, list[int]] = {}
    return TextTable(
        list(COLUMNS), lambda names: _iter_batches(content, names, set_aside), set_aside, in_contract_form=True
    )


def _iter_batches(content: Content, names: list[str], set_aside: dict[Rule, list[int]]) -> Iterator[pa.RecordBatch]:
    places = [COLUMNS.index(column) for column in names]
    with content.open() as stream:
        for rows in _iter_rows(content.name, stream, set_aside):
            *columns, numbers = zip(*rows, strict=True)
            arrays = [pa.array(columns[place], pa.string()) for place in places]
            yield pa.record_batch([*arrays, pa.array(numbers, pa.int64())], names=[*names, SOURCE_ROW])


def _iter_rows(name: str, stream: BinaryIO, set_aside: dict[Rule, list[int]]) -> "Iterator[list[_Row]]":
    """Yield pupils, each with its number last, a few thousand at a time; raises `ExtractStopped`, quoting nothing."""
    pupils, fed, yielded = _Pupils(), 0, 0
    try:
        block = stream.read(_BLOCK_BYTES)
        parser = _build_parser(pupils, block)
        while block:
            parser.Parse(block)
            fed += len(block)
            if fed - parser.CurrentByteIndex > _MAX_TOKEN_BYTES:
                raise _Refused("not-a-return", f"a tag or comment is longer than {_MAX_TOKEN_BYTES >> 20} MB")
            if len(pupils.rows) >= _BATCH_ROWS or (pupils.rows and fed - yielded >= _BATCH_BYTES):
                yielded = fed
                yield pupils.take_rows()
            block = stream.read(_BLOCK_BYTES)
        parser.Parse(b"", True)
        if not pupils.seen:
            raise _Refused("not-a-return", "it has no Pupil element")
        if not pupils.assessed:
            raise _Refused("not-a-return", "no pupil has a result of an early learning goal, as in a school census")
    except expat.ExpatError as error:
        rule = "damaged-file" if error.code in _BREAKS_OFF else "not-well-formed"
        raise build_error(name, rule, f"line {error.lineno}") from None
    except (LookupError, ValueError):
        # the declared encoding is unknown, or a multi-byte one that Expat cannot read
        raise build_error(name, "not-well-formed", "line 1") from None
    except _Refused as refused:
        raise build_error(name, *refused.args) from None
    if pupils.impossible:
        set_aside[IMPOSSIBLE_YEAR] = pupils.impossible
    if pupils.rows:
        yield pupils.take_rows()


def _build_parser(pupils: "_Pupils", start: bytes) -> expat.XMLParserType:
    # text saved from memory has one byte for a character and may still declare UTF-16
    prolog = start.removeprefix(b"\xef\xbb\xbf").partition(b"?>")[0].lower()
    parser = expat.ParserCreate("utf-8" if prolog.startswith(b"<?xml") and b"utf-16" in prolog else None)
    # otherwise Expat would call `text` for each line of a value
    parser.buffer_text, parser.buffer_size = True, _TEXT_BYTES
    parser.StartDoctypeDeclHandler = pupils.refuse_doctype
    parser.StartElementHandler = pupils.start
    parser.EndElementHandler = pupils.end
    parser.CharacterDataHandler = pupils.text
    return parser


@lru_cache(4096)
def _classify_element(name: str) -> tuple[str, bool]:
    """Return an element's name in lower case, without prefix, and whether its text is read."""
    key = name.rpartition(":")[2].lower()
    return key, key in _LEAVES


@lru_cache(4096)
def _find_goal(subject: str, component: str) -> str | None:
    """Return the contract column of an assessment, or `_OLD_GOAL`; None for another component or subject."""
    found = _COMPONENT.fullmatch(component.lower())
    if not found:
        return None
    if found[2][0] == "g":
        return _OLD_GOAL
    goal, subject = _GOALS[found[2]], subject.lower()
    stated = {area for area in (found[1], subject if subject in _AREAS else None) if area}
    return goal if stated <= {goal[:3]} else None


def _convert_year(year: str, *, is_start: bool = False) -> str:
    """Return `202425` for 2025, the year in which it ends, or for 2024 if `is_start`; other text is unchanged."""
    if not re.fullmatch(r"[0-9]{4}", year):
        return year
    ends = int(year) + is_start
    return f"{ends - 1}{ends % 100:02d}"


def _is_impossible(year: str) -> bool:
    """Return whether a year, or the year at the start of a date, is outside 2000 to 2099."""
    return bool(re.match("[0-9]{4}", year)) and not re.match("20[0-9]{2}", year)


_Row = tuple[str | int | None, ...]


class _Pupils:
    """Callbacks of Expat. `rows` collects one tuple per pupil, in the order of `COLUMNS` and then its number;
    `impossible` collects the numbers of pupils that break `IMPOSSIBLE_YEAR`.

    `_path` holds the open elements. A pupil, at `_depth`, is read from the tree of its elements when it ends. Outside
    pupils no tree is built; the attributes of an open element hold the place columns found directly in it.
    """

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self.impossible: list[int] = []
        self.seen = 0
        self.assessed = False
        self._path: list[Element] = []
        self._text: list[str] = []
        self._collecting = False
        self._header: dict[str, str] = {}
        self._impossible_header = False
        self._depth = 0

    def take_rows(self) -> list[_Row]:
        """Return and clear the rows collected so far."""
        rows, self.rows = self.rows, []
        return rows

    def refuse_doctype(self, *_: object) -> None:
        raise _Refused("document-type")

    def start(self, name: str, _: object) -> None:
        key, self._collecting = _classify_element(name) if len(name) <= _LONGEST_NAME else ("", False)
        self._text = []
        if len(self._path) > _MAX_DEPTH:
            raise _Refused("not-a-return", f"its elements are more than {_MAX_DEPTH} deep")
        element = Element(key)
        if self._depth:
            self._path[-1].append(element)
        elif key in PUPILS:
            self._depth = len(self._path) + 1
        self._path.append(element)

    def text(self, data: str) -> None:
        if self._collecting:
            self._text.append(data)
            if sum(map(len, self._text)) > _TEXT_BYTES:
                raise _Refused("not-a-return", f"a value is longer than {_TEXT_BYTES >> 10} kB")

    def end(self, _: str) -> None:
        element = self._path.pop()
        if self._collecting:
            self._collecting = False
            element.text = "".join(self._text).strip()
            if element.text and not self._depth:
                self._keep_shared_leaf(element.tag, element.text)
        elif self._depth and len(self._path) < self._depth:
            self._depth = 0
            self._end_pupil(element)

    def _keep_shared_leaf(self, key: str, value: str) -> None:
        # a value outside the pupils is repeated in the row of each of them
        if len(value) > _LONGEST_NAME:
            raise _Refused("not-a-return", f"what it says of all its pupils is longer than {_LONGEST_NAME} characters")
        within = {element.tag for element in self._path}
        # the school that a transfer file is sent to is not the pupils' own
        if within & ASSESSMENTS or within >= {"header", "destschool"}:
            return
        if "header" not in within:
            if key in PLACE and self._path:
                self._path[-1].attrib.setdefault(PLACE[key], value)
        elif key in PLACE:
            self._header.setdefault(PLACE[key], value)
        elif key in ("academicyear", "year"):
            self._impossible_header |= _is_impossible(value)
            # an academic year is stated by the year in which it starts
            self._header.setdefault(ACADEMIC_YEAR, _convert_year(value, is_start=key == "academicyear"))

    def _end_pupil(self, pupil: Element) -> None:
        self.seen += 1
        columns, is_impossible = dict(self._header), self._impossible_header
        for scope in self._path:
            columns |= scope.attrib
        other_stages = {element for stage in pupil.iter(KEY_STAGE) if not _is_early(stage) for element in stage.iter()}
        results: dict[str, tuple[str, str, str]] = {}
        for within, element in _iter_elements(pupil):
            if element.tag in ASSESSMENTS and (found := _read_assessment(element)):
                goal, *dated, _ = found
                is_impossible |= any(map(_is_impossible, dated))
                # the latest result counts, by year and then by date
                if element not in other_stages and tuple(dated) >= results.get(goal, ("", "", ""))[:2]:
                    results[goal] = found[1:]
            elif element.text:
                _keep_pupil_leaf(columns, within, element.tag, element.text)
        if _OLD_GOAL in results:
            raise _Refused(OLD_GOALS)
        self.assessed |= bool(results)
        if is_impossible:
            self.impossible.append(self.seen)
            return
        columns |= {goal: result for goal, (_, _, result) in results.items()}
        if year := max((year for year, _, _ in results.values()), default=""):
            columns[ACADEMIC_YEAR] = _convert_year(year)
        self.rows.append((*map(columns.get, COLUMNS), self.seen))


def _iter_elements(element: Element, within: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Element]]:
    """Yield every descendant of an element, each after the names of the elements between the two."""
    for child in element:
        yield within, child
        yield from _iter_elements(child, (*within, child.tag))


def _is_early(stage: Element) -> bool:
    """Return whether a key stage is the early years foundation stage, or does not say which it is."""
    named = [leaf.text or "" for leaf in stage if leaf.tag == "stage" and leaf.text]
    return not named or named[-1].upper() in STAGES


def _read_assessment(assessment: Element) -> tuple[str, str, str, str] | None:
    """Return the goal of an assessment, and its result's year, date and code; None if it does not count."""
    facts = {leaf.tag: leaf.text for leaf in assessment if leaf.tag in FACTS and leaf.text}
    result, goal = facts.get("result"), _find_goal(facts.get("subject", ""), facts.get("component", ""))
    counts = facts.get("resultstatus") not in NOT_RESULTS and facts.get("stage", "").upper() in STAGES
    return (goal, facts.get("year", ""), facts.get("resultdate", ""), result) if result and goal and counts else None


def _keep_pupil_leaf(columns: dict[str, str], within: tuple[str, ...], key: str, value: str) -> None:
    """Keep a pupil's value, below the elements `within`. The first name, number or postcode counts."""
    is_own = WRAPPERS.issuperset(within)
    if is_own and key in IDENTITY:
        columns.setdefault(IDENTITY[key], value)
    elif is_own and key in PLACE:
        columns[PLACE[key]] = value
    elif key in POSTCODES and (is_own or within[0] in ADDRESSES):
        columns.setdefault("postcode", value)
