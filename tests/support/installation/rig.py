"""An installation for fault injection, runs of the command in separate processes, and checks after a fault."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ndl_export.bundle.verify import verify
from pipelines.commands.console import Ending
from privacy.keys import LINKAGE, KeyRing
from privacy.release import session
from privacy.release.canonical import compute_sha256
from privacy.release.ledger import Ledger
from privacy.release.ledger_storage import EntryKind
from tests.support.extracts import COHORT, append, mark_synthetic
from tests.support.independent import write_extracts
from tests.support.installation.commands import build_settings
from tests.support.installation.traces import decode
from tests.support.once import make_once
from tests.support.planted import IDENTIFIERS, PROFILE, REVIEW
from tests.support.waiting import PATIENCE
from tests.support.warm import WARM, become_command

COUNCILS = ("leeds", "liverpool")
FIRST, NEXT = "2026.11.0", "2026.11.1"
SMALL_SHARE = "0.05"
REVISION = ("--release", NEXT, "--share", SMALL_SHARE)
STAGES = {"intake": 1, "linkage": 2, "release": 3}

Case = TypeVar("Case")
KILLS = os.environ.get("READINESS_AUDIT_FAULTS")
"""Number of kills per stage; if it is set, every fault is injected, not only the most different ones."""

Prelude = Callable[[], None]
"""Called in the process of a run before it begins."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, or minus the signal, and its output."""

    code: int
    output: str

    @property
    def sentence(self) -> str:
        """Sentence of a run that stopped; fails unless there is exactly one, and no traceback."""
        assert self.code in tuple(Ending), self.output
        assert "Traceback" not in self.output, self.output
        said = [line for line in self.output.splitlines() if line.startswith("readiness: ")]
        assert len(said) == 1, self.output
        return said[0].removeprefix("readiness: ")


@dataclass(frozen=True)
class Site:
    """Folders of an installation, and a folder for temporary files, which is searched too."""

    root: Path

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def restricted(self) -> Path:
        return self.home / "restricted"

    @property
    def release(self) -> Path:
        return self.home / "release"

    @property
    def ledger(self) -> Path:
        return self.home / "ledger.sqlite"

    @classmethod
    def create(cls, root: Path) -> Site:
        """Create an installation with two councils and one child whose identifiers occur nowhere else."""
        site = cls(root)
        write_extracts(site.landing, children=160, councils=COUNCILS)
        append(site.landing / "leeds" / "eyfsp" / f"{COHORT}.csv", PROFILE)
        append(site.landing / "leeds" / "hv_reviews" / f"{COHORT}.csv", REVIEW)
        KeyRing.create(root / "keys", demonstration=True)
        return site

    def copy(self, root: Path) -> Site:
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        return Site(root)

    def send_again(self) -> None:
        """Change the bytes of every file but not its rows, so that every extract is ingested again."""
        for path in self.landing.glob(f"*/*/{COHORT}.csv"):
            with path.open("a") as file:
                file.write("\n")

    def run(self, *options: str, prelude: Prelude | None = None) -> Ended:
        return self.start(*options, prelude=prelude).wait_for_end()

    def start(self, *options: str, prelude: Prelude | None = None) -> Running:
        (self.root / "tmp").mkdir(exist_ok=True)
        said = self.root / f"said-{time.monotonic_ns()}.txt"
        said.touch()
        process = WARM.Process(target=_run_command, args=(self, options, said, prelude))
        process.start()
        return Running(process, said)


def copy_finished_site(factory: pytest.TempPathFactory) -> tuple[Site, Ended]:
    """Return an installation with a finished release, made once per test run for copying, and how its run ended."""

    def make(folder: Path) -> None:
        ended = Site.create(folder / "site").run()
        assert ended.code == 0, ended.output
        (folder / "ended.json").write_text(json.dumps(asdict(ended)))

    made = make_once(factory, "finished", make)
    return Site(made / "site"), Ended(**json.loads((made / "ended.json").read_text()))


@dataclass(frozen=True)
class Running:
    process: Any
    said: Path

    def reach(self, stage: str) -> None:
        """Wait until the run reports that the stage begins."""
        mark = f"[{STAGES[stage]}/"
        while mark not in self.said.read_text() and self.process.is_alive():
            time.sleep(0.01)

    def kill(self) -> Ended:
        self.process.kill()
        return self.wait_for_end()

    def wait_for_end(self) -> Ended:
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, self.said.read_text()
        return Ended(self.process.exitcode, self.said.read_text())


def _run_command(site: Site, options: tuple[str, ...], said: Path, prelude: Prelude | None) -> None:
    if prelude:
        prelude()
    if site.landing.is_dir():
        mark_synthetic(site.landing)
    named = () if "--release" in options else ("--release", FIRST)
    settings = os.environ | build_settings(site.root) | {"TMPDIR": str(site.root / "tmp")}
    with Path(os.devnull).open() as nothing, said.open("a") as output:
        become_command(["run", "--cohort", COHORT, *named, *options], settings, Path.cwd(), [nothing, output, output])


def drop_root() -> None:
    """Make file permissions apply to this process even if it runs as root."""
    if os.geteuid() == 0:
        libc, overrides = ctypes.CDLL(None, use_errno=True), 1 << 1 | 1 << 2
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        held = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, held) == 0
        held[0] &= ~overrides
        assert libc.capset(header, held) == 0


def choose_cases(cases: Iterable[Case], *always: Case) -> list[Case]:
    """Return all cases of a fault if `KILLS` is set, otherwise those that always run."""
    return list(cases) if KILLS else list(always)


# --- What must hold after any fault


def read_kept(site: Site) -> dict[str, bytes]:
    """Return the files that must never be lost: finished releases, and measurements that were charged."""
    paths = [path for path in site.release.glob("*.*.*/**/*") if path.is_file()]
    paths += (site.restricted / "measurements").glob("*/*/*.json")
    return {str(path.relative_to(site.home)): path.read_bytes() for path in paths}


def check_books(site: Site, releases: int) -> None:
    """Check that ledger and stored measurements agree, and that charges count for at most `releases` releases."""
    ledger = Ledger(site.ledger)
    files = [*(site.restricted / "measurements").glob("*/*/*.json"), *(site.restricted / "drawn").glob("[!.]*.json")]
    ledger.check_known(session.read_charges(site.restricted, COHORT))
    entries = ledger.list_entries()
    assert len({charge.entry.release for charge in ledger.list_charges()}) <= releases
    committed = {e.measurement_sha256 for e in entries if e.kind == EntryKind.COMMIT}
    found = {compute_sha256(path.read_bytes()): json.loads(path.read_text()) for path in files}
    assert committed <= set(found)
    paid = [content["measurement"]["ledger_entry"] for content in found.values()]
    assert len(set(paid)) == len(paid)


def check_all_spent_is_kept(site: Site) -> None:
    """Check that every charge that counts has its measurement, and that no measurement without a charge is left."""
    files = {compute_sha256(path.read_bytes()) for path in (site.restricted / "measurements").glob("*/*/*.json")}
    ends = [charge.end for charge in Ledger(site.ledger).list_charges()]
    assert all(end is not None and end.measurement_sha256 in files for end in ends)
    assert list((site.restricted / "drawn").glob("*")) == []


def check_nothing_leaked(site: Site) -> None:
    """Check that no planted identifier is in any file outside landing and keys, sealed files and Dagster's included."""
    variants = {v.encode() for word in IDENTIFIERS for v in (word, word.upper(), word.lower(), word.replace(" ", ""))}
    for path in (path for path in site.root.rglob("*") if path.is_file() and not path.is_symlink()):
        if path.relative_to(site.root).parts[0] in ("landing", "keys"):
            continue
        content = path.read_bytes()
        with suppress(Exception):  # a truncated file is searched as it is
            content += decode(path, KeyRing.load(site.root / "keys", LINKAGE))
        assert not [word for word in variants if word in content], path


def check_sound(site: Site, versions: tuple[str, ...] = (FIRST,)) -> None:
    """Check that the releases verify, and that nothing unfinished is left; those that are `kept` need no other look."""
    for version in versions:
        report = verify(site.release / version)
        assert report.ok, str(report)
    left = [path for path in site.release.iterdir() if path.name.startswith(".")]
    left += [*site.restricted.glob("staging-*"), *site.home.rglob("*.new")]
    assert left == []
    open_runs = (
        "SELECT status FROM runs WHERE status IN ('STARTED', 'STARTING', 'NOT_STARTED') -- of runs that are over"
    )
    with sqlite3.connect(site.home / "dagster" / "history" / "runs.db") as runs:
        assert runs.execute(open_runs).fetchall() == []


def parse_seconds(output: str) -> list[float]:
    return [float(found) for found in re.findall(r"done in ([0-9.]+) s", output)]


KILLED = -signal.SIGKILL
