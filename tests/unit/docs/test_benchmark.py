"""The benchmark calls out of memory what was out of memory, and nothing else."""

import sys
from pathlib import Path

import pytest

from bench.pipeline.commands import watch


def _ends_with(error: str) -> list[str]:
    return [sys.executable, "-c", f"raise {error}"]


def test_what_ran_out_of_memory_is_told(tmp_path: Path) -> None:
    found, _ = watch("usual", _ends_with("MemoryError"), tmp_path / "log", most_gib=1)
    assert found.failed


def test_what_failed_for_another_reason_stops_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="duplicate labels"):
        watch("usual", _ends_with("ValueError('duplicate labels')"), tmp_path / "log", most_gib=1)


def test_what_has_no_limit_must_not_run_out_of_memory(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="MemoryError"):
        watch("ours", _ends_with("MemoryError"), tmp_path / "log")
