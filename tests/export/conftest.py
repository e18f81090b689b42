"""One release of made-up figures, written once for all tests that only read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fake_release import fake_facts, fake_tables

from ndl_export.bundle import write_bundle


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="session")
def tables() -> dict[str, pa.Table]:
    return fake_tables()


@pytest.fixture(scope="session")
def release_dir(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey
) -> Path:
    """A release directory with one version; to be read, not written."""
    directory = tmp_path_factory.mktemp("release")
    write_bundle(directory, fake_facts(), tables, signing_key)
    return directory


@pytest.fixture(scope="session")
def bundle(release_dir: Path) -> Path:
    """The bundle's folder; to be read, not written."""
    return release_dir / "2026.11.0"


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle's folder to do harm to."""
    return Path(shutil.copytree(bundle, tmp_path / bundle.name))
