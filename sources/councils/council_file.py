"""A council's file: where it lies, and what it says of each source.

All of it is checked, so that whoever writes it hears of every mistake at once.

    council: leeds
    sources:
      eyfsp:
        delimiter: "|"                     # default ","
        sheet: Summer 2025                 # of a workbook; by default the one with the extract's columns
        encoding: windows-1252             # default utf-8
        date_format: "%d/%m/%Y"            # default %Y-%m-%d (strptime); or a list
        columns: {upn: Pupil UPN}          # contract column: the council's own heading
        codes: {sex: {Male: M}}            # contract column: {the council's value: contract code}
        constants: {la_code: 383}
        derived: {surname: {from: Child name, pattern: '^([^,]+),'}}
        parts: changes                     # or cumulative, incremental; seen from the parts where it is not said
        deleted: {Record status: D}        # with changes: the council's column and the value that deletes a record

Every value is read as text, so `No`, `0383` and `1` mean what they say. docs/council-files.md has all of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode

from privacy.doors.environment import settings
from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.councils.date_formats import ambiguity, format_fault, is_date
from sources.councils.dialect import (
    CONTRACT_DIALECT,
    Characters,
    Deletion,
    Derived,
    Dialect,
    Filled,
    FirstOf,
    Join,
    Parts,
    Pattern,
    pattern_fault,
)
from sources.councils.problems import InvalidCouncilFile, Nodes, Problem, compose, perhaps
from sources.reference.places import Place, UnknownCouncil, place, places, resolve

__all__ = ["CONTRACT_DIALECT", "CouncilFile", "Dialect", "InvalidCouncilFile", "council_file", "load"]

_T = TypeVar("_T")

SHIPPED = Path(__file__).parent
_FILE_KEYS = ("council", "sources")
_SOURCE_KEYS = (
    "delimiter",
    "encoding",
    "date_format",
    "date_formats",
    "columns",
    "codes",
    "constants",
    "derived",
    "parts",
    "deleted",
    "sheet",
)
_OPERATIONS = {
    "pattern": ("from", "pattern"),
    "characters": ("from", "characters"),
    "filled": ("from", "filled", "blank"),
    "join": ("join", "with"),
    "first_of": ("first_of",),
}
_DERIVED_KEYS = tuple(dict.fromkeys(key for keys in _OPERATIONS.values() for key in keys))
_FORMS = (
    "{from: Heading, pattern: '(...)'}, {from: Heading, characters: 1-3}, {from: Heading, filled: Y, blank: N},"
    " {join: [Heading, Heading], with: '-'} or {first_of: [Heading, Heading]}"
)


@dataclass(frozen=True)
class CouncilFile:
    """A council and its dialect of each source it sends."""

    council: str
    sources: Mapping[str, Dialect] = field(default_factory=dict)

    def dialect(self, source: str) -> Dialect:
        return self.sources.get(source, CONTRACT_DIALECT)


def council_file(council: str) -> CouncilFile:
    """The dialects of `council`; the contract's own form where it has no file.

    Raises `UnknownCouncil` and `InvalidCouncilFile`.
    """
    place(council)
    for folder in (*_operators_folder(council), SHIPPED):
        path = folder / f"{council}.yaml"
        if path.is_file():
            status = path.stat()
            return _load_once(path, status.st_mtime_ns, status.st_size)
    return CouncilFile(council)


@lru_cache(maxsize=512)
def _load_once(path: Path, mtime_ns: int, size: int) -> CouncilFile:
    """`load`, again only when the file has changed."""
    return load(path)


def _operators_folder(council: str) -> tuple[Path, ...]:
    """The installation's own folder, before the shipped one; a file there that would be passed over for its name is
    refused."""
    folder = settings().councils
    if folder is None:
        return ()
    for path in folder.iterdir():
        stem, ending = path.stem.lower(), path.suffix.lower()
        if ending in (".yaml", ".yml") and stem == council and path.name != f"{council}.yaml":
            raise InvalidCouncilFile([Problem(path.name, 1, 1, f"the file must be called {council}.yaml")])
    return (folder,)


def load(path: Path) -> CouncilFile:
    """Read and check one council file; raises `InvalidCouncilFile` with all that is wrong with it."""
    nodes = Nodes(path.name)
    root = compose(path, nodes, "'council' and 'sources'")
    if not isinstance(root, MappingNode):
        if root is not None:
            nodes.problem(root, "the file must be a mapping of council and sources")
        raise InvalidCouncilFile(nodes.problems)
    known = {
        name: (key, value)
        for name, key, value in nodes.known(root, "the file", "council and sources", _FILE_KEYS, "a key of the file")
    }
    for name in _FILE_KEYS:
        if name not in known:
            nodes.problem(root, f"the file has no {name!r}")
    council = _council(path, nodes, known["council"][1] if "council" in known else root)
    dialects = {}
    if "sources" in known:
        listed = nodes.known(
            known["sources"][1], "sources", f"sources: {', '.join(CONTRACTS)}", tuple(CONTRACTS), "a source"
        )
        for name, key, value in listed:
            dialects[name] = _Source(nodes, CONTRACTS[name], council).read(key, value)
    if nodes.problems:
        raise InvalidCouncilFile(nodes.problems)
    return CouncilFile(path.stem, dialects)


def _council(path: Path, nodes: Nodes, node: Node) -> Place | None:
    if path.stem not in places():
        try:
            rename = f"; call it {resolve(path.stem).council}.yaml"
        except UnknownCouncil:
            rename = perhaps(path.stem, tuple(places()))
        nodes.problem(None, f"the file must be called after an English authority, as leeds.yaml{rename}")
    if not isinstance(node, ScalarNode):
        return None
    try:
        named = resolve(node.value)
    except UnknownCouncil as error:
        nodes.problem(node, f"council: {error}")
        return None
    if path.stem in places() and named.council != path.stem:
        nodes.problem(node, f"council is {named.council!r} and the file is called {path.name}; make them the same")
        return None
    return place(named.council)


class _Source:
    """Reads what a council file says of one source."""

    def __init__(self, nodes: Nodes, contract: SourceContract, council: Place | None) -> None:
        self.nodes, self.contract, self.council = nodes, contract, council
        self.names = tuple(column.name for column in contract.columns)
        self.where = f"sources.{contract.name}"

    def read(self, key: Node, node: Node) -> Dialect:
        holds = ", ".join(_SOURCE_KEYS)
        entries = {
            name: value
            for name, _, value in self.nodes.known(node, self.where, holds, _SOURCE_KEYS, "a key of a source")
        }
        default = CONTRACT_DIALECT
        formats = self._formats(entries["date_format"], "date_format") if "date_format" in entries else ()
        formats = formats or default.date_formats
        column_formats = self._each(entries, "date_formats", self._column_formats)
        codes = self._each(entries, "codes", self._codes)
        columns = self._each(entries, "columns", self._heading)
        dialect = Dialect(
            delimiter=self._plain(entries, "delimiter", _delimiter_fault) or default.delimiter,
            encoding=self._plain(entries, "encoding", _encoding_fault) or default.encoding,
            date_formats=formats,
            column_date_formats=column_formats,
            columns=columns,
            codes=codes,
            constants=self._each(
                entries,
                "constants",
                lambda column, at: self._constant(
                    column, at, codes.get(column.name, {}), column_formats.get(column.name, formats)
                ),
            ),
            derived=self._each(entries, "derived", self._derived),
            parts=self._parts(entries),
            deleted=self._deletion(entries),
            sheet=self._plain(entries, "sheet", _sheet_fault),
        )
        self._one_origin_each(entries)
        self._one_column_each(entries, columns)
        return dialect

    def _each(self, entries: Mapping[str, Node], key: str, read: Callable[[Column, Node], _T | None]) -> dict[str, _T]:
        """`read` of every entry of the mapping `key`, by contract column; those it cannot read are left out."""
        if key not in entries:
            return {}
        called = f"a column of {self.contract.name}"
        listed = self.nodes.known(entries[key], f"{self.where}.{key}", "contract columns", self.names, called)
        found = ((name, read(self.contract[name], value)) for name, _, value in listed)
        return {name: value for name, value in found if value is not None}

    def _plain(self, entries: Mapping[str, Node], key: str, fault: Callable[[str], str | None]) -> str | None:
        """A text that `fault` finds nothing wrong with."""
        if key not in entries or (text := self.nodes.text(entries[key], f"{self.where}.{key}", or_empty=True)) is None:
            return None
        if sentence := fault(text):
            self.nodes.problem(entries[key], f"{self.where}.{key} {sentence}")
            return None
        return text

    def _parts(self, entries: Mapping[str, Node]) -> Parts | None:
        known = ", ".join(Parts)
        text = self._plain(entries, "parts", lambda said: None if said in set(Parts) else f"must be one of {known}")
        if text == Parts.CHANGES and "deleted" not in entries:
            self.nodes.problem(
                entries["parts"],
                f"{self.where}.parts: changes need 'deleted': {{Heading: value}}, the column and value that delete a"
                " record; where none does, write incremental",
            )
        return Parts(text) if text else None

    def _deletion(self, entries: Mapping[str, Node]) -> Deletion | None:
        if "deleted" not in entries:
            return None
        node, where = entries["deleted"], f"{self.where}.deleted"
        said = self.nodes.mapping(node, where, "the column that marks deletions to its value, or a list of values")
        if len(said) != 1:
            self.nodes.problem(node, f"{where} must name one column, as {{Record status: D}}")
            return None
        if "parts" not in entries or self.nodes.text(entries["parts"], f"{self.where}.parts") != Parts.CHANGES:
            self.nodes.problem(node, f"{where} goes with 'parts: changes' alone")
        ((heading, (_, values)),) = said.items()
        texts = tuple(text.strip() for _, text in self.nodes.texts(values, f"{where}.{heading}"))
        return Deletion(heading.strip(), texts) if all(texts) and texts else None

    def _formats(self, node: Node, key: str) -> tuple[str, ...]:
        where = f"{self.where}.{key}"
        sound = []
        for at, form in self.nodes.texts(node, where):
            if sentence := format_fault(form):
                self.nodes.problem(at, f"{where}: {form!r} {sentence}")
            else:
                sound.append(form)
        formats = tuple(dict.fromkeys(sound))
        if sentence := ambiguity(formats):
            self.nodes.problem(node, f"{where}: {sentence}")
        return formats

    def _column_formats(self, column: Column, node: Node) -> tuple[str, ...] | None:
        if column.kind is not Kind.DATE:
            dates = [other.name for other in self.contract.columns if other.kind is Kind.DATE]
            self.nodes.problem(
                node, f"{self.where}.date_formats.{column.name}: the column is no date; dates are {', '.join(dates)}"
            )
            return None
        return self._formats(node, f"date_formats.{column.name}") or None

    def _heading(self, column: Column, node: Node) -> str | None:
        heading = self.nodes.text(node, f"{self.where}.columns.{column.name}")
        return heading.strip() if heading else None

    def _codes(self, column: Column, node: Node) -> dict[str, str] | None:
        where = f"{self.where}.codes.{column.name}"
        mapping: dict[str, str] = {}
        folded: dict[str, str] = {}
        for value, (key, target) in self.nodes.mapping(node, where, "a value in the file to a contract code").items():
            code = self.nodes.text(target, f"{where}.{value}", or_empty=True)
            value = value.strip()
            if sentence := _unreachable(column, value, folded):
                self.nodes.problem(key, f"{where}: {sentence}")
            folded.setdefault(value.lower(), value)
            if code is None:
                continue
            if sentence := _wrong_code(column, code.strip()):
                self.nodes.problem(target, f"{where}: {sentence}")
            mapping[value] = code.strip()
        return mapping or None

    def _constant(self, column: Column, node: Node, codes: Mapping[str, str], formats: tuple[str, ...]) -> str | None:
        where = f"{self.where}.constants.{column.name}"
        text = self.nodes.text(node, where)
        if text is None:
            return None
        value = text.strip()
        if sentence := _wrong_constant(column, value, codes, formats, self.council):
            self.nodes.problem(node, f"{where}: {sentence}")
        return value

    def _derived(self, column: Column, node: Node) -> Derived | None:
        where = f"{self.where}.derived.{column.name}"
        entries = {
            name: value
            for name, _, value in self.nodes.known(node, where, _FORMS, _DERIVED_KEYS, "a key of a derived column")
        }
        if node.value and not entries:
            return None
        operations = [name for name in _OPERATIONS if name in entries]
        if len(operations) != 1:
            said = f"has {' and '.join(operations)}" if operations else "does not say how it is made"
            self.nodes.problem(node, f"{where} {said}; write one of {_FORMS}")
            return None
        (operation,) = operations
        for name in entries.keys() - set(_OPERATIONS[operation]):
            self.nodes.problem(
                entries[name], f"{where}: {name!r} does not go with {operation!r}; write one of {_FORMS}"
            )
        source = "from" if "from" in _OPERATIONS[operation] else operation
        if source not in entries:
            self.nodes.problem(node, f"{where} has no 'from': the heading that it is made from")
            return None
        inputs = tuple(text.strip() for _, text in self.nodes.texts(entries[source], where))
        if source == "from" and len(inputs) > 1:
            self.nodes.problem(entries[source], f"{where}.from must be one heading; join and first_of take several")
        if source != "from" and len(inputs) < 2:
            self.nodes.problem(entries[source], f"{where}.{source} needs two headings or more, in [ ]")
        return self._operation(operation, entries, inputs, where) if inputs else None

    def _operation(
        self, operation: str, entries: Mapping[str, Node], inputs: tuple[str, ...], where: str
    ) -> Derived | None:
        if operation == "first_of":
            return FirstOf(inputs)
        if operation == "join":
            separator = self.nodes.text(entries["with"], f"{where}.with", or_empty=True) if "with" in entries else ""
            return None if separator is None else Join(inputs, separator)
        at = entries[operation]
        text = self.nodes.text(at, f"{where}.{operation}")
        if text is None:
            return None
        if operation == "pattern":
            if sentence := pattern_fault(text):
                self.nodes.problem(at, f"{where}.pattern {sentence}")
            return Pattern(inputs, text)
        if operation == "characters":
            span = re.fullmatch(r"\s*([1-9]\d{0,3})\s*(?:-\s*([1-9]\d{0,3})\s*)?", text)
            first, last = (int(span[1]), int(span[2] or span[1])) if span else (1, 0)
            if first > last:
                self.nodes.problem(at, f"{where}.characters must be two positions from 1, as 1-3")
            return Characters(inputs, first, last)
        blank = self.nodes.text(entries["blank"], f"{where}.blank", or_empty=True) if "blank" in entries else ""
        return None if blank is None else Filled(inputs, text, blank)

    def _one_origin_each(self, entries: Mapping[str, Node]) -> None:
        """A contract column is mapped, constant or derived, one of the three."""
        seen: dict[str, tuple[str, Node]] = {}
        for kind in ("columns", "constants", "derived"):
            node = entries.get(kind)
            if not isinstance(node, MappingNode):
                continue
            for key, _ in node.value:
                name = key.value
                if not isinstance(name, str) or name not in self.names:
                    continue
                first, at = seen.setdefault(name, (kind, key))
                if first != kind:
                    line = at.start_mark.line + 1
                    self.nodes.problem(
                        key, f"{self.where}.{kind}: {name} also stands under {first}, on line {line}; keep one"
                    )

    def _one_column_each(self, entries: Mapping[str, Node], columns: Mapping[str, str]) -> None:
        """A heading gives one contract column; where it must give two, they are derived."""
        node = entries.get("columns")
        if not isinstance(node, MappingNode):
            return
        seen: dict[str, tuple[str, Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in columns:
                continue
            heading = " ".join(columns[name].lower().split())
            first, at = seen.setdefault(heading, (name, value))
            if first != name:
                line = at.start_mark.line + 1
                self.nodes.problem(
                    value,
                    f"{self.where}.columns: {columns[name]!r} is mapped to {first} on line {line} and to {name} here;"
                    " keep one, or make the second under 'derived'",
                )
            elif heading in self.names and heading != name and heading not in columns:
                self.nodes.problem(
                    value,
                    f"{self.where}.columns: {columns[name]!r} is the contract's name of another column, which would be"
                    f" read from it too; map {heading} as well",
                )


def _delimiter_fault(text: str) -> str | None:
    if text in ("\\t", "tab"):
        return 'must be one character; write a tab as "\\t", in double quotes'
    if len(text) != 1:
        return f"must be one character, not {len(text)}"
    if text.isalnum() or text in "\"'\r\n " or not text.isascii():
        return "must be a character that parts columns, such as ; | , or a tab"
    return None


def _sheet_fault(text: str) -> str | None:
    return None if text.strip() else "must be the name of a sheet; leave it out where the columns tell the sheet"


def _encoding_fault(text: str) -> str | None:
    known = ("utf-8", "utf-8-sig", "utf-16", "windows-1252", "latin-1", "iso-8859-15", "cp850")
    try:
        codec = codecs.lookup(text.strip())
        "".encode(codec.name)  # refuses codecs that are not of text
    except (LookupError, ValueError):
        return f"{text!r} is not the name of an encoding{perhaps(text, known)}"
    return None


def _unreachable(column: Column, value: str, seen: Mapping[str, str]) -> str | None:
    """Why a value of a code map can never be met."""
    if not value:
        return "a blank value needs no code"
    if value.lower() in seen:
        return f"{value!r} and {seen[value.lower()]!r} are the same value; letter case makes no difference"
    if column.kind is Kind.CODE and re.fullmatch(r"\d+\.0+", value):
        return f"{value!r} is never met: whole numbers lose their .0; write {value.partition('.')[0]!r}"
    return None


def _wrong_code(column: Column, code: str) -> str | None:
    if not code:
        return None
    if column.kind is Kind.CODE:
        accepted = tuple(column.codes or ())
        return (
            None
            if column.code_of(code) is not None
            else f"{code!r} is not a code of the contract{perhaps(code, accepted)}"
        )
    if column.role is Role.IDENTIFIER or column.kind is not Kind.TEXT:
        return f"{column.name} has no codes; a value can only be mapped to '', which makes it blank"
    return None


def _wrong_constant(
    column: Column, value: str, codes: Mapping[str, str], formats: tuple[str, ...], council: Place | None
) -> str | None:
    if column.role is Role.IDENTIFIER:
        return "an identifier is not the same in every row"
    if column.name == "la_code" and council and value not in (council.old_la_code, council.new_la_code):
        return f"{value!r} is not {council.la_name}'s code; it is {council.old_la_code} or {council.new_la_code}"
    match column.kind:
        case Kind.CODE:
            accepted = {**(column.codes or {}), **codes}
            known = value.lower() in {code.lower() for code in accepted}
            if not known and column.code_of(value) is None:
                return f"{value!r} is not a code of the contract{perhaps(value, tuple(accepted))}"
        case Kind.DATE if not is_date(value, formats):
            return f"{value!r} is not a date written {' or '.join(formats)}, or 2024-02-29"
        case Kind.INTEGER | Kind.DECIMAL if not _is_number(column, value):
            return f"{value!r} is not a number that {column.name} may have"
    return None


def _is_number(column: Column, value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    low = column.minimum if column.minimum is not None else number
    high = column.maximum if column.maximum is not None else number
    return low <= number <= high and (column.kind is Kind.DECIMAL or number.is_integer())
