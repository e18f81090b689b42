"""What is in a bundle, and how it is written."""

import csv
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Package
from hypothesis import given, strategies as st

from ndl_export.bundle import checks, make
from ndl_export.bundle.release_directory import BundleRefused
from ndl_export.facts import bundle_reader
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE, NoisyCounts, find_covariance_faults, find_noisy_faults
from ndl_export.tables import TABLES
from sources.reference.places import PILOT
from tests.support import PROJECT
from tests.support.export.bundles import KEY
from tests.support.export.fake_release import BUNDLE_FILES, COHORT, fake_facts, fake_noisy_counts, fake_privacy_record

CHANGED_BY_EXCEL = re.compile(
    r"[=+@]|-(?!\d)|\d{1,4}[-/ ]\d|\d+e\d+$|0\d|\d{16}"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* ?\d",
    re.IGNORECASE,
)
"""What Excel takes for a formula, a date, a power of ten or a number without its first zeros or last digits."""


def test_a_bundle_and_its_archives_hold_its_files_and_nothing_else(
    bundle: Path, release_dir: Path, tmp_path: Path
) -> None:
    assert bundle_reader.read_contents(bundle).keys() == BUNDLE_FILES
    assert all(stat.S_IMODE((bundle / name).stat().st_mode) == 0o644 for name in BUNDLE_FILES)
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o755 for folder in (bundle, bundle / "site"))
    for archive in ("2026.11.0.zip", "2026.11.0.tar"):
        shutil.unpack_archive(release_dir / archive, tmp_path / archive)
        assert bundle_reader.read_contents(tmp_path / archive / "2026.11.0") == bundle_reader.read_contents(bundle)


ELSEWHERE = """
import os, sys, time
from pathlib import Path
os.umask(0o077)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.export.fake_release import BUNDLE_FILES, fake_facts, fake_tables
from ndl_export.bundle.make import write_bundle
facts = fake_facts(councils=tuple(reversed(fake_facts().councils)))
tables = {name: data.take(list(reversed(range(data.num_rows)))) for name, data in fake_tables().items()}
write_bundle(Path(sys.argv[1]), facts, tables, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
print(time.tzname)
"""


@pytest.mark.slow
def test_order_of_rows_time_zone_locale_and_umask_change_no_byte(release_dir: Path, tmp_path: Path) -> None:
    """In a process of its own, in Nepal, whose text is ASCII, whose files are private, and whose sets are shuffled."""
    there = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path)],
        env=os.environ | there | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(PROJECT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "+0545" in said
    assert bundle_reader.read_contents(tmp_path / "2026.11.0") == bundle_reader.read_contents(release_dir / "2026.11.0")
    for name in ("2026.11.0.zip", "2026.11.0.tar", "catalogue.jsonld", "feed.xml", "latest.json"):
        assert (tmp_path / name).read_bytes() == (release_dir / name).read_bytes()
    assert stat.S_IMODE((tmp_path / "2026.11.0" / "README.md").stat().st_mode) == 0o644


@pytest.mark.slow
def test_a_published_version_is_never_replaced(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    bundle = make.write_bundle(tmp_path, fake_facts(), tables, KEY)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert make.write_bundle(tmp_path, fake_facts(), tables, KEY) == bundle
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}.items() <= before.items()
    archive, latest = tmp_path / "2026.11.0.zip", tmp_path / "latest"
    packed = archive.read_bytes()
    archive.unlink()
    latest.unlink()
    make.write_bundle(tmp_path, fake_facts(), tables, KEY)
    assert (archive.read_bytes(), latest.resolve()) == (packed, bundle)
    changed = replace(fake_facts(), contact="other@example.org")
    with pytest.raises(BundleRefused, match=r"never replaced; this one differs in: CITATION\.cff, README\.md"):
        make.write_bundle(tmp_path, changed, tables, KEY)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_unsound_content_is_refused_and_leaves_nothing(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="joined_dots: 1 rows are missing"):
        make.write_bundle(tmp_path, fake_facts(), tables | {"joined_dots": tables["joined_dots"].slice(1)}, KEY)
    other = replace(fake_facts(), privacy_record=fake_privacy_record("2026.10.0"))
    with pytest.raises(BundleRefused, match=r"privacy record: it is about release 2026\.10\.0"):
        make.write_bundle(tmp_path, other, tables, KEY)
    facts = fake_facts()
    own = facts.noisy_counts[COHORT]
    own |= {family: NoisyCounts(entry.plan + b" ", entry.counts) for family, entry in own.items()}
    with pytest.raises(BundleRefused, match=r"noise_plan_pupil\.json is not the plan that the privacy statement names"):
        make.write_bundle(tmp_path, facts, tables, KEY)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_stock_tools_check_the_signature_and_the_sums(bundle: Path) -> None:
    commands = [
        line for line in (bundle / "README.md").read_text().splitlines() if line.startswith(("openssl", "sha256"))
    ]
    assert len(commands) == 3
    outputs = [
        subprocess.run(command, shell=True, cwd=bundle, check=True, capture_output=True, text=True).stdout
        for command in commands
    ]
    assert "Signature Verified Successfully" in outputs[0]
    assert outputs[1].count(": OK\n") == len(BUNDLE_FILES) - 2
    assert len(outputs[2].split()[0]) == 64


@pytest.mark.parametrize(
    ("file", "old", "new", "kind"),
    [
        ("gld_headline.csv", ",Female,", ",Fem,", "constraint-error"),
        ("gld_headline.csv", ",z,z,z,z", ",q,z,z,z", "type-error"),
        ("gld_headline.csv", ",Leeds,", ",,", None),
        ("gld_headline_all_rows.csv", ",Female,", ",Fem,", "constraint-error"),
        ("gld_headline_all_rows.csv", ",E08000035,Leeds,E92", ",,Leeds,E92", "constraint-error"),
        ("gld_headline_all_rows.csv", ",u,", ",unsure,", "constraint-error"),
    ],
)
def test_frictionless_reads_every_cell(copy: Path, file: str, old: str, new: str, kind: str | None) -> None:
    path = copy / file
    path.write_text(path.read_text().replace(old, new))
    package = json.loads((copy / "datapackage.json").read_text())
    resource = next(entry for entry in package["resources"] if entry["path"] == path.name)
    package["resources"] = [{key: value for key, value in resource.items() if key not in ("hash", "bytes")}]
    (copy / "datapackage.json").write_text(json.dumps(package))
    report = Package(str(copy / "datapackage.json")).validate()
    assert {row[0] for row in report.flatten(["type"])} == ({kind} if kind else set())


@pytest.mark.parametrize("name", TABLES)
def test_parquet_files_are_typed_and_described_and_plain_csv_files_hold_the_same(name: str, bundle: Path) -> None:
    schema = pq.read_schema(bundle / f"{name}.parquet")
    assert b"pandas" not in schema.metadata
    assert schema.metadata[b"release_version"] == b"2026.11.0"
    assert json.loads(schema.metadata[b"columns"]).keys() == set(schema.names)
    assert all(field.metadata[b"description"] for field in schema)
    metadata = pq.read_metadata(bundle / f"{name}.parquet")
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    facts = fake_facts()
    expected = checks.build_table_layouts(facts.councils, facts.cohorts)[name]
    assert pq.read_table(bundle / f"{name}.parquet", columns=expected.keys.column_names).equals(expected.keys)
    assert b"By time period" in schema.metadata[b"row_order"]
    assert duckdb.sql(f"SELECT count(*) FROM '{bundle / name}.parquet'").fetchall() == [(metadata.num_rows,)]
    assert {str(field.type) for field in schema} <= {"string", "int64", "double"}
    table = pq.read_table(bundle / f"{name}.parquet")
    plain = pa.schema([pa.field(field.name, field.type) for field in table.schema])
    codes = {field.name: "VARCHAR" for field in plain if field.type == pa.string()}
    path = bundle / f"{name}_all_rows.csv"
    found = duckdb.read_csv(str(path), header=True, dtype=codes, na_values="").to_arrow_table()
    assert found.cast(plain).equals(table.cast(plain))
    assert "Pilot councils" in found["area_code"].to_pylist()
    with path.open(newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert not cells & {"NULL", "none", "nan", "NaN", "inf"}
    assert [cell for cell in cells if CHANGED_BY_EXCEL.match(cell) or not cell.isascii()] == []


def test_reconciliation_says_where_official_figures_lie_outside(bundle: Path, tables: dict[str, pa.Table]) -> None:
    ours = {
        (row["new_la_code"], row["breakdown_topic"], row["breakdown"], row["sex"]): row
        for row in tables["gld_headline"].to_pylist()
        if row["new_la_code"]
    }
    with (bundle / "reconciliation.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["area_name"] for line in lines} == {area.name for area in fake_facts().areas[2:]}
    for line in lines:
        row = ours[line["area_code"], line["breakdown_topic"], line["breakdown"], line["sex"]]
        official = float(line["official_percent"])
        inside = row["gld_children_percent_lower_ci"] <= official <= row["gld_children_percent_upper_ci"]
        assert line["within_interval"] == ("yes" if inside else "no")
        assert ("outside" in line["note"]) != inside
    within = [line["within_interval"] for line in lines].count("yes")
    assert f"Of {len(lines)} published percentages" in (quality := (bundle / "quality.md").read_text())
    assert f" {within} lie within" in quality


def _cells() -> pa.Table:
    noisy = fake_noisy_counts(tuple(PILOT))
    return pa.concat_tables([entry.build_table(COHORT, family) for family, entry in noisy.items()])


def _plans() -> dict[tuple[str, str], bytes]:
    return {(COHORT, family): entry.plan for family, entry in fake_noisy_counts(tuple(PILOT)).items()}


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
def test_what_is_written_is_read_back(councils: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    domains = {"council": [f"c{n}" for n in range(councils)], "level": [f"l, {n}" for n in range(levels)]}
    attributes = [{"name": name, "categories": domain} for name, domain in domains.items()]
    measured = [{"attributes": names, "sigma": 2.5} for names in ([], ["level"], ["council", "level"])]
    plan = json.dumps({"family": {"attributes": attributes}, "measured": measured}).encode()
    shapes = ((), (levels,), (councils, levels))
    counts = {tuple(m["attributes"]): rng.integers(-9, 99, s) for m, s in zip(measured, shapes, strict=True)}
    found = NoisyCounts.read(plan, NoisyCounts(plan, counts).build_table(COHORT, "pupil"), COHORT, "pupil")
    assert found.counts.keys() == counts.keys()
    assert all((found.counts[names] == counts[names]).all() for names in counts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cells: cells.slice(1), "the noisy counts of pupil, cohort 202425, are not those of its plan"),
        (lambda cells: cells.take(pa.array(range(cells.num_rows - 1, -1, -1))), "are not those of its plan"),
        (lambda cells: pa.concat_tables([cells, cells.slice(0, 1)]), "are not those of its plan"),
        (lambda cells: cells.drop_columns(["sigma"]), "noisy_counts.parquet"),
    ],
)
def test_other_cells_are_faults(change, message: str) -> None:
    record = fake_privacy_record("2026.11.0")
    assert list(find_noisy_faults(_plans(), _cells(), record)) == []
    assert message in "; ".join(find_noisy_faults(_plans(), change(_cells()), record))


def test_the_covariances_are_of_the_release(bundle: Path) -> None:
    held = pq.read_table(bundle / NOISE_COVARIANCE_FILE)
    assert list(find_covariance_faults(held, [COHORT])) == []
    assert "other cohorts than the release: 202425" in "; ".join(find_covariance_faults(held, ["202324"]))
    assert "its columns" in "; ".join(find_covariance_faults(held.drop_columns(["same_gld"]), [COHORT]))
