"""Files for Explore Education Statistics against its data screener and its checks of a bulk upload, and whether these
find every fault."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from ndl_export.tables import TABLES
from ndl_export.tables.ees import build_meta_csv, write_csvs
from sources.reference.places import load_places
from tests.support.export import ees_bulk
from tests.support.export.ees_screener import CHECKS, NOT_CHECKED, Files, Row, faults, read, reference, screen
from tests.support.export.fake_release import fake_tables

Plant = Callable[[Files], Files]


@pytest.mark.parametrize("name", TABLES)
def test_csv_files_pass_the_screener(name: str, bundle: Path) -> None:
    assert screen(bundle / f"{name}.csv", bundle / f"{name}.meta.csv") == []


def test_files_of_all_england_pass_the_screener(tmp_path: Path) -> None:
    """With rows of England and its regions, and the exact name of every local authority."""
    name, data = "gld_headline", fake_tables(tuple(load_places()))["gld_headline"]
    write_csvs({name: data}, tmp_path)
    (tmp_path / f"{name}.meta.csv").write_bytes(build_meta_csv(data, TABLES[name]))
    files = read(tmp_path / f"{name}.csv", tmp_path / f"{name}.meta.csv")
    assert files.levels("geographic_level") == {"National", "Regional", "Local authority", "English devolved area"}
    assert faults(files) == []


def test_every_rule_is_checked_or_says_why_not() -> None:
    numbers = [int(row["order"]) for row in reference("rules")]
    assert sorted([*CHECKS, *NOT_CHECKED]) == numbers
    assert PLANTED.keys() == CHECKS.keys()


@pytest.fixture(scope="module")
def sound(bundle: Path) -> Files:
    """The headline table's files, cut to one devolved area and one council."""
    files = read(bundle / "gld_headline.csv", bundle / "gld_headline.meta.csv")
    names = {"Liverpool City Region", "Leeds"}
    kept = [row for row in files.data if {row["english_devolved_area_name"], row["la_name"]} & names]
    return replace(files, data=kept)


def put(column: str, value: str, level: str | None = None) -> Plant:
    """Put `value` into a column, which is added if need be, of the first row, of all rows (`""`), or of a level's."""

    def plant(files: Files) -> Files:
        rows = [row for row in files.data if row["geographic_level"].startswith(level or "")]
        for row in files.data:
            row.setdefault(column, "")
        for row in rows if level is not None else rows[:1]:
            row[column] = value
        return replace(files, columns=list(dict.fromkeys([*files.columns, column])))

    return plant


def renamed(old: str, new: str) -> Plant:
    """A column of another name, in data and metadata."""

    def plant(files: Files) -> Files:
        data: list[Row] = [{new if key == old else key: value for key, value in row.items()} for row in files.data]
        for row in files.meta:
            row.update({key: new for key, value in row.items() if value == old})
        return replace(files, columns=[new if name == old else name for name in files.columns], data=data)

    return plant


def without(column: str) -> Plant:
    return lambda files: replace(files, columns=[name for name in files.columns if name != column])


def meta(name: str, **values: str) -> Plant:
    """Values in the metadata row of a column."""

    def plant(files: Files) -> Files:
        next(row for row in files.meta if row["col_name"] == name).update(values)
        return files

    return plant


def then(*plants: Plant) -> Plant:
    def plant(files: Files) -> Files:
        for each in plants:
            files = each(files)
        return files

    return plant


FEW = "children_count"
PLANTED: dict[int, Plant] = {
    1: lambda files: replace(files, data_name="gld headline.csv"),
    2: lambda files: replace(files, data_name="gld£headline.csv"),
    3: lambda files: replace(files, meta_name="other.meta.csv"),
    4: lambda files: replace(files, meta_columns=files.meta_columns[1:]),
    5: lambda files: replace(files, meta_columns=[*files.meta_columns, "remarks"]),
    6: without("country_name"),
    7: lambda files: replace(files, columns=files.columns[:20]),
    8: meta(FEW, col_name="number_of_children"),
    9: lambda files: replace(files, meta=[row for row in files.meta if row["col_name"] != FEW]),
    10: renamed(FEW, "children count"),
    11: renamed(FEW, "children_Count"),
    12: renamed(FEW, "2_children_count"),
    13: renamed(FEW, "white_children_count"),
    14: renamed("breakdown", "characteristic"),
    15: meta(FEW, col_type="indicator"),
    16: meta(FEW, col_name="time_period"),
    17: meta(FEW, col_name=""),
    18: meta(FEW, label="Sex"),
    19: meta(FEW, filter_grouping_column="breakdown_topic"),
    20: meta("sex", filter_grouping_column="breakdown_topic"),
    21: lambda files: replace(files, meta=[row for row in files.meta if row["col_name"] != "breakdown_topic"]),
    22: meta("breakdown", filter_grouping_column="topic"),
    23: then(
        put("breakdown_topic", "Sex."),
        lambda files: replace(files, data=[*files.data, files.data[-1] | {"breakdown_topic": "Sex"}]),
    ),
    24: meta(FEW, label=""),
    25: meta(FEW, filter_hint="A hint"),
    26: renamed("sex", "region"),
    27: meta("sex", indicator_dp="1"),
    28: meta(FEW, col_name="children count"),
    29: meta(FEW, col_name="sex"),
    30: meta(FEW, indicator_dp=""),
    31: meta(FEW, indicator_dp="1.5"),
    32: meta("sex", indicator_unit="%"),
    33: meta(FEW, indicator_unit="percent"),
    34: meta("sex", indicator_grouping="Figures"),
    35: put("time_period", "2024/25"),
    36: put("time_identifier", "School year", ""),
    37: put("time_identifier", "Financial year"),
    38: put("sex", "Total", ""),
    39: put("geographic_level", "Local Authority"),
    40: without("la_name"),
    41: put("time_period", "2024"),
    42: put("time_period", "202426"),
    43: meta("sex", filter_default="Everyone"),
    44: then(put("breakdown", "Total", ""), put("breakdown", "Other")),
    45: lambda files: replace(
        files, data=[*files.data, *(files.data[0] | {"sex": f"Sex {number}"} for number in range(25_000))]
    ),
    46: put("sex", " Female"),
    47: put("region_name", "All"),
    48: put("sex", ""),
    49: put("la_name", "St Helens", "Local authority"),
    50: put("la_name", "", "Local authority"),
    53: without("old_la_code"),
    54: put("region_name", "", "Local authority"),
    56: put("english_devolved_area_code", "E47000003", "Local authority"),
    57: lambda files: replace(files, data=[*files.data, files.data[0]]),
    58: put(FEW, "NA"),
    59: put(FEW, ".."),
    60: put(FEW, "~"),
    61: renamed("breakdown", "ethnic_group"),
    64: meta(FEW, label="Number of children " * 6),
}


def test_the_cut_files_pass(sound: Files) -> None:
    assert faults(sound) == []


@pytest.mark.parametrize("number", PLANTED)
def test_the_screener_finds_a_planted_fault(number: int, sound: Files) -> None:
    assert any(found.startswith(f"{number}: ") for found in faults(PLANTED[number](deepcopy(sound))))


Entries = dict[str, bytes]
NAME = "ees_bulk_upload.zip"


@pytest.fixture(scope="module")
def entries(bundle: Path) -> Entries:
    with zipfile.ZipFile(bundle / NAME) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def test_the_upload_is_taken(bundle: Path) -> None:
    assert ees_bulk.faults(bundle / NAME) == []


def test_it_holds_the_files_of_every_table_as_they_are_in_the_bundle(entries: Entries, bundle: Path) -> None:
    pairs = {f"{name}{suffix}" for name in TABLES for suffix in (".csv", ".meta.csv")}
    assert entries.keys() == {"dataset_names.csv", *pairs}
    assert all(entries[name] == (bundle / name).read_bytes() for name in pairs)
    lines = list(csv.DictReader(io.StringIO(entries["dataset_names.csv"].decode())))
    assert [line["file_name"] for line in lines] == list(TABLES)
    assert not [line for line in lines if set(line["dataset_name"]) & set(ees_bulk.INVALID)]


def lines_of(change: Callable[[str], str]) -> Callable[[Entries], Entries]:
    return lambda files: files | {"dataset_names.csv": change(files["dataset_names.csv"].decode()).encode()}


BAD_UPLOADS: dict[str, Callable[[Entries], Entries]] = {
    "BulkDataZipMustContainDataSetNamesCsv": lambda files: {
        f"folder/{name}": content for name, content in files.items()
    },
    "DataSetNamesCsvIncorrectHeaders": lines_of(lambda text: text.replace("file_name", "File name")),
    "DataSetTitleShouldBeUnique": lines_of(
        lambda text: text.replace("Early learning goals", "Children no one saw", 1) + "more,Children no one saw\n"
    ),
    "DataSetNamesCsvFileNamesShouldBeUnique": lines_of(lambda text: text + "joined_dots,Once more\n"),
    "FileNotFoundInZip joined_dots.meta.csv": lambda files: {
        name: content for name, content in files.items() if name != "joined_dots.meta.csv"
    },
    "ZipContainsUnusedFiles README.md": lambda files: files | {"README.md": b"x"},
    "DataSetTitleTooLong": lines_of(lambda text: text.replace("Early learning goals", "x" * 121)),
    "DataSetTitleCannotBeEmpty": lines_of(lambda text: text.replace("Early learning goals", "")),
    "FileSizeMustNotBeZero joined_dots.csv": lambda files: files | {"joined_dots.csv": b""},
    "FileNameCannotContainSpaces": lambda files: with_names(files, "joined_dots", "joined dots"),
    "FileNameCannotContainSpecialCharacters": lambda files: with_names(files, "joined_dots", "joined&dots"),
}


def with_names(files: Entries, old: str, new: str) -> Entries:
    index = files["dataset_names.csv"].replace(old.encode(), new.encode())
    return {name.replace(old, new): content for name, content in files.items()} | {"dataset_names.csv": index}


@pytest.mark.parametrize("code", BAD_UPLOADS)
def test_a_planted_fault_is_found(code: str, entries: Entries, tmp_path: Path) -> None:
    spoilt = tmp_path / NAME
    with zipfile.ZipFile(spoilt, "w") as archive:
        for name, content in BAD_UPLOADS[code](entries).items():
            archive.writestr(name, content)
    assert [fault for fault in ees_bulk.faults(spoilt) if fault.startswith(code)]
