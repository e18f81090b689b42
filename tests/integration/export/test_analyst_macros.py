"""The macros of the analyst database, against the Parquet files and their formulas worked out anew."""

import math
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ndl_export.analyst_db import build, database, facts
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from privacy.estimation.intervals import Z95, RatioMoments
from sources.reference.places import PILOT, load_places
from tests.support.export.analyst import (
    COUNCILS,
    ELIGIBLE,
    FSM,
    OTHERS,
    TOTAL,
    Row,
    answer,
    combine_correlated,
    compute_chance,
    compute_ends,
    list_published,
    open_changed,
    read_from,
)
from tests.support.release.accuracy import measure_correlation

LONDON = [name for name, entry in load_places().items() if entry.region_name == "London"]


ANSWERS = {
    **dict.fromkeys(("gld_rate", "gld_sum", "gld_over_time"), ("gld_percent", "lower_ci", "upper_ci")),
    **dict.fromkeys(("gld_compared", "figures_compared", "gld_funnel", "gld_against_england"), ("verdict",)),
    "gld_difference": ("points", "lower_ci", "upper_ci"),
    "gld_differences_judged": ("points", "lower_ci", "upper_ci"),
    "gld_rank": ("rank", "best_rank", "worst_rank"),
    "gld_to_target": ("points_to_go", "points_lower_ci", "points_upper_ci"),
    "could_be_extreme": ("could_be",),
}
"""What each table macro is asked for."""


reader = read_from("two_cohorts")


def council_rows(tables: dict[str, pa.Table]) -> list[Row]:
    return list_published(tables, "gld_headline", **COUNCILS, **TOTAL)


def with_chance(arm: float, variance: float) -> float:
    return math.hypot(arm, norm.ppf(0.975) * math.sqrt(variance))


def most_asked(comparisons: int, risk: float = 0.025) -> float:
    """How many times as wide as at 95% an interval is at most, where so many are compared."""
    return float(norm.isf(risk / (2 * comparisons)) / norm.isf(0.025))


THESE = ("these_children_lower_ci", "these_children_upper_ci")


@pytest.mark.parametrize("area", ["Leeds", "LEEDS", "leeds", "E08000035", "383"])
@pytest.mark.parametrize("characteristic", [FSM, "FSM eligibility", "fsm"])
def test_a_rate_is_the_published_one(
    area: str, characteristic: str, reader: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]
) -> None:
    found = answer(reader, f"FROM gld_rate('{area}', '{characteristic}')")
    expected = list_published(tables, "gld_headline", la_name="Leeds", breakdown_topic=FSM, sex="Total")
    assert [row["child_group"] for row in found] == [ELIGIBLE, OTHERS]
    for row, own in zip(found, expected, strict=True):
        percent, lower, upper = compute_ends(own)
        assert row["gld_percent"] == percent
        assert (row["lower_ci"], row["upper_ci"]) == (round(lower, 1), round(upper, 1))
        assert row["flag"] == own["gld_children_percent_flag"]
        shown = f"{percent}%" if percent is not None else "withheld because it is too uncertain"
        assert row["in_words"].startswith(f"Leeds, {row['child_group']}, 2024/25: {shown}")


@pytest.mark.parametrize(
    ("area", "group", "shown"),
    [
        ("h&f", "girls", "Hammersmith and Fulham, Female"),
        ("hammersmith & fulham", "BOYS", "Hammersmith and Fulham, Male"),
        ("St Helens", "eligible", "St. Helens, Eligible for free school meals"),
        ("lcr", "EAL", "Liverpool City Region, Other than English"),
        ("everywhere", "everyone", "Pilot councils, Total"),
        ("341", "ehcp", "Liverpool, Education, health and care plan"),
        ("wirral", "summer", "Wirral, Summer-born"),
        ("leeds", "q1", "Leeds, Quintile 1 (most deprived)"),
    ],
)
def test_names_that_people_use_are_understood(
    area: str, group: str, shown: str, reader: duckdb.DuckDBPyConnection
) -> None:
    [row] = answer(reader, f"FROM gld_rate('{area}', '{group}')")
    assert row["in_words"].startswith(f"{shown}, 2024/25: ")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("gld_rate('Leads', 'Total')", "No area is called 'Leads'. Did you mean 'Leeds'"),
        (
            "gld_rate('Leeds', 'ethnic grps')",
            "No characteristic or group is called 'ethnic grps'. Did you mean 'Ethnic group'",
        ),
        ("gld_rate('Leeds', 'Total', cohort := '2019/20')", "No cohort is called '2019/20'. Did you mean '202"),
        ("gld_difference('Leeds', 'Both', 'Leeds', 'Total')", "No group is called 'Both'"),
        ("gld_funnel('Eligible for school meals')", f"'{FSM}: {ELIGIBLE}'"),
        ("gld_over_time('Birmingham', 'Total')", "No area is called 'Birmingham'"),
        ("gld_rate('England', 'FSM')", "No release here is of all England; its official figures: FROM official.gld."),
        ("gld_rate('Leeds', 'gurls')", "Did you mean 'Sex: Female'"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(
    call: str, said: str, reader: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.InvalidInputException) as caught:
        reader.execute(f"FROM {call}").fetchall()
    assert said in str(caught.value)
    assert "FROM dimension.name WHERE kind = " in str(caught.value)


def test_a_difference_that_is_published_is_exact_either_way_round(
    reader: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]
) -> None:
    times: list[float] = []
    for area in ("Leeds", "Halton", "Sefton", "Wirral"):
        [own] = list_published(tables, "gld_differences", la_name=area, comparison="Not eligible less eligible")
        points, low, high = compute_ends(own, "gld_difference_points")
        [found] = answer(reader, f"FROM gld_difference('{area}', '{OTHERS}', '{area}', '{ELIGIBLE}')")
        [turned] = answer(reader, f"FROM gld_difference('{area}', '{ELIGIBLE}', '{area}', '{OTHERS}')")
        assert found["basis"] == turned["basis"] == "exact: gld_differences"
        assert [found[end] for end in ("points", *THESE)] == [points, round(low, 2), round(high, 2)]
        assert [turned[end] for end in THESE] == [-round(high, 2), -round(low, 2)]
        if points is None:  # withheld: nothing is certain
            assert not found["is_certain"]
            continue
        groups = list_published(tables, "gld_headline", la_name=area, breakdown_topic=FSM, sex="Total")
        of_both = sum(compute_chance(row) for row in groups if row["breakdown"] in (ELIGIBLE, OTHERS))
        assert found["lower_ci"] == pytest.approx(-turned["upper_ci"], abs=0.006)
        if found["lower_ci"] > -100:  # no difference is larger
            times.append((points - found["lower_ci"]) / with_chance(points - low, of_both))
        assert found["is_certain"] == (found["lower_ci"] > 0 or found["upper_ci"] < 0)
    assert times == pytest.approx([times[0]] * len(times), abs=0.01)  # one list
    assert 0.99 < times[0] < most_asked(9, 0.05) + 0.01


def test_a_council_less_all_together_is_exact(reader: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> None:
    comparison = "Eligible: area less all councils together"
    [own] = list_published(tables, "gld_differences", la_name="Wirral", comparison=comparison)
    [found] = answer(reader, f"FROM gld_difference('Wirral', '{ELIGIBLE}', 'all councils', '{ELIGIBLE}')")
    [turned] = answer(reader, f"FROM gld_difference('Pilot councils', '{ELIGIBLE}', 'Wirral', '{ELIGIBLE}')")
    points, low, high = compute_ends(own, "gld_difference_points")
    assert [found[end] for end in THESE] == [round(low, 2), round(high, 2)]
    assert [turned[end] for end in THESE] == [-round(high, 2), -round(low, 2)]
    rows = list_published(tables, "gld_headline", breakdown=ELIGIBLE, sex="Total")
    [council], [together] = (
        [row for row in rows if row[name] == wanted]
        for name, wanted in (("la_name", "Wirral"), ("geographic_level", "Pilot councils"))
    )
    among = council["children_count_estimate"] / together["children_count_estimate"]
    variance = compute_chance(council) * (1 - 2 * among) + compute_chance(together)
    assert 1 <= (points - found["lower_ci"]) / with_chance(points - low, variance) <= most_asked(9)


@pytest.mark.parametrize(
    ("less", "options", "basis", "correlation"),
    [
        ("Sefton", "", "two councils: noise correlated by at most 0.06", facts.NOISE_CORRELATION),
        ("Liverpool City Region", "", "widest: whatever the correlation of their noise", 1.0),
        (
            "St. Helens",
            ", cohort := '202425', less_cohort := '202324'",
            "other children, other noise: independent",
            0.0,
        ),
    ],
)
def test_a_difference_that_is_not_published_takes_the_bound_on_the_correlation(
    less: str, options: str, basis: str, correlation: float, reader: duckdb.DuckDBPyConnection
) -> None:
    """The sides of both intervals are added as if the noise were correlated by so much."""
    find = "FROM releases.gld_headline WHERE release_version = '2027.02.0' AND breakdown = 'Total' AND sex = 'Total'"
    one, other = (
        answer(reader, f"{find} AND area_name = '{area}' AND time_period = '{cohort}'")[0]
        for area, cohort in (("St. Helens", "202425"), (less, "202324" if options else "202425"))
    )
    (p, pl, pu), (q, ql, qu) = compute_ends(one), compute_ends(other)
    [found] = answer(reader, f"FROM gld_difference('St. Helens', 'everyone', '{less}', 'everyone'{options})")
    down, up = combine_correlated(p - pl, qu - q, correlation), combine_correlated(pu - p, q - ql, correlation)
    assert (found["basis"], found["points"]) == (basis, pytest.approx(p - q, abs=0.051))
    assert [found[end] for end in THESE] == [
        pytest.approx(max(p - q - down, -100), abs=0.006),
        pytest.approx(min(p - q + up, 100), abs=0.006),
    ]
    assert found["lower_ci"] <= found[THESE[0]] <= found[THESE[1]] <= found["upper_ci"]
    if correlation == facts.NOISE_CORRELATION:
        of_both = compute_chance(one) + compute_chance(other)
        assert 1 <= (found["points"] - found["lower_ci"]) / with_chance(down, of_both) <= most_asked(36)


def test_across_a_break_no_change_is_certain(two_cohorts: Path, tmp_path: Path) -> None:
    """A change of forty points is certain, until the row is flagged as a break."""
    change = "FROM gld_difference('Leeds', 'Total', 'Leeds', 'Total', cohort := '202425', less_cohort := '202324')"
    of_leeds = "WHERE la_name = 'Leeds' AND breakdown = 'Total' AND sex = 'Total'"
    certain = (
        f"""UPDATE releases.gld_headline SET gld_children_percent = {percent}, series_break = NULL,
        gld_children_percent_lower_ci = {percent - 1}, gld_children_percent_upper_ci = {percent + 1}
        {of_leeds} AND time_period = '{cohort}'"""
        for cohort, percent in (("202324", 30), ("202425", 70))
    )
    with open_changed(two_cohorts, tmp_path, *certain) as con:
        [found], series = answer(con, change), answer(con, "FROM gld_over_time('Leeds', 'Total')")
        assert (found["is_certain"], series[-1]["is_certain"]) == (True, True)
        con.execute(f"UPDATE releases.gld_headline SET series_break = 'b' {of_leeds} AND time_period = '202425'")
        [found], series = answer(con, change), answer(con, "FROM gld_over_time('Leeds', 'Total')")
        assert (found["is_certain"], series[-1]["is_certain"]) == (None, None)
        assert found["basis"] == "not to be compared: a break in the series lies between"
        [same] = answer(con, "FROM gld_difference('Leeds', 'Total', 'Wirral', 'Total')")
        assert same["is_certain"] is not None


def test_of_intervals_with_chance_95_in_100_hold_what_children_like_these_would_give() -> None:
    """Two councils of 900 and 2,500 children, whose rates do not differ though the children drawn do; noise of .8."""
    rng, draws, (n, m), noise = np.random.default_rng(1), 20_000, (900, 2500), 0.8
    one, other = (100 * rng.binomial(size, 0.64, draws) / size + rng.normal(0, noise, draws) for size in (n, m))
    with duckdb.connect() as con:
        database.Database(con).create_written("macros.sql", ("chance_variance", "arm_with_chance", "combined_arm"))
        con.register("drawn", pa.table({"p": one, "q": other}))
        held = con.execute(
            f"""SELECT avg((abs(p - q) <= arm_with_chance(combined_arm({1.959964 * noise}, {1.959964 * noise}, 0),
                   chance_variance(p, {n}) + chance_variance(q, {m})))::INTEGER) FROM drawn"""
        ).fetchall()
    assert held[0][0] == pytest.approx(0.95, abs=0.008)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("councils", "bound"),
    [
        (PILOT[:2], facts.NOISE_CORRELATION),
        ([*LONDON[:20], "darlington", "gateshead"], facts.NOISE_CORRELATION_WITH_REGIONS),
    ],
    ids=["two councils", "a region of two"],
)
def test_noise_of_councils_is_correlated_by_no_more_than_the_bound(councils: list[str], bound: float) -> None:
    """The bound is not idle: the worst release comes near it. The pilot's is in `tests/privacy/mechanism`."""
    assert measure_correlation(sorted(councils)) <= bound


def test_chances_of_ranks(reader: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> None:
    found = answer(reader, "FROM gld_rank('Total')")
    rows = [row for row in council_rows(tables) if row["gld_children_percent"] is not None]
    figures = {row["la_name"]: compute_ends(row) for row in rows}
    sigma = {
        row["la_name"]: math.hypot(max(u - p, p - low) / norm.ppf(0.975), math.sqrt(compute_chance(row)))
        for row, (p, low, u) in zip(rows, figures.values(), strict=True)
    }
    assert [row["area_name"] for row in found] == sorted(figures, key=lambda name: -figures[name][0])
    for row in found:
        own, (p, *_) = row["area_name"], figures[row["area_name"]]
        others = [name for name in figures if name != own]

        def lowest(x: float, p: float = p, own: str = own, others: list[str] = others) -> float:
            above = [norm.sf((x - figures[name][0]) / sigma[name]) for name in others]
            return float(norm.pdf(x, p, sigma[own]) * np.prod(above))

        expected, _ = quad(lowest, p - 8 * sigma[own], p + 8 * sigma[own], limit=400)
        assert row["chance_lowest"] == pytest.approx(expected, abs=0.006)
        assert row["best_rank"] <= row["rank"] <= row["worst_rank"]
    assert sum(row["chance_lowest"] for row in found) == pytest.approx(1, abs=0.02)
    assert sum(row["chance_highest"] for row in found) == pytest.approx(1, abs=0.02)


def test_the_distance_from_a_target(reader: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> None:
    found = {row["area_name"]: row for row in answer(reader, "FROM gld_to_target('Total')")}
    for row in council_rows(tables):
        (p, low, high), told = compute_ends(row), found[row["la_name"]]
        assert (told["child_group"], told["target_percent"], told["target_year"]) == ("Total", 75, 2028)
        if p is None:
            assert told["verdict"] == "no figure"
            continue
        assert told["points_to_go"] == pytest.approx(75 - p, abs=0.051)
        children = row["children_count_estimate"]
        for column, rate in (("to_go", p), ("lower_ci", high), ("upper_ci", low)):
            assert told[f"children_{column}"] == pytest.approx((75 - rate) / 100 * children, abs=0.51)
        assert told["points_a_year"] == pytest.approx((75 - p) / 3, abs=0.006)
        sure = {"met": low >= 75, "not met": high < 75, "cannot say": low < 75 <= high}
        assert sure[told["verdict"]]
        error = max(high - p, p - low) / norm.ppf(0.975)
        assert told["chance_met"] == pytest.approx(norm.cdf((p - 75) / error), abs=0.002)


def test_a_figure_over_time(reader: duckdb.DuckDBPyConnection) -> None:
    found = answer(reader, "FROM gld_over_time('Liverpool City Region', 'Total')")
    told = [(row["time_period"], row["release_version"], row["is_current"]) for row in found]
    assert told == [("202324", "2027.02.0", True), ("202425", "2026.11.0", False), ("202425", "2027.02.0", True)]
    first, old, last = found
    assert first["change_points"] is None
    assert old["change_points"] is None
    if first["gld_percent"] is not None and last["gld_percent"] is not None:
        assert last["change_points"] == pytest.approx(last["gld_percent"] - first["gld_percent"], abs=0.051)
        assert last["change_lower_ci"] < last["change_points"] < last["change_upper_ci"]
        assert last["is_certain"] == (last["change_lower_ci"] > 0 or last["change_upper_ci"] < 0)
        noise = math.hypot(last["gld_percent"] - last["lower_ci"], first["upper_ci"] - first["gld_percent"])
        assert last["change_points"] - last["change_lower_ci"] > noise


@pytest.mark.parametrize("macro", build.MACROS, ids=lambda macro: macro.name)
def test_examples_run_and_answer_in_the_first_columns_which_python_shows_in_full(
    reader: duckdb.DuckDBPyConnection, macro: build.Macro
) -> None:
    """In 120 columns: of a wider table DuckDB leaves out columns in the middle, and cuts long ones."""
    assert reader.execute(macro.example).fetchall()
    assert (macro.example,) in reader.execute("SELECT example FROM help.macros").fetchall()
    if macro.is_table:
        lines = str(reader.sql(macro.example)).splitlines()
        assert max(map(len, lines)) <= 120
        header, *rows = (
            [cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")
        )
        wanted = ANSWERS[macro.name]
        assert tuple(header[: len(wanted)]) == wanted
        assert not [cell for row in rows for cell in row[: len(wanted)] if "…" in cell]


def test_an_end_of_an_interval_is_never_shown_beyond_the_figure(reader: duckdb.DuckDBPyConnection) -> None:
    """45.25 is shown as 45.2 by one program and as 45.3 by another."""
    for figure, end in ((45.2, 45.25), (45.3, 45.25), (45.2, 44.0)):
        both = "SELECT lower_shown($end, $figure, NULL), upper_shown($end, $figure, NULL)"
        [(low, high)] = reader.execute(both, {"end": end, "figure": figure}).fetchall()
        assert low <= figure <= high
    assert reader.execute("SELECT lower_shown(45.26, NULL, NULL)").fetchall() == [(45.3,)]


CITY_REGION = ("Halton", "Knowsley", "Liverpool", "Sefton", "St. Helens", "Wirral")
ASIAN, BLACK = "Asian / Asian British", "Black / African / Caribbean / Black British"

one_cohort = read_from("two_releases")


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
    one_cohort: duckdb.DuckDBPyConnection,
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
    found = sums(one_cohort, call)
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
    call: str, said: str, one_cohort: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.InvalidInputException) as caught:
        sums(one_cohort, call)
    assert said in str(caught.value)


def test_without_covariances_or_a_row_everywhere_nothing_is_given_and_it_says_why(
    two_releases: Path, tmp_path: Path
) -> None:
    delete = "DELETE FROM releases.gld_headline WHERE area_name = 'Wirral' AND breakdown = 'White'"
    with open_changed(two_releases, tmp_path, delete) as connection:
        found = sums(connection, "'Leeds + Wirral', 'White'")
    assert found["basis"] == "no figure: no row of this group in Wirral"
    assert all(found[name] is None for name in ("gld_percent", "lower_ci", "upper_ci", "children", "gld_children"))
    shutil.copytree(two_releases / "2027.02.0", tmp_path / "2027.02.0")
    (tmp_path / "2027.02.0" / NOISE_COVARIANCE_FILE).unlink()
    with duckdb.connect(str(build.build_database(tmp_path)), read_only=True) as reader:
        found = sums(reader, "'Leeds + Wirral', 'FSM'")
    assert (found["basis"], found["gld_percent"]) == ("no interval: the release holds no covariances", None)
