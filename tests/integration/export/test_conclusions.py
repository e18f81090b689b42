"""What may be concluded: one verdict wherever it is asked for, and few false ones where much is compared."""

import math
import re
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from ndl_export.analyst_db.build import WORKED_QUERIES, open_analyst_database
from ndl_export.site import inference, layouts, panels
from ndl_export.tables import TABLES, schema
from ndl_export.tables.rows import list_rows
from sources.reference.places import PILOT
from tests.support.export.analyst import COUNCILS, TOTAL, Row, answer, list_published
from tests.support.export.fake_release import COHORT, fake_facts, fake_tables
from tests.support.release.comparisons import compute_certain_from, read_pilot_sizes, simulate

MONTE_CARLO = 3
"""Standard errors that a simulated share may be off."""


def most(share: float, releases: int) -> float:
    return share + MONTE_CARLO * math.sqrt(share * (1 - share) / releases)


@pytest.mark.parametrize("councils", ["the pilot's", 153])
def test_equal_councils_are_told_apart_in_one_release_of_twenty_at_most(councils: str | int) -> None:
    """One comparison at a time calls something certain in half of the pilot's releases, and in all of England's."""
    rng = np.random.default_rng(2)
    sizes = rng.lognormal(8.2, 0.5, councils).round() if isinstance(councils, int) else read_pilot_sizes()
    releases, rates = 4000 if len(sizes) == 8 else 60, np.full(len(sizes), 65.0)
    found = simulate(sizes, rates, releases)
    assert found.any_certain <= most(0.05, releases)
    assert found.ranks_hold >= 1 - most(0.05, releases)
    by_one = simulate(sizes, rates, 200, one_by_one=True)
    assert by_one.any_certain > 0.4
    assert by_one.ranks_hold < 0.8


@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
def test_ranks_hold_together_and_verdicts_are_true_where_councils_differ(spread: float) -> None:
    rates = np.random.default_rng(3).normal(65, spread, 8)
    found = simulate(read_pilot_sizes(), rates, 1500)
    assert found.any_wrong <= most(0.05, 1500)
    assert found.ranks_hold >= 1 - most(0.05, 1500)
    assert spread < 5 or found.compute_power_of_pairs(8) > 0.95


def test_certain_from_is_holm() -> None:
    """Worked out anew, step by step, with the quantiles of another library."""
    lists = np.abs(np.random.default_rng(5).normal(0, 2.5, (200, 12)))
    for distances, needed in zip(lists, compute_certain_from(lists, 0.05), strict=True):
        rejected = 0
        for place, distance in enumerate(sorted(distances, reverse=True), start=1):
            if distance <= norm.isf(0.05 / (2 * 12 - place + 1)):
                break
            rejected += 1
        assert (distances > needed).sum() == rejected
        assert needed == pytest.approx(norm.isf(0.05 / (2 * 12 - min(rejected, 11))), abs=1e-6)


def tables_with(seed: int, spread: float) -> dict[str, pa.Table]:
    """Made-up tables in which councils' rates are so many points apart (standard deviation), with noise of 0.3."""
    rng, tables = np.random.default_rng(seed), fake_tables(seed=seed)
    councils = list_published(tables, "gld_headline", **COUNCILS, **TOTAL)
    sizes = np.array([row["children_count_estimate"] for row in councils])
    rates = 65 + rng.normal(0, np.hypot(spread, 48 / np.sqrt(sizes)))
    all_together = float(rates @ sizes / sizes.sum())
    of = {row["la_name"]: float(rate) for row, rate in zip(councils, rates, strict=True)}

    def headline(row: Row) -> Row:
        if not row["breakdown"] == row["sex"] == "Total":
            return row
        return row | _figure("gld_children_percent", of.get(row["la_name"], all_together))

    def difference(row: Row) -> Row:
        if row["la_name"] not in of or row["comparison"] != "All children: area less all councils together":
            return row
        return row | _figure("gld_difference_points", of[row["la_name"]] - all_together)

    for name, changed in (("gld_headline", headline), ("gld_differences", difference)):
        rows = [changed(row) for row in tables[name].to_pylist()]
        tables[name] = pa.Table.from_pylist(rows, schema=tables[name].schema)
    return tables


def _figure(measure: str, value: float) -> Row:
    ends = {f"{measure}_lower_ci": value - 0.6, f"{measure}_upper_ci": value + 0.6}
    return {measure: round(value, 1), f"{measure}_flag": None, **ends}


class Answers:
    """The answers of one release, in every place that gives them."""

    def __init__(self, con: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> None:
        self.con = con
        release = layouts.ReleasedFigures(
            tables, PILOT, (COHORT,), {}, conclusions=inference.query_conclusions(con, (COHORT,))
        )
        self.panels = {
            (panel.shape.name, panel.area.name if panel.area and not panel.together else ""): panel
            for charts in layouts.build_charts(release).values()
            for chart in charts
            for panel in chart.panels
        }

    def rows(self, query: str) -> list[Row]:
        return answer(self.con, query)

    def worked(self, title: str) -> list[Row]:
        return self.rows(next(query.sql for query in WORKED_QUERIES if query.title == title))


@pytest.fixture(scope="module", params=[(1, 0.0), (2, 2.0), (3, 5.0)], ids=["equal", "alike", "apart"])
def answers(request: pytest.FixtureRequest) -> Iterator[Answers]:
    tables = tables_with(*request.param)
    with open_analyst_database(fake_facts(), tables) as (con, _):
        yield Answers(con, tables)


def said_of(panel: panels.Panel, kind: str) -> dict[str, str]:
    """Verdict by label, from the sentence about all of them."""
    text = " ".join(each.sentence for each in panel.inferred)
    found = dict.fromkeys((line.label for line in panel.lines), "cannot say")
    for part in text.split("these, clearly ")[1:]:
        labels = re.sub(r"\.( The others are .*| For children like .*)?$", "", part.partition(": ")[2])
        assert not re.search(rf"\d+ {kind}$", labels), "more are named than a sentence has room for"
        found |= dict.fromkeys(labels.split("; "), part.split(" ", 1)[0])
    return found


def test_every_place_has_one_verdict_on_a_council(answers: Answers) -> None:
    panel = answers.panels["gld-by-area", ""]
    councils = {line.label: line for line in panel.lines if line.inferred}
    funnel = {row["area_name"]: row for row in answers.rows("FROM gld_funnel('Total')")}
    verdicts = {name: row["verdict"] for name, row in funnel.items()}
    assert {row["area"]: row["beside_all"] for row in answers.rows("FROM councils_compared")} == verdicts
    named = {row["area_name"]: row["verdict"] for row in answers.worked("Which councils differ from all together")}
    assert named == {name: verdict for name, verdict in verdicts.items() if verdict != "cannot say"}
    told = said_of(panel, "councils")
    for name, verdict in verdicts.items():
        assert told[name] == verdict
        [concluded] = councils[name].inferred
        assert ("too close to call" if verdict == "cannot say" else f" points {verdict} ") in concluded.sentence
        heading = rf"{name} is ([\d.]+ points )?{verdict} (of )?all councils" if verdict != "cannot say" else ""
        assert re.fullmatch(f"{heading} together" if heading else "", concluded.finding)
        outside = not funnel[name]["lower_limit"] <= funnel[name]["gld_percent"] <= funnel[name]["upper_limit"]
        assert outside == (verdict != "cannot say")
    for name in ("Halton", "Leeds"):
        [row] = answers.rows(f"FROM gld_difference('{name}', 'Total', 'All councils', 'Total')")
        side = "ahead" if row["points"] > 0 else "behind"
        assert (side if row["is_certain"] else "cannot say") == verdicts[name]


def test_ranks_are_those_of_the_pairs_and_intervals_of_a_list_are_wider(answers: Answers) -> None:
    ranks = {row["area_name"]: (row["best_rank"], row["worst_rank"]) for row in answers.rows("FROM gld_rank('Total')")}
    view = {row["area"]: row["rank"] for row in answers.rows("FROM councils_compared")}
    assert view == {name: f"{best} to {worst}" for name, (best, worst) in ranks.items()}
    pairs = answers.rows(
        f"FROM gld_compared('Total', 'Total', false, '{COHORT}', '{COHORT}') WHERE is_council AND less_is_council"
    )
    assert len(pairs) == 56
    for name, (best, worst) in ranks.items():
        own = [row["verdict"] for row in pairs if row["area_name"] == name]
        assert (best, worst) == (1 + own.count("behind"), 8 - own.count("ahead"))
    of_pair = {(row["area_name"], row["less_area_name"]): row["is_certain"] for row in pairs}
    for one, other in (("Halton", "Leeds"), ("Wirral", "Sefton")):
        [row] = answers.rows(f"FROM gld_difference('{one}', 'Total', '{other}', 'Total')")
        assert row["is_certain"] == of_pair[one, other] == of_pair[other, one]
    for row in answers.rows(f"FROM gld_compared('Total', 'Total', false, '{COHORT}', '{COHORT}')"):
        assert row["lower_end"] <= max(row["low"], -100)
        assert row["upper_end"] >= min(row["high"], 100)
        assert row["is_certain"] == (not row["lower_end"] <= 0 <= row["upper_end"])


def test_every_place_has_one_verdict_on_groups(answers: Answers) -> None:
    """The gap by free school meals, outcomes of the review, groups beside England, and goals."""
    gaps = {
        line.label: " ".join(each.sentence for each in line.inferred)
        for line in answers.panels["gap-by-area", ""].lines
    }
    for row in answers.worked("Free school meal gap"):
        if row["is_certain"] is not None:
            assert ("too close to call" not in gaps[row["area_name"]]) == row["is_certain"]
    for row in answers.rows("FROM gld_differences_judged('Not eligible less eligible')"):
        if not (told := gaps.get(row["area_name"])):
            continue
        certain = row["more_than_noise_and_chance"] in ("ahead", "behind")
        assert ("too close to call" not in told) == certain
        assert ("there may have been none" in told) == (row["more_than_noise"] == "cannot say")
        assert not (certain and row["more_than_noise"] == "cannot say")
    outcomes = {row["asq3_outcome"]: row for row in answers.worked("From the two-year review to school")}
    outcome = outcomes["Two or more domains below the cut-off"]
    told = " ".join(each.sentence for each in answers.panels["pathway", ""].inferred)
    assert (outcome["is_behind"] is None) == (not told)
    assert bool(outcome["is_behind"]) == (" points ahead of " in told)
    for area, title in (("", "All councils against England"), ("Leeds", "By characteristic, beside official figures")):
        told_of = said_of(answers.panels["gld-by-group", area], "groups")
        for row in answers.worked(title):
            if row.get("area_name", area) == area and row["breakdown"] in told_of and row["breakdown"] != "Total":
                certain = row["is_certain"] if area == "" else row["beside_england"] in ("ahead", "behind")
                assert (told_of[row["breakdown"]] != "cannot say") == bool(certain)
    lowest = {row["early_learning_goal"] for row in answers.worked("Weakest goals") if row["could_be_lowest"]}
    told = " ".join(each.sentence for each in answers.panels["goals", ""].inferred)
    assert lowest
    assert all(goal in told for goal in lowest)


def test_every_figure_of_every_page_is_withheld_only_where_the_database_has_none_of_the_same_children() -> None:
    """A plan publishes some rows and not others: here a fifth is left out, and children of concern to both services are
    published while those among them whom both had seen, who are all of them, are not."""
    facts, tables, rng = fake_facts(), fake_tables(), np.random.default_rng(11)
    for name, data in tables.items():
        kept = rng.random(data.num_rows) > 0.2
        if name == "joined_dots":
            pairs = zip(data["seen_by"].to_pylist(), data["concern_by"].to_pylist(), strict=True)
            kept = np.array(
                [
                    pair == ("Total", "Both") or (k and pair != ("Both", "Both"))
                    for pair, k in zip(pairs, kept, strict=True)
                ]
            )
        tables[name] = data.filter(pa.array(kept))
    with open_analyst_database(facts, tables) as (con, _):
        database = {name: con.sql(f"FROM releases.{name}").to_arrow_table().to_pylist() for name in tables}
    published = {
        (name, row["area_code"], *(row[entry.name] for entry in TABLES[name].filters)): row
        for name, found in database.items()
        for row in found
    }
    same: dict[tuple[str, object], set[tuple[str, ...]]] = {}
    for name, table in TABLES.items():
        for row in list_rows(table, all_together=True):
            same.setdefault((name, frozenset(row.counts.items()) or row.levels), set()).add(row.levels)
    alike = {(name, levels): group for (name, _), group in same.items() for levels in group}
    charts, seen, elsewhere = layouts.build_charts(layouts.ReleasedFigures(tables, PILOT, (COHORT,), {})), set(), 0
    for panel in (panel for shown in charts.values() for chart in shown for panel in chart.panels):
        for line in panel.lines:
            wanted = panel.shape.list_wanted("" if panel.shape.by_area else line.label)
            for figure, (name, measure, levels) in zip(line.figures, wanted, strict=True):
                own = published.get((name, line.area.code, *levels))
                others = (published.get((name, line.area.code, *each)) for each in alike[name, levels])
                found = own or next((row for row in others if row and row[f"{measure}_flag"] != "z"), None)
                shown = (found[measure], found[f"{measure}_flag"]) if found else (None, schema.Flag.WITHHELD)
                assert (figure.value, figure.flag) == shown, (panel.anchor, line.label, measure)
                seen.add(panel.shape.name)
                elsewhere += found is not own
    assert len(seen) > 15
    assert elsewhere > 10
