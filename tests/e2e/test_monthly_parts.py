"""A year of monthly parts for three councils makes the release that whole files make."""

import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.home.paths import CohortStore, Home
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.keeping.retention import shred_taken
from assets.linkage.arrivals import note_landing
from assets.linkage.inputs import Extract, LinkageRecord, read_complete_record
from assets.linkage.link import derive_confidential_tables, link_cohort
from assets.release import requests_to_sign
from ndl_export.analyst_db.build import DATABASE_FILE, build_database
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.extract.landing import find, list_councils
from sources.reference.places import PILOT
from sources.synthetic import generate
from tests.support.extracts import COHORT, mark_synthetic
from tests.support.release.doubles import hold_still
from tests.support.release.homes import make_release

pytestmark = pytest.mark.slow
MONTHS = 12
COUNCILS = ("halton", "leeds", "sefton")
"""Each has twelve parts of every source, and it is files that take time."""


def monthly(whole: Path, folder: Path, source: str, chance: random.Random) -> None:
    """An extract as twelve parts of several formats. A tenth of the records come earlier as well, in another state; a
    tenth come twice."""
    rows = pd.read_csv(whole, dtype=str, keep_default_na=False)
    month: dict[tuple[str, ...], int] = {}
    parts: list[list[dict[str, str]]] = [[] for _ in range(MONTHS)]
    for row in rows.to_dict("records"):
        key = record(row, source)
        at = month.setdefault(key, chance.randrange(MONTHS))
        parts[at].append(row)
        if at and chance.random() < 0.1 and identified(row, source):
            parts[chance.randrange(at)].append(earlier(row, source))
    times = Counter(record(row, source) for row in rows.to_dict("records"))
    for row in rows.to_dict("records"):
        if chance.random() < 0.1 and times[key := record(row, source)] == 1:
            parts[min(month[key] + 1, MONTHS - 1)].append(row)
    folder.mkdir(parents=True)
    for number, part in enumerate(parts, 1):
        table = pd.DataFrame(part, columns=rows.columns)
        name = folder / f"2025-{number:02d}"
        if number % 3 == 0:
            table.to_parquet(name.with_suffix(".parquet"))
        elif number % 3 == 1:
            table.to_csv(name.with_suffix(".csv"), index=False)
        else:
            table.to_csv(f"{name}.txt.gz", index=False, sep="|")


def record(row: dict[str, str], source: str) -> tuple[str, ...]:
    for names in CONTRACTS[source].record:
        if all(row.get(name) for name in names):
            return tuple(row[name] for name in names)
    return tuple(row.values())


def identified(row: dict[str, str], source: str) -> bool:
    """Whether the row names a record; a date that stands for none does not."""
    return record(row, source) != tuple(row.values()) and row.get("date_of_birth") != "1900-01-01"


def earlier(row: dict[str, str], source: str) -> dict[str, str]:
    """The record as it was before it was put right."""
    wrong = {
        "eyfsp": {"com_e01": "1", "lit_e08": "1", "postcode": ""},
        "school_census": {"ethnicity": "", "fsm_eligible": "Y"},
        "early_years_census": {"entitlement": "2YO", "sen_provision": "K"},
        "hv_reviews": {"concern": "Y"},
        "parent_experience": {"overall_satisfaction": "5"},
    }
    changed = row | {name: value for name, value in wrong[source].items() if name in row}
    return changed if row.get("com_e01") != "A" else row


def take_all(landing: Path, home: Home, keys: KeyRing) -> list[object]:
    """What came of each extract, all of which are linked."""
    mark_synthetic(landing)
    intake, councils = Intake(landing, home, keys), list_councils(landing)
    outcomes: list[object] = []
    for source in CONTRACTS:
        landed = [found for council in councils if (found := find(landing, council, source, COHORT))]
        outcomes += intake.ingest_all(landed)
    link_cohort(home.get_cohort(COHORT), councils, keys)
    derive_confidential_tables(home.get_cohort(COHORT), councils, keys)
    return outcomes


def published(landing: Path, home: Home, keys: KeyRing) -> dict[str, object]:
    """Every file of the release directory, by name, once all is released and the database is built; of the database,
    which two builds of the same bundle make with other bytes, every table.

    What people sign names each file that was delivered by its MAC, as it must: that is held still as well.
    """
    outcomes = take_all(landing, home, keys)
    assert all(isinstance(each, deliveries.ExtractQuality) for each in outcomes), outcomes
    note_landing(home, landing)
    with hold_still(), patch.object(requests_to_sign, "read_complete_record", _of_unnamed_files):
        make_release(home, keys, list_councils(landing))
    build_database(home.release)
    files = (path for path in home.release.rglob("*") if path.is_file())
    found: dict[str, object] = {str(path.relative_to(home.release)): path.read_bytes() for path in files}
    return found | {DATABASE_FILE: tables(home.release / DATABASE_FILE)}


def tables(database: Path) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(database, read_only=True) as con:
        names = con.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {
            f"{schema}.{name}": con.execute(f"FROM {schema}.{name} ORDER BY ALL").fetchall() for schema, name in names
        }


def _of_unnamed_files(store: CohortStore) -> LinkageRecord:
    found = read_complete_record(store)
    return replace(found, extracts=dict.fromkeys(found.extracts, Extract("", "")))


def month_by_month(parts: Path, landing: Path, home: Home, keys: KeyRing) -> None:
    """What lies in `parts` comes to `landing` in three runs. What came is linked and shredded before more comes."""
    shutil.copytree(parts, landing, ignore=lambda _, names: [name for name in names if name.startswith("2025-")])
    for first, last in ((1, 5), (6, 9), (10, MONTHS)):
        for path in sorted(parts.glob("*/*/*/*")):
            if first <= int(path.name[5:7]) <= last:
                folder = landing / path.parent.relative_to(parts)
                folder.mkdir(exist_ok=True)
                shutil.copy(path, folder)
        if last < MONTHS:
            take_all(landing, home, keys)
            shred_taken(landing, home, keys)


@pytest.mark.timeout(3600)
def test_a_year_of_parts_makes_the_release_of_whole_files_to_the_byte(tmp_path: Path) -> None:
    """Month by month, with all that is wrong with real files; three or four parts of an extract come at once."""
    keys, chance = KeyRing.create(tmp_path / "keys", demonstration=True), random.Random(19)
    whole, parts, home = tmp_path / "whole", tmp_path / "parts", Home(tmp_path / "home")
    generate(whole, COHORT, scale=0.04, contract_names=True)
    for council in set(PILOT) - set(COUNCILS):
        shutil.rmtree(whole / council)
    shutil.copytree(whole, parts)
    for path in sorted(parts.glob("*/*/*.csv")):
        monthly(path, path.with_suffix(""), path.parts[-2], chance)
        path.unlink()
    month_by_month(parts, tmp_path / "monthly", home, keys)
    of_whole = published(whole, home_whole := Home(tmp_path / "home-whole"), keys)
    of_parts = published(tmp_path / "monthly", home, keys)
    quality = deliveries.read_current(home.get_extract("eyfsp", COHORT, "leeds"))
    assert sum(part.replaced for part in quality.parts.parts)
    assert sum(part.repeated for part in quality.parts.parts)
    for family in FAMILIES:
        one, other = (rows(each, family) for each in (home_whole, home))
        assert sum(one.values()) > 40
        assert one == other, family
    assert of_parts.keys() == of_whole.keys()
    assert [file for file in of_whole if of_parts[file] != of_whole[file]] == []


def rows(home: Home, family: str) -> Counter[tuple[object, ...]]:
    table = pq.read_table(home.get_cohort(COHORT).get_confidential_path(family))
    return Counter(map(tuple, table.drop_columns(["child_id"]).to_pandas().itertuples(index=False)))
