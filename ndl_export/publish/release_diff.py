"""Compares two releases: changes of the schema, and figures that moved by more than the noise of both explains.

The schema is that in `data_dictionary.csv`: tables, their columns, and the categories of the filters. Its version
(`schema.SCHEMA_VERSION`) is semantic. Removing something or changing its meaning is major, because an existing query
may fail; adding something is minor; correcting text, decimals or order is a patch.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.analyst_db.changes import HEADER, TableChanges, compare
from ndl_export.facts.on_request import merge_tables
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, PublishedRelease, read_release
from ndl_export.tables.schema import KEY_ROLES, OWN_AREA

Fields = Mapping[str, str]
Dictionary = dict[str, dict[str, Fields]]
"""Lines of a data dictionary by table and column, in its order."""

_MEANING = ("role", "type", "unit")
_WORDS = ("label", "description", "decimals")
_BETWEEN = " | "


class Weight(IntEnum):
    """The part of the version that a change raises, by its position; the heaviest of several changes counts."""

    MAJOR = 0
    MINOR = 1
    PATCH = 2


@dataclass(frozen=True)
class SchemaChange:
    """A change: its weight, its place (a change of a whole table has no column), and what changed."""

    weight: Weight
    table: str
    column: str
    category: str
    what: str


def read_dictionary(content: str) -> Dictionary:
    """Read the schema in a `data_dictionary.csv`. Raises ValueError if it is not a data dictionary."""
    found: Dictionary = {}
    for line in csv.DictReader(io.StringIO(content)):
        # `csv` gives None for the fields that a short line lacks.
        if not line.get("table") or not line.get("column") or None in line.values():
            raise ValueError("it is not a data dictionary")
        found.setdefault(line["table"], {})[line["column"]] = line
    if not found:
        raise ValueError("it has no columns")
    return found


def compute_next_version(version: str, changes: Sequence[SchemaChange]) -> str:
    """Return the version that the changes need after `version`, which is written major.minor.patch."""
    if not changes:
        return version
    raised = min(change.weight for change in changes)
    *before, last = map(int, version.split(".")[: raised + 1])
    return ".".join(map(str, (*before, last + 1, *[0] * (Weight.PATCH - raised))))


_KINDS = (("table", "tables"), ("column", "columns"), ("category", "categories"))
"""Singular and plural of what a schema holds, at each depth."""


def list_schema_changes(before: Mapping[str, Any], now: Mapping[str, Any], *place: str) -> list[SchemaChange]:
    """List every change from `before` to `now`, in order: of all tables, or of a table's columns or a column's levels.

    Both are a `Dictionary`, or the part of one at `place`.
    """
    found: list[SchemaChange] = []
    kind, kinds = _KINDS[len(place)]
    for name in dict.fromkeys((*before, *now)):
        here = (*place, name)
        if name not in now:
            found.append(_build_change(Weight.MAJOR, here, f"{kind} removed"))
        elif name not in before:
            # A new key column changes what a row is about: queries that do not filter by it return too many rows.
            # The columns of a row's own area are an exception: they follow from the other place columns.
            is_key = kind == "column" and now[name]["role"] in KEY_ROLES and name not in OWN_AREA
            found.append(_build_change(Weight.MAJOR if is_key else Weight.MINOR, here, f"{kind} added"))
        elif kind == "table":
            found += list_schema_changes(before[name], now[name], *here)
        elif kind == "column":
            found += _iter_field_changes(before[name], now[name], here)
            old, new = (dict.fromkeys(filter(None, line[name]["levels"].split(_BETWEEN))) for line in (before, now))
            found += list_schema_changes(old, new, *here)
    in_both = [name for name in before if name in now]
    if place and in_both != [name for name in now if name in before]:
        found.append(_build_change(Weight.PATCH, place, f"order of {kinds} changed"))
    return found


def _iter_field_changes(before: Fields, now: Fields, place: tuple[str, ...]) -> Iterator[SchemaChange]:
    for names, weight in ((_MEANING, Weight.MAJOR), (_WORDS, Weight.PATCH)):
        for name in names:
            if before[name] != now[name]:
                what = f"{name} changed from {before[name] or 'none'!r} to {now[name] or 'none'!r}"
                yield _build_change(weight, place, what)


def _build_change(weight: Weight, place: tuple[str, ...], what: str) -> SchemaChange:
    table, column, category = (*place, "", "")[:3]
    return SchemaChange(weight, table, column, category, what)


class NotABundle(Exception):
    """A folder that is not a release bundle; the message names it."""


@dataclass(frozen=True)
class Side:
    """One of the two releases, with its schema and schema version."""

    release: PublishedRelease
    dictionary: Dictionary
    schema_version: str


@dataclass(frozen=True)
class ReleaseDiff:
    """Changes from `before` to `now`: in the schema, and in the compared figures of each table."""

    before: Side
    now: Side
    changes: Sequence[SchemaChange]
    figures: Mapping[str, TableChanges]

    @property
    def requested(self) -> tuple[list[str], list[str]]:
        """Names of the tables on request that were added, and of those that were removed."""
        before, now = ({each.name for each in side.release.requested} for side in (self.before, self.now))
        return sorted(now - before), sorted(before - now)

    @property
    def asked_for(self) -> str:
        """The schema version that the changes need."""
        return compute_next_version(self.before.schema_version, self.changes)

    @property
    def not_compared(self) -> tuple[str, ...]:
        """Tables in both releases whose rows are redefined or unknown to this software."""
        return tuple(
            name for name in self.now.dictionary if name in self.before.dictionary and name not in self.figures
        )

    def build_document(self) -> dict[str, Any]:
        """Return JSON-ready values; `moved` has one object per figure, with the columns of `changes.csv`."""
        has_requests = any(side.release.requested for side in (self.before, self.now))
        return (
            {
                side: {"release": one.release.version, "schema_version": one.schema_version}
                for side, one in (("before", self.before), ("now", self.now))
            }
            | {
                "schema_changes": [asdict(each) | {"weight": each.weight.name.lower()} for each in self.changes],
                "schema_version_asked_for": self.asked_for,
                "figures": {name: _build_figures(one) for name, one in self.figures.items()},
                "not_compared": list(self.not_compared),
            }
            | ({"tables_on_request": dict(zip(("new", "gone"), self.requested, strict=True))} if has_requests else {})
        )


def _build_figures(one: TableChanges) -> dict[str, Any]:
    """Return the comparison of a table, JSON-ready."""
    sharper = {"changed": one.changed, "median_width_ratio": one.width_ratio} if one.width_ratio is not None else {}
    return {
        "compared": one.compared,
        "moved": [dict(zip(HEADER, line, strict=True)) for line in one.moved],
        "rows_added": one.added,
        "rows_left_out": one.left_out,
    } | sharper


def diff(before: Path, now: Path) -> ReleaseDiff:
    """Compare the bundles in two folders; signatures are not checked. Raises `NotABundle`."""
    old, new = _read_side(before), _read_side(now)
    changes = list_schema_changes(_drop_requested_tables(old, new), _drop_requested_tables(new, old))
    sharpened = old.release.find_sharpened(new.release)
    defined = merge_tables(new.release.requested)
    return ReleaseDiff(old, new, changes, compare(new.release.tables, old.release, defined, sharpened))


def _drop_requested_tables(side: Side, other: Side) -> Dictionary:
    """Return the schema without requested tables that the other release lacks."""
    # A requested table belongs to a release, not to the schema.
    own = {each.name for each in side.release.requested} - other.dictionary.keys()
    return {table: columns for table, columns in side.dictionary.items() if table not in own}


def _read_side(folder: Path) -> Side:
    try:
        package = json.loads((folder / DATAPACKAGE_FILE).read_text(encoding="utf-8"))
        dictionary = read_dictionary((folder / "data_dictionary.csv").read_text(encoding="utf-8"))
        side = Side(read_release(folder), dictionary, package["schemaVersion"])
        # Read here, so that a damaged file is reported as an error of this folder.
        _ = side.release.tables, side.release.epsilon
        return side
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        missing = f"it has no {Path(error.filename).name}" if isinstance(error, FileNotFoundError) else str(error)
        raise NotABundle(f"{folder} is not the folder of a release bundle: {missing}") from None
