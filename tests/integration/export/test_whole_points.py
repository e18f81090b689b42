"""An unreliable percentage is shown in whole points, with its interval: `55`, never `55.0`."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from ndl_export.api.documents import publish_api
from ndl_export.documents.workbook import build_table_sheet
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.tables import TABLES
from ndl_export.tables.schema import Flag, count_unit_decimals
from tests.support.export.fake_release import COHORT

NUMBER = r"[\d,]+(?:\.\d+)?%?"
BESIDE_FLAG = re.compile(rf"({NUMBER})(?: points)? \[u[]:]|({NUMBER}) to ({NUMBER})\) \[u[]:]")
"""A figure, or the ends of its interval, beside the flag."""
RATES = [(table.name, measure.name) for table in TABLES.values() for measure in table.measures if measure.unit]


def iter_unreliable(bundle: Path, table: str, measure: str) -> Iterator[tuple[int, list[float]]]:
    """Yield the number of each row whose figure is unreliable, with the figure and the ends of its interval."""
    columns = [measure, f"{measure}_lower_ci", f"{measure}_upper_ci", f"{measure}_flag"]
    for number, row in enumerate(pq.read_table(bundle / f"{table}.parquet", columns=columns).to_pylist()):
        *numbers, flag = row.values()
        if flag == "u":
            yield number, numbers


def test_no_page_or_document_writes_decimals_beside_the_flag(bundle: Path) -> None:
    seen = set()
    for path in (each for each in bundle.rglob("*") if each.suffix in (".html", ".md", ".json")):
        text = re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8"))
        for found in BESIDE_FLAG.finditer(text):
            # averages of goals have three
            assert not re.search(r"\.\d{1,2}(\D|$)", " ".join(filter(None, found.groups()))), (path.name, found[0])
            seen.add(path.name)
    assert {"index.html", "groups.html", "quotes.json"} <= seen


@pytest.mark.parametrize(("table", "measure"), RATES)
def test_files_of_figures(bundle: Path, table: str, measure: str) -> None:
    plain = list(csv.DictReader((bundle / f"{table}_all_rows.csv").open(encoding="utf-8")))
    official = list(csv.DictReader((bundle / f"{table}.csv").open(encoding="utf-8")))
    expected = dict(iter_unreliable(bundle, table, measure))
    for number, (value, *_) in expected.items():
        assert plain[number][measure] == f"{value:.0f}"
    assert all(row[measure].count(".") for row in plain if row[measure] and row[f"{measure}_flag"] != "u")
    for row in official:
        if row[f"{measure}_flag"] == "u":
            assert all(re.fullmatch(r"-?\d+", row[measure + part]) for part in ("", "_lower_ci", "_upper_ci"))


def test_the_workbook(bundle: Path) -> None:
    table, measure = "gld_headline", "gld_children_percent"
    with zipfile.ZipFile(io.BytesIO((bundle / "school_readiness_tables.ods").read_bytes())) as workbook:
        content = workbook.read("content.xml").decode()
    rows = list(build_table_sheet(TABLES[table], pq.read_table(bundle / f"{table}.parquet")).render_rows())[1:]
    assert all(str(row) in content for row in rows[:50])
    found = list(iter_unreliable(bundle, table, measure))
    for number, numbers in found:
        for each in numbers:
            assert f'table:style-name="n0" office:value-type="float" office:value="{each:.0f}"' in str(rows[number])
    assert found


def test_the_database_and_the_api(release_dir: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(release_dir / DATABASE_FILE), read_only=True) as con:
        words = con.execute("SELECT in_words FROM gld_rate('Halton', 'Ethnic group') WHERE flag = 'u'").fetchall()
        ends = "SELECT count(*) FROM main.gld_headline WHERE flag = 'unreliable' AND (lower % 1 <> 0 OR upper % 1 <> 0)"
        assert con.execute(ends).fetchall() == [(0,)]
    assert words
    assert all(re.search(r": \d+% \(95% interval \d+ to \d+\)$", each) for (each,) in words)
    made = tmp_path / "made"
    made.mkdir()
    for path in release_dir.iterdir():
        (made / path.name).symlink_to(path)
    publish_api(made)
    folder = made / "api/v1/releases/2026.11.0/gld_headline"
    values = [
        line
        for path in folder.glob("*.json")
        for line in path.read_text(encoding="utf-8").splitlines()
        if '"unit":"%","flag":"u"' in line
    ]
    assert values
    assert all(re.search(r'"value":\d+,', line) for line in values)
    assert json.loads(values[0].rstrip(","))["time_period"] == COHORT


def test_the_macro_has_the_decimals_of_every_file(release_dir: Path) -> None:
    with duckdb.connect(str(release_dir / DATABASE_FILE), read_only=True) as con:
        for flag in (None, *Flag):
            found = con.execute("SELECT decimals_shown(?)", [flag]).fetchall()
            assert found == [(count_unit_decimals("%", flag, 1),)]
