"""Sums that an analyst makes in the database (`gld_sum`), worked out anew from the files of the bundle."""

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ndl_export.analyst_db.build import build_database
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from privacy.estimation.intervals import Z95, RatioMoments
from tests.support.export.analyst import ELIGIBLE, FSM, OTHERS, Row, answer, open_changed, read_from

CITY_REGION = ("Halton", "Knowsley", "Liverpool", "Sefton", "St. Helens", "Wirral")
ASIAN, BLACK = "Asian / Asian British", "Black / African / Caribbean / Black British"


reader = read_from("two_releases")


@pytest.fixture(scope="module")
def covariance(two_releases: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    rows = pq.read_table(two_releases / "2027.02.0" / NOISE_COVARIANCE_FILE).to_pylist()
    names = ("breakdown_topic", "breakdown", "sex", "other_breakdown", "other_sex")
    return {tuple(row[name] for name in names): row for row in rows}


def sums(reader: duckdb.DuckDBPyConnection, call: str) -> Row:
    [row] = answer(reader, f"FROM gld_sum({call})")
    return row


@pytest.mark.parametrize(
    ("call", "councils", "topic", "rows"),
    [
        ("'leeds + WIRRAL', 'fsm'", ("Leeds", "Wirral"), FSM, [(ELIGIBLE, "Total")]),
        ("'Leeds', 'Asian + Black'", ("Leeds",), "Ethnic group", [(ASIAN, "Total"), (BLACK, "Total")]),
        ("'Leeds + Halton', 'girls + boys'", ("Leeds", "Halton"), "Total", [("Total", "Female"), ("Total", "Male")]),
        (
            "'st helens', 'fsm + not fsm', sex := 'girls'",
            ("St. Helens",),
            FSM,
            [(ELIGIBLE, "Female"), (OTHERS, "Female")],
        ),
        ("'LCR + Wirral + Leeds', 'everyone'", (*CITY_REGION, "Leeds"), "Total", [("Total", "Total")]),
    ],
)
def test_a_sum_has_the_interval_of_its_covariances(
    call: str,
    councils: tuple[str, ...],
    topic: str,
    rows: list[tuple[str, str]],
    reader: duckdb.DuckDBPyConnection,
    tables: dict[str, pa.Table],
    covariance: dict[tuple[str, ...], dict[str, Any]],
) -> None:
    wanted = set(product(councils, rows))
    cells = [
        row
        for row in tables["gld_headline"].to_pylist()
        if (row["la_name"], (row["breakdown"], row["sex"])) in wanted and row["breakdown_topic"] == topic
    ]
    assert len(cells) == len(wanted)
    x = np.array(sum(row["gld_children_count_estimate"] for row in cells))
    y = np.array(sum(row["children_count_estimate"] for row in cells))
    xx, xy, yy = (
        np.array(
            sum(
                covariance[topic, *one[1], *other[1]][f"{'same' if one[0] == other[0] else 'apart'}_{kind}"]
                for one, other in product(wanted, repeat=2)
            )
        )
        for kind in ("gld", "gld_children", "children")
    )
    centre, half = RatioMoments(x, y, xx, yy, xy).compute_interval()
    found = sums(reader, call)
    assert found["basis"] == "exact: covariances of the noise"
    assert found["gld_percent"] == pytest.approx(100 * np.clip(x / y, 0, 1), abs=0.051)
    assert found["lower_ci"] == pytest.approx(100 * max(centre - half, 0), abs=0.051)
    assert found["upper_ci"] == pytest.approx(100 * min(centre + half, 1), abs=0.051)
    assert found["lower_ci"] <= found["gld_percent"] <= found["upper_ci"]
    assert found["in_words"].startswith(
        f"{found['gld_percent']}% (95% interval {found['lower_ci']} to {found['upper_ci']}) of "
    )
    for name, value, variance in (("children", y, yy), ("gld_children", x, xx)):
        arm = Z95 * np.sqrt(variance)
        assert found[name] == pytest.approx(max(value, 0), abs=0.51)
        assert found[f"{name}_lower_ci"] == pytest.approx(max(value - arm, 0), abs=0.51)
        assert found[f"{name}_upper_ci"] == pytest.approx(max(value + arm, 0), abs=0.51)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("'Leeds', 'FSM + girls'", "Groups of Free school meal eligibility and of Sex are not added up"),
        ("'Leeds', 'SEND + EHCP'", "All SEN provision and Education, health and care plan"),
        ("'Leeds', 'seen by both'", "whose figures are corrected for missed links"),
        ("'Leeds', 'girls', sex := 'boys'", "Female and Male: choose one"),
        ("'Leeds', 'FSM', sex := 'Asian'", "sex is girls, boys or Total"),
        ("'Leeds + Birmingham', 'FSM'", "No area is called 'Birmingham'"),
        ("'Leeds', 'FSM + sixes'", "No group is called 'sixes'"),
    ],
)
def test_what_cannot_be_added_up_is_an_error_that_says_why(
    call: str, said: str, reader: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.InvalidInputException) as caught:
        sums(reader, call)
    assert said in str(caught.value)


def test_a_release_without_covariances_gives_no_interval_and_says_so(two_releases: Path, tmp_path: Path) -> None:
    shutil.copytree(two_releases / "2027.02.0", tmp_path / "2027.02.0")
    (tmp_path / "2027.02.0" / NOISE_COVARIANCE_FILE).unlink()
    with duckdb.connect(str(build_database(tmp_path)), read_only=True) as reader:
        found = sums(reader, "'Leeds + Wirral', 'FSM'")
    assert found["basis"] == "no interval: the release holds no covariances"
    assert found["gld_percent"] is None


def test_a_group_that_is_not_published_everywhere_is_named(two_releases: Path, tmp_path: Path) -> None:
    delete = "DELETE FROM releases.gld_headline WHERE area_name = 'Wirral' AND breakdown = 'White'"
    with open_changed(two_releases, tmp_path, delete) as connection:
        found = sums(connection, "'Leeds + Wirral', 'White'")
    assert found["basis"] == "no figure: no row of this group in Wirral"
    assert all(found[name] is None for name in ("gld_percent", "lower_ci", "upper_ci", "children", "gld_children"))
