"""What `readiness diff` finds between two releases, and that the schema's version keeps to its rule."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ndl_export.bundle.make import write_bundle
from ndl_export.documents.data_dictionary import data_dictionary_csv
from ndl_export.publish.release_diff import (
    NotABundle,
    SchemaChange,
    Weight,
    diff,
    next_version,
    read_dictionary,
    schema_changes,
)
from ndl_export.tables import TABLES
from ndl_export.tables.rows import levels
from ndl_export.tables.schema import SCHEMA_VERSION, ColumnRole, columns
from pipelines.cli import main
from tests.support import PROJECT
from tests.support.daily import examples
from tests.support.export.fake_release import fake_facts, fake_tables

SNAPSHOTS = PROJECT / "tests" / "support" / "export" / "published_schema"
SCHEMA = read_dictionary(data_dictionary_csv())
Planted = dict[str, dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, release_dir: Path, signing_key: Ed25519PrivateKey) -> Path:
    """A home folder with two releases; to be read, not written."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(release_dir, folder / "release", symlinks=True)
    write_bundle(folder / "release", fake_facts("2026.12.0"), fake_tables(seed=2), signing_key)
    return folder


def drop_table(schema: Planted) -> None:
    del schema["joined_dots"]


def add_table(schema: Planted) -> None:
    schema["new_table"] = deepcopy(schema["joined_dots"])


def drop_column(schema: Planted) -> None:
    del schema["joined_dots"]["children_count_upper_ci"]


def add_figure(schema: Planted) -> None:
    schema["joined_dots"]["children_count_rank"] = schema["joined_dots"]["children_count"] | {"label": "Rank"}


def add_filter(schema: Planted) -> None:
    schema["joined_dots"]["sex"] = dict(schema["gld_headline"]["sex"])


def retype(schema: Planted) -> None:
    schema["joined_dots"]["children_count"]["type"] = "number"


def drop_category(schema: Planted) -> None:
    column = schema["gld_headline"]["sex"]
    column["levels"] = column["levels"].partition(" | ")[2]  # the first, since add_category adds the last


def add_category(schema: Planted) -> None:
    schema["gld_headline"]["sex"]["levels"] += " | Not stated"


def reword(schema: Planted) -> None:
    schema["joined_dots"]["children_count"]["description"] += ", by council"


def reorder(schema: Planted) -> None:
    column = schema["gld_headline"]["sex"]
    column["levels"] = " | ".join(reversed(column["levels"].split(" | ")))


RULE: list[tuple[Callable[[Planted], None], Weight, str, str]] = [
    (drop_table, Weight.MAJOR, "table removed", "2.0.0"),
    (drop_column, Weight.MAJOR, "column removed", "2.0.0"),
    (drop_category, Weight.MAJOR, "category removed", "2.0.0"),
    (retype, Weight.MAJOR, "type changed from 'whole number' to 'number'", "2.0.0"),
    (add_filter, Weight.MAJOR, "column added", "2.0.0"),
    (add_table, Weight.MINOR, "table added", "1.3.0"),
    (add_figure, Weight.MINOR, "column added", "1.3.0"),
    (add_category, Weight.MINOR, "category added", "1.3.0"),
    (reword, Weight.PATCH, "description changed", "1.2.4"),
    (reorder, Weight.PATCH, "order of categories changed", "1.2.4"),
]


@pytest.mark.parametrize(("plant", "weight", "what", "version"), RULE)
def test_each_change_has_its_weight(plant: Callable[[Planted], None], weight: Weight, what: str, version: str) -> None:
    changed: Any = deepcopy(SCHEMA)
    plant(changed)
    (found,) = schema_changes(SCHEMA, changed)
    assert (found.weight, found.what[: len(what)]) == (weight, what)
    assert next_version("1.2.3", (found,)) == version


@examples(60)
@given(st.sets(st.sampled_from(range(len(RULE)))))
def test_the_heaviest_of_several_changes_counts(chosen: set[int]) -> None:
    changed: Any = deepcopy(SCHEMA)
    for number in sorted(chosen, reverse=True):
        RULE[number][0](changed)
    heaviest = max((schema_changes(SCHEMA, changed)), key=lambda each: each.weight, default=None)
    if not chosen:
        assert heaviest is None
    else:
        assert heaviest is not None
        assert heaviest.weight >= max(RULE[number][1] for number in chosen if not _undone(number, chosen))


def _undone(number: int, chosen: set[int]) -> bool:
    """Whether a change is hidden by the removal of its table."""
    return 0 in chosen and number in (1, 3, 4, 6, 8)


def test_a_removal_one_way_is_an_addition_the_other() -> None:
    changed: Any = deepcopy(SCHEMA)
    for plant in (drop_table, drop_category):
        plant(changed)
    there, back = schema_changes(SCHEMA, changed), schema_changes(changed, SCHEMA)
    assert {each.what.replace("removed", "added") for each in there} == {each.what for each in back}
    assert {each.weight for each in back} == {Weight.MINOR}


def test_the_dictionary_states_every_column_and_category() -> None:
    assert SCHEMA.keys() == TABLES.keys()
    for name, table in TABLES.items():
        assert list(SCHEMA[name]) == [column.name for column in columns(table)]
        for column in columns(table):
            if column.role is ColumnRole.FILTER:
                assert tuple(SCHEMA[name][column.name]["levels"].split(" | ")) == levels(table, column.name)


def test_the_schema_changes_with_its_version_and_by_the_rule() -> None:
    """The one snapshot is the schema of the last published version; docs/releases.md says when to replace it."""
    (snapshot,) = SNAPSHOTS.glob("*.csv")
    changes = schema_changes(read_dictionary(snapshot.read_text(encoding="utf-8")), SCHEMA)
    assert next_version(snapshot.stem, changes) == SCHEMA_VERSION, changes


def test_the_bundle_states_the_version_of_its_schema(bundle: Path) -> None:
    assert json.loads((bundle / "datapackage.json").read_text())["schemaVersion"] == SCHEMA_VERSION


def ask(*arguments: object) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["diff", *map(str, arguments)])
    return ran.exit_code, ran.output


def test_figures_that_moved_are_those_of_changes_csv(home: Path) -> None:
    release = home / "release"
    code, said = ask("2026.11.0", "2026.12.0", "--home", home, "--json")
    assert code == 0
    found = json.loads(said)
    moved = [line for one in found["figures"].values() for line in one["moved"]]
    listed = list(csv.DictReader(io.StringIO((release / "2026.12.0" / "changes.csv").read_text())))
    assert moved == listed
    assert len(listed) > 20
    assert found["figures"].keys() == TABLES.keys()
    assert (found["schema_changes"], found["schema_version_asked_for"]) == ([], SCHEMA_VERSION)
    assert json.loads(ask(release / "2026.11.0", release / "2026.12.0", "--json")[1]) == found


def test_the_text_lists_the_first_figures_and_all_when_asked(home: Path) -> None:
    few, every = (ask("2026.11.0", "2026.12.0", "--home", home, *more)[1] for more in ((), ("--all",)))
    assert few.startswith(f"Release 2026.11.0 (schema {SCHEMA_VERSION}) -> Release 2026.12.0 (schema {SCHEMA_VERSION})")
    assert "Schema: no change." in few
    assert "more: --all lists them" in few
    assert "more: --all lists them" not in every
    assert len(every.splitlines()) > len(few.splitlines())


def test_a_release_is_the_same_as_itself(home: Path) -> None:
    code, said = ask("2026.11.0", "2026.11.0", "--home", home)
    assert code == 0
    assert "moved beyond" not in said


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
    code, said = ask(copy, bundle)
    assert code == 0
    assert "These changes ask for schema 1.1.0." in said
    assert "joined_dots" in said


@pytest.mark.parametrize("spoil", ["datapackage.json", "data_dictionary.csv", "privacy_statement.json"])
def test_a_folder_that_is_no_bundle_is_said_so(copy: Path, bundle: Path, spoil: str) -> None:
    (copy / spoil).unlink()
    said = f"{copy} is not the folder of a release bundle: it has no {spoil}"
    assert ask(bundle, copy) == (1, f"readiness: {said}\n")
    (copy / spoil).write_text("[]")
    with pytest.raises(NotABundle, match="not the folder of a release bundle"):
        diff(copy, bundle)


def test_a_version_that_is_not_there_and_an_archive_are_no_folders_of_bundles(home: Path) -> None:
    code, said = ask("2026.11.0", "2027.01.0", "--home", home)
    assert code == 1
    assert "2027.01.0 is not the folder of a release bundle" in said
    archive = home / "release" / "2026.11.0.zip"
    assert ask(archive, archive)[0] == 1


def test_no_change_asks_for_no_version() -> None:
    none: tuple[SchemaChange, ...] = ()
    assert next_version("1.2.3", none) == "1.2.3"
