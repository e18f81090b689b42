"""Answers from published releases: figures are the published ones, and verdicts those of the database's macros."""

import csv
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import norm

from ndl_export.answers.published import Published, open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.vocabulary import Index, NotPublished
from ndl_export.bundle.row_hashes import check_answer
from ndl_export.facts.release_facts import Withdrawal, record_withdrawals
from ndl_export.tables import TABLES
from pipelines.cli import main

NEWER, EARLIER = "202425", "202324"


@pytest.fixture(scope="module")
def published(series: Path) -> Iterator[Published]:
    with open_published(str(series.parent)) as found:
        yield found


@pytest.fixture(scope="module")
def questions(published: Published) -> Questions:
    return Questions(published)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_figure_is_that_of_its_row(table: str, series: Path, published: Published) -> None:
    """Row numbers, figures, intervals and flags of `releases.figure` are those of the CSV file of all rows."""
    with (series / f"{table}_all_rows.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found = published.query(
        "SELECT row_number, measure, levels, area_code, figure, lower_ci, upper_ci, flag FROM releases.figure"
        " WHERE release_version = ? AND table_name = ? ORDER BY row_number",
        series.name,
        table,
    )
    filters = [entry.name for entry in TABLES[table].filters]
    assert len(found) == len(rows) * len(TABLES[table].measures)
    for each in found:
        row, measure = rows[each["row_number"] - 1], each["measure"]
        assert [row[name] for name in filters] == each["levels"]
        assert row["area_code"] == each["area_code"]
        for column, suffix in (("figure", ""), ("lower_ci", "_lower_ci"), ("upper_ci", "_upper_ci")):
            stated = row[measure + suffix]
            assert each[column] == (float(stated) if stated else None)
        assert (each["flag"] or "") == row[f"{measure}_flag"]


def test_a_rate_has_the_children_that_it_is_of(published: Published) -> None:
    lacking = published.query(
        "SELECT DISTINCT table_name, measure FROM releases.figure"
        " WHERE kind IN ('percent', 'average') AND figure IS NOT NULL AND coalesce(of_children, 0) <= 0"
    )
    assert lacking == []


def test_words_lead_to_one_row(questions: Questions) -> None:
    def find(measure: str | None, *groups: str) -> tuple[str, str, tuple[str, ...]]:
        found = questions.read_subject(measure, "Leeds", groups).statistic
        return found.table, found.measure, found.levels

    rate = "gld_children_percent"
    assert find("ready for school") == ("gld_headline", rate, ("Total", "Total", "Total"))
    girls = ("Free school meal eligibility", "Eligible for free school meals", "Female")
    assert find("GLD", "girls", "FSM") == ("gld_headline", rate, girls)
    assert find(None, "seen by no one") == ("joined_dots", "children_percent", ("Neither", "Total"))
    assert find("GLD", "Seen by: Neither")[0] == "joined_dots"
    assert find("expected level", "writing") == (
        "early_learning_goals",
        "expected_children_percent",
        ("Writing", "Total", "Total"),
    )
    assert find("not ready for school") == find("ready for school")
    assert find(None, "12-month review")[2] == ("Twelve month review", "Total", "Total", "Done")


@pytest.mark.parametrize(
    ("measure", "area", "groups", "cohort", "says"),
    [
        ("vaccination", "Leeds", [], None, "no measure"),
        ("GLD", "Manchester", [], None, "takes no part"),
        ("GLD", "Atlantis", [], None, "Did you mean"),
        ("GLD", "Leeds", ["looked-after children"], None, "Nearest"),
        ("GLD", "Leeds", ["White", "girls", "FSM"], None, "no such figure"),
        ("expected level", "Leeds", ["girls"], None, "Nearest"),
        ("GLD", "Leeds", [], "2019/20", "2024/25"),
    ],
)
def test_what_is_not_published_is_refused(
    measure: str, area: str, groups: list[str], cohort: str | None, says: str, questions: Questions
) -> None:
    with pytest.raises(NotPublished, match=says):
        questions.answer_figure(questions.read_subject(measure, area, groups, cohort))


def test_an_answer_says_what_may_not_be_concluded(questions: Questions) -> None:
    answer = questions.answer_figure(questions.read_subject("GLD", "Leeds"))
    [figure] = answer.figures
    assert f"{figure['value']:.1f}%" in answer.sentence
    assert f"{figure['lower']:.1f}%" in answer.sentence
    assert any("cause" in each for each in answer.may_not_conclude)
    assert any("single child" in each for each in answer.may_not_conclude)


def test_an_opposite_is_what_lacks_to_100(questions: Questions) -> None:
    figure = questions.get_figure(questions.read_subject("GLD", "Leeds"))
    words = questions.answer_figure(questions.read_subject("not ready for school", "Leeds")).sentence
    assert f"{100 - figure['value']:.1f}%" in words
    assert "did not have" in words


def test_verdicts_are_those_of_the_macros(questions: Questions, published: Published) -> None:
    rows = published.query(
        "SELECT area_name, less_area_name, verdict FROM gld_compared('Total', 'Total', false, ?, ?)"
        " WHERE is_council AND less_is_council",
        NEWER,
        NEWER,
    )
    assert len(rows) == 56
    for row in rows[::5]:
        pair = (questions.read_subject("GLD", row[name]) for name in ("area_name", "less_area_name"))
        assert questions.answer_comparison(*pair).verdict == row["verdict"]


def test_the_opposite_of_what_is_ahead_is_behind(questions: Questions) -> None:
    turned = {"ahead": "behind", "behind": "ahead", "cannot say": "cannot say"}
    for groups in (["girls"], ["boys"]), (["FSM"], ["Not FSM"]):
        ready, unready = (
            questions.answer_comparison(*(questions.read_subject(measure, "All councils", each) for each in groups))
            for measure in ("GLD", "not ready for school")
        )
        assert unready.verdict == turned[ready.verdict]


def test_other_measures_are_compared_by_noise_and_chance(published: Published) -> None:
    """Against the formulas, worked out anew: never narrower than 95%, and at most as wide as Bonferroni's interval."""
    levels = ["Writing", "Total", "Total"]
    figures = {
        row["area_code"]: row
        for row in published.query(
            "SELECT f.* FROM releases.figure AS f JOIN releases.current USING (time_period, release_version)"
            " WHERE table_name = 'early_learning_goals' AND measure = 'expected_children_percent'"
            " AND levels = ? AND time_period = ?",
            levels,
            NEWER,
        )
    }
    rows = published.query(
        "FROM figures_compared('early_learning_goals', 'expected_children_percent', ?, ?, false, ?, ?)",
        *(levels, levels, NEWER, NEWER),
    )
    compared = [row for row in rows if row["points"] is not None]
    assert len(compared) > 50
    widest = norm.isf(0.025 / (2 * len(compared))) / norm.isf(0.025)
    for row in compared:
        one, two = figures[row["area_code"]], figures[row["less_area_code"]]
        noise = (one["figure"] - one["lower_ci"]) + (two["upper_ci"] - two["figure"])
        chance = sum(each["figure"] * (100 - each["figure"]) / each["of_children"] for each in (one, two))
        arm = math.hypot(noise + row["points"] - (one["figure"] - two["figure"]), norm.isf(0.025) * math.sqrt(chance))
        drawn = row["points"] - row["lower_end"]
        assert arm * 0.999 <= drawn <= arm * widest * 1.001
        expected = np.select([row["lower_end"] > 0, row["upper_end"] < 0], ["ahead", "behind"], "cannot say")
        assert row["verdict"] == expected


def test_figures_of_the_same_children_may_move_together(published: Published) -> None:
    """Shares of one whole are compared with their standard errors added, which holds whatever their correlation."""
    neither, both = ["Neither", "Total"], ["Both", "Total"]
    [row] = published.query(
        "FROM figures_compared('joined_dots', 'children_percent', ?, ?, true, ?, ?)"
        " WHERE is_all_together AND levels = ? AND less_levels = ?",
        *(both, neither, NEWER, NEWER, both, neither),
    )
    shares = published.query(
        "SELECT figure, of_children FROM releases.figure JOIN releases.current USING (time_period, release_version)"
        " WHERE table_name = 'joined_dots' AND measure = 'children_percent' AND is_all_together AND time_period = ?"
        " AND levels IN (?, ?)",
        *(NEWER, both, neither),
    )
    errors = [math.sqrt(each["figure"] * (100 - each["figure"]) / each["of_children"]) for each in shares]
    assert row["upper_end"] - row["points"] >= norm.isf(0.025) * sum(errors) * 0.999


def test_a_change_is_between_cohorts(questions: Questions, published: Published) -> None:
    statistic = questions.read_subject("GLD", "Leeds").statistic
    answer = questions.answer_trend(statistic, questions.read_area("Leeds"))
    assert [each["time_period"] for each in answer.figures] == [EARLIER, NEWER]
    [row] = published.query(
        "SELECT verdict FROM gld_compared('Total', 'Total', true, ?, ?) WHERE area_name = 'Leeds'", NEWER, EARLIER
    )
    said = answer.may_conclude[0]
    assert ("rose" in said, "fell" in said) == (row["verdict"] == "ahead", row["verdict"] == "behind")


def test_what_overlaps_is_not_added_up(questions: Questions) -> None:
    answer = questions.answer_sum(["Leeds", "Wirral"], ["FSM"])
    assert {each["area_name"] for each in answer.figures} == {"Leeds", "Wirral"}
    for areas, groups in ((["Leeds"], ["FSM", "girls"]), (["Leeds"], ["Total", "FSM"])):
        with pytest.raises(NotPublished):
            questions.answer_sum(areas, groups)


def test_ranks_are_those_of_gld_rank(questions: Questions, published: Published) -> None:
    found = questions.rank_areas(questions.read_subject("GLD", "Leeds").statistic, NEWER)
    expected = published.query("FROM gld_rank('Total')")
    ranks = ("area_name", "best_rank", "worst_rank")
    assert [[row[name] for name in ranks] for row in found] == [[row[name] for name in ranks] for row in expected]


def test_a_figure_is_proved_up_to_the_signature(questions: Questions, series: Path) -> None:
    answer = questions.answer_figure(questions.read_subject("GLD", "Leeds", ["girls"]))
    document: dict[str, Any] = json.loads(json.dumps(questions.prove(answer.figures)))
    key = (series / "public_key.pem").read_bytes()
    assert check_answer(document, key) == []
    document["figures"][0]["value"] += 1
    assert check_answer(document, key)
    with pytest.raises(NotPublished):
        questions.prove([answer.figures[0] | {"row": 10**6}])


def test_a_changed_file_is_refused(series: Path, tmp_path: Path) -> None:
    shutil.copytree(series, tmp_path / series.name)
    table = tmp_path / series.name / "gld_headline.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"2")
    with pytest.raises(ValueError, match=r"not as in SHA256SUMS: gld_headline\.parquet"), open_published(str(tmp_path)):
        pass


def test_a_withdrawn_release_answers_nothing(series: Path, tmp_path: Path) -> None:
    shutil.copytree(series, tmp_path / series.name)
    record_withdrawals(tmp_path, {}, Withdrawal(series.name, "2026-11-29", "A wrong file."))
    with open_published(str(tmp_path)) as found, pytest.raises(NotPublished, match="Every release here is withdrawn"):
        Questions(found).read_subject("GLD", "Leeds")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("free school meals", ("gld_headline", "gld_children_percent", "Eligible for free school meals")),
        ("seen by no one", ("joined_dots", "children_percent", "Neither")),
        ("children not ready", ("gld_headline", "gld_children_percent", "")),
        ("writing", ("early_learning_goals", "expected_children_percent", "Writing")),
        ("gap between boys and girls", ("gld_differences", "gld_difference_points", "Female less male")),
    ],
)
def test_plain_words_find_the_statistic(words: str, first: tuple[str, str, str], questions: Questions) -> None:
    found = Index(questions.vocabulary).search(words, 3)[0]
    assert (found.table, found.measure, found.categories) == first


@pytest.mark.parametrize(
    ("measure", "groups", "wanted"),
    [
        ("GLD", ["girls"], "% of girls in Leeds had a good level of development"),
        ("GLD", ["boys", "FSM"], "% of boys (Eligible for free school meals) in Leeds had"),
        ("GLD", ["seen by both services"], "% of children (Seen by: Both) in Leeds had"),
        ("number of children", ["girls"], " girls in Leeds in 2024/25"),
        ("expected level", ["writing"], "% of children in Leeds were at the expected level in Writing in 2024/25"),
        (None, ["seen by both services"], "% of children in Leeds in 2024/25 were in this group: Seen by: Both"),
    ],
)
def test_a_sentence_says_whom_the_figure_is_about(
    measure: str | None, groups: list[str], wanted: str, questions: Questions
) -> None:
    assert wanted in questions.answer_figure(questions.read_subject(measure, "Leeds", groups)).sentence


def test_a_sum_has_the_unit_at_both_ends_of_its_interval(questions: Questions) -> None:
    sentence = questions.answer_sum(["Leeds", "Wirral"], ["FSM"]).sentence
    assert re.search(r"\d% \(95% interval [\d.]+% to [\d.]+%\), of [\d,]+ children \(95% interval", sentence)


def test_the_distance_from_a_target_is_in_the_answer(questions: Questions) -> None:
    answer = questions.answer_target(questions.read_subject("gld_children_percent", "Leeds"))
    assert " points away (95% interval " in answer.sentence
    assert any(" more children in a year group of this size" in each for each in answer.may_conclude)


def test_search_takes_any_words(questions: Questions) -> None:
    index = Index(questions.vocabulary)
    for words in ("", "the of", '"', "a AND b OR (", "exact:", "%", "x" * 10_000):
        assert index.search(words) is not None


def test_the_command_says_why(series: Path) -> None:
    run = CliRunner().invoke(main, ["check-claim", str(series.parent), "All girls will be ready in Leeds", "--json"])
    assert run.exit_code == 4
    assert json.loads(run.output)["rule"] == "forecast"
    run = CliRunner().invoke(main, ["check-claim", str(series.parent)])
    assert run.exit_code == 2
