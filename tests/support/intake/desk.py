"""An intake of a temporary landing folder, and the text of valid extracts for tests to break."""

import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from privacy.keys import KeyRing
from sources.extract.landing import find
from tests.support.extracts import COHORT, PERSON, build_row, format_rows, list_columns
from tests.support.intake.numbered import read_numbered, read_numbered_quarantine

DIRECTORY = "postcode,lsoa21cd,imd_decile\nLS1 4AP,E01000001,1\nLS2 9JT,E01000002,10\n"
EYFSP_HEADER = [name for name in list_columns("eyfsp") if name != "nhs_number"]
EYFSP_ROW = {name: value for name, value in build_row("eyfsp").items() if name in EYFSP_HEADER}
_SAID = ("review", "asq3_months", *PERSON)
REVIEW_ROW = dict.fromkeys(list_columns("hv_reviews"), "") | {name: build_row("hv_reviews")[name] for name in _SAID}
REVIEW_ROW |= {"review_date": "2022-05-01", "asq3_communication": "24.02"}


def build_eyfsp(*changes: dict[str, str], delimiter: str = ",") -> str:
    """Return the text of an EYFS Profile extract: one row for each mapping of changed values."""
    return format_rows((EYFSP_ROW | change for change in changes or ({},)), EYFSP_HEADER, delimiter)


def build_reviews(*changes: dict[str, str]) -> str:
    """Return the text of an extract of health-visitor reviews: one row for each mapping of changed values."""
    return format_rows((REVIEW_ROW | change for change in changes), list_columns("hv_reviews"))


@dataclass
class Desk:
    """An installation where a test lands and ingests a file of Leeds."""

    landing: Path
    home: Home
    intake: Intake
    keys: KeyRing

    def land(self, content: bytes | str, source: str = "eyfsp", suffix: str = ".csv", council: str = "leeds") -> Path:
        path = self.landing / council / source / f"{COHORT}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(raw) if suffix.endswith(".gz") else raw)
        return path

    def take(self, source: str = "eyfsp", council: str = "leeds") -> ExtractQuality:
        return self.intake.ingest(find(self.landing, council, source, COHORT))

    def read_table(self, source: str, council: str = "leeds") -> pa.Table:
        return read_numbered(self.home, self.keys, source, council)

    def list_kept(self, source: str = "eyfsp", council: str = "leeds", columns: str = "source_row") -> list[Any]:
        kept = duckdb.from_arrow(self.read_table(source, council))
        rows = kept.query("kept", f"SELECT {columns} FROM kept ORDER BY source_row").fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def list_quarantined(self, source: str = "eyfsp", council: str = "leeds") -> set[tuple[int, str]]:
        found = duckdb.from_arrow(read_numbered_quarantine(self.home, self.keys, source, council))
        return set(found.filter("NOT row_kept").project("source_row, rule").fetchall())


@pytest.fixture(scope="package", autouse=True)
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the thousands of examples' folders where pytest removes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files in this process, where a test can change a reader's limits."""
    monkeypatch.setattr("sources.extract.open.APART", False)


@pytest.fixture
def desk(tmp_path: Path, keys: KeyRing) -> Desk:
    return make_desk(tmp_path, keys)


def make_desk(folder: Path, keys: KeyRing) -> Desk:
    (folder / "landing" / "reference").mkdir(parents=True)
    (folder / "landing" / "reference" / "postcode_directory.csv").write_text(DIRECTORY)
    return open_desk(folder, keys)


def open_desk(folder: Path, keys: KeyRing) -> Desk:
    landing, home = folder / "landing", Home(folder / "home")
    return Desk(landing, home, Intake(landing, home, keys), keys)
