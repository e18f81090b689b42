"""A home folder with an ingested, linked and released cohort, and one child planted in three extracts."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.keeping.finding import Forgotten, find_rows
from assets.linkage.row_numbers import RowNumbers
from assets.release.fix_release import ReleaseOptions
from pipelines.run import run_cohort
from privacy.keys import KeyRing
from privacy.pseudonyms import TOKEN_COLUMNS
from sources.contracts import CONTRACTS
from sources.extract.landing import find
from sources.reference.cohorts import Cohort
from tests.support.extracts import COHORT, append, build_row, make_upn, mark_synthetic
from tests.support.independent import write_extracts
from tests.support.intake.numbered import read_numbered, read_row_keys
from tests.support.once import make_once
from tests.support.planted import CHILD, PROFILE, REVIEW

TWIN = PROFILE | {"la_code": "343", "upn": make_upn(899_999_123_458), "forename": "Barnabus", "sex": "M"}
"""A child who shares some tokens with the planted one."""
OF_READERS = shutil.ignore_patterns("*.sqlite-wal", "*.sqlite-shm")
"""Files that SQLite creates and removes while another worker reads the ledger; shared folders are never written to."""
COUNCILS = ("halton", "leeds", "sefton", "wirral")
PLANTED = ("leeds/eyfsp", "leeds/hv_reviews", "halton/early_years_census")


@dataclass
class Place:
    """An installation for one test."""

    root: Path

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def keys(self) -> KeyRing:
        return KeyRing.load(self.root / "keys")

    @property
    def installation(self) -> Installation:
        return Installation(landing=self.landing, home=self.home, keys=self.root / "keys")

    def find_file(self, name: str) -> Path:
        return self.landing / name / f"{COHORT}.csv"

    def find_row(self, name: str) -> int:
        """Return the number of a landed extract's last data row, which is the planted child's."""
        return len(self.find_file(name).read_text().splitlines()) - 1

    def take(self, name: str, keys: KeyRing | None = None):
        council, source = name.split("/")
        landed = find(self.landing, council, source, COHORT)
        mark_synthetic(self.landing)
        return Intake(self.landing, self.home, keys or self.keys).ingest(landed)

    def find_rows(self, row: int | None = None, *, linked: bool = True) -> Forgotten:
        """Find what would be removed with a row of Leeds' EYFS Profile: the planted child's, or a given one."""
        store = self.home.get_extract("eyfsp", COHORT, "leeds")
        return find_rows(store, [self.find_row("leeds/eyfsp") if row is None else row], self.keys, linked=linked)

    def list_rows(self, name: str) -> set[int]:
        council, source = name.split("/")
        return set(read_row_keys(self.home, self.keys, source, council)["source_row"].to_pylist())

    def list_links(self) -> list[dict[str, Any]]:
        return (
            RowNumbers(self.home.get_cohort(COHORT), self.keys)
            .replace_keys(pq.read_table(self.home.get_cohort(COHORT).links))
            .to_pylist()
        )

    def list_linked_rows(self) -> set[tuple[str, int]]:
        return {(f"{link['council']}/{link['source']}", link["source_row"]) for link in self.list_links()}

    def find_child_id(self, name: str) -> str:
        planted = (*name.split("/"), self.find_row(name))
        (found,) = [e for e in self.list_links() if (e["council"], e["source"], e["source_row"]) == planted]
        return str(found["child_id"])

    def find_own_tokens(self) -> set[int]:
        """Return the tokens that only the planted child's rows have."""
        mine: set[int] = set()
        others: set[int] = set()
        for path in self.home.restricted.glob("pseudonymised/*/*/*.parquet"):
            source, council = path.parent.parent.name.removeprefix("source="), path.stem
            rows = read_numbered(self.home, self.keys, source, council)
            columns = [name for name in rows.column_names if name in TOKEN_COLUMNS]
            planted = self.find_row(f"{council}/{source}") if f"{council}/{source}" in PLANTED else -1
            for line in rows.select(["source_row", *columns]).to_pylist() if columns else ():
                tokens = {line[name] for name in columns} - {None}
                (mine if line["source_row"] == planted else others).update(tokens)
        return mine - others


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(make_once(tmp_path_factory, "released", _make))


def _make(folder: Path) -> None:
    place = Place(folder)
    write_extracts(place.landing, children=40 * len(COUNCILS), councils=COUNCILS)
    append(place.find_file("leeds/eyfsp"), PROFILE)
    append(place.find_file("sefton/eyfsp"), TWIN)
    append(place.find_file("leeds/hv_reviews"), REVIEW)
    append(place.find_file("halton/early_years_census"), build_row("early_years_census", CHILD, entitlement="2YO"))
    KeyRing.create(place.root / "keys", demonstration=True)
    run_cohort(place.installation, Cohort(COHORT), "2026.11.0", ReleaseOptions(), lambda _: None)
    assert set(CONTRACTS) == {
        path.name.removeprefix("source=") for path in (place.home.restricted / "quality").iterdir()
    }


@pytest.fixture
def copied(released: Place, tmp_path: Path) -> Iterator[Callable[[], Place]]:
    made = [0]

    def copy() -> Place:
        made[0] += 1
        root = tmp_path / str(made[0])
        shutil.copytree(released.root, root, symlinks=True, ignore=OF_READERS)
        return Place(root)

    return copy


@pytest.fixture
def place(copied: Callable[[], Place]) -> Place:
    return copied()
