"""Open a sample of an extract: the intake's readers, the first rows, in memory."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from sources.contracts import CONTRACTS
from sources.councils.dialect import Dialect
from sources.councils.onboarding.known import heading_score
from sources.extract.errors import ExtractStopped
from sources.extract.landed import Landed
from sources.extract.open import open_table
from sources.extract.readers.delimited import DELIMITERS
from sources.extract.table import VALUE, Table, trimmed
from sources.reference.cohorts import Cohort, InvalidCohort

MAX_ROWS = 10_000
_TOP_LINES = 20
_TEXT_ENDINGS = (".csv", ".txt", ".tsv", ".psv", ".gz")


@dataclass(frozen=True)
class Sample:
    """A sample that nothing is known of but its source: its headings, and how its text is written.

    `delimiter` and `encoding` are None for a file that is no delimited text. `relation` holds the first rows as text,
    trimmed, blank as NULL; its columns are `column_0` and so on, in the order of `headings`.
    """

    landed: Landed
    headings: tuple[str, ...]
    delimiter: str | None
    encoding: str | None
    relation: str

    def column(self, heading: str) -> str:
        """The column of `relation` under a heading."""
        return f"column_{self.headings.index(heading)}"


def landed_sample(path: Path, council: str, source: str | None = None, cohort: str | None = None) -> Landed:
    """The sample as if it lay in landing. Source and cohort are found from its path or headings where not given."""
    return Landed(council, source or _source_of(path, council), cohort or _cohort_of(path) or "", path)


class _Plausible(Container[str]):
    """Takes for a heading whatever has letters and does not look like a value: nothing is known of the names yet."""

    def __contains__(self, heading: object) -> bool:
        text = str(heading)
        return any(map(str.isalpha, text)) and not VALUE.fullmatch(text.upper())


def _open(landed: Landed, dialect: Dialect) -> Table:
    known = None if dialect.columns or dialect.derived else _Plausible()
    return open_table(landed, CONTRACTS[landed.source], dialect, known)


def header_of(landed: Landed, dialect: Dialect) -> list[str]:
    """The sample's headings; raises `ExtractStopped`, without a value, where the first line holds data instead."""
    header = _open(landed, dialect).header
    data = sum(bool(VALUE.fullmatch(heading.strip())) for heading in header)
    numbers = sum(heading.strip().isdigit() for heading in header)
    if data or numbers > len(header) / 2:
        raise ExtractStopped(f"{landed.name}: the first line holds data, not headings; ask for a file with headings")
    return header


def open_sample(con: duckdb.DuckDBPyConnection, landed: Landed) -> Sample:
    """Read the first rows of a sample that no council file describes; raises `ExtractStopped`."""
    delimiter, encoding = written(landed.path) if _is_text(landed.path) else (None, None)
    dialect = Dialect(delimiter=delimiter) if delimiter else Dialect()
    header = header_of(landed, dialect)
    names = [f"column_{index}" for index in range(len(header))]
    batches = _open(landed, dialect).read(header)
    rows = pa.Table.from_batches(
        [batch.select(range(len(header))).rename_columns(names) for batch in first_rows(batches)],
        pa.schema([(name, pa.string()) for name in names]),
    )
    con.register("sample_text", rows)
    cells = ", ".join(f"{trimmed(name)} AS {name}" for name in names)
    con.execute(f"CREATE OR REPLACE TEMP TABLE sample AS SELECT {cells} FROM sample_text")
    con.unregister("sample_text")
    return Sample(landed, tuple(header), delimiter, encoding, "sample")


def first_rows(batches: Iterable[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Batches until `MAX_ROWS` rows."""
    taken, left = [], MAX_ROWS
    for batch in batches:
        taken.append(batch.slice(0, left))
        left -= taken[-1].num_rows
        if left <= 0:
            break
    return taken


def _source_of(path: Path, council: str) -> str:
    for part in reversed((*path.parts[:-1], path.name.partition(".")[0])):
        if part in CONTRACTS:
            return part
    best = max(CONTRACTS, key=lambda source: _likeness(Landed(council, source, "", path)))
    if not _likeness(Landed(council, best, "", path)):
        raise ExtractStopped(f"{path.name}: no source is recognised in it; say which with --source")
    return best


def _likeness(landed: Landed) -> float:
    """Share of the source's required columns that some heading of the sample surely stands for."""
    contract = CONTRACTS[landed.source]
    header = header_of(landed, Dialect(delimiter=written(landed.path)[0]) if _is_text(landed.path) else Dialect())
    found = [max(heading_score(contract[column], heading) for heading in header) for column in contract.required]
    return sum(score for score in found if score >= 0.9) / len(found)


def _cohort_of(path: Path) -> str | None:
    try:
        return Cohort(path.name.partition(".")[0]).code
    except InvalidCohort:
        return None


def _is_text(path: Path) -> bool:
    return path.suffix.lower() in _TEXT_ENDINGS


def written(path: Path) -> tuple[str, str]:
    """Delimiter and encoding of a text file.

    The delimiter is the one that makes most fields of a line near the top. The encoding is that of a byte-order mark,
    UTF-16 or UTF-8; else windows-1252, which most exports that are none of these are in.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    encoding = _encoding(content)
    top = content.decode(encoding, "replace").splitlines()[:_TOP_LINES]
    widths = {sign: max((len(row) for row in csv.reader(top, delimiter=sign)), default=0) for sign in DELIMITERS}
    return max(widths, key=lambda sign: widths[sign]), encoding


def _encoding(content: bytes) -> str:
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in content[:1024]:
        return "utf-16-le" if b"\0" in content[1:1024:2] else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"
