"""Backups and restores that are killed at a step, that meet a full disk, or that nobody finishes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from assets.home.processing_log import verify
from privacy.release.ledger import Ledger
from tests.support.installation.backups import Safe, tree
from tests.support.installation.rig import WARM
from tests.support.installation.steps import killed_at_steps
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow


def _killed(
    copy: Callable[[str], Safe], words: Callable[[Safe], tuple[str, ...]], check: Callable[[Safe], None]
) -> None:
    """Kill a command of an installation, in copies of it."""
    killed_at_steps(lambda name: copy(name).root, partial(_command, words), lambda root: check(Safe(root)), furthest=12)


def _command(words: Callable[[Safe], tuple[str, ...]], root: Path) -> int:
    safe = Safe(root)
    return safe.command(*words(safe)).exit_code


def to_back_up(safe: Safe) -> tuple[str, ...]:
    return "backup", "home", "--into", str(safe.disk("home")), *safe.to("home")


def to_restore(safe: Safe) -> tuple[str, ...]:
    (file,) = safe.disk("home").iterdir()
    return "restore", "home", str(file), "--yes", "--identity", str(safe.identity("operator"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Safe:
    return Safe.small(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(made: Safe, tmp_path: Path) -> Callable[[str], Safe]:
    return lambda name: Safe(Path(shutil.copytree(made.root, tmp_path / name, symlinks=True)))


def test_a_killed_backup_leaves_none_and_the_next_is_whole(copy: Callable[[str], Safe], made: Safe) -> None:
    before = tree(made.home.root)

    def check(safe: Safe) -> None:
        for file in safe.disk("home").glob("readiness-*"):
            safe.home.root.rename(safe.root / "was")
            assert safe.restore("home", file, "--yes").exit_code == 0
            shutil.rmtree(safe.home.root)
            (safe.root / "was").rename(safe.home.root)
            file.unlink()
        assert tree(safe.home.root) == before
        again = safe.backup("home")
        assert list(safe.disk("home").iterdir()) == [again]
        assert list(safe.home.restricted.glob("staging-*")) == []
        verify(safe.home)

    _killed(copy, to_back_up, check)


def test_a_killed_restore_leaves_nothing_or_all(copy: Callable[[str], Safe], made: Safe) -> None:
    """And a second one completes, with nothing of the first left beside the home folder."""
    before, ledger = tree(made.home.root), Ledger(made.home.ledger).entries()
    lost = copy("lost")
    lost.backup("home")
    shutil.rmtree(lost.home.root)

    def lost_again(name: str) -> Safe:
        return Safe(Path(shutil.copytree(lost.root, lost.root.with_name(name), symlinks=True)))

    def check(safe: Safe) -> None:
        if not safe.home.root.exists():
            assert safe.command(*to_restore(safe)).exit_code == 0
            assert not safe.home.restoring.exists()
        assert tree(safe.home.root) == before
        assert Ledger(safe.home.ledger).entries() == ledger
        verify(safe.home)

    _killed(lost_again, to_restore, check)


def _with_room_for(size: int, safe: Safe, words: tuple[str, ...], said: Path) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    done = safe.command(*words)
    os.write(os.open(said, os.O_WRONLY), done.output.encode())
    sys.exit(done.exit_code)


@pytest.mark.parametrize("size", [0, 100_000])
def test_a_disk_that_is_full(copy: Callable[[str], Safe], size: int) -> None:
    """Files of more bytes cannot be written: no backup is left, none half-made, and one sentence says why."""
    safe, said = copy("full"), copy("said").root / "said"
    safe.backup("records")
    (safe.home.root / "tokens" / "large").write_bytes(os.urandom(3 << 20))
    before = set(safe.disk("home").iterdir())
    said.touch()
    words = ("backup", "home", "--into", str(safe.disk("home")), *safe.to("home"))
    process = WARM.Process(target=_with_room_for, args=(size or 50_000, safe, words, said))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 5, said.read_text()
    assert "the disk is full or fails" in said.read_text()
    assert set(safe.disk("home").iterdir()) == before
    safe.backup("home")
