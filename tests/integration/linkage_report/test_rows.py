"""`readiness link rows`: the links by row number, for whoever audits them."""

from __future__ import annotations

import stat
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from assets.home.paths import Home
from assets.home.processing_log import Processing, entries
from pipelines.cli import main
from privacy.keys import KeyRing
from tests.support.linkage.linked_home import COHORT
from tests.support.linkage.populations import Frames

pytestmark = pytest.mark.slow

COLUMNS = ["source", "council", "source_row", "child_id", "match_rule", "match_probability"]


def written(home: Home, keys: Path, out: Path) -> Result:
    command = ["link", "rows", "--home", str(home.root), "--cohort", COHORT, "--keys", str(keys), "--out", str(out)]
    return CliRunner().invoke(main, command)


def test_every_linked_row_by_its_number(home: Home, frames: Frames, key_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    assert written(home, key_folder, out).exit_code == 0
    rows = pq.read_table(out)
    assert rows.column_names == COLUMNS
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = set(zip(*(rows[name].to_pylist() for name in COLUMNS[:3]), strict=True))
    sent = {
        (source, council, number)
        for source, frame in frames.items()
        for council, number in zip(frame.council, frame.row_key, strict=True)
    }
    assert found == sent
    assert entries(home)[-1].what == Processing.AUDIT
    assert written(home, key_folder, tmp_path / "rows.csv").exit_code == 0
    assert pyarrow.csv.read_csv(tmp_path / "rows.csv").column_names == COLUMNS


def test_the_key_of_rows_is_needed_and_no_other(home: Home, key_folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    (own / "row.key").write_bytes((key_folder / "row.key").read_bytes())
    (own / "row.key").chmod(0o600)
    assert written(home, own, tmp_path / "rows.parquet").exit_code == 0
    KeyRing.create(tmp_path / "others")
    refused = written(home, tmp_path / "others", tmp_path / "none.parquet")
    assert refused.exit_code == 1
    assert "was ingested under another row key" in refused.output
    assert not (tmp_path / "none.parquet").exists()
