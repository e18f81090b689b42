"""Synthetic children beside the bundles: the folder `synthetic_children/<version>` of a release directory.

It is written completely to a temporary folder, signed like a bundle, and renamed. It is not a bundle and says so: it
holds no privacy charge, and code that lists releases does not include it. If a release is withdrawn, its synthetic
children stay where they are, but nothing links to them any more.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.bundle.make import BundleRefused, contents, set_modes
from ndl_export.bundle.release_directory import refresh
from ndl_export.documents.synthetic_children import FIRST_COLUMN, synthetic_documents, warning
from ndl_export.facts.directory_files import withdrawals
from ndl_export.facts.released import DATAPACKAGE_FILE, versions
from ndl_export.facts.synthetic import (
    CROISSANT_FILE,
    CSV_FILE,
    DICTIONARY_FILE,
    PARQUET_FILE,
    QUALITY_FILE,
    QUALITY_PAGE,
    STATEMENT_FILE,
    SYNTHETIC_FOLDER,
    SyntheticChildren,
)
from ndl_export.files import signing
from ndl_export.files.signing import PUBLIC_KEY_FILE, SIGNATURE_FILE, SUMS_FILE, sums
from ndl_export.files.whole_files import alone, indented_json
from ndl_export.metadata.synthetic_children import synthetic_croissant, synthetic_package
from ndl_export.site.documents import synthetic_page
from privacy.doors.files import sync

UNSIGNED_FILES = frozenset(
    (
        *(CSV_FILE, PARQUET_FILE, DICTIONARY_FILE, STATEMENT_FILE, QUALITY_FILE, QUALITY_PAGE),
        *(CROISSANT_FILE, DATAPACKAGE_FILE),
    )
)
SYNTHETIC_FILES = UNSIGNED_FILES | {SUMS_FILE, SIGNATURE_FILE, PUBLIC_KEY_FILE}
"""Names of all files of the folder."""
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
_MARK = "synthetic-"
"""Prefix of the number of every row."""


def synthetic_files(made: SyntheticChildren) -> dict[str, bytes]:
    """Return the content of every file except checksums, signature and key, by name.

    The same children give the same bytes.
    """
    files = synthetic_documents(made)
    page = synthetic_page(QUALITY_FILE, files[QUALITY_FILE].decode(), UNSIGNED_FILES, warning(made))
    files |= {QUALITY_PAGE: page, CROISSANT_FILE: indented_json(synthetic_croissant(made, files))}
    return files | {DATAPACKAGE_FILE: indented_json(synthetic_package(made, files))}


def check_wanted(release_dir: Path, version: str) -> None:
    """Raise `BundleRefused` if the release does not exist or is withdrawn."""
    if version not in map(str, versions(release_dir)):
        raise BundleRefused(f"there is no release {version} in {release_dir}")
    if found := withdrawals(release_dir).get(version):
        raise BundleRefused(f"{found.sentence} There are no synthetic children of it.")


def write_synthetic(release_dir: Path, made: SyntheticChildren, signing_key: Ed25519PrivateKey) -> Path:
    """Write and sign the folder of a release's synthetic children, and return it; a folder with the same bytes is kept.

    Raises `BundleRefused` if the folder has other content, and as `check_wanted` does.
    """
    version = str(made.release["version"])
    files = synthetic_files(made) | {PUBLIC_KEY_FILE: signing.public_pem(signing_key)}
    files[SUMS_FILE] = sums(files)
    files[SIGNATURE_FILE] = signing.sign(signing_key, files[SUMS_FILE])
    place = release_dir / SYNTHETIC_FOLDER
    with alone(release_dir):
        check_wanted(release_dir, version)
        place.mkdir(exist_ok=True)
        place.chmod(_FOLDER_MODE)
        with alone(place), tempfile.TemporaryDirectory(prefix=f".{version}.", dir=place) as scratch:
            if (place / version).exists():
                if contents(place / version) != files:
                    raise BundleRefused(
                        f"{place / version} holds other synthetic children, or was changed: look at it with `readiness"
                        " verify`, and remove it to have them made anew"
                    )
                return place / version
            staged = Path(scratch) / version
            staged.mkdir()
            for name, content in files.items():
                (staged / name).write_bytes(content)
            set_modes(staged, _FOLDER_MODE, _FILE_MODE)
            staged.replace(place / version)
            sync(place)
        refresh(release_dir)
    return place / version


def write_unsigned(folder: Path, made: SyntheticChildren) -> None:
    """Write all files without a signature to a new or empty folder, in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        staged = Path(scratch) / folder.name
        staged.mkdir()
        for name, content in synthetic_files(made).items():
            (staged / name).write_bytes(content)
        set_modes(staged, _FOLDER_MODE, _FILE_MODE)
        staged.replace(folder)
    sync(folder.parent)


def is_synthetic(files: Mapping[str, bytes]) -> bool:
    """Return whether these are files of synthetic children rather than of a bundle."""
    return CSV_FILE in files or PARQUET_FILE in files


def synthetic_version(files: Mapping[str, bytes]) -> str | None:
    """Return the release that the files say they were made from, or None."""
    try:
        return str(json.loads(files[DATAPACKAGE_FILE])["release"])
    except (KeyError, TypeError, ValueError):
        return None


def synthetic_faults(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """List (file, fault) for files whose signature is valid.

    Both files of rows must hold the same rows, mark every row as synthetic, and be described as synthetic.
    """
    try:
        package = json.loads(files[DATAPACKAGE_FILE])
        table = pq.read_table(io.BytesIO(files[PARQUET_FILE]))
        rows = pa.csv.read_csv(
            io.BytesIO(files[CSV_FILE]),
            convert_options=pa.csv.ConvertOptions(column_types=table.schema, strings_can_be_null=False),
        )
    except (ValueError, pa.ArrowException, OSError) as error:
        return [("*", f"cannot be read: {error}")]
    faults = []
    if not isinstance(package, dict) or package.get("synthetic") is not True:
        faults.append((DATAPACKAGE_FILE, "does not say that the children are synthetic"))
    elif listed := {each["path"] for each in package["resources"]} ^ (UNSIGNED_FILES - {DATAPACKAGE_FILE}):
        faults.append((DATAPACKAGE_FILE, f"does not describe the files as they are: {', '.join(sorted(listed))}"))
    if (table.schema.metadata or {}).get(b"synthetic") != b"true":
        faults.append((PARQUET_FILE, "does not say that the children are synthetic"))
    if table.column_names[:1] != [FIRST_COLUMN] or not all(
        str(number).startswith(_MARK) for number in table[FIRST_COLUMN].to_pylist()
    ):
        faults.append((PARQUET_FILE, "does not say of every row that it is synthetic"))
    if not rows.cast(table.schema).equals(table):
        faults.append((CSV_FILE, f"does not hold the same rows as {PARQUET_FILE}"))
    return faults
