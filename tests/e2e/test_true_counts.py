"""No log, message or report outside the sender's own holds a count that is measured, and nobody else can read them."""

import itertools
import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ndl_export.tables import FAMILIES, TABLES
from privacy.doors.counts import EXACT_BELOW
from tests.support.extracts import COHORT
from tests.support.independent import write_extracts
from tests.support.installation.commands import run_readiness

pytestmark = pytest.mark.slow

COUNCILS = ("leeds", "wirral", "halton")
_NUMBER = re.compile(r"(?<![\w.,:/+-])\d{1,3}(?:,\d{3})+(?![\w:/,%-])|(?<![\w.,:/+-])\d+(?![\w:/,%-])(?!\.\d)")
_POINTERS = ("dagster/input_", "dagster/storage_id", "dagster/data_version")
_NOT_SAID = ("timestamp", "pid", "run_id", "step_key", "logging_tags", "pipeline_name", "job_name", "level")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("counts")
    write_extracts(root / "landing", children=1500, councils=COUNCILS)
    (root / "home").mkdir(mode=0o755)
    (root / "home" / "dagster").mkdir(mode=0o777)
    done = run_readiness(root, "run", "--cohort", COHORT, "--create-keys")
    assert done.returncode == 0, done.stderr
    (root / "console.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def cells(root: Path) -> set[int]:
    """Every cell of a hundred or more of every marginal of one or two attributes, of every family."""
    found: set[int] = set()
    for family in FAMILIES.values():
        path = root / "home" / "restricted" / "linked" / f"cohort={COHORT}" / f"{family.confidential_table}.parquet"
        with duckdb.connect() as con:
            con.execute(f"CREATE TABLE t AS FROM read_parquet(['{path}'], hive_partitioning = false)")
            columns = [name for name, *_ in con.execute("DESCRIBE t").fetchall()]
            for group in ((), *((name,) for name in columns), *itertools.combinations(columns, 2)):
                by = ", ".join(f'"{name}"' for name in group) or "()"
                found |= {count for (count,) in con.execute(f"SELECT count(*) FROM t GROUP BY {by}").fetchall()}
    return {count for count in found if count >= EXACT_BELOW}


def _numbers(text: str) -> set[int]:
    return {int(number.replace(",", "")) for number in _NUMBER.findall(text)}


def _iter_texts(value: Any, name: str = "", *, every: bool = False) -> Iterator[str]:
    """Yield the texts of an event, and the numbers that are values of metadata, without Dagster's own.

    With `every`, yield all texts and numbers.
    """
    if not every and (name in _NOT_SAID or name.startswith(_POINTERS)):
        return
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _iter_texts(each, key, every=every)
    elif isinstance(value, list):
        for each in value:
            yield from _iter_texts(each, name, every=every)
    elif isinstance(value, str) or (isinstance(value, int) and (every or "value" in name)):
        yield str(value)


def _events(home: Path) -> Iterator[str]:
    for path in (home / "dagster" / "history" / "runs").glob("*.db"):
        with sqlite3.connect(path) as con:
            tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "event_logs" in tables:
                for (event,) in con.execute("SELECT event FROM event_logs"):
                    yield from _iter_texts(json.loads(event))
    with sqlite3.connect(home / "dagster" / "history" / "runs.db") as con:
        for (body,) in con.execute("SELECT run_body FROM runs"):
            yield from _iter_texts(json.loads(body).get("tags", {}))
        yield from (value for (value,) in con.execute("SELECT value FROM run_tags WHERE key LIKE 'readiness/%'"))


def test_logs_and_console_hold_none_and_nobody_else_gets_into_the_home_folder(root: Path, cells: set[int]) -> None:
    assert len(cells) > 100
    assert max(cells) == 1500
    said = re.sub(r"pid: [0-9]+", "", " \n ".join(_events(root / "home")))
    assert "rows read" in said
    (bundle,) = (path.parent for path in (root / "home" / "release").glob("2*/datapackage.json"))
    # rows of published tables are public, and may be as many
    published = sum(pq.read_metadata(bundle / f"{name}.parquet").num_rows for name in TABLES)
    assert not (_numbers(said) - {published}) & cells
    assert not _numbers((root / "console.txt").read_text(encoding="utf-8")) & cells
    log = (root / "home" / "restricted" / "processing_log.jsonl").read_text(encoding="utf-8").splitlines()
    said = " \n ".join(text for line in log for text in _iter_texts({**json.loads(line), "seq": ""}))
    assert not _numbers(said) & cells
    for folder in (root / "home", root / "home" / "dagster", root / "home" / "restricted"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_the_linkage_report_holds_none(root: Path, cells: set[int]) -> None:
    folder = root / "home" / "restricted" / "linked" / f"cohort={COHORT}"
    facts = json.loads((folder / "linkage.json").read_text(encoding="utf-8"))
    assert not _numbers(" \n ".join(_iter_texts(facts, every=True))) & cells
    shares = [line[name]["share"] for line in facts["groups"] for name in ("review", "setting")]
    assert all(share is None or round(share, 3) == share for share in shares)
    page = (folder / "linkage.html").read_text(encoding="utf-8")
    page = re.sub(r"<style.*?</style>|<script.*?</script>|<svg.*?</svg>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not _numbers(page) & cells
