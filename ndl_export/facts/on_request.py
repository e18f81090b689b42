"""Requested tables of a release, in addition to its standard tables, and the noisy counts measured for them.

`on_request.json` has the definition of each table, who requested it and why; a release without requested tables has no
such file. Counts measured for them later than the cohort itself have a plan for each cohort, family and release,
`noise_plan_<family>_<cohort>_<release>.json`, and their cells are in `noisy_counts_on_request.parquet`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ndl_export.facts.noisy_counts import SCHEMA as COUNTS, NoisyCounts, format_cells
from ndl_export.files.whole_files import format_json
from ndl_export.pages.number_format import format_day
from ndl_export.tables import FAMILIES, TABLES, Table
from ndl_export.tables.definition import Definition, InvalidDefinition, build_table, read_definition
from privacy.linkage.cells import REVIEW

ON_REQUEST_FILE = "on_request.json"
FURTHER_COUNTS_FILE = "noisy_counts_on_request.parquet"
FURTHER_SCHEMA = pa.schema(
    [
        pa.field(
            "release", pa.string(), nullable=False, metadata={"description": "Release that the cells were drawn for"}
        ),
        *COUNTS,
    ]
)
TAKEN = frozenset(
    (
        *TABLES,
        *("changes", "data_dictionary", "noise_covariance", "noisy_counts", "noisy_counts_on_request"),
        *("reconciliation", "current", "release", "requests", "request_charges", "gld_by_group", "figure"),
        *("councils_compared", "distance_to_target", "free_school_meal_gap"),
        *("cover", "contents", "notes", "symbols", "synthetic_children"),
    )
)
"""Names that a requested table cannot have, because they belong to files of a bundle, tables and views of the analyst
database, sheets of the workbook, or files of synthetic children."""
# With this ending, a table's CSV file would have the name of another table's file with all rows.
_TAKEN_ENDING = "_all_rows"


def is_taken(name: str) -> bool:
    """Return whether the name is already used in a release."""
    return name in TAKEN or name.endswith(_TAKEN_ENDING)


# A bundle states these names, and they become names of files to read: none may lead out of its folder.
_PLAN_FILE = re.compile(r"noise_plan_[a-z]+_[0-9]{6}_[0-9.]+\.json")
_TABLE_NAME = re.compile(r"[a-z0-9_]+")


class RequestMeasurement(NamedTuple):
    """A further measurement on request: one family of one cohort, for one release."""

    cohort: str
    family: str
    release: str

    @property
    def plan_file(self) -> str:
        return f"noise_plan_{self.family}_{self.cohort}_{self.release}.json"


@dataclass(frozen=True)
class RequestedTable:
    """A requested table: its definition, its cohorts, and the first release that published it.

    `asked_on` is written 2026-11-27. Raises `InvalidDefinition` if the name is already used.
    """

    definition: Definition
    family: str
    cohorts: tuple[str, ...]
    release: str
    asked_by: str
    asked_on: str
    purpose: str

    def __post_init__(self) -> None:
        if is_taken(self.name):
            raise InvalidDefinition(f"name: {self.name} is already the name of something else in a release")

    @property
    def name(self) -> str:
        return self.definition.name

    @cached_property
    def table(self) -> Table:
        return build_table(self.definition, FAMILIES[self.family])

    @property
    def origin(self) -> str:
        """Sentences on who requested it and why; the last has no full stop."""
        request = f"{self.asked_by} asked for it on {format_day(self.asked_on)}"
        return f"On request: {request}. Purpose: {self.purpose.rstrip('.')}. First in release {self.release}"

    def build_document(self) -> dict[str, Any]:
        """Return the request as JSON-ready values."""
        # Once used, `table` is in `vars` too, because it is cached there.
        own = {key: value for key, value in vars(self).items() if key not in ("definition", "table")}
        return own | {"cohorts": list(self.cohorts), "definition": self.definition.model_dump(mode="json")}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "RequestedTable":
        """Read a request. Raises KeyError, TypeError or `InvalidDefinition` (a ValueError) if it is not valid."""
        facts = dict(document)
        definition = read_definition(facts.pop("definition"))
        found = cls(definition, **facts | {"cohorts": tuple(facts["cohorts"])})
        # Built here, so that a definition that does not fit its family is an error of reading.
        _ = found.table
        return found


@dataclass(frozen=True, eq=False)
class OnRequest:
    """The requested tables of a release, in order of publication, and what was measured for them or for a review."""

    tables: tuple[RequestedTable, ...] = ()
    noisy_counts: Mapping[RequestMeasurement, NoisyCounts] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tables or self.noisy_counts)

    @property
    def is_reviewed(self) -> bool:
        """Whether a clerical review of links was measured."""
        return any(each.family == REVIEW for each in self.noisy_counts)

    @cached_property
    def definitions(self) -> dict[str, Table]:
        """Table definitions, by name."""
        return {each.name: each.table for each in self.tables}

    @cached_property
    def origins(self) -> dict[str, str]:
        """Who requested each table, in sentences, by its name."""
        return {each.name: each.origin for each in self.tables}

    def select_cohort(self, cohort: str) -> dict[str, Table]:
        """Return every table with rows of the cohort, by name: the standard tables first."""
        return merge_tables(each for each in self.tables if cohort in each.cohorts)

    @property
    def plan_files(self) -> dict[RequestMeasurement, str]:
        return {each: each.plan_file for each in sorted(self.noisy_counts)}

    @property
    def files(self) -> frozenset[str]:
        """Names of the files that requests add to a bundle, except the files of the tables themselves."""
        counts = (FURTHER_COUNTS_FILE, *self.plan_files.values()) if self.noisy_counts else ()
        return frozenset((ON_REQUEST_FILE, *counts) if self else ())

    def build_files(self, version: str) -> dict[str, bytes]:
        """Return the files named in `files`, by name."""
        if not self:
            return {}
        measured = sorted(self.noisy_counts)
        listed = {
            "tables": [each.build_document() for each in self.tables],
            "measured": [each._asdict() for each in measured],
        }
        found = {ON_REQUEST_FILE: format_json(listed)}
        if measured:
            cells = pa.concat_tables(_build_cells(each, self.noisy_counts[each]) for each in measured)
            found[FURTHER_COUNTS_FILE] = format_cells(cells, version)
        return found | {each.plan_file: self.noisy_counts[each].plan for each in measured}

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> "OnRequest":
        """Read the requests from a bundle's files, by name; empty if there is no `on_request.json`.

        Raises ValueError, KeyError, TypeError or `pa.ArrowException` if the files are not valid.
        """
        if ON_REQUEST_FILE not in files:
            return cls()
        document = json.loads(files[ON_REQUEST_FILE])
        tables = tuple(RequestedTable.from_document(each) for each in document["tables"])
        measured = [RequestMeasurement(**each) for each in document["measured"]]
        cells = FURTHER_SCHEMA.empty_table()
        if measured:
            cells = pq.ParquetFile(pa.BufferReader(files[FURTHER_COUNTS_FILE])).read()
        drawn = {}
        for each in measured:
            own = cells.filter(pc.equal(cells["release"], each.release)).drop_columns(["release"])
            drawn[each] = NoisyCounts.read(files[each.plan_file], own, each.cohort, each.family)
        # Each plan reads only its own cells, so cells that no plan names would go unnoticed.
        if sum(len(own) for own in map(_build_cells, drawn, drawn.values())) != len(cells):
            raise ValueError(f"{FURTHER_COUNTS_FILE} holds cells that no plan names")
        return cls(tables, drawn)

    @classmethod
    def read_bundle(cls, bundle: Path) -> "OnRequest":
        """Read the requests from a bundle's folder."""
        if not (bundle / ON_REQUEST_FILE).is_file():
            return cls()
        own = {ON_REQUEST_FILE: (bundle / ON_REQUEST_FILE).read_bytes()}
        return cls.read(own | {name: (bundle / name).read_bytes() for name in cls.list_names(own)[1]})

    @staticmethod
    def list_names(files: Mapping[str, bytes]) -> tuple[tuple[str, ...], frozenset[str]]:
        """Return the requested tables in `on_request.json`, and the files that it implies except the tables' own.

        If it is unreadable, there are no tables, and only the file itself.
        """
        try:
            document = json.loads(files[ON_REQUEST_FILE])
            tables = [each["definition"]["name"] for each in document["tables"]]
            plans = [RequestMeasurement(**each).plan_file for each in document["measured"]]
            tables = [name for name in tables if _TABLE_NAME.fullmatch(name)]
            plans = [name for name in plans if _PLAN_FILE.fullmatch(name)]
        except (KeyError, TypeError, ValueError):
            return (), frozenset((ON_REQUEST_FILE,)) & files.keys()
        return tuple(tables), frozenset((ON_REQUEST_FILE, *([FURTHER_COUNTS_FILE] if plans else []), *plans))


def get_page_name(name: str) -> str:
    """Return the name of a requested table's page, and of the download of its figures."""
    return f"request-{name.replace('_', '-')}"


def merge_tables(requested: Iterable[RequestedTable]) -> dict[str, Table]:
    """Return the standard tables and the requested ones, by name."""
    return TABLES | {each.name: each.table for each in requested}


def _build_cells(of: RequestMeasurement, counts: NoisyCounts) -> pa.Table:
    cells = counts.build_table(of.cohort, of.family)
    return cells.add_column(0, FURTHER_SCHEMA.field("release"), pa.repeat(of.release, len(cells)))
