"""Two publishers at one place, each a process of its own: one goes on, the other is told why not, nothing is lost."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import duckdb
import pytest

from assets.home.paths import Home
from ndl_export.facts import description, release_facts
from ndl_export.files.stores import open_store
from ndl_export.publish import one_publisher
from tests.support.export.bundles import publish
from tests.support.export.publishers import publish_slowly
from tests.support.export.reader import look
from tests.support.installation.commands import invoke, run_readiness
from tests.support.release.people import approve_withdrawal
from tests.support.waiting import PATIENCE
from tests.support.warm import WARM

pytestmark = pytest.mark.slow

FIRST, SECOND = "2026.11.0", "2026.12.0"
Done = CompletedProcess[str]


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "place") if request.param == "file" else str(request.getfixturevalue("in_s3"))


@contextmanager
def publishing(two: Path, version: str, url: str, folder: Path) -> Iterator[Any]:
    """A publisher that has sent the release and waits before what leads to it, until the block ends."""
    reached, go = folder / "reached", folder / "go"
    process = WARM.Process(target=publish_slowly, args=(dict(os.environ), two, version, url, reached, go))
    process.start()
    while not reached.exists():
        assert process.is_alive()
        time.sleep(0.02)
    try:
        yield process
    finally:
        go.touch()
        process.join(PATIENCE)


def test_the_second_of_two_is_refused_and_loses_nothing(two: Path, url: str, tmp_path: Path) -> None:
    options = ["publish", FIRST, "--to", url, "--home", str(two.parent), "--yes"]
    with publishing(two, SECOND, url, tmp_path) as first:
        refused = invoke(*options)
    assert first.exitcode == 0
    assert refused.exit_code == 4
    assert f"another publisher is at work at {url}: wait until it has ended, and run the same command" in refused.output
    assert look(url, tmp_path).catalogue == {SECOND}
    assert invoke(*options).exit_code == 0
    assert look(url, tmp_path).catalogue == {FIRST, SECOND}
    assert not [name for name in open_store(url).list_sizes() or {} if name.startswith(one_publisher.FOLDER)]


def test_many_at_once_lose_nothing(two: Path, url: str, tmp_path: Path) -> None:
    """Each is done or refused; whoever was refused runs again; at the end both releases are led to."""

    def run(version: str) -> Done:
        return run_readiness(tmp_path, "publish", "--yes", version, "--to", url, "--home", two.parent)

    waiting = [FIRST, SECOND]
    for _ in range(6):
        with ThreadPoolExecutor() as pool:
            ended = list(pool.map(run, waiting))
        assert all(each.returncode == 0 or "another publisher is at work" in each.stderr for each in ended), ended
        waiting = [version for version, each in zip(waiting, ended, strict=True) if each.returncode]
    assert not waiting
    assert look(url, tmp_path).catalogue == {FIRST, SECOND}


def test_a_publisher_that_died_holds_nobody_up(
    two: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_publisher, "DEAD_AFTER_SECONDS", 2.0)
    with publishing(two, SECOND, url, tmp_path) as first:
        first.kill()
        first.join()
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
    for version in (FIRST, SECOND):
        approve_withdrawal(Home(own.parent), version, "x")

    def run(version: str) -> Done:
        return run_readiness(tmp_path, "withdraw", "--home", own.parent, "--yes", "--reason", "x", version)

    with ThreadPoolExecutor() as pool:
        assert [each.returncode for each in pool.map(run, (FIRST, SECOND))] == [0, 0]
    assert set(release_facts.load_withdrawals(own)) == {FIRST, SECOND}
    with duckdb.connect(own / description.DATABASE_FILE, read_only=True) as database:
        told = database.execute("SELECT count(withdrawn_on) FROM releases.release").fetchall()
    assert told == [(2,)]
