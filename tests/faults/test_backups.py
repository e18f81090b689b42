"""Backups and restores that are killed at a step, that meet a full disk, or that nobody finishes."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from assets.home.processing_log import Processing, record, verify
from pipelines.commands.console import Ending
from tests.support.installation.backups import Safe, read_tree
from tests.support.installation.steps import kill_at_steps
from tests.support.waiting import PATIENCE
from tests.support.warm import WARM

pytestmark = pytest.mark.slow


def _killed(
    copy: Callable[[str], Safe], words: Callable[[Safe], tuple[str, ...]], check: Callable[[Safe], None]
) -> None:
    """Kill a command of an installation, in copies of it."""
    kill_at_steps(lambda name: copy(name).root, partial(_command, words), lambda root: check(Safe(root)), furthest=2)


def _command(words: Callable[[Safe], tuple[str, ...]], root: Path) -> int:
    safe = Safe(root)
    return safe.run_command(*words(safe)).exit_code


def to_back_up(safe: Safe) -> tuple[str, ...]:
    return "backup", "records", "--into", str(safe.get_disk("records")), *safe.build_recipient_option("records")


def to_restore(safe: Safe) -> tuple[str, ...]:
    (file,) = safe.get_disk("records").iterdir()
    return "restore", "records", str(file), "--yes", "--identity", str(safe.get_identity("operator"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Safe:
    return Safe.for_small_installation(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(made: Safe, tmp_path: Path) -> Callable[[str], Safe]:
    return lambda name: Safe(Path(shutil.copytree(made.root, tmp_path / name, symlinks=True)))


def test_a_killed_backup_leaves_none_and_the_next_is_whole(copy: Callable[[str], Safe], made: Safe) -> None:
    before = read_tree(made.home.root)

    def check(safe: Safe) -> None:
        for file in safe.get_disk("records").glob("readiness-*"):
            safe.lose_ledger()
            assert safe.restore("records", file, "--yes").exit_code == 0
            file.unlink()
        assert read_tree(safe.home.root) == before
        again = safe.make_backup("records")
        assert list(safe.get_disk("records").iterdir()) == [again]
        assert list(safe.home.restricted.glob("staging-*")) == []
        verify(safe.home)

    _killed(copy, to_back_up, check)


def test_a_killed_restore_is_done_or_stops_all_work(copy: Callable[[str], Safe]) -> None:
    """And a second one, on a copy that is put back again, completes."""
    lost = copy("lost")
    lost.copy_home()
    lost.books.measure("2026.12.0")
    record(lost.home, Processing.MEASUREMENT, cohort="202425")
    before, ledger = read_tree(lost.home.root), lost.books.ledger.list_entries()
    lost.make_backup("records")
    lost.put_back()

    def lost_again(name: str) -> Safe:
        return Safe(Path(shutil.copytree(lost.root, lost.root.with_name(name), symlinks=True)))

    def check(safe: Safe) -> None:
        if safe.home.restoring.exists():
            assert safe.run_command("run", "--cohort", "202425").exit_code == Ending.HOLD
            safe.put_back()
        if read_tree(safe.home.root) != before or not safe.home.ledger.exists():
            assert safe.run_command(*to_restore(safe)).exit_code == 0
        assert read_tree(safe.home.root) == before
        assert safe.books.ledger.list_entries() == ledger
        verify(safe.home)

    _killed(lost_again, to_restore, check)


def _with_room_for(size: int, safe: Safe, words: tuple[str, ...], said: Path) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    done = safe.run_command(*words)
    os.write(os.open(said, os.O_WRONLY), done.output.encode())
    sys.exit(done.exit_code)


def test_a_disk_that_is_full(copy: Callable[[str], Safe]) -> None:
    """Files of more bytes cannot be written: no backup is left, none half-made, and one sentence says why."""
    safe, said = copy("full"), copy("said").root / "said"
    safe.make_backup("records")
    (safe.home.restricted / "releases").mkdir(exist_ok=True)
    (safe.home.restricted / "releases" / "large.json").write_bytes(os.urandom(3 << 20))
    before = set(safe.get_disk("records").iterdir())
    said.touch()
    words = to_back_up(safe)
    process = WARM.Process(target=_with_room_for, args=(100_000, safe, words, said))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 5, said.read_text()
    assert "the disk is full or fails" in said.read_text()
    assert set(safe.get_disk("records").iterdir()) == before
    safe.make_backup("records")
