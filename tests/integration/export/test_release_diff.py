"""What `readiness diff` finds between two releases, and that the schema's version keeps to its rule."""

import csv
import io
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from ndl_export.documents.pages import build_data_dictionary_csv
from ndl_export.publish.release_diff import (
    NotABundle,
    Weight,
    compute_next_version,
    diff,
    list_schema_changes,
    read_dictionary,
)
from ndl_export.tables import TABLES
from ndl_export.tables.schema import SCHEMA_VERSION
from tests.support import PROJECT
from tests.support.daily import limit_examples
from tests.support.installation.commands import invoke

SNAPSHOTS = PROJECT / "tests" / "support" / "export" / "published_schema"
SCHEMA = read_dictionary(build_data_dictionary_csv())
Planted = dict[str, dict[str, dict[str, str]]]


Place = tuple[str, ...]


def edited(schema: Planted, *edits: tuple[Place, Any]) -> Planted:
    """Return the schema with a value at each place, which is a table, a column and a field; None removes the place."""
    changed: Any = deepcopy(schema)
    for (*outer, last), value in edits:
        inner = changed
        for name in outer:
            inner = inner.get(name, {})
        if value is None:
            inner.pop(last, None)
        else:
            inner[last] = value
    return changed


DOTS, SEX = SCHEMA["joined_dots"], SCHEMA["gld_headline"]["sex"]
SEXES = SEX["levels"].split(" | ")
RULE: list[tuple[Place, Any, Weight, str, str]] = [
    (("joined_dots",), None, Weight.MAJOR, "table removed", "2.0.0"),
    (("joined_dots", "children_count_upper_ci"), None, Weight.MAJOR, "column removed", "2.0.0"),
    (("gld_headline", "sex", "levels"), " | ".join(SEXES[1:]), Weight.MAJOR, "category removed", "2.0.0"),
    (("joined_dots", "children_count", "type"), "number", Weight.MAJOR, "type changed from 'whole number'", "2.0.0"),
    (("joined_dots", "sex"), SEX, Weight.MAJOR, "column added", "2.0.0"),
    (("new_table",), DOTS, Weight.MINOR, "table added", "1.3.0"),
    (("joined_dots", "rank"), {**DOTS["children_count"], "label": "Rank"}, Weight.MINOR, "column added", "1.3.0"),
    (("gld_headline", "sex", "levels"), f"{SEX['levels']} | Not stated", Weight.MINOR, "category added", "1.3.0"),
    (("joined_dots", "children_count", "description"), "Other words", Weight.PATCH, "description changed", "1.2.4"),
    (("gld_headline", "sex", "levels"), " | ".join(SEXES[::-1]), Weight.PATCH, "order of categories", "1.2.4"),
]


@pytest.mark.parametrize(("place", "value", "weight", "what", "version"), RULE)
def test_each_change_has_its_weight(place: Place, value: Any, weight: Weight, what: str, version: str) -> None:
    (found,) = list_schema_changes(SCHEMA, edited(SCHEMA, (place, value)))
    assert (found.weight, found.what[: len(what)]) == (weight, what)
    assert compute_next_version("1.2.3", (found,)) == version


@limit_examples(60)
@given(st.sets(st.sampled_from(range(5)), max_size=3), st.sets(st.sampled_from(range(5, 10)), max_size=3))
def test_the_heaviest_of_several_changes_counts(major: set[int], lighter: set[int]) -> None:
    changes = list_schema_changes(SCHEMA, edited(SCHEMA, *((RULE[n][0], RULE[n][1]) for n in sorted(lighter | major))))
    if major - {2}:  # levels are replaced by a lighter change, where there is one
        assert compute_next_version("1.2.3", changes) == "2.0.0"
    assert (compute_next_version("1.2.3", changes) == "1.2.3") == (not changes)


def test_the_schema_changes_with_its_version_and_by_the_rule() -> None:
    """The one snapshot is the schema of the last published version; docs/releases.md says when to replace it."""
    (snapshot,) = SNAPSHOTS.glob("*.csv")
    changes = list_schema_changes(read_dictionary(snapshot.read_text(encoding="utf-8")), SCHEMA)
    assert compute_next_version(snapshot.stem, changes) == SCHEMA_VERSION, changes


def run_diff(*arguments: object) -> tuple[int, str]:
    ran = invoke("diff", *arguments)
    return ran.exit_code, ran.output


def test_figures_that_moved_are_those_of_changes_csv(two: Path) -> None:
    release = two
    code, said = run_diff("2026.11.0", "2026.12.0", "--home", two.parent, "--json")
    assert code == 0
    found = json.loads(said)
    moved = [line for one in found["figures"].values() for line in one["moved"]]
    listed = list(csv.DictReader(io.StringIO((release / "2026.12.0" / "changes.csv").read_text())))
    assert moved == listed
    assert len(listed) > 20
    assert found["figures"].keys() == TABLES.keys()
    assert (found["schema_changes"], found["schema_version_asked_for"]) == ([], SCHEMA_VERSION)
    assert json.loads(run_diff(release / "2026.11.0", release / "2026.12.0", "--json")[1]) == found


def test_a_release_of_another_schema_is_compared_as_far_as_it_goes(copy: Path, bundle: Path) -> None:
    """A release without a table, a measure and a category; both ways round."""
    with (copy / "data_dictionary.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    kept = [
        line | {"levels": line["levels"].removesuffix(" | Quintile 5 (least deprived)")}
        for line in lines
        if line["table"] != "joined_dots" and not line["column"].startswith("elgs_expected_average")
    ]
    with (copy / "data_dictionary.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(kept)
    (copy / "joined_dots.parquet").unlink()
    data = pq.read_table(copy / "gld_headline.parquet")
    pq.write_table(
        data.drop_columns([name for name in data.column_names if name.startswith("elgs_expected_average")]),
        copy / "gld_headline.parquet",
    )
    for before, now, weight, asked_for in (
        (copy, bundle, Weight.MINOR, "1.1.0"),
        (bundle, copy, Weight.MAJOR, "2.0.0"),
    ):
        found = diff(before, now)
        assert found.asked_for == asked_for
        assert {each.weight for each in found.changes} == {weight}
        assert {each.what.split()[0] for each in found.changes} == {"table", "column", "category"}
        assert found.figures.keys() == TABLES.keys() - {"joined_dots"}
        assert found.not_compared == ()
    code, said = run_diff(copy, bundle)
    assert code == 0
    assert "These changes ask for schema 1.1.0." in said
    assert "joined_dots" in said


@pytest.mark.parametrize("spoil", ["datapackage.json", "data_dictionary.csv", "privacy_statement.json"])
def test_what_is_not_the_folder_of_a_bundle_is_named(copy: Path, release_dir: Path, spoil: str) -> None:
    (copy / spoil).unlink()
    for folder in (copy, release_dir / "2027.01.0", release_dir / "2026.11.0.zip"):
        code, said = run_diff(release_dir / "2026.11.0", folder)
        assert (code, f"{folder} is not the folder of a release bundle" in said) == (1, True)
    (copy / spoil).write_text("[]")
    with pytest.raises(NotABundle):
        diff(copy, release_dir / "2026.11.0")
