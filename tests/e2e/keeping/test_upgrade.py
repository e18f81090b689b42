"""A home folder made by the code of before, upgraded in place: nothing is lost, nothing that was charged is charged
again, and what was published stays as it is. `tests/support/release/before/README.md` says how it was made."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from assets.home import paths
from assets.home.paths import MadeByLater
from assets.home.processing_log import verify
from pipelines.ending import Ending
from privacy.release.ledger import Ledger
from privacy.release.store import charges
from tests.support import PROJECT
from tests.support.extracts import COHORT
from tests.support.installation.backups import Safe
from tests.support.installation.traces import hashes
from tests.support.release.people import ANNA, read_page, write_policy, write_publisher

BEFORE = PROJECT / "tests" / "support" / "release" / "before" / "home_2025.tar.xz"
OLD, NEW = "2025.11.0", "2025.12.0"


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    with tarfile.open(BEFORE) as archive:
        archive.extractall(tmp_path, filter="data")
    for path in (tmp_path / "keys").iterdir():
        path.chmod(0o600)
    return Safe(tmp_path)


@pytest.mark.slow
def test_what_is_there_is_kept_and_the_next_release_goes_on_from_it(
    safe: Safe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [ANNA])))
    monkeypatch.setenv("READINESS_PUBLISHER", str(write_publisher(tmp_path / "publisher.yaml")))
    kept = {part: hashes(safe.home.root / part) for part in (f"release/{OLD}", "restricted/measurements")}
    log = len(verify(safe.home))

    checked = safe.command("verify", safe.home.release / OLD)
    assert (checked.exit_code, "schema 1.1.0, and this version defines" in checked.stdout) == (0, True)
    ledger = Ledger(safe.home.ledger).entries()
    assert sum(entry.kind == "COMMIT" for entry in ledger) == 3
    assert json.loads(safe.command("budget", "--json").stdout)
    stopped = safe.command("run", "--cohort", COHORT)
    assert stopped.exit_code == Ending.INPUT
    assert "`readiness keys complete` adds what one of an earlier version lacks" in stopped.stderr

    assert safe.command("keys", "complete", safe.keys).exit_code == 0
    again = safe.command("run", "--cohort", COHORT)
    assert "was charged with another plan" in again.stderr, again.output
    assert "A revision is a new release" in again.stderr
    assert Ledger(safe.home.ledger).entries() == ledger

    revision = ("run", "--cohort", COHORT, "--release", NEW, "--share", "0.2")
    few = ("accept", "--cohort", COHORT, "--cause", "rows-far-from-expected", "--reason", "A small home.")
    measure = ("approve", "--cohort", COHORT, "--release", NEW)
    for signs in ([few, measure], [(*measure, "--publish")]):
        assert safe.command(*revision).exit_code == Ending.HOLD
        for command in signs:
            read = read_page(safe.command(*command).stdout)
            signed = safe.command(*command, *read, "--key", ANNA.key_file(tmp_path / "people"))
            assert signed.exit_code == 0, signed.output
    done = safe.command(*revision)
    assert done.exit_code == 0, done.output
    assert safe.command("verify", safe.home.release / NEW).exit_code == 0
    now = Ledger(safe.home.ledger)
    assert now.entries()[: len(ledger)] == ledger
    now.check_known(charges(safe.home.restricted, COHORT))
    assert kept[f"release/{OLD}"] == hashes(safe.home.release / OLD)
    assert kept["restricted/measurements"].items() <= hashes(safe.home.restricted / "measurements").items()
    assert not {"series", "share", "missing"} & {path.name for path in safe.home.restricted.iterdir()}
    assert len(verify(safe.home)) > log
    assert safe.command("diff", safe.home.release / OLD, safe.home.release / NEW).exit_code == 0

    lines = len(verify(safe.home)), now.entries()
    assert safe.command(*revision).exit_code == 0
    assert (len(verify(safe.home)), now.entries()) == lines
    assert safe.command("doctor").exit_code == 0


def test_it_can_be_backed_up_before_anything_is_converted(safe: Safe) -> None:
    """As an upgrade begins, with keys that lack what this version needs; and restored, to go back."""
    Safe.beside(safe.root)
    before = hashes(safe.home.restricted)
    made = safe.backup("home")
    safe.home.root.rename(safe.root / "was")
    assert safe.restore("home", made, "--yes").exit_code == 0
    after = hashes(safe.home.restricted)
    changed = {name for name in before.keys() | after if before.get(name) != after.get(name)}
    assert {name.partition(".")[0] for name in changed if not name.startswith(("turns", ".in-use"))} == {
        "processing_log"
    }


def test_a_home_that_a_later_version_has_worked_on_is_left_alone(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashes(safe.home.root)
    monkeypatch.setattr(paths, "software", lambda: "0.0.9")
    with pytest.raises(MadeByLater, match=r"last worked on by readiness 0\.1\.0, and this is 0\.0\.9: install that"):
        safe.home.prepare()
    safe.command("keys", "complete", safe.keys)
    refused = safe.command("run", "--cohort", COHORT)
    assert (refused.exit_code, "was last worked on by readiness 0.1.0" in refused.stderr) == (Ending.INPUT, True)
    after = hashes(safe.home.root)
    assert {name: of for name, of in after.items() if name in before} == before
