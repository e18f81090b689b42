"""Files of synthetic children: the rows as Parquet and CSV, their data dictionary, a statement of what they are, and a
page on what they preserve of the release.

The file names, the first column of every row and the metadata of the Parquet file all state that they are synthetic.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from ndl_export.facts import synthetic
from ndl_export.facts.release_facts import DATAPACKAGE_FILE
from ndl_export.files.whole_files import format_csv, format_parquet
from ndl_export.pages import kit
from ndl_export.pages.number_format import format_number, join_parts
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.pupil import FAMILY, GLD
from privacy.doors.shipped import read_yaml
from sources.reference.cohorts import Cohort

FIRST_COLUMN = "synthetic_child"
_TEMPLATES = Path(__file__).parent / "templates"
_BENCHMARK = read_yaml(Path(__file__).parent / "synthetic_benchmark.yaml")
_LABELS = {COUNCIL: "Council of the school"} | {each.name: each.label for each in FAMILY.attributes}
TITLES = {
    synthetic.CSV_FILE: "Synthetic children as CSV, each row a child who does not exist",
    synthetic.PARQUET_FILE: "Synthetic children as Parquet, each row a child who does not exist",
    synthetic.DICTIONARY_FILE: "Data dictionary: every column and category of the synthetic children",
    synthetic.STATEMENT_FILE: "What the synthetic children are and how they were made",
    synthetic.QUALITY_FILE: "What the synthetic children keep of the release, and what they do not",
    synthetic.QUALITY_PAGE: "The same as a page for a browser",
    synthetic.CROISSANT_FILE: "Record for machine learning (Croissant 1.1)",
    DATAPACKAGE_FILE: "Record of every file (Frictionless Data Package)",
}
"""Titles by file, in the order in which they are listed."""


def build_synthetic_documents(made: synthetic.SyntheticChildren) -> dict[str, bytes]:
    """Return rows, dictionary, statement and quality page by name; always the same for the same children."""
    table = _build_table(made)
    rows = io.BytesIO()
    pyarrow.csv.write_csv(table, rows, pyarrow.csv.WriteOptions(quoting_style="needed"))
    lines = ((name, about, category) for name, about, found in iter_columns(made) for category in found or ("",))
    return {
        synthetic.CSV_FILE: rows.getvalue(),
        synthetic.DICTIONARY_FILE: format_csv(("column", "description", "category"), lines).encode(),
        synthetic.PARQUET_FILE: format_parquet(table),
    } | _render_pages(made)


def build_warning(made: synthetic.SyntheticChildren) -> str:
    """Return the sentence that begins every document."""
    return join_parts(made.notice, synthetic.WARNING)


def _render_pages(made: synthetic.SyntheticChildren) -> dict[str, bytes]:
    """Render what the rows are and how they are made, and what they preserve of the release, by file name."""
    shared = {
        "made": made,
        "warning": build_warning(made),
        "cohort": Cohort(made.cohort).label,
        "smallest": synthetic.SMALLEST_GROUP,
    }
    statement = kit.render(
        _TEMPLATES,
        synthetic.STATEMENT_FILE,
        **shared,
        children=format_number(made.rows.num_rows),
        changed=format_number(made.changed),
        first_column=FIRST_COLUMN,
        files=kit.format_grid(("file", "what it is"), ((f"`{name}`", title) for name, title in TITLES.items())),
        not_fitted="; ".join(_join_labels(names) for names in made.not_fitted),
        libraries=", ".join(f"{name} {version}" for name, version in made.libraries.items()),
    )
    quality = kit.render(
        _TEMPLATES,
        synthetic.QUALITY_FILE,
        **shared,
        benchmark=_BENCHMARK,
        outside=[each.label for each in made.goals if not each.lower <= each.of_rows <= each.upper],
        listed=lambda names: _join_labels(name for name in names if name != GLD.name),
    )
    return {synthetic.STATEMENT_FILE: statement.encode(), synthetic.QUALITY_FILE: quality.encode()}


def _join_labels(names: Iterable[str]) -> str:
    return ", ".join(_LABELS[name] for name in names)


def _build_table(made: synthetic.SyntheticChildren) -> pa.Table:
    """Return the rows as text, with columns and metadata that mark them as synthetic."""
    children = made.rows.num_rows
    # Text, not a number, so that a row says what it is wherever it is copied to.
    numbers = pa.array([f"synthetic-{child:07}" for child in range(1, children + 1)], pa.string())
    values = [numbers, pa.repeat(made.cohort, children), *made.rows.columns]
    fields = [
        pa.field(name, pa.string(), nullable=False, metadata={"description": description})
        for name, description, _ in iter_columns(made)
    ]
    about = {
        "synthetic": "true",
        "description": synthetic.WARNING,
        "seed": str(made.seed),
        "of_release": made.release["id"],
    }
    return pa.table(values, schema=pa.schema(fields, metadata=about)).combine_chunks()


def iter_columns(made: synthetic.SyntheticChildren) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, description and categories of every column; the categories are empty if there are many."""
    yield FIRST_COLUMN, "Number of the row, which is not about a real child", ()
    yield "cohort", "Academic year of the assessment, 202425 for 2024/25", (made.cohort,)
    for name in made.rows.column_names:
        yield name, f"{_LABELS[name]}, synthetic", made.categories[name]
