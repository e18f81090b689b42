"""A release without some sources of some councils: its symbols in every form, and what it says of what is missing."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from frictionless import validate

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.bundle.make import BundleRefused, write_bundle
from ndl_export.bundle.verify import verify
from ndl_export.check.content_checks import build_table_layouts, find_table_faults
from ndl_export.facts.missing import SOURCES, find_faults, format_missing
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.csv_files import select_official_rows
from ndl_export.tables.schema import SYMBOLS
from sources.contracts import CONTRACTS
from sources.reference.places import PILOT, get_place
from tests.support.export.bundles import MISSING
from tests.support.export.ees_screener import screen
from tests.support.export.fake_release import COHORT, fake_facts, fake_tables

HALTON = "E06000006"


def test_every_source_has_words_and_every_family_a_source() -> None:
    assert SOURCES.keys() == CONTRACTS.keys()
    assert {family.source for family in FAMILIES.values()} == {"eyfsp", "hv_reviews", "parent_experience"}


def test_the_bundle_is_sound_and_its_rows_are_not_available(incomplete: Path) -> None:
    assert verify(incomplete).ok, str(verify(incomplete))
    headline = pq.read_table(incomplete / "gld_headline.parquet")
    halton = headline.filter(pc.equal(headline["new_la_code"], HALTON))
    assert set(halton["children_count_flag"].to_pylist()) == {"x"}
    assert set(halton["elgs_expected_average_flag"].to_pylist()) == {"x", "z"}
    assert halton["children_count_estimate"].null_count == halton.num_rows > 0
    outcomes = pq.read_table(incomplete / "asq3_outcomes.parquet")
    flagged = outcomes.filter(pc.equal(outcomes["reviewed_children_count_flag"], "x"))
    assert set(flagged["la_name"].to_pylist()) == {"Sefton"}
    assert "English devolved area" not in headline["geographic_level"].to_pylist()
    package = json.loads((incomplete / "datapackage.json").read_text(encoding="utf-8"))
    assert package["missing"] == {COHORT: {source: list(absent) for source, absent in MISSING.items()}}
    for page in ("README.md", "methodology.md"):
        assert "- Halton: no EYFS Profile" in (incomplete / page).read_text(encoding="utf-8")


def test_its_csv_files_pass_the_screener_and_frictionless(incomplete: Path) -> None:
    for name in TABLES:
        assert screen(incomplete / f"{name}.csv", incomplete / f"{name}.meta.csv") == []
    report = validate(str(incomplete / "datapackage.json"))
    assert report.valid, report.flatten(["name", "type", "note"])


def test_reconciliation_leaves_them_open(incomplete: Path) -> None:
    with (incomplete / "reconciliation.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["area_code"] == HALTON]
    assert rows
    assert {(row["percent"], row["lower_ci"], row["within_interval"]) for row in rows} == {("", "", "")}
    assert {row["note"] for row in rows} == {"Not available: the council has sent no EYFS Profile"}


def test_a_statement_must_fit_the_release(signing_key: Ed25519PrivateKey, tmp_path: Path) -> None:
    assert find_faults({COHORT: {"census": ("leeds",), "eyfsp": ("barnet",)}}, PILOT, [COHORT]) == [
        "there is no source census",
        "barnet is stated to have sent no eyfsp, and does not take part",
    ]
    with pytest.raises(BundleRefused, match="does not take part"):
        write_bundle(tmp_path, fake_facts(missing={"eyfsp": ("barnet",)}), fake_tables(), signing_key)
    with pytest.raises(BundleRefused, match="rows are"):
        write_bundle(tmp_path, fake_facts(missing={"eyfsp": ("halton",)}), fake_tables(), signing_key)


@pytest.mark.parametrize(("flag", "row"), [(None, HALTON), ("x", "E08000035")])
def test_flag_x_is_on_the_rows_of_missing_sources_alone(flag: str | None, row: str, incomplete: Path) -> None:
    tables = {name: pq.read_table(incomplete / f"{name}.parquet") for name in TABLES}
    headline, column = tables["gld_headline"], "children_count_flag"
    flags = pc.if_else(pc.equal(headline["area_code"], row), pa.scalar(flag, pa.string()), headline[column])
    wrong = headline.set_column(headline.column_names.index(column), headline.field(column), flags)
    found = find_table_faults(
        tables | {"gld_headline": wrong}, build_table_layouts(PILOT, (COHORT,), {COHORT: MISSING})
    )
    assert any("flag x where" in fault for _, fault in found)


GSS = {"b": "break in", "u": "low reliability", "x": "not available", "z": "not applicable"}
"""Shorthand of the Analysis Function ("Using symbols and shorthand in tables") that releases use, with its meaning."""
OTHERS = {"c", "e", "er", "f", "low", "ns", "p", "r", "s", "ss", "sss", "w"}
"""Its other symbols, which must not have another meaning here."""


def test_a_symbol_of_the_statistical_service_has_its_meaning() -> None:
    assert SYMBOLS.keys() == {*GSS, "linkage", "withheld"}
    assert not SYMBOLS.keys() & OTHERS
    assert all(SYMBOLS[symbol].startswith(meaning) for symbol, meaning in GSS.items())


@pytest.mark.parametrize("name", TABLES)
def test_the_csv_says_what_the_table_says_with_the_same_columns_and_symbols(name: str, incomplete: Path) -> None:
    data = select_official_rows(pq.read_table(incomplete / f"{name}.parquet")).to_pylist()
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


def test_the_database_carries_the_flags_and_what_is_missing(incomplete: Path) -> None:
    with duckdb.connect(str(incomplete.parent / DATABASE_FILE), read_only=True) as connection:
        stated = dict(connection.execute("SELECT flag, meaning FROM dimension.flag").fetchall())
        ((rows,),) = connection.execute("SELECT count(*) FROM latest.gld_by_group").fetchall()
        ((joined,),) = connection.execute(
            "SELECT count(*) FROM latest.gld_by_group LEFT JOIN dimension.flag ON flag = gld_children_percent_flag"
        ).fetchall()
        ((missing,),) = connection.execute("SELECT missing FROM releases.release").fetchall()
        told = [
            row
            for council, topic in product(PILOT, ("Ethnic group", "IMD quintile", "SEN provision"))
            for row in connection.execute(
                "SELECT gld_percent, flag, in_words FROM gld_rate(?, ?)", [get_place(council).la_name, topic]
            ).fetchall()
        ]
    assert stated == SYMBOLS
    assert missing == format_missing({COHORT: MISSING})
    assert joined == rows
    assert {flag for _, flag, _ in told} >= {None, "u", "withheld", "x"}
    assert all(
        (f": {percent}%" if percent is not None else f": {stated[flag]}") in words for percent, flag, words in told
    )
