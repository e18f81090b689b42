"""A release in which councils have sent nothing of a source: what its bundle says, to people and to machines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from frictionless import Package

from ndl_export.analyst_db import build_database
from ndl_export.bundle.make import BundleRefused, write_bundle
from ndl_export.bundle.verify import verify
from ndl_export.check.content_checks import table_faults, table_layouts
from ndl_export.facts.missing import SOURCES, faults, short, statements
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.geography import geographies
from sources.contracts import CONTRACTS
from sources.reference.places import PILOT, places
from tests.support.export.ees_screener import screen
from tests.support.export.fake_release import COHORT, fake_facts, fake_tables

MISSING = {"eyfsp": ("halton",), "hv_reviews": ("sefton",), "school_census": ("leeds",)}
HALTON = "E06000006"


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory, signing_key: Ed25519PrivateKey) -> Path:
    directory = tmp_path_factory.mktemp("without")
    return write_bundle(directory, fake_facts(missing=MISSING), fake_tables(missing=MISSING), signing_key)


def test_every_source_has_words_and_every_family_a_source() -> None:
    assert SOURCES.keys() == CONTRACTS.keys()
    assert {family.source for family in FAMILIES.values()} == {"eyfsp", "hv_reviews", "parent_experience"}


def test_areas_are_of_those_who_have_sent() -> None:
    areas = geographies(PILOT, ["halton"])
    assert [area.level for area in areas] == ["Pilot councils", *["Local authority"] * 8]
    assert "halton" not in areas[0].councils
    assert [area.name for area in areas if not area.available] == ["Halton"]
    everywhere = geographies(tuple(places()), ["halton"])
    assert (everywhere[0].level, len(everywhere[0].councils)) == ("Pilot councils", 152)
    assert {area.name for area in everywhere if area.level == "Regional"} == {
        entry.region_name for entry in places().values()
    } - {"North West"}
    assert not geographies(["leeds"], ["leeds"])[0].available


def test_the_bundle_is_sound_and_its_rows_are_not_available(without: Path) -> None:
    assert verify(without).ok, str(verify(without))
    headline = pq.read_table(without / "gld_headline.parquet")
    halton = headline.filter(pc.equal(headline["new_la_code"], HALTON))
    assert set(halton["children_count_flag"].to_pylist()) == {"x"}
    assert set(halton["elgs_expected_average_flag"].to_pylist()) == {"x", "z"}
    assert halton["children_count_estimate"].null_count == halton.num_rows > 0
    outcomes = pq.read_table(without / "asq3_outcomes.parquet")
    flagged = outcomes.filter(pc.equal(outcomes["reviewed_children_count_flag"], "x"))
    assert set(flagged["la_name"].to_pylist()) == {"Sefton"}
    assert "English devolved area" not in headline["geographic_level"].to_pylist()


@pytest.mark.parametrize("name", TABLES)
def test_its_csv_files_pass_the_screener_and_frictionless(name: str, without: Path) -> None:
    assert screen(without / f"{name}.csv", without / f"{name}.meta.csv") == []
    resource = Package(str(without / "datapackage.json")).get_resource(f"{name}-csv".replace("_", "-"))
    report = resource.validate()
    assert report.valid, report.flatten(["type", "note"])


def test_the_csv_shows_the_symbol(without: Path) -> None:
    with (without / "gld_headline.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["new_la_code"] == HALTON]
    assert {row["children_count"] for row in rows} == {"x"}
    assert {row["gld_children_percent_flag"] for row in rows} == {"x"}


def test_people_and_machines_are_told(without: Path) -> None:
    for page in ("README.md", "methodology.md"):
        text = (without / page).read_text(encoding="utf-8")
        assert "- Halton: no EYFS Profile; its rows in `gld_headline`" in text
        assert "- Leeds: no school census; free school meals" in text
        assert "- Liverpool City Region: no rows in `gld_headline`" in text
    assert "`x`" in (without / "methodology.md").read_text(encoding="utf-8")
    assert "x: not available" in (without / "data_dictionary.md").read_text(encoding="utf-8")
    package = json.loads((without / "datapackage.json").read_text(encoding="utf-8"))
    assert package["missing"] == {COHORT: {source: list(absent) for source, absent in MISSING.items()}}


def test_reconciliation_leaves_them_open(without: Path) -> None:
    with (without / "reconciliation.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["area_code"] == HALTON]
    assert rows
    assert {(row["percent"], row["lower_ci"], row["within_interval"]) for row in rows} == {("", "", "")}
    assert {row["note"] for row in rows} == {"Not available: the council has sent no EYFS Profile"}


def test_the_database_carries_flag_and_statement(without: Path) -> None:
    with duckdb.connect(str(build_database(without.parent)), read_only=True) as connection:
        ((flags, missing),) = connection.execute(
            "SELECT list(DISTINCT children_count_flag), any_value(missing) FROM releases.gld_headline"
            " JOIN releases.release USING (release_version) WHERE la_name = 'Halton'"
        ).fetchall()
        ((comment,),) = connection.execute(
            "SELECT comment FROM duckdb_views() WHERE schema_name = 'latest' AND view_name = 'gld_headline'"
        ).fetchall()
    assert flags == ["x"]
    assert missing == short({COHORT: MISSING})
    assert "Not sent: Halton: no EYFS Profile; Leeds: no school census; Sefton: no health-visitor reviews" in comment


def test_nobody_missing_is_said_too(bundle: Path) -> None:
    assert "Every council has sent every source." in (bundle / "README.md").read_text(encoding="utf-8")
    assert json.loads((bundle / "datapackage.json").read_text(encoding="utf-8"))["missing"] == {COHORT: {}}
    assert statements({COHORT: {}}, PILOT) == []


def test_a_statement_must_fit_the_release(signing_key: Ed25519PrivateKey, tmp_path: Path) -> None:
    assert faults({COHORT: {"census": ("leeds",), "eyfsp": ("barnet",)}}, PILOT, [COHORT]) == [
        "there is no source census",
        "barnet is stated to have sent no eyfsp, and does not take part",
    ]
    with pytest.raises(BundleRefused, match="does not take part"):
        write_bundle(tmp_path, fake_facts(missing={"eyfsp": ("barnet",)}), fake_tables(), signing_key)
    with pytest.raises(BundleRefused, match="rows are"):
        write_bundle(tmp_path, fake_facts(missing={"eyfsp": ("halton",)}), fake_tables(), signing_key)


@pytest.mark.parametrize(("flag", "row"), [(None, HALTON), ("x", "E08000035")])
def test_flag_x_stands_where_nothing_was_sent_and_nowhere_else(flag: str | None, row: str) -> None:
    tables, layouts = fake_tables(missing=MISSING), table_layouts(PILOT, (COHORT,), {COHORT: MISSING})
    headline = tables["gld_headline"]
    flags = [
        flag if code == row else given
        for code, given in zip(
            headline["new_la_code"].to_pylist(), headline["children_count_flag"].to_pylist(), strict=True
        )
    ]
    position = headline.column_names.index("children_count_flag")
    wrong = headline.set_column(position, headline.schema.field(position), pa.array(flags, pa.string()))
    found = table_faults(tables | {"gld_headline": wrong}, layouts)
    assert any("flag x where the council has sent its records, or the reverse" in fault for _, fault in found)
