"""One vocabulary of symbols: the same codes with the same meanings in every form of a release, older ones included."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from frictionless import Package

from ndl_export.analyst_db import build_database
from ndl_export.bundle.make import write_bundle
from ndl_export.tables import TABLES
from ndl_export.tables.ees import official_rows, write_csvs
from ndl_export.tables.schema import FLAG_MEANINGS, SYMBOLS, ColumnRole, columns
from sources.reference.places import PILOT, place
from tests.support.export.fake_release import fake_facts, fake_tables

GSS = {
    "b": "break in time series",
    "c": "confidential",
    "e": "estimated",
    "er": "earliest revision",
    "f": "forecast",
    "low": "low figure that rounds to zero",
    "ns": "not significant",
    "p": "provisional",
    "r": "revised",
    "s": "significant at 5%",
    "ss": "significant at 1%",
    "sss": "significant at 0.1%",
    "u": "low reliability",
    "w": "none recorded in survey",
    "x": "not available",
    "z": "not applicable",
}
"""Harmonised shorthand of the Analysis Function ("Using symbols and shorthand in tables")."""

MISSING = {"eyfsp": ("halton",), "hv_reviews": ("sefton",)}


@pytest.fixture(scope="module")
def every_symbol(tmp_path_factory: pytest.TempPathFactory, signing_key: Ed25519PrivateKey) -> Path:
    """A bundle in which each flag stands somewhere."""
    folder = tmp_path_factory.mktemp("symbols")
    return write_bundle(folder, fake_facts(missing=MISSING), fake_tables(missing=MISSING), signing_key)


def columns_of(role: ColumnRole) -> Iterator[tuple[str, str]]:
    for table in TABLES.values():
        for column in columns(table):
            if column.role is role:
                yield table.name, column.name


def test_a_symbol_of_gss_is_in_its_sense_and_our_own_is_none_of_its() -> None:
    assert SYMBOLS.keys() == {"u", "linkage", "withheld", "z", "x", "b"}
    for symbol in SYMBOLS.keys() & GSS.keys():
        assert SYMBOLS[symbol].replace("the time series", "time series").startswith(GSS[symbol])
    assert SYMBOLS.keys() - GSS.keys() == {"linkage", "withheld"}


def test_tables_hold_nothing_else_and_null_where_there_is_nothing_to_say(every_symbol: Path) -> None:
    found: set[str | None] = set()
    for table, column in columns_of(ColumnRole.FLAG):
        found |= set(pq.read_table(every_symbol / f"{table}.parquet", columns=[column])[column].to_pylist())
    assert found == {None, *FLAG_MEANINGS}
    for table, column in columns_of(ColumnRole.BREAK):
        assert set(pq.read_table(every_symbol / f"{table}.parquet")[column].to_pylist()) <= {None, "b"}


def test_a_break_is_b_in_the_csv(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    data = tables["gld_headline"]
    position = data.column_names.index("series_break")
    broken = data.set_column(position, data.field(position), pa.array(["b"] * data.num_rows))
    write_csvs({"gld_headline": broken}, tmp_path)
    with (tmp_path / "gld_headline.csv").open(encoding="utf-8", newline="") as file:
        assert {row["series_break"] for row in csv.DictReader(file)} == {"b"}


@pytest.mark.parametrize("name", TABLES)
def test_the_csv_says_what_the_table_says_with_the_same_columns_and_symbols(name: str, every_symbol: Path) -> None:
    data = official_rows(pq.read_table(every_symbol / f"{name}.parquet")).to_pylist()
    with (every_symbol / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {column for column in rows[0] if column not in data[0]} == set()
    for row, source in zip(rows, data, strict=True):
        assert row["series_break"] == (source["series_break"] or "none")
        for measure in TABLES[name].measures:
            flag, figure = source[f"{measure.name}_flag"], source[measure.name]
            assert measure.is_count or row[f"{measure.name}_flag"] == (flag or "none")
            assert row[measure.name] == (flag if figure is None else f"{figure:.{measure.decimals}f}")


def test_a_reader_of_the_data_package_has_symbols_and_nulls_as_in_the_tables(every_symbol: Path) -> None:
    """The CSV's `none` is read as missing in columns of symbols, and no symbol is."""
    resource = Package(str(every_symbol / "datapackage.json")).get_resource("joined-dots-csv")
    with resource:
        read = [row.to_dict() for row in resource.row_stream]
    data = official_rows(pq.read_table(every_symbol / "joined_dots.parquet")).to_pylist()
    for name in ("gld_children_percent_flag", "children_percent_flag", "series_break"):
        assert [row[name] for row in read] == [row[name] for row in data]
    assert [row["gld_children_percent"] is None for row in read] == [
        row["gld_children_percent"] is None for row in data
    ]


def test_csv_on_the_web_says_which_cells_are_null(every_symbol: Path) -> None:
    tables = json.loads((every_symbol / "csv-metadata.json").read_text(encoding="utf-8"))["tables"]
    described = {
        column["name"]: column
        for table in tables
        if table["url"] == "gld_headline.csv"
        for column in table["tableSchema"]["columns"]
    }
    assert described["gld_children_percent"]["null"] == ["withheld", "z", "x"]
    assert described["gld_children_percent_flag"]["null"] == described["series_break"]["null"] == ["none"]
    assert described["gld_children_percent_flag"]["datatype"]["format"] == "u|linkage|withheld|z|x"


@pytest.mark.parametrize("file", ["data_dictionary.md", "methodology.md"])
def test_documents_give_each_symbol_its_one_meaning(file: str, every_symbol: Path) -> None:
    text = (every_symbol / file).read_text(encoding="utf-8")
    for symbol, meaning in SYMBOLS.items():
        assert f"| `{symbol}` | {meaning} |" in text


def test_the_database_keeps_figures_without_a_flag(every_symbol: Path) -> None:
    with duckdb.connect(str(build_database(every_symbol.parent)), read_only=True) as connection:
        stated = dict(connection.execute("SELECT flag, meaning FROM dimension.flag").fetchall())
        ((rows,),) = connection.execute("SELECT count(*) FROM latest.gld_by_group").fetchall()
        ((joined,),) = connection.execute(
            "SELECT count(*) FROM latest.gld_by_group LEFT JOIN dimension.flag ON flag = gld_children_percent_flag"
        ).fetchall()
        told = [
            row
            for council, topic in product(PILOT, ("Ethnic group", "IMD quintile", "SEN provision"))
            for row in connection.execute(
                "SELECT gld_percent, flag, in_words FROM gld_rate(?, ?)", [place(council).la_name, topic]
            ).fetchall()
        ]
    assert stated == SYMBOLS
    assert joined == rows
    assert {flag for _, flag, _ in told} >= {None, "u", "withheld", "x"}
    assert all(
        (f": {percent}%" if percent is not None else f": {stated[flag]}") in words for percent, flag, words in told
    )
