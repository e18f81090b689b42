"""A year of monthly parts for eight councils makes the release that whole files make."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.take_in import Intake
from assets.linkage.link import derive_confidential_tables, link_cohort
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.extract.landed import find, taking_part
from tests.support.extracts import COHORT
from tests.support.independent import write_extracts

pytestmark = pytest.mark.slow
MONTHS = 12


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
    for row in rows.to_dict("records"):
        if chance.random() < 0.1:
            parts[min(month[record(row, source)] + 1, MONTHS - 1)].append(row) if alone(rows, row, source) else None
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
    return record(row, source) != tuple(row.values())


def alone(rows: pd.DataFrame, row: dict[str, str], source: str) -> bool:
    """No other row of the file is of the same record."""
    return sum(record(each, source) == record(row, source) for each in rows.to_dict("records")) == 1


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


def made(landing: Path, home: Home, keys: KeyRing) -> Home:
    intake, councils = Intake(landing, home, keys), taking_part(landing)
    for source in CONTRACTS:
        landed = [found for council in councils if (found := find(landing, council, source, COHORT))]
        for outcome in intake.take_in_all(landed):
            assert isinstance(outcome, deliveries.ExtractQuality), outcome
    link_cohort(home, COHORT, councils, keys)
    derive_confidential_tables(home, COHORT, councils, keys)
    return home


def test_a_year_of_parts_makes_the_tables_of_whole_files(tmp_path: Path) -> None:
    keys, chance = KeyRing.create(tmp_path / "keys"), random.Random(19)
    write_extracts(tmp_path / "whole", children=600)
    for path in sorted((tmp_path / "whole").glob("*/*/*.csv")):
        monthly(path, tmp_path / "parts" / path.parts[-3] / path.parts[-2] / COHORT, path.parts[-2], chance)
    reference = tmp_path / "whole" / "reference"
    if reference.exists():
        reference.rename(tmp_path / "parts" / "reference")
        (tmp_path / "whole" / "reference").symlink_to(tmp_path / "parts" / "reference")
    whole = made(tmp_path / "whole", Home(tmp_path / "home-whole"), keys)
    parts = made(tmp_path / "parts", Home(tmp_path / "home-parts"), keys)
    quality = deliveries.current(parts, "eyfsp", COHORT, "leeds")
    assert quality
    assert quality.parts
    assert sum(part.replaced for part in quality.parts.parts)
    assert sum(part.repeated for part in quality.parts.parts)
    for family in FAMILIES:
        one, other = (rows(home, family) for home in (whole, parts))
        assert sum(one.values()) > 100
        assert one == other


def rows(home: Home, family: str) -> Counter[tuple[object, ...]]:
    table = pq.read_table(home.confidential(family, COHORT))
    return Counter(map(tuple, table.drop_columns(["child_id"]).to_pandas().itertuples(index=False)))
