"""The clerical review of a linked cohort: the sample, the sheets of the services, and decisions taken in again."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.home.paths import Home
from assets.linkage.review import (
    DECIDES,
    HANDS_OVER,
    ReviewProblem,
    Sample,
    draw_review,
    open_sheet,
    take_review,
)
from assets.linkage.row_numbers import RowNumbers
from assets.returns.agreements import load_all
from ndl_export.files.signing import get_public_pem
from pipelines.cli import main
from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.review import CONTROLS, SAMPLED, ReviewPairs, compute_chances
from privacy.linkage.review_rates import OUTSIDE, Decision, plan_review
from privacy.release.child_table import count_cells
from privacy.returns.agreement import Agreement
from privacy.services import SERVICES
from tests.support.linkage import stress
from tests.support.linkage.linked_home import CHILDREN, COHORT
from tests.support.linkage.populations import Frames, tokenised
from tests.support.returns.agreements import Recipients, telling, write

TODAY = dt.date(2026, 11, 29)


@pytest.fixture(scope="module")
def watched(keys: KeyRing) -> tuple[ReviewPairs, pa.Table]:
    """A linkage of records with many slips that was watched, and its links."""
    watcher, extracts = ReviewPairs(b"k" * 32), tokenised(stress.extracts(CHILDREN, 7, slips=6.0), keys)
    return watcher, link(extracts, watchers=[watcher], children=CHILDREN).links


@pytest.fixture(scope="module")
def recipients(tmp_path_factory: pytest.TempPathFactory) -> Recipients:
    return Recipients(tmp_path_factory.mktemp("recipients"))


@pytest.fixture(scope="module")
def agreements(
    tmp_path_factory: pytest.TempPathFactory, frames: Frames, recipients: Recipients
) -> Mapping[str, Agreement]:
    """In every council, every service may tell every other one."""
    folder = tmp_path_factory.mktemp("agreements")
    for council in sorted(frames["eyfsp"].council.unique()):
        write(folder, council, recipients)
    return load_all(folder)


@pytest.fixture(scope="module")
def drawn(
    tmp_path_factory: pytest.TempPathFactory, home: Home, keys: KeyRing, agreements: Mapping[str, Agreement]
) -> Home:
    """To be read, not written."""
    found = Home(Path(shutil.copytree(home.root, tmp_path_factory.mktemp("review") / "home")))
    draw_review(found.cohort(COHORT), agreements, keys, TODAY)
    return found


@pytest.fixture
def sampled(drawn: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(drawn.root, tmp_path / "home")))


@pytest.fixture
def signer(keys: KeyRing, tmp_path: Path) -> Path:
    path = tmp_path / "signer.pem"
    path.write_bytes(get_public_pem(keys.signing_key))
    return path


def pairs_of(home: Home) -> pa.Table:
    return pq.read_table(home.cohort(COHORT).review / "pairs.parquet")


def decisions(folder: Path, rows: list[tuple[str, str, str]], name: str = "decisions.csv") -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("pair", "decision", "reviewer"), *rows])
    return path


# The sample


def test_no_pair_is_drawn_twice_and_a_child_is_in_one_pair_of_each_service(
    watched: tuple[ReviewPairs, pa.Table],
) -> None:
    watcher, links = watched
    pairs = watcher.sample(links, CHILDREN)
    found = pairs.to_pandas()
    assert found.pair.is_unique
    assert len(found) > 50
    assert not found.duplicated(["child_id", "service"]).any()
    of_a_record = found.groupby(["other_source", "other_council", "other_row_key"]).size()
    assert of_a_record.max() <= 2


def test_strata_are_filled_as_far_as_they_go(watched: tuple[ReviewPairs, pa.Table]) -> None:
    """Where all of a stratum are wanted, all are drawn; controls are as many as there should be, or there are."""
    watcher, links = watched
    pairs = watcher.sample(links, CHILDREN).to_pandas()
    assert set(compute_chances(CHILDREN).values()) == {1.0}
    of_stratum = pairs.groupby(["service", "stratum"]).agg(there=("stratum_pairs", "max"), drawn=("pair", "size"))
    assert {stratum for _, stratum in of_stratum.index} == {*SAMPLED, *CONTROLS}
    for (_, stratum), row in of_stratum.iterrows():
        assert row.drawn == (row.there if stratum in SAMPLED else min(row.there, CONTROLS[stratum]))
    assert pairs.groupby(["service", "stratum"]).weight.sum().tolist() == pytest.approx(of_stratum.there.tolist())


def test_the_sample_is_a_function_of_key_and_links_whatever_else_is_drawn(
    watched: tuple[ReviewPairs, pa.Table],
) -> None:
    """Thinner, it is a part of the fuller one: whether a pair is in depends on its own pupil alone."""
    watcher, links = watched
    whole = watcher.sample(links, CHILDREN)
    assert whole.equals(watcher.sample(links, CHILDREN))
    thin = watcher.sample(links, 100 * CHILDREN)
    measured = [each for each in thin.to_pylist() if each["stratum"] in SAMPLED]
    assert 0 < len(measured) < whole.num_rows / 3
    assert {each["pair"] for each in measured} <= set(whole["pair"].to_pylist())


def test_a_child_more_or_less_moves_one_cell_of_each_marginal_and_no_other_pair(
    watched: tuple[ReviewPairs, pa.Table], sampled: Home, tmp_path: Path
) -> None:
    """Neighbours: with the frame of one pupil taken away, every other measured pair stays as it was, and the tallies
    differ by 1 in one cell of each service."""
    store = sampled.cohort(COHORT)
    found = pairs_of(sampled).to_pandas()
    rows = [(pair, Decision.MATCH, "R1") for pair in found.pair]
    take_review(store, [decisions(tmp_path, rows)])
    reviewed = pq.read_table(store.reviewed)
    plan = plan_review(CHILDREN, 0.02, 1e-6, 1)
    whole = count_cells(reviewed, plan)
    assert reviewed.num_rows == pq.read_metadata(store.confidential("pupil")).num_rows
    in_review = [each["child_id"] for each in reviewed.to_pylist() if each["review_health"] != OUTSIDE]
    assert in_review
    for child in in_review[:5]:
        without = count_cells(reviewed.filter(pc.not_equal(reviewed["child_id"], child)), plan)
        for names in plan.sigmas:
            moved = whole[names] - without[names]
            assert moved.sum() == 1
            assert (moved >= 0).all()
    watcher, links = watched
    full = watcher.sample(links, 10 * CHILDREN)
    gone = full["child_id"][0].as_py()
    kept = links.filter(pc.not_equal(links["child_id"], gone))
    fewer = watcher.sample(kept, 10 * CHILDREN).filter(pc.field("stratum").isin(list(SAMPLED)))
    expected = full.filter(pc.field("stratum").isin(list(SAMPLED)) & (pc.field("child_id") != gone))
    assert fewer.select(["pair", "stratum"]).equals(expected.select(["pair", "stratum"]))


# The sheets


def test_a_sheet_has_own_row_numbers_alone_and_both_services_have_the_pair(
    drawn: Home, keys: KeyRing, recipients: Recipients, signer: Path
) -> None:
    store = drawn.cohort(COHORT)
    found = {each["pair"]: each for each in pairs_of(drawn).to_pylist()}
    seen: dict[str, list[str]] = {}
    numbers = RowNumbers(store, keys)
    for path in sorted(store.review.glob("*/*.age")):
        council, source = path.parent.name, path.stem
        text = open_sheet(path, recipients.key(council, SERVICES[source]), signer).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [*rows[0]] == ["pair", "row", "compare_with", "what_to_do", "second_review", "decision", "reviewer"]
        for row in rows:
            seen.setdefault(row["pair"], []).append(row["what_to_do"])
            pair = found[row["pair"]]
            mine = source == "eyfsp"
            key = pair["row_key"] if mine else pair["other_row_key"]
            assert numbers.row(source, council, int(row["row"])).row_key == key
    assert seen
    assert all(sorted(each) == sorted([DECIDES, HANDS_OVER]) for each in seen.values())
    other = next(each for each in found.values() if each["pair"] in seen)
    wrong = recipients.key(other["council"], "health")
    with pytest.raises(Exception, match="not encrypted to your key"):
        open_sheet(store.review / other["council"] / "eyfsp.age", wrong, signer)


def test_services_of_which_one_alone_may_tell_are_given_no_sheet(
    sampled: Home, keys: KeyRing, recipients: Recipients, frames: Frames, tmp_path: Path
) -> None:
    """Each sheet says that the other service has such a record: both must be allowed to tell the other."""
    for council in sorted(frames["eyfsp"].council.unique()):
        write(tmp_path / "agreements", council, recipients, telling("health", "education", ["known_to"]))
    for folder in (load_all(tmp_path / "agreements"), {}):
        assert draw_review(sampled.cohort(COHORT), folder, keys, TODAY) == (1, [])
        assert not list(sampled.cohort(COHORT).review.glob("*/*.age"))  # nor do those made before stay


def test_by_the_commands_which_print_no_number_of_pairs(
    sampled: Home, key_folder: Path, recipients: Recipients, frames: Frames, signer: Path, tmp_path: Path
) -> None:
    """A sample drawn again from the same links is the same. The processing log holds no number of pairs either."""
    for council in sorted(frames["eyfsp"].council.unique()):
        write(tmp_path / "agreements", council, recipients)
    before = pairs_of(sampled)
    given, folder = ["--home", str(sampled.root), "--cohort", COHORT], str(tmp_path / "agreements")
    command = ["review", "sample", *given, "--agreements", folder, "--keys", str(key_folder)]
    answer = CliRunner().invoke(main, command)
    assert answer.exit_code == 0, answer.output
    assert pairs_of(sampled).equals(before)
    sheets = sorted(sampled.cohort(COHORT).review.glob("*/*.age"))
    assert len(answer.output.splitlines()) == len(sheets) + 2
    out, (council, source) = tmp_path / "sheet.csv", sheets[0].parts[-2:]
    key = recipients.key(council, SERVICES[source.removesuffix(".age")])
    opening = ["review", "open", str(sheets[0]), "--key", str(key), "--signer", str(signer), "--out", str(out)]
    answer = CliRunner().invoke(main, opening)
    assert answer.exit_code == 0, answer.output
    assert out.read_text(encoding="utf-8").replace('"', "").startswith("pair,row")
    assert CliRunner().invoke(main, opening).exit_code != 0  # an opened sheet is not replaced
    rows = [(pair, "match", "R1") for pair in before["pair"].to_pylist()]
    answer = CliRunner().invoke(main, ["review", "take", *given, str(decisions(tmp_path, rows))])
    assert answer.exit_code == 0, answer.output
    assert str(len(rows)) not in answer.output.replace(str(sampled.root), "").replace(COHORT, "")
    (line,) = [each for each in sampled.processing_log.read_text().splitlines() if "decisions taken in" in each]
    assert json.loads(line)["note"] == "decisions taken in"


# Decisions


def test_decisions_become_the_measured_table_and_a_report(sampled: Home, tmp_path: Path) -> None:
    """Two reviewers who disagree cannot tell, and neither can nobody."""
    measured = pairs_of(sampled).filter(pc.field("stratum").isin(list(SAMPLED)) & (pc.field("service") == "health"))
    first, second, _, *rest = measured["pair"].to_pylist()
    rows = [(first, "match", "R1"), (first, "match", "R2"), (second, "match", "R1"), (second, "not a match", "R2")]
    rows += [(pair, "not a match", "R1") for pair in rest]
    report = json.loads(take_review(sampled.cohort(COHORT), [decisions(tmp_path, rows)]).read_bytes())
    assert report["reviewers"] == {"pairs": 2, "same": 0.5, "kappa": 0.0}
    cell = {row["child_id"]: row["review_health"] for row in pq.read_table(sampled.cohort(COHORT).reviewed).to_pylist()}
    decided = [cell[child].partition(": ")[2] for child in measured["child_id"].to_pylist()]
    assert decided[:3] == ["match", "cannot tell", "cannot tell"]
    lines = [line for line in report["strata"] if line["service"] == "health" and line["stratum"] in SAMPLED]
    assert sum(line["match"] for line in lines) == 1
    assert sum(line["not a match"] for line in lines) == len(rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pair,decision\n", ", row 1: the column reviewer is needed once"),
        ("pair,decision,reviewer,decision\n", ", row 1: the column decision is needed once"),
        ("pair;decision;reviewer\nSECRET;match;R1\n", ", row 1: the column pair is needed once"),
        ("", ": is not a CSV file"),
        ("pair,decision,reviewer\nSECRET,match\n", ": is not a CSV file"),
        ("pair,decision,reviewer\n\xff,,\n", ": is not a CSV file"),
        ("pair,decision,reviewer\nSECRET,match,R1\n", ", row 2, column pair: is no pair of this sample"),
        ("pair,decision,reviewer\nPAIR,SECRET,R1\n", ", row 2, column decision: is not one of match"),
        ("pair,decision,reviewer\nPAIR,match,S SECRET\n", ", row 2, column reviewer: is not a code of 1 to 20"),
        ("pair,decision,reviewer\nPAIR,match,R1\nPAIR,cannot tell,R1\n", ", row 3, column reviewer: has decided this"),
        (
            "pair,decision,reviewer\nPAIR,match,A\nPAIR,match,B\nPAIR,match,C\n",
            ", row 4, column reviewer: is the third",
        ),
        ("pair,decision,reviewer\nPAIR,,\n", "hold no decision"),
    ],
)
def test_odd_files_are_refused_by_file_row_column_and_rule(sampled: Home, tmp_path: Path, text: str, said: str) -> None:
    pair = pairs_of(sampled)["pair"][0].as_py()
    path = tmp_path / "odd.csv"
    path.write_bytes(text.replace("PAIR", pair).encode("latin-1"))
    with pytest.raises(ReviewProblem) as refused:
        take_review(sampled.cohort(COHORT), [path])
    assert said in str(refused.value).replace("odd.csv", "")
    assert not [secret for secret in ("SECRET", pair) if secret in str(refused.value)]
    assert not sampled.cohort(COHORT).reviewed.exists()


def test_a_file_saved_by_a_spreadsheet_is_read(sampled: Home, tmp_path: Path) -> None:
    pair = pairs_of(sampled)["pair"][0].as_py()
    path = tmp_path / "saved.csv"
    path.write_bytes(
        "\ufeffpair,row,decision,notes,reviewer\r\n".encode()
        + f'{pair},12, match ,"a, b",R1\r\n{pair},12,match,,R2\r\n'.encode()
    )
    take_review(sampled.cohort(COHORT), [path])
    assert sampled.cohort(COHORT).reviewed.exists()


def test_a_sample_of_other_links_is_not_taken_in(sampled: Home, tmp_path: Path) -> None:
    store = sampled.cohort(COHORT)
    path = store.review / "sample.json"
    facts = json.loads(path.read_bytes())
    path.write_text(json.dumps(facts | {"deliveries": {"leeds/eyfsp": "another"}}), encoding="utf-8")
    sample = Sample.read(store)
    assert sample is not None
    assert not sample.is_of_links(store)
    with pytest.raises(ReviewProblem, match="Draw again"):
        take_review(store, [decisions(tmp_path, [])])
