"""The description of a release that every metadata standard uses: its text, dates, addresses and data files."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.files.archive import ARCHIVES
from ndl_export.files.stores import MEDIA_TYPES
from ndl_export.pages.number_format import join_parts
from ndl_export.tables import TABLES, Table, csv_files, geography
from sources.reference.cohorts import Cohort

OGL_NAME = "Open Government Licence v3.0"
OGL_ADDRESS = "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"

NAME = "school-readiness"
DATABASE_FILE = "readiness.duckdb"
"""The analyst database, beside the bundles."""
API_FOLDER = "api/v1"
"""Folder of the files for programs, beside the bundles; also where the service answers."""
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
"""Largest number of cohorts that are listed one by one: a summary in the UK model has at most 250 characters."""


FORMS = {
    ".parquet": "Parquet: all rows, typed",
    csv_files.ALL_ROWS: "CSV: all rows",
    ".csv": "CSV: official areas, for Explore Education Statistics",
}
"""Description of the files with one table, by the ending of their names."""
WORKBOOK_FILE = "school_readiness_tables.ods"
TOGETHER = {
    WORKBOOK_FILE: (
        "All tables as one accessible workbook (ODS)",
        "A worksheet for each table with figures as they are shown, their 95% limits and how reliable they are; with"
        " cover, contents, notes and symbols",
    ),
    csv_files.EES_UPLOAD_FILE: (
        "All tables as one upload to Explore Education Statistics",
        "The CSV files for Explore Education Statistics with their metadata and dataset_names.csv, as its bulk upload"
        " takes them",
    ),
}
"""Title and description of the files that hold every table."""


@dataclass(frozen=True)
class DataFile:
    """A file of a release to download: with one published table, with all of them, or an archive of the whole bundle.

    `sha256` is hexadecimal and `size` in bytes. An archive has neither, because it holds the records that state them.
    """

    address: str
    title: str
    about: str
    table: Table | None = None
    size: int = 0
    sha256: str = ""

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def format(self) -> str:
        """Its suffix."""
        return self.name.rpartition(".")[2]

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]


@dataclass(frozen=True)
class Description:
    """A release described in words; `first_day` and `last_day` are the limits of its cohorts' academic years."""

    facts: ReleaseFacts
    summary: str
    description: str
    first_day: str
    last_day: str
    data_files: tuple[DataFile, ...]
    """Files with tables, then the archives of the bundle."""

    @property
    def places(self) -> tuple[geography.Geography, ...]:
        """The areas of the release that have an official code."""
        return tuple(area for area in self.facts.areas if area.level != geography.ALL_TOGETHER)


def describe(facts: ReleaseFacts, files: Mapping[str, bytes]) -> Description:
    """Return the description of a release, including its data files among `files` (content by name)."""
    cohorts = [Cohort(code) for code in sorted(facts.cohorts)]
    labels = ", ".join(cohort.label for cohort in cohorts)
    if len(cohorts) > _LISTED:
        labels = f"{len(cohorts)} years from {cohorts[0].label} to {cohorts[-1].label}"
    summary = (
        f"School readiness of children who finished Reception in {labels}, by council and characteristic, from linked"
        " early-years records. Differentially private, with an interval on every figure."
    )
    titles = f"The tables: {'; '.join(table.title for table in TABLES.values())}."
    if facts.on_request.tables:
        titles += f" On request: {'; '.join(table.title for table in facts.on_request.definitions.values())}."
    return Description(
        facts=facts,
        summary=summary,
        description=join_parts(
            facts.notice,
            f"{summary} {titles} Every figure is an estimate with noise added to protect each child, and"
            " carries a 95% interval. No personal data are included.",
        ),
        first_day=cohorts[0].reception_begins.isoformat(),
        last_day=cohorts[-1].reception_ends.isoformat(),
        data_files=tuple(_iter_data_files(facts, files)),
    )


def _iter_data_files(facts: ReleaseFacts, files: Mapping[str, bytes]) -> Iterator[DataFile]:
    described = [
        (f"{table.name}{suffix}", f"{table.title} ({form})", facts.describe_table(table), table)
        for table in facts.tables.values()
        for suffix, form in FORMS.items()
    ]
    for name, title, about, table in (*described, *((name, *words, None) for name, words in TOGETHER.items())):
        if name in files:
            size, digest = len(files[name]), hashlib.sha256(files[name]).hexdigest()
            yield DataFile(f"{facts.folder_address}/{name}", title, about, table, size, digest)
    # Not in `files`: an archive is packed after the records that describe it.
    for suffix in ARCHIVES:
        title, about = f"The whole release as one {suffix.upper()} file", "Every file of the release, with checksums"
        yield DataFile(f"{facts.folder_address}.{suffix}", title, f"{about} and signature")


def format_file_title(name: str) -> str:
    """Return the title of a file, such as `Data dictionary` for `data_dictionary.csv`."""
    return PurePath(name).stem.replace("_", " ").capitalize()
