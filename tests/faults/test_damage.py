"""Files that are cut short, missing rights, a full disk, a ledger that cannot be used."""

import os
import re
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from privacy.release import ledger_storage
from tests.support.daily import mark_slow_after
from tests.support.installation import rig
from tests.support.installation.rig import COHORT, FIRST, NEXT, Site, read_kept

pytestmark = pytest.mark.slow


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@dataclass(frozen=True)
class Cut:
    """A file that is cut short, and what the next run says: nothing, where it makes the file again by itself."""

    file: str
    sentence: str = ""
    remedy: Callable[[Path], None] | None = None


EXTRACT = f"landing/leeds/eyfsp/{COHORT}.csv"
ROWS = f"home/restricted/pseudonymised/source=eyfsp/cohort={COHORT}/leeds.parquet"
LINKED = f"home/restricted/linked/cohort={COHORT}"
CUTS = {
    "extract": Cut(EXTRACT, r"the file is cut off in its last row; send it again, whole"),
    "pseudonymised rows": Cut(ROWS),
    "tokens": Cut(f"home/tokens/source=eyfsp/cohort={COHORT}/leeds.parquet"),
    "quality result": Cut(f"home/restricted/quality/source=eyfsp/cohort={COHORT}/leeds.json"),
    "links": Cut(
        f"{LINKED}/links.parquet",
        r"links: restricted/linked/cohort=202425/links.parquet is damaged: restore it from a backup, or remove it",
        Path.unlink,
    ),
    "children": Cut(f"{LINKED}/children.parquet"),
    "who has sent": Cut(f"{LINKED}/sent.json"),
    "measurement": Cut(
        f"home/restricted/measurements/cohort={COHORT}/release={FIRST}/pupil.json",
        r"is not the file that the ledger recorded: restore it from a backup, for it is never drawn again",
    ),
    "published table": Cut(
        f"home/release/{FIRST}/gld_headline.parquet",
        r"was damaged since it was written: gld_headline.parquet is not as signed. Put back a copy of it, or move it",
        lambda path: shutil.rmtree(path.parent),
    ),
    "published sums": Cut(
        f"home/release/{FIRST}/SHA256SUMS",
        r"was damaged since it was written: SHA256SUMS is not as signed",
        lambda path: shutil.rmtree(path.parent),
    ),
    "archive": Cut(f"home/release/{FIRST}.zip", r"2026\.11\.0\.zip was damaged since", Path.unlink),
    "database": Cut("home/release/readiness.duckdb"),
}


@pytest.mark.parametrize(
    "which", mark_slow_after(3, rig.choose_cases(CUTS, "extract", "pseudonymised rows", "links", "published table"))
)
def test_a_file_that_was_cut_short(site: Site, which: str) -> None:
    """It is made again, or a sentence names it and how to get it back."""
    case, whole = CUTS[which], read_kept(site)
    path = site.root / case.file
    content = path.read_bytes()
    cut(path)
    ended = site.run()
    if case.sentence:
        assert re.search(case.sentence, ended.sentence), ended.sentence
        if case.remedy:
            case.remedy(path)
        else:
            path.write_bytes(content)
        ended = site.run()
    assert ended.code == 0, ended.output
    rig.check_books(site, 1)
    rig.check_sound(site, ())
    rig.check_nothing_leaked(site)
    assert read_kept(site) == whole


def test_rows_that_were_cut_short_after_their_extract_is_gone(site: Site) -> None:
    (site.root / EXTRACT).unlink()
    cut(site.root / ROWS)
    said = site.run().sentence
    assert "pseudonymised/source=eyfsp/cohort=202425/leeds.parquet is damaged: put the extract into landing" in said
    rig.check_books(site, 1)


# --- The ledger


def _older(path: Path) -> None:
    with sqlite3.connect(path) as ledger:
        ledger.executescript("DROP TRIGGER never_update; ALTER TABLE entries DROP COLUMN note;")


LEDGERS = {
    "cut short": (cut, r"ledger.sqlite cannot be opened: .*; restore the newest copy"),
    "not a database": (
        lambda path: path.write_bytes(b"not a database at all" * 400),
        r"ledger.sqlite cannot be opened: file is not a database; restore the newest copy",
    ),
    "empty": (lambda path: path.write_bytes(b""), r"the ledger does not have the charge .* Restore the newest"),
    "gone": (Path.unlink, r"the ledger does not have the charge .* Restore the newest"),
    "of another version": (_older, r"cannot be opened: no such column: note; another version of this software made it"),
}


@pytest.mark.parametrize("which", rig.choose_cases(LEDGERS, "cut short", "gone"))
def test_a_ledger_that_cannot_be_used_spends_nothing(site: Site, which: str) -> None:
    """Neither a repeated run nor a revision draws; with the ledger back, both go on."""
    break_it, sentence = LEDGERS[which]
    whole, copy = read_kept(site), site.root / "copy.sqlite"
    with sqlite3.connect(site.ledger) as ledger, sqlite3.connect(copy) as backup:
        ledger.backup(backup)
    for beside in site.home.glob("ledger.sqlite-*"):
        beside.unlink()
    break_it(site.ledger)
    said = site.run(*rig.REVISION).sentence
    assert re.search(sentence, said), said
    assert read_kept(site) == whole
    for beside in site.home.glob("ledger.sqlite-*"):
        beside.unlink()
    shutil.copyfile(copy, site.ledger)
    again = site.run(*rig.REVISION)
    assert again.code == 0, again.output
    rig.check_books(site, 2)
    rig.check_sound(site, (NEXT,))
    rig.check_nothing_leaked(site)
    assert whole.items() <= read_kept(site).items()


def _impatient() -> None:
    ledger_storage.BUSY_SECONDS = 0


def test_a_ledger_that_another_program_holds(site: Site) -> None:
    holder = sqlite3.connect(site.ledger, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    said = site.run(*rig.REVISION, prelude=_impatient).sentence
    assert re.search(r"database is locked; another program holds it: close that, and run again", said), said
    holder.execute("ROLLBACK")
    holder.close()
    assert site.run(*rig.REVISION).code == 0
    rig.check_books(site, 2)


# --- Rights

RIGHTS = {
    "restricted": "home/restricted/linked",
    "pseudonymised": f"home/restricted/pseudonymised/source=eyfsp/cohort={COHORT}",
    "measurements": f"home/restricted/measurements/cohort={COHORT}",
    "release": "home/release",
    "Dagster": "home/dagster/history",
    "ledger": "home",
    "landing": "landing/leeds/eyfsp",
}
RELEASE_ALONE = ("measurements", "release")
"""Folders that the release alone writes to: nothing has to come in before it."""


@contextmanager
def without_rights(path: Path, mode: int) -> Iterator[None]:
    held = {found: found.stat().st_mode for found in (path, *path.rglob("*")) if not found.is_symlink()}
    for found in reversed(held):
        found.chmod(mode if found.is_dir() else mode & 0o444)
    try:
        yield
    finally:
        for found, own in held.items():
            found.chmod(own)


@pytest.mark.parametrize("which", rig.choose_cases(RIGHTS, "measurements", "release"))
def test_a_folder_without_the_right_to_write(site: Site, which: str) -> None:
    if which not in RELEASE_ALONE:
        site.send_again()
    whole = read_kept(site)
    with without_rights(site.root / RIGHTS[which], 0o000 if which == "landing" else 0o555):
        said = site.run(*rig.REVISION, prelude=rig.drop_root).sentence
    assert re.search(r"give the account that runs the pipeline the right|check its owner and mode", said), said
    rig.check_books(site, 2)
    rig.check_nothing_leaked(site)
    _goes_on(site, whole)


# --- The disk

FULL = r"the disk is full or fails.*: free some space|free space on its disk|its disk may be full, or fail"


def _goes_on(site: Site, whole: dict[str, bytes]) -> None:
    """The next run completes the same version, and no charge is lost."""
    again = site.run(*rig.REVISION)
    assert again.code == 0, again.output
    rig.check_books(site, 2)
    rig.check_all_spent_is_kept(site)
    rig.check_sound(site, (NEXT,))
    rig.check_nothing_leaked(site)
    assert whole.items() <= read_kept(site).items()


@contextmanager
def small_disk(site: Site, free: int) -> Iterator[Path]:
    """The home folder on a file system of its own with `free` bytes left; skips where none can be mounted."""
    used = sum(path.stat().st_size for path in site.home.rglob("*") if path.is_file())
    held = site.home.rename(site.root / "held")
    site.home.mkdir()
    options = f"size={used + 48 * 2**20}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", site.home], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(held, site.home, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(held)
        ballast = site.home / "ballast"
        with ballast.open("wb") as file:
            file.truncate(0)
            os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(site.home).free - free))
        yield ballast
    finally:
        subprocess.run(["umount", "--lazy", site.home], check=True)


@pytest.mark.parametrize("free", rig.choose_cases([0, 100_000, 400_000, 2_000_000], 400_000))
def test_a_full_disk(site: Site, free: int) -> None:
    site.send_again()
    whole = read_kept(site)
    with small_disk(site, free) as ballast:
        ended = site.run(*rig.REVISION)
        assert re.search(FULL, ended.sentence), ended.sentence
        rig.check_nothing_leaked(site)
        ballast.unlink()
        rig.check_books(site, 2)
        _goes_on(site, whole)


def _short_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("size", rig.choose_cases([4_096, 60_000], 60_000))
def test_files_that_may_not_grow(site: Site, size: int) -> None:
    """A quota, which needs no right to mount anything."""
    site.send_again()
    whole = read_kept(site)
    said = site.run(*rig.REVISION, prelude=partial(_short_files, size)).sentence
    assert re.search(FULL, said), said
    rig.check_books(site, 2)
    _goes_on(site, whole)


def test_the_rig_can_see_a_leak(site: Site) -> None:
    pq.write_table(pq.read_table(site.root / ROWS).append_column("x", [["Zzyzxwick"] * 81]), site.root / ROWS)
    with pytest.raises(AssertionError, match=r"leeds\.parquet"):
        rig.check_nothing_leaked(site)
