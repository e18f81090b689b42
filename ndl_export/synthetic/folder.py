"""Synthetic children beside the bundles: the folder `synthetic_children/<version>` of a release directory.

It is written completely to a temporary folder, signed like a bundle, and renamed. It is not a bundle and says so: it
holds no privacy charge, and code that lists releases does not include it. If a release is withdrawn, its synthetic
children stay where they are, but nothing links to them any more. File names, the first column of every row and the
metadata of the Parquet file state that the children are synthetic.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.bundle.release_directory import BundleRefused, refresh
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.facts.description import KEYWORDS
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, explain_absence, load_withdrawals
from ndl_export.facts.synthetic_folder import (
    CROISSANT_FILE,
    CSV_FILE,
    DICTIONARY_FILE,
    FIRST_COLUMN,
    PARQUET_FILE,
    QUALITY_FILE,
    QUALITY_PAGE,
    ROW_PREFIX,
    STATEMENT_FILE,
    SYNTHETIC_FOLDER,
    TITLES,
    UNSIGNED_FILES,
)
from ndl_export.files import signing, whole_files
from ndl_export.files.whole_files import format_csv, format_json, format_parquet, lock_folder
from ndl_export.metadata.records import RESPONSIBLE_USE, describe_file, render_croissant
from ndl_export.pages import kit, number_format
from ndl_export.site.documents import render_synthetic_page
from ndl_export.synthetic.children import SMALLEST_GROUP, WARNING, SyntheticChildren
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.pupil import FAMILY, GLD
from privacy.doors.files import sync
from privacy.doors.shipped import read_yaml
from sources.reference.cohorts import Cohort

_TEMPLATES = Path(__file__).parent / "templates"
BENCHMARK = Path(__file__).with_name("benchmark.yaml")
"""Measured differences from known children: written by `python -m bench.synthetic`, printed on the quality page."""
_LABELS = {COUNCIL: "Council of the school"} | {each.name: each.label for each in FAMILY.attributes}


def build_synthetic_files(made: SyntheticChildren) -> dict[str, bytes]:
    """Return every file except checksums, signature and key, by name; always the same for the same children."""
    table, rows = _build_table(made), io.BytesIO()
    pyarrow.csv.write_csv(table, rows, pyarrow.csv.WriteOptions(quoting_style="needed"))
    lines = ((name, about, category) for name, about, found in _iter_columns(made) for category in found or ("",))
    files = {
        CSV_FILE: rows.getvalue(),
        DICTIONARY_FILE: format_csv(("column", "description", "category"), lines).encode(),
        PARQUET_FILE: format_parquet(table),
    } | _render_pages(made)
    page = render_synthetic_page(QUALITY_FILE, files[QUALITY_FILE].decode(), UNSIGNED_FILES, _build_warning(made))
    files |= {QUALITY_PAGE: page, CROISSANT_FILE: format_json(_build_croissant(made, files))}
    return files | {DATAPACKAGE_FILE: format_json(_build_package(made, files))}


def _build_warning(made: SyntheticChildren) -> str:
    """Return the sentence that begins every document."""
    return number_format.join_parts(made.notice, WARNING)


def _render_pages(made: SyntheticChildren) -> dict[str, bytes]:
    """Render what the rows are and how they are made, and what they preserve of the release, by file name."""
    values = {
        "made": made,
        "warning": _build_warning(made),
        "cohort": Cohort(made.cohort).label,
        "smallest": SMALLEST_GROUP,
        "first_column": FIRST_COLUMN,
        "titles": TITLES,
        "join_labels": _join_labels,
        "benchmark": read_yaml(BENCHMARK),
        "outside": [each.label for each in made.goals if not each.lower <= each.of_rows <= each.upper],
        "listed": lambda names: _join_labels(name for name in names if name != GLD.name),
    }
    pages = (STATEMENT_FILE, QUALITY_FILE)
    return {name: kit.render(_TEMPLATES, name, **values).encode() for name in pages}


def _join_labels(names: Iterable[str]) -> str:
    return ", ".join(_LABELS[name] for name in names)


def _build_table(made: SyntheticChildren) -> pa.Table:
    """Return the rows as text, with columns and metadata that mark them as synthetic."""
    children = made.rows.num_rows
    # Text, not a number, so that a row says what it is wherever it is copied to.
    numbers = pa.array([f"{ROW_PREFIX}{child:07}" for child in range(1, children + 1)], pa.string())
    values = [numbers, pa.repeat(made.cohort, children), *made.rows.columns]
    fields = [
        pa.field(name, pa.string(), nullable=False, metadata={"description": description})
        for name, description, _ in _iter_columns(made)
    ]
    about = {
        "synthetic": "true",
        "description": WARNING,
        "seed": str(made.seed),
        "of_release": made.release["id"],
    }
    return pa.table(values, schema=pa.schema(fields, metadata=about)).combine_chunks()


def _iter_columns(made: SyntheticChildren) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, description and categories of every column; the categories are empty if there are many."""
    yield FIRST_COLUMN, "Number of the row, which is not about a real child", ()
    yield "cohort", "Academic year of the assessment, 202425 for 2024/25", (made.cohort,)
    for name in made.rows.column_names:
        yield name, f"{_LABELS[name]}, synthetic", made.categories[name]


_KEYWORDS = ("synthetic data", *KEYWORDS)
_MADE = "Drawn from the noisy counts of a differentially private release, at no further cost in privacy."


def _build_package(made: SyntheticChildren, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return `datapackage.json` of `files` (content by name), JSON-ready.

    `synthetic`, `release`, `release_sha256sums`, `seed`, `cohort`, `software` and `held_out` are not part of the
    standard.
    """
    release = made.release
    return {
        "profile": "data-package",
        "name": "synthetic-children",
        "id": f"synthetic-children-of-{release['id']}-{made.cohort}-seed-{made.seed}",
        "title": _format_title(made),
        "description": number_format.join_parts(_build_warning(made), _MADE),
        "homepage": made.address,
        "version": release["version"],
        "created": release["created"],
        "licenses": release["licenses"],
        "contributors": release["contributors"],
        "keywords": list(_KEYWORDS),
        "sources": [{"title": f"{release['title']}, release {release['version']}", "path": release["homepage"]}],
        "synthetic": True,
        "release": release["version"],
        "release_sha256sums": made.release_sums,
        "cohort": made.cohort,
        "seed": made.seed,
        "software": dict(made.libraries),
        "held_out": [asdict(each) for each in made.held_out],
        "resources": [_build_resource(made, name, content) for name, content in sorted(files.items())],
    }


def _format_title(made: SyntheticChildren) -> str:
    return f"Synthetic children of {made.release['title']}, {Cohort(made.cohort).label}"


def _build_resource(made: SyntheticChildren, name: str, content: bytes) -> dict[str, Any]:
    described: dict[str, Any] = {"title": TITLES[name], "profile": "data-resource", "type": "file"}
    if name == CSV_FILE:
        fields = [
            {
                "name": column,
                "type": "string",
                "description": description,
                "constraints": {"required": True} | ({"enum": list(categories)} if categories else {"unique": True}),
            }
            for column, description, categories in _iter_columns(made)
        ]
        schema = {"fields": fields, "primaryKey": [FIRST_COLUMN], "missingValues": [""]}
        described |= {"profile": "tabular-data-resource", "type": "table", "schema": schema}
    return described | describe_file(name, content)


def _build_croissant(made: SyntheticChildren, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return `croissant.json` of the rows in the Parquet file among `files` (content by name), JSON-ready."""
    return RESPONSIBLE_USE["synthetic_children"] | render_croissant(
        "synthetic_croissant",
        files,
        made=made,
        release=made.release,
        publisher={"email": "", **made.release["contributors"][0]},
        title=_format_title(made),
        description=number_format.join_parts(_build_warning(made), _MADE),
        warning=_build_warning(made),
        keywords=_KEYWORDS,
        file=PARQUET_FILE,
        file_title=TITLES[PARQUET_FILE],
        first_column=FIRST_COLUMN,
        columns=[(column, description, "sc:Text", "") for column, description, _ in _iter_columns(made)],
    )


def check_wanted(release_dir: Path, version: str) -> None:
    """Raise `BundleRefused` if the release does not exist or is withdrawn."""
    if problem := explain_absence(release_dir, version):
        raise BundleRefused(problem)
    if found := load_withdrawals(release_dir).get(version):
        raise BundleRefused(f"{found.sentence} There are no synthetic children of it.")


def write_synthetic(release_dir: Path, made: SyntheticChildren, signing_key: Ed25519PrivateKey) -> Path:
    """Write and sign the folder of a release's synthetic children, and return it; a folder with the same bytes is kept.

    Raises `BundleRefused` if the folder has other content, or the release does not exist or is withdrawn.
    """
    version = str(made.release["version"])
    files = build_synthetic_files(made) | {signing.PUBLIC_KEY_FILE: signing.get_public_pem(signing_key)}
    files |= signing.sign_files(signing_key, files)
    place = release_dir / SYNTHETIC_FOLDER
    with lock_folder(release_dir):
        # Within the lock, because the release may be withdrawn while its children are made.
        check_wanted(release_dir, version)
        place.mkdir(exist_ok=True)
        place.chmod(whole_files.FOLDER_MODE)
        with lock_folder(place):
            if not (place / version).exists():
                _write_folder(place / version, files)
            elif read_contents(place / version) != files:
                raise BundleRefused(
                    f"{place / version} holds other synthetic children, or was changed: look at it with `readiness"
                    " verify`, and remove it to have them made again"
                )
        refresh(release_dir)
    return place / version


def write_unsigned(folder: Path, made: SyntheticChildren) -> None:
    """Write all files without a signature to a new or empty folder, in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _write_folder(folder, build_synthetic_files(made))


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    with whole_files.stage(folder) as staged:
        whole_files.stage_files(staged, files)
        # Fails if the folder has files, so nothing is ever written over.
        staged.replace(folder)
    sync(folder.parent)
