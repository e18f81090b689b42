"""What every standard's record says of a release: its words, dates, addresses and data files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.archive import ARCHIVES
from ndl_export.files.media_types import MEDIA_TYPES
from ndl_export.pages.words import said
from ndl_export.tables import TABLES, Table
from ndl_export.tables.geography import CODE_COLUMNS, Geography
from sources.reference.cohorts import Cohort

OGL_NAME = "Open Government Licence v3.0"
OGL_ADDRESS = "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"

NAME = "school-readiness"
DATABASE_FILE = "readiness.duckdb"
"""The analyst database, which lies beside the bundles."""
KEYWORDS = (
    "early years",
    "school readiness",
    "EYFS Profile",
    "good level of development",
    "health visiting",
    "ASQ-3",
    "differential privacy",
)
LANGUAGE = "en-GB"
_LISTED = 3
"""Cohorts that are listed one by one; the UK model takes a summary of 250 characters at most."""


@dataclass(frozen=True)
class DataFile:
    """A file with one published table; `format` is its suffix, `sha256` in hexadecimal, `size` in bytes."""

    name: str
    table: Table
    format: str
    size: int
    sha256: str
    address: str

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]

    @property
    def about(self) -> str:
        return self.table.about

    @property
    def title(self) -> str:
        rows = "all rows, typed" if self.format == "parquet" else "official areas, for Explore Education Statistics"
        return f"{self.table.title} ({'Parquet' if self.format == 'parquet' else 'CSV'}: {rows})"


@dataclass(frozen=True)
class Archive:
    """The whole bundle as one file, beside its folder."""

    format: str
    title: str
    address: str
    about: str = "Every file of the release, with checksums and signature"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]


@dataclass(frozen=True)
class Description:
    """A release in words; `first_day` and `last_day` are those of its cohorts' academic years."""

    facts: ReleaseFacts
    title: str
    summary: str
    description: str
    first_day: str
    last_day: str
    data_files: tuple[DataFile, ...]
    archives: tuple[Archive, ...]

    @property
    def places(self) -> tuple[Geography, ...]:
        """The areas of the release that have an official code."""
        return tuple(area for area in self.facts.areas if area.level in CODE_COLUMNS)

    def address_of(self, name: str) -> str:
        """Where a file of the bundle is served."""
        return f"{self.facts.folder_address}/{name}"


def describe(facts: ReleaseFacts, files: Mapping[str, bytes]) -> Description:
    """The description of a release with the data files among `files` (content by name)."""
    cohorts = [Cohort(code) for code in sorted(facts.cohorts)]
    labels = ", ".join(cohort.label for cohort in cohorts)
    if len(cohorts) > _LISTED:
        labels = f"{len(cohorts)} years from {cohorts[0].label} to {cohorts[-1].label}"
    summary = (
        f"School readiness of children who finished Reception in {labels}, by council and characteristic, from linked"
        " early-years records. Differentially private, with an interval on every figure."
    )
    titles = "; ".join(table.title for table in TABLES.values())
    return Description(
        facts=facts,
        title=TITLE,
        summary=summary,
        description=said(
            facts.notice,
            f"{summary} The tables: {titles}. Every figure is an estimate with noise added to protect each child, and"
            " carries a 95% interval. No personal data are included.",
        ),
        first_day=f"{cohorts[0].first_year}-09-01",
        last_day=f"{cohorts[-1].first_year + 1}-08-31",
        data_files=tuple(
            DataFile(
                name=name,
                table=table,
                format=suffix,
                size=len(files[name]),
                sha256=hashlib.sha256(files[name]).hexdigest(),
                address=f"{facts.folder_address}/{name}",
            )
            for table in TABLES.values()
            for suffix in ("parquet", "csv")
            if (name := f"{table.name}.{suffix}") in files
        ),
        archives=tuple(
            Archive(suffix, f"The whole release as one {suffix.upper()} file", f"{facts.folder_address}.{suffix}")
            for suffix in ARCHIVES
        ),
    )


def file_title(name: str) -> str:
    """`data_dictionary.csv` as `Data dictionary`."""
    return PurePath(name).stem.replace("_", " ").capitalize()
