"""Answers from published releases: figures are the published ones, verdicts those of the database's macros.

They are checked by the command and by the script of every bundle, which agree.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scipy.stats import norm

from ndl_export.answers.published import Published, open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.vocabulary import NameIndex, NoSuchFigure
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.facts.release_facts import Withdrawal, record_withdrawals
from ndl_export.facts.row_hashes import CHECK_FILE, ROW_HASHES_FILE, prove_rows, read_check_script
from ndl_export.files.signing import PUBLIC_KEY_FILE, get_public_pem
from ndl_export.serve.mcp import build_server
from ndl_export.tables import TABLES
from tests.support.export.answers import build_answer
from tests.support.installation.commands import invoke

NEWER, EARLIER = "202425", "202324"


@pytest.fixture(scope="module")
def published(series: Path) -> Iterator[Published]:
    with open_published(str(series.parent)) as found:
        yield found


@pytest.fixture(scope="module")
def questions(published: Published) -> Questions:
    return Questions(published)


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
    with pytest.raises(NoSuchFigure, match=says):
        questions.answer_figure(questions.read_subject(measure, area, groups, cohort))


def test_an_answer_says_what_it_is_about_and_what_may_not_be_concluded(questions: Questions) -> None:
    answer = questions.answer_figure(questions.read_subject("GLD", "Leeds"))
    [figure] = answer.figures
    assert f"{figure['value']:.1f}%" in answer.sentence
    assert f"{figure['lower']:.1f}%" in answer.sentence
    assert any("cause" in each for each in answer.may_not_conclude)
    assert any("single child" in each for each in answer.may_not_conclude)
    opposite = questions.answer_figure(questions.read_subject("not ready for school", "Leeds")).sentence
    assert f"{100 - figure['value']:.1f}%" in opposite
    assert "did not have" in opposite
    summed = questions.answer_sum(["Leeds", "Wirral"], ["FSM"]).sentence
    assert re.search(r"\d% \(95% interval [\d.]+% to [\d.]+%\), of [\d,]+ children \(95% interval", summed)
    target = questions.answer_target(questions.read_subject("gld_children_percent", "Leeds"))
    assert " points away (95% interval " in target.sentence
    assert any(" more children in a year group of this size" in each for each in target.may_conclude)


def test_verdicts_are_those_of_the_macros_and_those_of_the_opposite_turned(
    questions: Questions, published: Published
) -> None:
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
    turned = {"ahead": "behind", "behind": "ahead", "cannot say": "cannot say"}
    for groups in (["girls"], ["boys"]), (["FSM"], ["Not FSM"]):
        ready, unready = (
            questions.answer_comparison(*(questions.read_subject(measure, "All councils", each) for each in groups))
            for measure in ("GLD", "not ready for school")
        )
        assert unready.verdict == turned[ready.verdict]


def test_a_published_difference_has_both_answers_in_one_table(questions: Questions, published: Published) -> None:
    """More than the noise by its own interval, and more than noise and chance by the verdict of every comparison."""
    for comparison, group, less in (
        ("Female less male", "Sex: Female", "Sex: Male"),
        ("All children: area less all councils together", "Total", "Total"),
    ):
        rows = published.query("FROM gld_differences_judged(?)", comparison)
        verdicts = published.query(
            "SELECT area_code, verdict FROM gld_compared(?, ?, ?, ?, ?)"
            " WHERE group_key = ? AND less_group_key = ? AND (less_is_all OR group_key <> less_group_key)",
            *(group, less, group != less, NEWER, NEWER, group, less),
        )
        expected = {row["area_code"]: row["verdict"] for row in verdicts}
        assert {row["area_code"]: row["more_than_noise_and_chance"] for row in rows} == expected
        shown = [row for row in rows if row["points"] is not None]
        assert len(shown) > 5
        for row in shown:
            alone = "ahead" if row["lower_ci"] > 0 else "behind" if row["upper_ci"] < 0 else "cannot say"
            assert row["more_than_noise"] == alone or 0 in (row["lower_ci"], row["upper_ci"])
            assert row["more_than_noise_and_chance"] in (row["more_than_noise"], "cannot say")
    answer = questions.answer_figure(questions.read_subject(None, "Leeds", ["gender gap"]))
    assert any("more than the noise" in each and "more than noise and chance" in each for each in answer.may_conclude)


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
        with pytest.raises(NoSuchFigure):
            questions.answer_sum(areas, groups)


def test_ranks_are_those_of_gld_rank(questions: Questions, published: Published) -> None:
    found = questions.rank_areas(questions.read_subject("GLD", "Leeds").statistic, NEWER)
    expected = published.query("FROM gld_rank('Total')")
    ranks = ("area_name", "best_rank", "worst_rank")
    assert [[row[name] for name in ranks] for row in found] == [[row[name] for name in ranks] for row in expected]


def test_a_withdrawn_release_and_a_changed_file_answer_nothing(series: Path, tmp_path: Path) -> None:
    shutil.copytree(series, tmp_path / series.name)
    record_withdrawals(tmp_path, {}, Withdrawal(series.name, "2026-11-29", "A wrong file."))
    with open_published(str(tmp_path)) as found:
        with pytest.raises(NoSuchFigure, match="Every release here is withdrawn"):
            Questions(found).read_subject("GLD", "Leeds")
        assert "A wrong file." in str(anyio.run(build_server(found).call_tool, "list_releases", {}))
    table = tmp_path / series.name / "gld_headline.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"2")
    with pytest.raises(ValueError, match=r"not as in SHA256SUMS: gld_headline\.parquet"), open_published(str(tmp_path)):
        pass


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
    index = NameIndex(questions.vocabulary)
    found = index.search(words, 3)[0]
    assert (found.table, found.measure, found.categories) == first
    for anything in ("", "the of", '"', "a AND b OR (", "exact:", "%", "x" * 10_000):
        assert index.search(anything) is not None


@pytest.mark.parametrize(
    ("measure", "groups", "wanted"),
    [
        ("GLD", ["girls"], "% of girls in Leeds had a good level of development"),
        ("GLD", ["boys", "FSM"], "% of boys eligible for free school meals in Leeds had"),
        ("GLD", ["EHCP", "boys"], "% of boys (Education, health and care plan) in Leeds had"),
        ("GLD", ["seen by both services"], "% of children (Seen by: Both) in Leeds had"),
        ("number of children", ["girls"], " girls in Leeds in 2024/25"),
        ("expected level", ["writing"], "% of children in Leeds were at the expected level in Writing in 2024/25"),
        (
            None,
            ["seen by both services"],
            "% of children in Leeds were seen by both a health visitor and a setting before school in",
        ),
        ("number of children", ["seen by both services"], " children (Seen by: Both) in Leeds"),
    ],
)
def test_a_sentence_says_whom_the_figure_is_about(
    measure: str | None, groups: list[str], wanted: str, questions: Questions
) -> None:
    assert wanted in questions.answer_figure(questions.read_subject(measure, "Leeds", groups)).sentence


def test_the_command_says_why(series: Path) -> None:
    leeds = ("check-claim", series.parent, "--area", "Leeds", "--measure", "ready for school")
    run = invoke(*leeds, "--group", "girls", "--forecast", "will be", "--json")
    assert run.exit_code == 4
    assert json.loads(run.output)["rule"] == "forecast"
    compared = ("--group", "girls", "--comparison", "higher", "--than-group", "boys", "--json")
    assert len(json.loads(invoke(*leeds, *compared).output)["figures"]) == 2
    assert invoke("check-claim", series.parent).exit_code == 2
    assert invoke(*leeds, "--value", "many").exit_code == 2


AGREES = "every figure is as it was published"
QUOTED = [(name, 1, table.measures[0].name) for name, table in TABLES.items()]


@pytest.fixture
def answer(bundle: Path, tmp_path: Path) -> Path:
    """An answer with a figure of every table."""
    return write_answer(tmp_path, build_answer(read_contents(bundle), QUOTED))


@pytest.fixture
def wrong(answer: Path, tmp_path: Path) -> Path:
    changed = json.loads(answer.read_bytes())
    changed["figures"][0]["value"] += 1
    return write_answer(tmp_path, changed, "wrong.json")


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    path = tmp_path / "stranger.pem"
    path.write_bytes(get_public_pem(Ed25519PrivateKey.generate()))
    return path


def write_answer(folder: Path, answer: dict[str, Any], name: str = "answer.json") -> Path:
    (folder / name).write_text(json.dumps(answer))
    return folder / name


def run_command(*arguments: object) -> tuple[int, str]:
    ran = invoke("check-answer", *arguments)
    return ran.exit_code, ran.output


def run_script(script: Path, *arguments: object, path: str | None = None) -> tuple[int, str]:
    """Run it without any package of this installation."""
    command = [sys.executable, "-I", "-S", str(script), *map(str, arguments)]
    environment = os.environ | ({} if path is None else {"PATH": path})
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ran.returncode, ran.stdout


def test_the_evidence_covers_every_row_of_every_table(bundle: Path) -> None:
    tables = json.loads((bundle / ROW_HASHES_FILE).read_bytes())["tables"]
    assert {name: each["rows"] for name, each in tables.items()} == {
        name: pq.read_metadata(bundle / f"{name}.parquet").num_rows for name in TABLES
    }
    assert prove_rows(bundle, [("gld_headline", 3)]) == prove_rows(read_contents(bundle), [("gld_headline", 3)])


def test_the_command_checks_figures_and_signature(bundle: Path, answer: Path, wrong: Path, stranger: Path) -> None:
    key = bundle / PUBLIC_KEY_FILE
    others = "Not proved: answer, citation, licence, may_conclude, may_not_conclude."
    assert run_command(answer, "--signer", key) == (
        0,
        f"{answer}: {AGREES}\n{others}\nThe signature was checked with {key}.\n",
    )
    status, said = run_command(wrong, "--signer", key)
    assert status == 1
    assert said.startswith(f"{wrong}: WRONG\n  figure 1: value is ")
    assert run_command(answer, "--signer", stranger) == (
        1,
        f"{answer}: WRONG\n  evidence: SHA256SUMS was not signed with this key\n{others}\n",
    )
    status, said = run_command(answer)
    assert (status, "The signature was not checked, so anybody could have made the evidence." in said) == (0, True)
    status, said = run_command(answer, "--json")
    found = json.loads(said)
    assert found.pop("not_proved") == ["answer", "citation", "licence", "may_conclude", "may_not_conclude"]
    assert found == {"answer": str(answer), "ok": True, "signature_checked": False, "problems": []}
    for file, why in (("README.md", "is not JSON"), ("datapackage.json", "does not have the form of an answer")):
        status, said = run_command(bundle / file)
        assert (status, why in said) == (1, True)
    assert run_command(answer, "--signer", bundle / "README.md")[0] == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_script_is_short_and_checks_the_same(bundle: Path, answer: Path, wrong: Path, stranger: Path) -> None:
    script, key = bundle / CHECK_FILE, bundle / PUBLIC_KEY_FILE
    assert script.read_bytes() == read_check_script()
    assert len(read_check_script().splitlines()) < 135
    for arguments in ((answer,), (answer, key)):
        status, said = run_script(script, *arguments)
        assert (status, said.splitlines()[::2]) == (0, [f"E{AGREES[1:]}.", f"The signature was checked with {key}."])
        assert said.splitlines()[1] == "Not proved: answer, citation, licence, may_conclude, may_not_conclude."
    assert run_script(script, wrong)[0] == 1
    status, said = run_script(script, answer, stranger)
    assert (status, "SHA256SUMS was not signed with this key" in said) == (1, True)


def test_the_script_says_if_there_is_no_openssl_or_no_key(bundle: Path, answer: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(bundle / CHECK_FILE, tmp_path))
    for status, said in (run_script(bundle / CHECK_FILE, answer, path=""), run_script(alone, answer)):
        assert status == 2
        assert "The signature was not checked, so anybody could have made the evidence." in said
