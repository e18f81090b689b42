"""What changed between two releases: their schema, and figures that moved by more than the noise of both explains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndl_export.documents.changes import HEADER, Compared, compare
from ndl_export.facts.previous import Previous, read_release
from ndl_export.tables.schema_changes import Dictionary, SchemaChange, next_version, read_dictionary, schema_changes


class NotABundle(Exception):
    """A folder that is no release bundle; the message names it."""


@dataclass(frozen=True)
class Side:
    """One of the two: the release, its schema, and the version of that schema, None where it states none."""

    release: Previous
    dictionary: Dictionary
    schema_version: str | None


@dataclass(frozen=True)
class ReleaseDiff:
    """From `before` to `now`: changes of the schema, and by table the figures compared."""

    before: Side
    now: Side
    changes: tuple[SchemaChange, ...]
    figures: Mapping[str, Compared]

    @property
    def asked_for(self) -> str | None:
        """The schema version that the changes ask for; None where the older release states none."""
        stated = self.before.schema_version
        return next_version(stated, self.changes) if stated else None

    @property
    def not_compared(self) -> tuple[str, ...]:
        """Tables of both whose figures cannot be compared, since rows are defined anew or not known to this version."""
        return tuple(
            name for name in self.now.dictionary if name in self.before.dictionary and name not in self.figures
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; `moved` has one object a figure, with the columns of `changes.csv`."""
        return {
            side: {"release": one.release.version, "schema_version": one.schema_version}
            for side, one in (("before", self.before), ("now", self.now))
        } | {
            "schema_changes": [asdict(each) | {"weight": each.weight.name.lower()} for each in self.changes],
            "schema_version_asked_for": self.asked_for,
            "figures": {
                name: {
                    "compared": one.compared,
                    "moved": [dict(zip(HEADER, line, strict=True)) for line in one.moved],
                    "rows_added": one.added,
                    "rows_left_out": one.left_out,
                }
                for name, one in self.figures.items()
            },
            "not_compared": list(self.not_compared),
        }


def diff(before: Path, now: Path) -> ReleaseDiff:
    """Compare the bundles in two folders; signatures are not checked. Raises `NotABundle`."""
    old, new = _side(before), _side(now)
    changes = schema_changes(old.dictionary, new.dictionary)
    return ReleaseDiff(old, new, changes, compare(new.release.tables, old.release))


def _side(folder: Path) -> Side:
    try:
        package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
        dictionary = read_dictionary((folder / "data_dictionary.csv").read_text(encoding="utf-8"))
        return Side(read_release(folder), dictionary, package.get("schemaVersion"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        missing = f"it has no {Path(error.filename).name}" if isinstance(error, FileNotFoundError) else str(error)
        raise NotABundle(f"{folder} is not the folder of a release bundle: {missing}") from None
