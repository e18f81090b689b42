"""Synthetic children as files: Parquet and CSV, a Frictionless Data Package, and the statement of what they are.

That they are synthetic is said by the names of the files, by the first column of every row, in the metadata of the
Parquet file and in the descriptor.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ndl_export.documents.markdown import grid
from ndl_export.facts.released import DATAPACKAGE_FILE
from ndl_export.facts.synthetic import SMALLEST_GROUP, SyntheticChildren
from ndl_export.files.media_types import MEDIA_TYPES
from ndl_export.files.whole_files import indented_json
from ndl_export.pages import kit
from ndl_export.pages.words import number, said
from ndl_export.tables import TABLES
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.pupil import FAMILY, GLD
from sources.reference.cohorts import Cohort

NAME = "synthetic_children"
WARNING = "Synthetic children: no row is about a real child."
FIRST_COLUMN = "synthetic_child"
_TEMPLATES = Path(__file__).parent / "templates"
_LABELS = {COUNCIL: "Council of the school"} | {each.name: each.label for each in FAMILY.attributes}
_TITLES = {
    "csv": "Synthetic children as CSV, one row a child who does not exist",
    "md": "What the synthetic children are, how they were made, and what they keep",
    "parquet": "Synthetic children as Parquet, one row a child who does not exist",
}


def synthetic_files(made: SyntheticChildren) -> dict[str, bytes]:
    """Content of every file, by name; the same bytes for the same children."""
    table = _table(made)
    parquet, csv = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, version="2.6", compression="zstd", compression_level=9)
    pyarrow.csv.write_csv(table, csv, pyarrow.csv.WriteOptions(quoting_style="needed"))
    files = {
        f"{NAME}.csv": csv.getvalue(),
        f"{NAME}.md": statement(made).encode(),
        f"{NAME}.parquet": parquet.getvalue(),
    }
    return files | {DATAPACKAGE_FILE: indented_json(_descriptor(made, files))}


def statement(made: SyntheticChildren) -> str:
    """synthetic_children.md: what the rows are, the method, and by query what they keep and what they do not."""
    agreements = (
        (
            TABLES[each.table].title,
            TABLES[each.table].measure(each.measure).label,
            number(each.compared),
            number(each.within),
            *(f"{value:.1f}" for value in (each.median, each.ninetieth, each.half_width)),
        )
        for each in made.agreements
    )
    held_out = (
        (
            _listed(tuple(name for name in each.attributes if name != GLD.name)),
            number(each.compared),
            *(f"{value:.1f}" for value in (each.median, each.ninetieth, each.noise)),
        )
        for each in made.held_out
    )
    return kit.render(
        _TEMPLATES,
        f"{NAME}.md",
        made=made,
        warning=said(made.release.get("notice", ""), WARNING),
        cohort=Cohort(made.cohort).label,
        children=number(made.rows.num_rows),
        first_column=FIRST_COLUMN,
        smallest=SMALLEST_GROUP,
        compared=number(made.compared),
        within=number(made.within),
        changed=number(made.changed),
        agreements=grid(
            ("table", "figure", "compared", "within the interval", "median", "90th percentile", "half-width"),
            agreements,
        ),
        held_out=grid(("group by", "compared", "median", "90th percentile", "noise alone, median"), held_out),
        not_fitted="; ".join(_listed(names) for names in made.not_fitted),
        libraries=", ".join(f"{name} {version}" for name, version in made.libraries.items()),
        columns=grid(
            ("column", "what", "categories"),
            ((f"`{name}`", _LABELS[name], " · ".join(made.categories[name])) for name in made.rows.column_names),
        ),
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(_LABELS[name] for name in names)


def _table(made: SyntheticChildren) -> pa.Table:
    """The rows with what says that they are synthetic, as text."""
    children = made.rows.num_rows
    numbers = pa.array([f"synthetic-{child:07}" for child in range(1, children + 1)], pa.string())
    columns = [numbers, pa.repeat(made.cohort, children), *made.rows.columns]
    fields = [
        pa.field(name, pa.string(), nullable=False, metadata={"description": description})
        for name, description, _ in _columns(made)
    ]
    about = {"synthetic": "true", "description": WARNING, "seed": str(made.seed), "of_release": made.release["id"]}
    return pa.table(columns, schema=pa.schema(fields, metadata=about)).combine_chunks()


def _columns(made: SyntheticChildren) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, description and, where there are few, categories of every column."""
    yield FIRST_COLUMN, "Number of the row, which is about no child", ()
    yield "cohort", "Academic year of the assessment, 202425 for 2024/25", (made.cohort,)
    for name in made.rows.column_names:
        yield name, f"{_LABELS[name]}, synthetic", made.categories[name]


def _descriptor(made: SyntheticChildren, files: Mapping[str, bytes]) -> dict[str, Any]:
    """A Frictionless Data Package (specs.frictionlessdata.io, version 1); `synthetic`, `seed`, `cohort`, `held_out` are
    ours."""
    release = made.release
    return {
        "profile": "data-package",
        "name": "synthetic-children",
        "id": f"synthetic-children-of-{release['id']}-{made.cohort}-seed-{made.seed}",
        "title": f"Synthetic children of {release['title']}, {Cohort(made.cohort).label}",
        "description": said(
            release.get("notice", ""), f"{WARNING} Drawn from the noisy counts of a differentially private release."
        ),
        "version": release["version"],
        "created": release["created"],
        "licenses": release["licenses"],
        "contributors": release["contributors"],
        "sources": [{"title": f"{release['title']}, release {release['version']}", "path": release["homepage"]}],
        "synthetic": True,
        "cohort": made.cohort,
        "seed": made.seed,
        "held_out": [asdict(each) for each in made.held_out],
        "resources": [_resource(made, name, content) for name, content in sorted(files.items())],
    }


def _resource(made: SyntheticChildren, name: str, content: bytes) -> dict[str, Any]:
    kind = PurePath(name).suffix.lstrip(".")
    described: dict[str, Any] = {"profile": "data-resource", "type": "file"}
    if kind == "csv":
        described = {"profile": "tabular-data-resource", "schema": _schema(made)}
    return described | {
        "name": name.replace(".", "-").replace("_", "-"),
        "title": _TITLES[kind],
        "path": name,
        "format": kind,
        "mediatype": MEDIA_TYPES[kind],
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }


def _schema(made: SyntheticChildren) -> dict[str, Any]:
    fields = [
        {
            "name": name,
            "type": "string",
            "description": description,
            "constraints": {"required": True} | ({"enum": list(categories)} if categories else {"unique": True}),
        }
        for name, description, categories in _columns(made)
    ]
    return {"fields": fields, "primaryKey": [FIRST_COLUMN], "missingValues": [""]}
