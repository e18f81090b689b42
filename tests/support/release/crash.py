"""Measurements that are killed, in processes forked from a warm one, and checks of the evidence that they leave.

`Scene` is a home folder with a child table and a ledger. `measure_in` runs the real path: count in DuckDB, charge,
draw, keep, commit, promote; only the noise source is replaced, by OpenDP with a diary. The diary is a file, synced
before and after each draw, that records the process, the charge in the ledger and the result. `check_evidence` compares
diary, ledger and store after any number of kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq

from privacy.release import canonical, child_table, ledger_storage, mechanism, session
from privacy.release.ledger import NANO, Ledger
from tests.support.release.examples import draw_small_table, make_small_plan, measure_small
from tests.support.waiting import run_processes
from tests.support.warm import WARM

COHORT, FAMILY = "202425", "small"
CAP = 10.0
FIRST = "first"
"""A release that each scene starts with, so that folders exist and every later release takes the same steps."""
NEVER = -1
"""Step number that is never reached."""


PLAN = make_small_plan(0.01)


@dataclass(frozen=True)
class Scene:
    """A home folder for runs; `location` is the ledger's path or URL."""

    home: Path
    location: Path | str

    @classmethod
    def create(cls, home: Path, location: Path | str | None = None) -> Scene:
        scene = cls(home, location or home / "ledger.sqlite")
        home.mkdir(exist_ok=True)
        pq.write_table(draw_small_table(300), scene.table)
        Ledger(scene.location).approve(COHORT, CAP)
        measure_in(scene, FIRST)
        return scene

    @property
    def table(self) -> Path:
        return self.home / "children.parquet"

    @property
    def diary(self) -> Path:
        return self.home / "diary"

    @property
    def restricted(self) -> Path:
        return self.home / "restricted"

    def charge(self, release: str) -> tuple[ledger_storage.Entry, ledger_storage.Entry | None] | None:
        """Return a release's RESERVE entry and the entry that ends it."""
        found = Ledger(self.location).find(COHORT, release, FAMILY)
        return (found.entry, found.end) if found else None

    def find_stored(self, release: str) -> Path:
        return session.build_measurement_path(self.restricted, COHORT, release, FAMILY)

    def read_diary(self) -> list[dict[str, Any]]:
        """Return the diary without an incomplete last line, which was never synced."""
        lines = self.diary.read_text().splitlines(keepends=True) if self.diary.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def make_quick_folder() -> Iterator[Path]:
    """Yield a temporary folder, in memory if possible: what a killed process wrote is kept even without a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


class DiaryNoise(mechanism.OpenDPNoise):
    """OpenDP noise that records each draw, and fails unless the ledger has an open charge for it."""

    scene: Scene
    release: str

    def add(self, vectors: Any, sigmas: Any) -> Any:
        charge = self.scene.charge(self.release)
        assert charge is not None, "noise would be drawn without a charge"
        assert charge[1] is None, "noise would be drawn for a charge that has ended"
        line = {"charge": charge[0].entry_hash, "process": os.getpid(), "sigmas": sigmas}
        self._write(line | {"event": "draws"})
        noisy = super().add(vectors, sigmas)
        self._write(line | {"event": "drew", "noisy": [vector.tolist() for vector in noisy]})
        return noisy

    def _write(self, line: dict[str, Any]) -> None:
        handle = os.open(self.scene.diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, json.dumps(line).encode() + b"\n")
            _real_fsync(handle)
        finally:
            os.close(handle)


_real_fsync = os.fsync


def measure_in(scene: Scene, release: str) -> mechanism.Measurement:
    DiaryNoise.scene, DiaryNoise.release = scene, release
    with patch.object(session, "OpenDPNoise", DiaryNoise):
        return measure_small(
            Ledger(scene.location),
            scene.restricted,
            release=release,
            plan=PLAN,
            count=lambda: child_table.count_cells(scene.table, PLAN),
        )


# --- Runs that are killed


def kill_after(scene: Scene, release: str, seconds: float) -> int:
    """Run in a separate process, kill it after `seconds`, and return its exit code."""
    receiver, sender = WARM.Pipe(duplex=False)
    process = WARM.Process(target=_begin, args=(scene, release, sender))
    process.start()
    receiver.recv()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def kill_at(scene: Scene, release: str, step: int) -> int:
    """Run in a separate process that is killed on reaching a step of `list_steps`, and return its exit code."""
    (ended,) = run_processes(WARM.Process(target=_run_to_step, args=(scene, release, step)))
    assert ended is not None
    return ended


def list_steps(scene: Scene, release: str) -> list[str]:
    """Run to the end in this process, and return the name of every step."""
    steps = Steps(scene.location, NEVER)
    with steps.watch():
        measure_in(scene, release)
    return steps.names


def _begin(scene: Scene, release: str, ready: Any) -> None:
    ready.send(None)
    measure_in(scene, release)


def _run_to_step(scene: Scene, release: str, step: int) -> None:
    with Steps(scene.location, step).watch():
        measure_in(scene, release)


class Steps:
    """Counts a run's effects on the system (locks, transactions, files, draws), and kills it at a given step."""

    def __init__(self, location: Path | str, fatal: int) -> None:
        self.names: list[str] = []
        self._location, self._fatal = location, fatal

    def reach(self, name: str) -> None:
        if len(self.names) == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the ledger storage at its interface, and files at the calls that sync them."""
        kind = type(Ledger(self._location)._storage)
        with ExitStack() as stack:
            for name, begin, end in (("begin_writing", "begin", "commit"), ("lock_exclusively", "lock", "unlock")):
                watched = self._wrap_block(begin, end, getattr(kind, name))
                stack.enter_context(patch.object(kind, name, watched))
            for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "mkdir"), (Path, "unlink")):
                stack.enter_context(patch.object(owner, name, self._wrap_call(name, getattr(owner, name))))
            stack.enter_context(patch.object(DiaryNoise, "add", self._wrap_call("draw", DiaryNoise.add)))
            yield

    def _wrap_call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*arguments: Any, **options: Any) -> Any:
            self.reach(f"before {name}")
            result = call(*arguments, **options)
            self.reach(f"after {name}")
            return result

        return watch

    def _wrap_block(self, begin: str, end: str, block: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def watch(storage: Any) -> Iterator[Any]:
            self.reach(f"before {begin}")
            with block(storage) as found:
                self.reach(f"after {begin}")
                yield found
                self.reach(f"before {end}")
            self.reach(f"after {end}")

        return watch


# --- What is left


def finish(scene: Scene, release: str) -> str:
    """Run once more to the end, and return `measured` (drawn by this run) or `found` (committed by an earlier one)."""
    before = len(scene.read_diary())
    measure_in(scene, release)
    return "measured" if len(scene.read_diary()) > before else "found"


def check_evidence(scene: Scene, releases: list[str]) -> Counter[str]:
    """Compare diary, ledger and store after finished runs of these releases, and count entries by kind.

    Raises AssertionError for two draws for one charge, a draw without a charge, a stored measurement that differs from
    the draw, a draw that was kept although its charge was refunded, a charge left open, or budget spent without a
    measurement.
    """
    ledger = Ledger(scene.location)
    ledger.check_known(session.read_charges(scene.restricted, COHORT))
    entries, draws = ledger.list_entries(), _group_draws(scene)
    reserved = {entry.entry_hash for entry in entries if entry.kind == ledger_storage.EntryKind.RESERVE}
    assert set(draws) <= reserved, "noise was drawn that no charge paid for"
    for release in releases:
        charge = scene.charge(release)
        assert charge is not None, "a finished run left no charge"
        assert charge[1] is not None, "a charge was left open"
        content = scene.find_stored(release).read_bytes()
        assert canonical.compute_sha256(content) == charge[1].measurement_sha256
        kept = [marginal["noisy"] for marginal in json.loads(content)["measurement"]["marginals"]]
        assert [kept] == [line["noisy"] for line in draws[charge[0].entry_hash] if line["event"] == "drew"]
    assert set(scene.restricted.glob("measurements/*/*/*")) == {scene.find_stored(release) for release in releases}
    assert list(scene.restricted.glob("drawn/*")) == [], "what was drawn for a charge that was given back was kept"
    spent = sum(charge.entry.nano_rho for charge in ledger.list_charges())
    assert spent == len(releases) * entries[1].nano_rho, "a charge was lost"
    assert round(ledger.compute_remaining(COHORT) * NANO) == round(CAP * NANO) - spent
    return Counter(entry.kind for entry in entries)


def _group_draws(scene: Scene) -> dict[str, list[dict[str, Any]]]:
    """Return the diary's lines by charge; fail unless all marginals were drawn by one process and at most once."""
    draws: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in scene.read_diary():
        draws[line["charge"]].append(line)
    for lines in draws.values():
        begun = [line for line in lines if line["event"] == "draws"]
        assert len({line["process"] for line in begun}) == 1, "two processes drew for one charge"
        assert [line["sigmas"] for line in begun] == [list(PLAN.sigmas.values())], "a marginal drawn twice"
    return draws


def kill_at_random(folder: Path, kills: int, seed: int, *, releases_in_a_home: int = 25) -> Counter[str]:
    """Kill runs at random moments, some after their last commit, until `kills` have died; run each release to its end,
    and count the outcomes.

    One in three of the runs that resume after a kill is killed too. Runs that end before their moment count as
    `finished`, not as kills.
    """
    moments, ends = random.Random(seed), Counter[str]()
    while ends["killed"] < kills:
        scene = Scene.create(folder / f"home{ends['homes']}")
        ends["homes"] += 1
        longest, releases = _measure_duration(scene), [f"r{n}" for n in range(releases_in_a_home)]
        for release in releases:
            again = True
            while again:
                died = kill_after(scene, release, moments.uniform(0, longest)) == -signal.SIGKILL
                ends["killed" if died else "finished"] += 1
                again = died and moments.random() < 1 / 3
            ends[finish(scene, release)] += 1
            assert finish(scene, release) == "found", "a run after the last drew again"
        ends["given back"] += check_evidence(scene, [FIRST, "timed", *releases])[ledger_storage.EntryKind.VOID]
    return ends


def _measure_duration(scene: Scene) -> float:
    started = time.monotonic()
    assert kill_after(scene, "timed", 60) == 0
    return time.monotonic() - started
