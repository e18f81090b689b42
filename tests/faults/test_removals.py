"""A removal is killed at a write: `run` and the same command finish it, and leave what they would have left without."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.home_lock import InUse, block_removals
from assets.home.processing_log import verify
from assets.intake.ingest import Intake
from assets.intake.parts import SortedFiles
from assets.keeping import forgetting, withdrawing
from privacy.doors import clock
from privacy.keys import KeyRing
from privacy.linkage import candidates
from privacy.pseudonyms import TOKEN_COLUMNS
from privacy.row_keys import format_row_number
from sources.extract.landing import find
from tests.support import PROJECT
from tests.support.extracts import COHORT, build_row, format_rows, mark_synthetic
from tests.support.installation.commands import build_settings, invoke
from tests.support.installation.steps import kill_at_steps
from tests.support.installation.traces import find_traces
from tests.support.intake.in_parts import REASON, Parts, build_child
from tests.support.intake.numbered import read_numbered, read_row_keys

pytestmark = pytest.mark.usefixtures("at_usual_moment")
BEFORE = "202324"
ROW = "1:3"
EXTRACT = ("--cohort", COHORT, "--council", "leeds", "--source", "eyfsp")
RUN = ("run", "--cohort", COHORT, "--until", "linkage")
REMOVALS = {
    "forget": ("forget", *EXTRACT, "--row", ROW, "--objection", "--yes"),
    "withdraw a part": ("parts", "withdraw", *EXTRACT, "--part", "2", "--reason", REASON, "--yes"),
    "retention": ("retention", "--yes"),
    "shred": ("shred", "--yes"),
}
"""The second part is a file of two cohorts, whose one child of this cohort corrects an earlier row."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """An extract in two parts; one child whom only a school census has; rows in quarantine; another cohort's child."""
    sent = Parts(tmp_path_factory.mktemp("removals"))
    KeyRing.create(sent.root / "keys", demonstration=True)
    sent.send("2026-01", build_child(0), build_child(1), build_child(2), build_child(3, postcode=""))
    census = sent.landing / "leeds" / "school_census" / f"{COHORT}.csv"
    census.parent.mkdir()
    census.write_text(format_rows([build_row("school_census")]))
    of_before = {"date_of_birth": "2019-01-01", "academic_year": BEFORE}
    sent.take()
    sent.send("2026-02", build_child(0, sex="M"), build_child(9, **of_before), folder="")
    mark_synthetic(sent.landing)
    for source, cohort in (("eyfsp", COHORT), ("eyfsp", BEFORE), ("school_census", COHORT)):
        Intake(sent.landing, sent.home, sent.keys).ingest(find(sent.landing, "leeds", source, cohort))
    sent.link()
    # the other cohort has had its time since the first of this month
    months = (clock.today().year - 2024) * 12 + clock.today().month - 9
    policy = (PROJECT / "privacy" / "retention.yaml").read_text()
    for name, number in (("cohort", months), ("unpublished", 0)):
        policy = policy.replace(f"\n{name}_months: ", f"\n{name}_months: {number} # ")
    for name in ("landing", "quarantine", "superseded"):
        policy = policy.replace(f"\n{name}_days: ", f"\n{name}_days: 0 # ")
    (sent.root / "retention.yaml").write_text(policy)
    return sent


@pytest.fixture
def copy(made: Parts, tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(made.root, tmp_path / name, symlinks=True))


@pytest.fixture
def weighed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Splink weigh the same pairs once: it takes two thirds of the time of a linkage."""
    real, weighed = candidates._predict_pairs, dict[str, pa.Table]()

    def predict(con: Any, settings: dict[str, Any]) -> str:
        given = repr([settings, *(con.sql(f"FROM {name} ORDER BY ALL").fetchall() for name in ("patterns", "pairs"))])
        if given in weighed:
            con.register("weighed_before", weighed[given])
            con.execute("CREATE TABLE predicted_before AS FROM weighed_before").fetchall()
            return "predicted_before"
        name = real(con, settings)
        weighed[given] = con.table(name).to_arrow_table()
        return name

    monkeypatch.setattr(candidates, "_predict_pairs", predict)


def run_command(words: tuple[str, ...], root: Path) -> int:
    ended = invoke(*words, env=build_settings(root, retention=root / "retention.yaml"))
    assert ended.exit_code == 0, ended.output
    return ended.exit_code


def find_child(parts: Parts, row: str) -> tuple[set[int], set[str]]:
    """Return the tokens that only this row of Leeds' Profile has, and the child's id."""
    mine, others = set[int](), {None}
    for line in read_numbered(parts.home, parts.keys, "eyfsp", "leeds").to_pylist():
        own = mine if format_row_number(line["source_row"]) == row else others
        own.update(line[name] for name in TOKEN_COLUMNS if name in line)
    keys_of_rows = read_row_keys(parts.home, parts.keys, "eyfsp", "leeds").to_pylist()
    ids = {list_links(parts)[each["row_key"]] for each in keys_of_rows if format_row_number(each["source_row"]) == row}
    return mine - others, ids


def list_links(parts: Parts) -> dict[int, str]:
    """Return the id of the child of each row."""
    found = pq.read_table(parts.store.cohort_store.links, partitioning=None)
    return dict(zip(found["row_key"].to_pylist(), found["child_id"].to_pylist(), strict=True))


def describe(parts: Parts, before: dict[int, str]) -> dict[str, object]:
    """Return what is kept: files, without names that are made at random, rows, and ids of children linked before."""
    home = parts.home
    own = (home.dagster, home.restricted / "turns")
    files = [path for path in parts.root.rglob("*") if path.is_file() and not any(map(path.is_relative_to, own))]
    payloads = (
        *home.restricted.glob("pseudonymised/**/*.parquet"),
        *home.restricted.glob("parts/**/*.payload.parquet"),
    )
    return {
        "files": Counter((str(path.parent.relative_to(parts.root)), path.suffix) for path in files),
        "rows": sorted((path.parent.name, pq.read_metadata(path).num_rows) for path in payloads),
        "links": {row: before.get(row) and child for row, child in list_links(parts).items()},
        "children": pq.read_metadata(parts.store.cohort_store.get_confidential_path("pupil")).num_rows,
    }


def check_removed(removal: str, parts: Parts, made: Parts) -> None:
    """Check that nothing is left of what a removal is for."""
    restricted = parts.home.restricted
    if removal == "forget":
        assert find_traces(parts.home.root, *find_child(made, ROW), parts.keys, but=restricted / "forgotten") == []
    elif removal == "withdraw a part":
        (entry,) = SortedFiles(parts.home, "eyfsp", "leeds").list_entries().values()
        assert (entry.cohorts, parts.numbers, parts.sexes.count("M")) == ((), [1], 0)
    else:
        assert list(parts.landing.rglob("*.csv*")) == []
    if removal == "retention":
        assert [path for path in parts.home.root.rglob(f"cohort={BEFORE}*/**/*") if path.is_file()] == []
        assert [*restricted.glob("history/*/*/*/*"), *restricted.rglob("*quarantine*.parquet")] == []


@pytest.mark.slow
@pytest.mark.usefixtures("weighed_once")
@pytest.mark.parametrize("removal", REMOVALS)
def test_killed_at_any_write_it_is_finished(made: Parts, copy: Callable[[str], Path], removal: str) -> None:
    before, begun, found = list_links(made), 0, list[dict[str, object]]()

    def check(root: Path) -> None:
        nonlocal begun
        parts = Parts(root)
        begun += parts.home.is_removal_unfinished
        run_command(RUN, root)
        assert not parts.home.is_removal_unfinished
        run_command(REMOVALS[removal], root)
        verify(parts.home)
        check_removed(removal, parts, made)
        found.append(describe(parts, before))

    # the others link the cohort again, twice for each kill
    furthest = 1 if removal == "shred" else 60
    kill_at_steps(copy, partial(run_command, REMOVALS[removal]), check, furthest)
    assert (begun > 1) == (removal != "shred")
    assert [each for each in found if each != found[0]] == []


@pytest.mark.usefixtures("weighed_once")
@pytest.mark.parametrize(
    ("removal", "place", "name"),
    [("forget", forgetting, "_remove"), ("withdraw a part", withdrawing, "_withdraw_part")],
    ids=["forget", "withdraw a part"],
)
def test_one_that_had_begun_is_finished_by_a_run(
    made: Parts, copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, removal: str, place: Any, name: str
) -> None:
    """Others are refused until then, with a sentence that says what to do."""
    parts = Parts(copy("begun"))
    with monkeypatch.context() as killed:
        killed.setattr(place, name, lambda *_: sys.exit("killed"))
        with pytest.raises(AssertionError, match="killed"):
            run_command(REMOVALS[removal], parts.root)
    assert parts.home.is_removal_unfinished
    with pytest.raises(InUse, match=r"was interrupted.*`readiness run`"), block_removals(parts.home):
        pass
    run_command(RUN, parts.root)
    assert not parts.home.is_removal_unfinished
    check_removed(removal, parts, made)
