"""One vocabulary of symbols: the same codes with the same meanings in every form of a release, older ones included."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from frictionless import Package

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.tables import TABLES
from ndl_export.tables.ees import official_rows
from ndl_export.tables.schema import FLAG_MEANINGS, SYMBOLS, ColumnRole, columns
from sources.reference.places import PILOT, place

GSS = {"b": "break in", "u": "low reliability", "x": "not available", "z": "not applicable"}
"""Shorthand of the Analysis Function ("Using symbols and shorthand in tables") that releases use, with its meaning."""
OTHERS = {"c", "e", "er", "f", "low", "ns", "p", "r", "s", "ss", "sss", "w"}
"""Its other symbols, which must not have another meaning here."""


def columns_of(role: ColumnRole) -> Iterator[tuple[str, str]]:
    for table in TABLES.values():
        for column in columns(table):
            if column.role is role:
                yield table.name, column.name


def test_a_symbol_of_the_statistical_service_has_its_meaning() -> None:
    assert SYMBOLS.keys() == {*GSS, "linkage", "withheld"}
    assert not SYMBOLS.keys() & OTHERS
    assert all(SYMBOLS[symbol].startswith(meaning) for symbol, meaning in GSS.items())


def test_tables_hold_nothing_else_and_null_where_there_is_nothing_to_say(incomplete: Path) -> None:
    found: set[str | None] = set()
    for table, column in columns_of(ColumnRole.FLAG):
        found |= set(pq.read_table(incomplete / f"{table}.parquet", columns=[column])[column].to_pylist())
    assert found == {None, *FLAG_MEANINGS}
    for table, column in columns_of(ColumnRole.BREAK):
        assert set(pq.read_table(incomplete / f"{table}.parquet")[column].to_pylist()) <= {None, "b"}


@pytest.mark.parametrize("name", TABLES)
def test_the_csv_says_what_the_table_says_with_the_same_columns_and_symbols(name: str, incomplete: Path) -> None:
    data = official_rows(pq.read_table(incomplete / f"{name}.parquet")).to_pylist()
    with (incomplete / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {column for column in rows[0] if column not in data[0]} == set()
    for row, source in zip(rows, data, strict=True):
        assert row["series_break"] == (source["series_break"] or "none")
        for measure in TABLES[name].measures:
            flag, figure = source[f"{measure.name}_flag"], source[measure.name]
            assert measure.is_count or row[f"{measure.name}_flag"] == (flag or "none")
            limit = source[f"{measure.name}_lower_ci"]
            assert row[f"{measure.name}_lower_ci"] == (flag if limit is None else f"{limit:.3f}")
            assert row[measure.name] == (flag if figure is None else f"{figure:.{measure.decimals}f}")


def test_a_reader_of_the_data_package_has_symbols_and_nulls_as_in_the_tables(incomplete: Path) -> None:
    """The CSV's `none` is read as missing in columns of symbols, and no symbol is."""
    resource = Package(str(incomplete / "datapackage.json")).get_resource("joined-dots-csv")
    with resource:
        read = [row.to_dict() for row in resource.row_stream]
    data = official_rows(pq.read_table(incomplete / "joined_dots.parquet")).to_pylist()
    for name in ("gld_children_percent_flag", "children_percent_flag", "series_break"):
        assert [row[name] for row in read] == [row[name] for row in data]
    assert [row["gld_children_percent"] is None for row in read] == [
        row["gld_children_percent"] is None for row in data
    ]


@pytest.mark.parametrize("file", ["data_dictionary.md", "methodology.md"])
def test_documents_give_each_symbol_its_one_meaning(file: str, incomplete: Path) -> None:
    text = (incomplete / file).read_text(encoding="utf-8")
    for symbol, meaning in SYMBOLS.items():
        assert f"| `{symbol}` | {meaning} |" in text


def test_the_database_keeps_figures_without_a_flag(incomplete: Path) -> None:
    with duckdb.connect(str(incomplete.parent / DATABASE_FILE), read_only=True) as connection:
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
