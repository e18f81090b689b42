"""Queries over the figures of every release, in memory.

A reader's words are looked up among the releases' own names, and only ever bound as parameters. A name that no release
has is an error that lists the nearest ones.
"""

import difflib
import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from ndl_export.analyst_db.build import NothingReleased
from ndl_export.api import documents, shapes
from ndl_export.facts.known_publishers import NOT_CHECKED, Trust, UnknownPublisher, check_releases
from ndl_export.facts.on_request import merge_tables
from ndl_export.facts.release_facts import (
    WITHDRAWN_FILE,
    PublishedRelease,
    UnreadableWithdrawals,
    list_versions,
    read_releases,
)
from ndl_export.files.signing import SUMS_FILE
from ndl_export.files.whole_files import format_csv
from ndl_export.pages.number_format import join_parts
from ndl_export.tables.schema import Flag
from privacy.doors import database, sql
from sources.reference.cohorts import Cohort

CURRENT, ALL, NO_FLAG = "current", "all", "none"
"""Values of `release` and `flag` that are not names: the current release of each cohort, every release, no flag."""
_COLUMNS = {
    "release": "release",
    "table": '"table"',
    "measure": "measure",
    "area": "area_code",
    "cohort": "time_period",
    "flag": f"coalesce(flag, {sql.quote_text(NO_FLAG)})",
}
"""SQL that each parameter is compared with."""
_LOG = logging.getLogger(__name__)
_NEAREST = 3
_SECONDS_BETWEEN_LOOKS = 1.0


class UnknownName(Exception):
    """A reader asked for something by a name that no release has."""

    def __init__(self, what: str, request: str, names: Iterable[str]) -> None:
        known = {name.casefold(): name for name in names}
        found = difflib.get_close_matches(request.casefold(), known, n=_NEAREST, cutoff=0.4)
        self.nearest = [known[name] for name in found]
        # The request is not echoed, because a stranger wrote it.
        hint = f"; the nearest: {', '.join(self.nearest)}" if self.nearest else ""
        super().__init__(f"there is no {what} of that name{hint}")


@dataclass(frozen=True)
class PageOfRows:
    """One page of figures: how many match, and those on the page as JSON or as CSV."""

    total: int
    releases: tuple[PublishedRelease, ...]
    content: str


class Snapshot:
    """Everything published at one moment: documents by path, and the figures of every release in a database.

    Raises `NothingReleased` if there is no release, `UnreadableWithdrawals`, and what `check_releases` raises.
    """

    def __init__(self, release_dir: Path, signers: Collection[str] = (), known: Path | None = None) -> None:
        if not list_versions(release_dir):
            raise NothingReleased(f"{release_dir} holds no release bundle")
        self.signature = check_releases(release_dir, Trust(str(release_dir.resolve()), signers, known))
        found = read_releases(release_dir)
        self.releases = {release.version: release for release in found}
        sums = {each.version: documents.hash_sums_file(release_dir, each.version) for each in found}
        self.documents = documents.build_documents(found, sums) | documents.build_quotes(release_dir, found)
        self.areas = {area.code: area.name for area in documents.build_areas(found).areas}
        tables = list(documents.iter_tables(found))
        self.tables = {table.name: [entry.name for entry in table.filters] for table in tables}
        self._connection = database.open_in_memory(threads="1")
        documents.load_figures(self._connection, found)
        # A stranger's query must not read any file.
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        self._files: dict[str, bytes] = {}
        self._lock = Lock()
        cohorts = sorted({cohort for release in found for cohort in release.cohorts})
        names = {
            "release": [CURRENT, ALL, *self.releases],
            "table": self.tables,
            "measure": [measure.name for table in tables for measure in table.measures],
            "area": self.areas,
            "cohort": cohorts,
            "flag": [NO_FLAG, *map(str, Flag)],
        }
        # Values by every name that a reader may use, for each parameter and each filter.
        self._names = {parameter: {each: each for each in own} for parameter, own in names.items()}
        self._names["area"] |= {name: code for code, name in self.areas.items()}
        self._names["cohort"] |= {Cohort(code).label: code for code in cohorts}
        self._filters: dict[str, dict[str, str]] = {}
        for entry in (entry for table in tables for entry in table.filters):
            self._filters.setdefault(entry.name, {}).update({each: each for each in entry.categories})

    def find_figures(
        self, conditions: Mapping[str, Sequence[str]], limit: int, offset: int, *, csv: bool
    ) -> PageOfRows:
        """Return one page of the figures that meet every condition: any of its values, by parameter or filter.

        Raises `UnknownName`.
        """
        where, values = self._build_where(conditions)
        if csv:
            tables = conditions.get("table") or self.tables
            filters = list(dict.fromkeys(name for table in tables for name in self.tables[table]))
            columns = ", ".join(_build_csv_columns(filters))
        else:
            columns = documents.JSON
        bound = values | {"limit": limit, "offset": offset}
        page = f"FROM figures WHERE {where} ORDER BY position LIMIT $limit OFFSET $offset"
        cursor = self._connection.cursor().execute(f"SELECT release, {columns} {page}", bound)
        header, rows = [column[0] for column in cursor.description[1:]], cursor.fetchall()
        [(total,)] = cursor.execute(f"SELECT count(*) FROM figures WHERE {where}", values).fetchall()
        releases = tuple(self.releases[version] for version in dict.fromkeys(row[0] for row in rows))
        if not csv:
            return PageOfRows(total, releases, ",\n".join(figure for _, figure in rows))
        gone = {each.version: each.withdrawal.sentence if each.withdrawal else "" for each in releases}
        notices = {each.version: join_parts(gone[each.version], each.notice) for each in releases}
        lines = ((*row, notices[version]) for version, *row in rows)
        return PageOfRows(total, releases, format_csv((*header, "notice"), lines))

    def _build_where(self, conditions: Mapping[str, Sequence[str]]) -> tuple[str, dict[str, Any]]:
        """Return SQL of the conditions, without any word of the reader, and the values to bind."""
        parts, values = ["true"], dict[str, Any]()
        for place, (name, choices) in enumerate(conditions.items()):
            if name == "release" and ALL in choices:
                continue
            if name in self._names:
                values[f"v{place}"] = [_find(name, each, self._names[name]) for each in choices]
                condition = f"list_contains($v{place}, {_COLUMNS[name]})"
                is_current = f"list_contains($v{place}, {sql.quote_text(CURRENT)}) AND {documents.IS_CURRENT}"
                parts.append(f"({condition} OR {is_current})" if name == "release" else condition)
            elif name in self._filters:
                values[f"f{place}"] = name
                values[f"v{place}"] = [_find(f"category of {name}", each, self._filters[name]) for each in choices]
                parts.append(f"list_contains($v{place}, filters[$f{place}])")
            else:
                raise UnknownName("parameter", name, [*self._names, *self._filters, "limit", "offset", "format"])
        return " AND ".join(parts), values

    def get_area_file(self, version: str, table: str, area: str) -> bytes:
        """Return the file of figures of a table and area, the same bytes as the static file. Raises `UnknownName`."""
        release = self.get_release(version)
        defined = merge_tables(release.requested)
        if table not in defined:
            raise UnknownName("table", table, defined)
        for _, content in documents.iter_figure_files(self._connection.cursor(), release, defined[table], area):
            return content
        raise UnknownName("area", area, self.areas)

    def get_release_files(self, version: str) -> bytes:
        """Return the list of a release's files of figures, the same bytes as the static file. Raises `UnknownName`."""
        release = self.get_release(version)
        # Made on the first request, because hashing every figure of England takes four seconds.
        with self._lock:
            if version not in self._files:
                [(_, listed)] = deque(documents.iter_release_files(self._connection.cursor(), release), maxlen=1)
                self._files[version] = listed
        return self._files[version]

    def get_quotes(self, folder: str, area: str) -> bytes:
        """Return the document of an area's sentences, or of their proof. Raises `UnknownName`."""
        if f"{folder}/{area}.json" not in self.documents:
            raise UnknownName("area", area, self.areas)
        return self.documents[f"{folder}/{area}.json"]

    def get_release(self, version: str) -> PublishedRelease:
        """Return a release. Raises `UnknownName`."""
        if version not in self.releases:
            raise UnknownName("release", version, self.releases)
        return self.releases[version]


def build_page(page: PageOfRows, offset: int, following: str | None) -> bytes:
    """Return a page of figures as the document `shapes.Figures`."""
    about = [documents.build_about(release) for release in page.releases]
    head = shapes.Figures(total=page.total, offset=offset, next=following, about=about, figures=[])
    return documents.fill_figures(documents.format_document(head), page.content)


def _find(what: str, request: str, known: Mapping[str, str]) -> str:
    """Return the value of the name in `known` that was asked for, in any letter case. Raises `UnknownName`."""
    for name, value in known.items():
        if name.casefold() == request.casefold():
            return value
    raise UnknownName(what, request, known)


def _build_csv_columns(filters: Sequence[str]) -> list[str]:
    own = [f"filters[{sql.quote_text(name)}] AS {sql.quote_identifier(name)}" for name in filters]
    place = documents.COLUMNS.index("filters")
    plain = [f"{sql.quote_identifier(name)}::VARCHAR AS {sql.quote_identifier(name)}" for name in documents.COLUMNS]
    return [*plain[:place], *own, *plain[place + 1 :]]


class Latest:
    """The newest snapshot of a release directory, made again when a release is published or withdrawn."""

    def __init__(self, release_dir: Path, signers: Collection[str] = (), known: Path | None = None) -> None:
        self._release_dir, self._signers, self._known = release_dir, signers, known
        self._lock = Lock()
        self._seen: object = None
        self._look_at = 0.0
        self._snapshot: Snapshot | None = None

    def count_releases(self) -> int:
        """Read the releases, and return their number."""
        try:
            return len(self.get().releases)
        except NothingReleased:
            return 0

    @property
    def signature(self) -> str:
        """A sentence on whether the signatures of what is served were checked."""
        return self._snapshot.signature if self._snapshot else f"{NOT_CHECKED}: nothing is published yet."

    def get(self) -> Snapshot:
        """Return the snapshot. Raises `NothingReleased`."""
        # One reader waits for the new snapshot; the others get the old one meanwhile.
        if time.monotonic() >= self._look_at and self._lock.acquire(blocking=self._snapshot is None):
            try:
                if (seen := _look(self._release_dir)) != self._seen or self._snapshot is None:
                    self._snapshot, self._seen = Snapshot(self._release_dir, self._signers, self._known), seen
                self._look_at = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            except (UnknownPublisher, UnreadableWithdrawals, OSError, ValueError, KeyError, pa.ArrowException):
                # Perhaps a bundle is still being copied. The next look tries again.
                if self._snapshot is None:
                    raise
                _LOG.exception("%s cannot be read: what was read before is served", self._release_dir)
            finally:
                self._lock.release()
        if self._snapshot is None:
            raise NothingReleased(f"{self._release_dir} holds no release bundle")
        return self._snapshot


def _look(release_dir: Path) -> object:
    """Return a value that changes with every publication and withdrawal, without reading a bundle."""
    bundles = [release_dir / str(version) for version in list_versions(release_dir)]
    # The folder as well, because it changes until a bundle is copied completely.
    paths = [release_dir / WITHDRAWN_FILE, *(path for each in bundles for path in (each, each / SUMS_FILE))]
    states = [(path, path.stat()) for path in paths if path.exists()]
    return [(path, state.st_mtime_ns, state.st_size, state.st_ino) for path, state in states]
