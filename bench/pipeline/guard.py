"""`make bench-guard`: measures the pilot beside the usual script and beside earlier code, into docs/bench-guard.md.

    python -m bench.pipeline.guard [--before HEAD^] [--pairs 5] [--scale 1] [--page docs/bench-guard.md]

The three are measured in turns, because a machine's speed drifts, and compared turn by turn: the ratio of two commands
measured one after the other varies less than either. A first turn is not counted; in it each code keeps its bytecode.
Processor time is what to compare on a machine that others use too.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import pages
from bench.pipeline.commands import READINESS, Measured, watch
from privacy.keys import KeyRing

COHORT, RELEASE = "202425", "2026.11.0"
PROJECT = Path(__file__).parent.parent.parent
PAGE = PROJECT / "docs" / "bench-guard.md"
NOW, BEFORE, USUAL = "this code", "the code before", "the usual script"
_COMMAND = [sys.executable, "-W", "ignore", "-c", "from pipelines.cli import main; main()"]
"""`readiness` of the code that Python finds first, not of the installed one."""
_SLOWER = 1.05
"""Ratio of processor time to the code before from which a change has to say why."""


@dataclass(frozen=True)
class Turn:
    """One measurement of each, by name, and of the stages of the two codes."""

    whole: Mapping[str, Measured]
    stages: Mapping[str, list[Measured]]


def main() -> None:
    options = _read_options()
    commit = _run_git("rev-parse", "--short", "HEAD")
    changed = bool(_run_git("status", "--porcelain", "--untracked-files=no"))
    before = _run_git("rev-parse", "--short", options.before)
    with tempfile.TemporaryDirectory() as scratch, _check_out(before, Path(scratch) / "before") as earlier:
        root = Path(scratch)
        KeyRing.create(root / "keys", demonstration=True)
        of = ["--landing", str(root / "landing"), "--cohort", COHORT, "--scale", str(options.scale)]
        watch("synthetic extracts", [READINESS, "synth", *of, "--contract-names"], root / "output.txt")
        turns = [_measure_turn(root, {NOW: PROJECT, BEFORE: earlier}, say) for say in (False, *[True] * options.pairs)]
    page = pages.render(
        Path(__file__).with_name("guard.md.j2"),
        commit=f"{commit}, with changes" if changed else commit,
        before=before,
        pairs=options.pairs,
        scale=options.scale,
        whole=[_take_medians([turn.whole[name] for turn in turns[1:]]) for name in (NOW, BEFORE, USUAL)],
        stages=[
            tuple(_take_medians([turn.stages[name][stage] for turn in turns[1:]]) for name in (NOW, BEFORE))
            for stage in range(len(turns[0].stages[NOW]))
        ],
        ratios={other: _compare(turns[1:], other) for other in (BEFORE, USUAL)},
        slower=_SLOWER,
    )
    options.page.write_text(page, encoding="utf-8")
    print(page)


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", default="HEAD^", help="the commit, branch or tag to compare with")
    parser.add_argument("--pairs", type=int, default=5, help="how often each is measured, in turns")
    parser.add_argument("--scale", type=float, default=1.0, help="times the children of the pilot")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args()


@contextmanager
def _check_out(commit: str, folder: Path) -> Iterator[Path]:
    """Yield a folder with the code of a commit, removed afterwards."""
    _run_git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _run_git("worktree", "remove", "--force", str(folder))


def _run_git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def _measure_turn(root: Path, codes: Mapping[str, Path], say: bool) -> Turn:
    """Measure the usual script, and landing to bundle with each code in a new home folder."""
    whole, stages = {USUAL: _measure_usual(root)}, {}
    for name, code in codes.items():
        shutil.rmtree(root / "home", ignore_errors=True)
        run = ["--landing", str(root / "landing"), "--home", str(root / "home"), "--keys", str(root / "keys")]
        command = [*_COMMAND, "run", *run, "--cohort", COHORT, "--release", RELEASE]
        whole[name], stages[name] = watch(name, command, root / "output.txt", environment=_build_environment(code))
        if not (root / "home" / "release" / RELEASE).is_dir():
            raise SystemExit(f"{name} made no release")
    if say:
        print(
            "; ".join(f"{each.what}: {each.seconds:.1f} s, processor {each.processor:.1f} s" for each in whole.values())
        )
    return Turn(whole, stages)


def _measure_usual(root: Path) -> Measured:
    with tempfile.TemporaryDirectory(dir=root) as out:
        command = [sys.executable, "-W", "ignore", "-m", "bench.pipeline.usual", str(root / "landing"), out]
        return watch(USUAL, command, root / "output.txt", environment=_build_environment(PROJECT))[0]


def _build_environment(code: Path) -> dict[str, str]:
    """Return the environment in which Python finds this code first and keeps its bytecode."""
    return os.environ | {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": ""}


def _take_medians(found: list[Measured]) -> Measured:
    """Return the median of each figure."""
    seconds, peak, processor = (
        median(getattr(each, name) for each in found) for name in ("seconds", "peak_gib", "processor")
    )
    return Measured(found[0].what, seconds, peak, processor=processor)


def _compare(turns: list[Turn], other: str) -> Mapping[str, list[float]]:
    """Return the least, the median and the largest ratio of this code to another, for wall and processor time."""
    found = {}
    for name in ("seconds", "processor"):
        ratios = sorted(getattr(turn.whole[NOW], name) / getattr(turn.whole[other], name) for turn in turns)
        found[name] = [ratios[0], median(ratios), ratios[-1]]
    return found


if __name__ == "__main__":
    main()
