"""A sender with its keys, and the pipeline that ingests its files."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from assets.pseudonymise.tokens_file import MANIFEST_KEY
from pipelines.council_cli import main
from privacy.doors import sealed
from privacy.keys import SENDER_KEYS, KeyRing
from tests.support.installation.commands import invoke
from tests.support.intake import desk as intake
from tests.support.intake.desk import COHORT, DIRECTORY, Desk, make_desk


@dataclass
class Sender:
    """A sender; `out` is its output folder, and `keys` the folder of the senders' keys."""

    root: Path
    keys: Path
    directory: Path

    def write(self, text: str, source: str = "eyfsp", council: str = "leeds") -> Path:
        path = self.root / council / source / f"{COHORT}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def get_out(self, source: str = "eyfsp", council: str = "leeds") -> Path:
        return self.root / "out" / council / source

    def run(self, extract: Path, *more: object, out: Path | None = None, keys: Path | None = None) -> Result:
        folder = out or self.get_out(extract.parent.name, extract.parent.parent.name)
        given = (extract, "--keys", keys or self.keys, "--out", folder, *more)
        return invoke("pseudonymise", *given, tool=main, catch_exceptions=False)

    def pseudonymise(self, extract: Path, *more: object) -> Path:
        done = self.run(extract, "--postcode-directory", self.directory, *more)
        assert done.exit_code == 0, done.output
        return self.get_out(extract.parent.name, extract.parent.parent.name) / f"{COHORT}.tokens.parquet"


@pytest.fixture(scope="session")
def sender_keys(key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of keys that the pipeline's operator gives to senders."""
    folder = tmp_path_factory.mktemp("keys") / "sender"
    folder.mkdir(mode=0o700)
    for name in SENDER_KEYS:
        shutil.copy(key_folder / f"{name}.key", folder)
    shutil.copy(key_folder / "intake.pub.pem", folder)
    return folder


@pytest.fixture
def sender(tmp_path: Path, sender_keys: Path) -> Sender:
    directory = tmp_path / "sender's" / "directory.csv"
    directory.parent.mkdir()
    directory.write_text(DIRECTORY)
    return Sender(directory.parent, sender_keys, directory)


@pytest.fixture
def place_at(tmp_path: Path, keys: KeyRing) -> Callable[[str], Desk]:
    """Return a function that creates a named pipeline with the same keys."""
    return lambda name: make_desk(tmp_path / name, keys)


@pytest.fixture
def pipeline(place_at: Callable[[str], Desk]) -> Desk:
    return place_at("pipeline")


def put(path: Path, place: Desk, source: str = "eyfsp", council: str = "leeds") -> Path:
    folder = place.landing / council / source
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, folder / path.name))


def build_reviews(*changes: dict[str, str]) -> str:
    numbers = {"local_patient_id": "P1", "nhs_number": "9434765919"}
    return intake.build_reviews(*(numbers | change for change in changes or ({},)))


def unseal(path: Path, keys: KeyRing) -> pq.ParquetFile:
    """Open a tokens file as the pipeline's intake does."""
    return sealed.open_sealed(path, keys.get_private_key("intake"))


def rewrite(path: Path, keys: KeyRing, table: pa.Table | None = None, manifest: str | bytes | None = None) -> None:
    """Change the rows or manifest of a tokens file, as a careless or hostile sender could."""
    held = unseal(path, keys)
    text = held.metadata.metadata[MANIFEST_KEY.encode()] if manifest is None else manifest
    rows = (held.read() if table is None else table).replace_schema_metadata({MANIFEST_KEY: text} if text else None)
    properties = sealed.build_encryption(keys.get_public_key("intake"))
    pq.write_table(rows, path, compression="none", encryption_properties=properties)
