"""Releases with made-up figures, written once for all tests that only read them."""

import json
import shutil
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import Home
from assets.release.published_charges import check_known
from ndl_export.analyst_db.build import build_database
from ndl_export.bundle.make import write_bundle
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.files.signing import sign_files
from ndl_export.publish import upload
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.geography import Missing
from privacy.release.ledger import Ledger
from sources.reference.places import PILOT
from tests.support.export.fake_release import COHORT, COHORTS, EARLIER, fake_facts, fake_tables, hash_plan
from tests.support.once import make_once
from tests.support.release.people import approve_publication

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FEW = ("halton", "leeds", "sefton")
MISSING = {
    "eyfsp": ("halton",),
    "hv_reviews": ("sefton",),
    "school_census": ("leeds",),
    "parent_experience": ("wirral",),
}


def make_release(
    factory: pytest.TempPathFactory,
    name: str,
    councils: tuple[str, ...] = PILOT,
    missing: Missing = MappingProxyType({}),
) -> Path:
    """Return a release directory with one version and its analyst database, made once by this name; read-only."""

    def make(directory: Path) -> None:
        facts, made = fake_facts(councils=councils, missing=missing), fake_tables(councils, missing=missing)
        write_bundle(directory, facts, made, KEY)
        build_database(directory)

    return make_once(factory, name, make)


@pytest.fixture(scope="session")
def tables() -> dict[str, pa.Table]:
    return fake_tables()


@pytest.fixture(scope="session")
def release_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a release directory with one version; read-only."""
    return make_release(tmp_path_factory, "whole")


@pytest.fixture(scope="session")
def bundle(release_dir: Path) -> Path:
    return release_dir / "2026.11.0"


@pytest.fixture(scope="session")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a release without the sources in `MISSING`, in which every flag occurs; read-only."""
    return make_release(tmp_path_factory, "without", missing=MISSING) / "2026.11.0"


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / bundle.name))


@pytest.fixture(scope="session")
def two_releases(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pa.Table]) -> Path:
    """Return a release directory with two releases of a cohort, the older written last, and their analyst database."""

    def make(directory: Path) -> None:
        write_bundle(directory, fake_facts("2027.02.0"), tables, KEY)
        write_bundle(directory, fake_facts("2026.11.0"), fake_tables(seed=2), KEY)
        build_database(directory)

    return make_once(tmp_path_factory, "releases", make)


@pytest.fixture(scope="session")
def two_cohorts(tmp_path_factory: pytest.TempPathFactory, two_releases: Path) -> Path:
    """Return the same directory, in which the newer release also has the previous cohort, with the older figures."""

    def make(directory: Path) -> None:
        for version in ("2026.11.0", "2027.02.0"):
            shutil.copytree(two_releases / version, directory / version)
        newer = directory / "2027.02.0"
        for name in TABLES:
            earlier = pq.read_table(directory / "2026.11.0" / f"{name}.parquet").drop_columns("time_period")
            earlier = earlier.append_column("time_period", pa.repeat("202324", earlier.num_rows))
            own = pq.read_table(newer / f"{name}.parquet")
            both = pa.concat_tables([earlier.select(own.column_names).cast(own.schema), own])
            pq.write_table(both, newer / f"{name}.parquet")
        package = json.loads((newer / "datapackage.json").read_text())
        missing = dict.fromkeys(("202324", "202425"), package["missing"]["202425"])
        (newer / "datapackage.json").write_text(json.dumps(package | {"cohorts": [*missing], "missing": missing}))
        build_database(directory)

    return make_once(tmp_path_factory, "cohorts", make)


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of two cohorts, in a directory with the release of the earlier cohort; read-only."""

    def make(directory: Path) -> None:
        write_bundle(directory, fake_facts("2025.11.0"), fake_tables(), KEY)
        facts = fake_facts("2026.11.0", earlier={EARLIER: "2025.11.0"})
        write_bundle(directory, facts, fake_tables(cohorts=COHORTS), KEY)

    return make_once(tmp_path_factory, "series", make) / "2026.11.0"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the release directory of a home with two versions of few councils, charged to its ledger; read-only."""

    def make(home: Path) -> None:
        for seed, version in enumerate(("2026.11.0", "2026.12.0"), 1):
            paid = charge(home / "ledger.sqlite", version)
            write_bundle(home / "release", fake_facts(version, FEW, paid=paid), fake_tables(FEW, seed), KEY)
            approve_publication(Home(home), version, KEY)

    made = make_once(tmp_path_factory, "home-of-two", make)  # copied, because whoever reads the ledger writes beside it
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("home") / "home", symlinks=True)) / "release"


def charge(ledger: Path, version: str) -> dict[str, str]:
    """Charge a release of few councils to the ledger at the path, and return the hash of its entry by family."""
    books, paid = Ledger(ledger), {}
    books.approve(COHORT, 1.0)
    for family in FAMILIES:
        charge = books.reserve(COHORT, version, family, 0.01, hash_plan(family, FEW), "m" * 64)
        paid[family] = books.commit(charge, "f" * 64).entry.entry_hash
    return paid


def publish(release_dir: Path, version: str, url: str, **more: Any) -> upload.Upload:
    """Publish as the command does from the home of the release directory."""
    return upload.publish(release_dir, version, url, known=partial(check_known, Home(release_dir.parent)), **more)


def sign_again(folder: Path, key: Ed25519PrivateKey = KEY) -> None:
    """Make sums and signature fit the content of the folder."""
    for name, content in sign_files(key, read_contents(folder)).items():
        (folder / name).write_bytes(content)
