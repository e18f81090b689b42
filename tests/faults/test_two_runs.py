"""Two runs of a partition at once, killed runs, locks of the dead, and a clock that is turned back."""

import datetime as dt
import json
import random
import time

import pytest

from assets.home import home_lock
from assets.home.paths import Home
from privacy.doors import clock
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger
from tests.support.installation import rig
from tests.support.installation.rig import COHORT, FIRST, NEXT, Site, read_kept

pytestmark = pytest.mark.slow


def test_two_runs_of_a_cohort_at_once(site: Site) -> None:
    """Both complete, with the same release, drawn once."""
    site.send_again()
    runs = [site.start(*rig.REVISION) for _ in range(2)]
    ended = [run.wait_for_end() for run in runs]
    assert [each.code for each in ended] == [0, 0], ended
    rig.check_books(site, 2)
    assert len([e for e in Ledger(site.ledger).list_entries() if e.release == NEXT]) == 6
    rig.check_sound(site, (FIRST, NEXT))
    rig.check_nothing_leaked(site)


@pytest.mark.skipif(not rig.KILLS, reason="READINESS_AUDIT_FAULTS is not set")
def test_two_releases_of_a_cohort_at_once(site: Site) -> None:
    """Each is charged for itself, and the budget holds; an older one that begins after a newer is refused."""
    runs = [site.start("--release", f"2026.11.{number}", "--share", rig.SMALL_SHARE) for number in (1, 2)]
    older, newer = (run.wait_for_end() for run in runs)
    assert newer.code == 0, newer
    assert older.code == 0 or "Versions only rise" in older.sentence, older
    made = (FIRST, *(["2026.11.1"] if older.code == 0 else []), "2026.11.2")
    rig.check_books(site, len(made))
    rig.check_sound(site, made)


def _impatient() -> None:
    home_lock.PATIENCE_SECONDS = 0.0


def test_a_run_that_does_not_end_is_named(site: Site) -> None:
    with home_lock.lock_cohorts(Home(site.home), [COHORT]):
        said = site.run(prelude=_impatient).sentence
    assert f"another run works on cohort {COHORT} in {site.home}: wait until it has ended, and run again" in said
    assert site.run().code == 0


def test_locks_of_the_dead_hold_nobody_up(site: Site) -> None:
    """Files of locks, a folder half-made and a process's mark, of a machine that lost its power."""
    (site.restricted / "staging-dead0000").mkdir()
    (site.restricted / "staging-dead0000" / "half.parquet").write_bytes(b"PAR1")
    (site.release / f".{NEXT}.dead0000").mkdir()
    (site.home / "ledger.sqlite.lock").touch()
    (site.home / "dagster" / "processes").mkdir(exist_ok=True)
    (site.home / "dagster" / "processes" / "dead.alive").touch()
    assert site.run().code == 0
    rig.check_sound(site)
    assert list((site.home / "dagster" / "processes").iterdir()) == []


# --- The clock


def _two_months_ago() -> None:
    now = clock.now
    clock.now = lambda: now() - dt.timedelta(days=60)


def test_a_clock_that_was_turned_back(site: Site) -> None:
    """The ledger goes on in its own order; a repeated run repeats; a correction replaces what came before it."""
    whole = read_kept(site)
    site.send_again()
    again = site.run(prelude=_two_months_ago)
    assert again.code == 0, again.output
    assert read_kept(site) == whole
    quality = json.loads((site.restricted / "quality" / "source=eyfsp" / f"cohort={COHORT}" / "leeds.json").read_text())
    assert quality["taken_at"] < min(e.recorded_at for e in Ledger(site.ledger).list_entries())
    assert site.run(*rig.REVISION, prelude=_two_months_ago).code == 0
    entries = Ledger(site.ledger).list_entries()
    assert [e.seq for e in entries] == sorted(e.seq for e in entries)
    assert entries[-1].recorded_at < entries[0].recorded_at
    rig.check_books(site, 2)
    rig.check_sound(site, (FIRST, NEXT))
    assert site.run("--release", "2026.11.2", "--share", rig.SMALL_SHARE).code == 0
    rig.check_books(site, 3)


# --- Keys


@pytest.mark.parametrize("key", rig.choose_cases(["linker.key", "signing.pem", "input-mac.key"], "input-mac.key"))
def test_a_key_that_is_gone_between_two_runs(site: Site, key: str) -> None:
    whole, path = read_kept(site), site.root / "keys" / key
    held = path.read_bytes()
    path.unlink()
    said = site.run(*rig.REVISION).sentence
    assert key in said, said
    assert read_kept(site) == whole
    path.write_bytes(held)
    path.chmod(0o600)
    assert site.run().code == 0
    rig.check_books(site, 1)


def test_keys_of_another_set_between_two_runs(site: Site) -> None:
    """Every extract is taken in anew; a release that another key signed is not made again, and nothing is charged."""
    whole = read_kept(site)
    (site.root / "keys").rename(site.root / "old-keys")
    KeyRing.create(site.root / "keys", demonstration=True)
    ended = site.run()
    assert "is signed with another key than this installation's" in ended.sentence
    assert read_kept(site) == whole
    rig.check_books(site, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", rig.STAGES)
def test_a_killed_run_is_picked_up_by_the_next(site: Site, finished: tuple[Site, rig.Ended], stage: str) -> None:
    """The next run completes the same version, whatever was killed; no charge is lost."""
    moments, longest = random.Random(stage), rig.parse_seconds(finished[1].output)[rig.STAGES[stage] - 1]
    before, version = read_kept(site), NEXT
    for number in range(int(rig.KILLS or 1)):
        site.send_again()
        options = ("--release", version, "--share", rig.SMALL_SHARE)
        run = site.start(*options)
        run.reach(stage)
        time.sleep(moments.uniform(0, longest))
        run.kill()
        rig.check_books(site, number + 2)
        rig.check_nothing_leaked(site)
        again = site.run(*options)
        assert again.code == 0, again.output
        rig.check_books(site, number + 2)
        rig.check_all_spent_is_kept(site)
        rig.check_sound(site, (version,))
        version = f"2026.12.{number}"
    rig.check_nothing_leaked(site)
    assert before.items() <= read_kept(site).items()
