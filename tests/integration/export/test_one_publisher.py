"""Two publishers at one place, each a process of its own: one goes on, the other is told why not, nothing is lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from assets.home.paths import Home
from ndl_export.facts import description, release_facts
from ndl_export.files.stores import open_store
from ndl_export.publish import one_publisher
from tests.support import PROJECT
from tests.support.export.bundles import publish
from tests.support.export.reader import look
from tests.support.installation.commands import READINESS, invoke
from tests.support.release.people import approve_withdrawal
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

HERE = PROJECT / "tests" / "support" / "export"
FIRST, SECOND = "2026.11.0", "2026.12.0"


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "place") if request.param == "file" else str(request.getfixturevalue("in_s3"))


@contextmanager
def publishing(two: Path, version: str, url: str, folder: Path, beat: float = 0.2) -> Iterator[subprocess.Popen[bytes]]:
    """A publisher that has sent the release and waits before what leads to it, until the block ends."""
    reached, go = folder / "reached", folder / "go"
    options = [str(two), version, url, str(reached), str(go), str(beat)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, str(HERE / "publish_slowly.py"), *options], env=environment)
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.02)
    try:
        yield process
    finally:
        go.touch()
        process.wait(PATIENCE)


def test_the_second_of_two_is_refused_and_loses_nothing(two: Path, url: str, tmp_path: Path) -> None:
    options = ["publish", FIRST, "--to", url, "--home", str(two.parent), "--yes"]
    with publishing(two, SECOND, url, tmp_path) as first:
        refused = invoke(*options)
    assert first.returncode == 0
    assert refused.exit_code == 4
    assert f"another publisher is at work at {url}: wait until it has ended, and run the same command" in refused.output
    assert look(url, tmp_path).catalogue == {SECOND}
    assert invoke(*options).exit_code == 0
    assert look(url, tmp_path).catalogue == {FIRST, SECOND}
    assert not [name for name in open_store(url).list_sizes() or {} if name.startswith(one_publisher.FOLDER)]


def test_many_at_once_lose_nothing(two: Path, url: str, tmp_path: Path) -> None:
    """Each is done or refused; whoever was refused runs again; at the end both releases are led to."""
    command = [READINESS, "publish", "--yes"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    waiting = [FIRST, SECOND]
    for _ in range(6):
        running = [
            subprocess.Popen(
                [*command, version, "--to", url, "--home", str(two.parent)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for version in waiting
        ]
        said = [process.communicate(timeout=PATIENCE)[0] for process in running]
        assert all(p.returncode == 0 or "another publisher is at work" in s for p, s in zip(running, said, strict=True))
        waiting = [version for version, process in zip(waiting, running, strict=True) if process.returncode]
    assert not waiting
    assert look(url, tmp_path).catalogue == {FIRST, SECOND}


def test_a_publisher_that_died_holds_nobody_up(
    two: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_publisher, "DEAD_AFTER_SECONDS", 2.0)
    with publishing(two, SECOND, url, tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    publish(two, FIRST, url)
    publish(two, SECOND, url)
    assert look(url, tmp_path).catalogue == {FIRST, SECOND}
    assert not [name for name in open_store(url).list_sizes() or {} if name.startswith(one_publisher.FOLDER)]


def test_one_that_was_taken_for_dead_does_not_go_on(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads readers is not replaced by one whose place was taken over meanwhile."""
    monkeypatch.setattr(one_publisher, "BEAT_SECONDS", 60.0)
    place = f"memory://{uuid.uuid4().hex}/readiness"
    store = open_store(place, to_write=True)

    def taken_over(_: str) -> None:
        for name in store.list_sizes(one_publisher.FOLDER) or {}:
            store.remove(f"{one_publisher.FOLDER}/{name.rpartition('/')[2]}")

    with pytest.raises(one_publisher.PublishRefused, match="another publisher is at work"):
        publish(two, FIRST, place, tell=taken_over)
    assert store.read("latest.json", 10**6) is None
    publish(two, FIRST, place)
    assert store.read("latest.json", 10**6) is not None


def test_two_withdrawals_at_once_lose_neither(two: Path, tmp_path: Path) -> None:
    """Both the list of withdrawals and the database know of both."""
    own = Path(shutil.copytree(two, tmp_path / "home" / "release", symlinks=True))
    command = [READINESS, "withdraw", "--home", own.parent, "--yes", "--reason", "x"]
    for version in (FIRST, SECOND):
        approve_withdrawal(Home(own.parent), version, "x")
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    running = [subprocess.Popen([*command, version], env=environment) for version in (FIRST, SECOND)]
    assert [process.wait(PATIENCE) for process in running] == [0, 0]
    assert set(release_facts.load_withdrawals(own)) == {FIRST, SECOND}
    with duckdb.connect(own / description.DATABASE_FILE, read_only=True) as database:
        told = database.execute("SELECT count(withdrawn_on) FROM releases.release").fetchall()
    assert told == [(2,)]
