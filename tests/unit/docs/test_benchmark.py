"""The benchmark calls out of memory what was out of memory, and nothing else."""

import sys
from pathlib import Path

import pytest

from bench.pipeline.commands import watch


@pytest.mark.parametrize(
    ("error", "limit", "stops"),
    [
        ("MemoryError", 1, None),
        ("ValueError('duplicate labels')", 1, "duplicate labels"),
        ("MemoryError", None, "MemoryError"),
    ],
)
def test_only_running_out_of_a_limit_is_a_result(
    tmp_path: Path, error: str, limit: int | None, stops: str | None
) -> None:
    command, limits = [sys.executable, "-c", f"raise {error}"], {"most_gib": limit} if limit else {}
    if stops:
        with pytest.raises(SystemExit, match=stops):
            watch("usual", command, tmp_path / "log", **limits)
    else:
        assert watch("usual", command, tmp_path / "log", **limits)[0].failed
