"""Runs killed at random moments of every stage."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.installation.rig import (
    FIRST,
    KILLED,
    KILLS,
    NEXT,
    SMALL_SHARE,
    STAGES,
    Ended,
    Site,
    check_books,
    check_nothing_leaked,
    check_sound,
    kept,
    seconds_of,
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_is_picked_up_by_the_next(site: Site, finished: tuple[Site, Ended], stage: str) -> None:
    """A lost charge is the only thing that may stop the next run; it says so, and the version after it completes."""
    moments, longest = random.Random(stage), seconds_of(finished[1].output)[STAGES[stage] - 1]
    before, version = kept(site), NEXT
    for number in range(int(KILLS or 1)):
        site.send_again()
        options = ("--release", version, "--share", SMALL_SHARE)
        run = site.start(*options)
        run.reach(stage)
        time.sleep(moments.uniform(0, longest))
        died = run.kill().code == KILLED
        check_books(site, number + 2)
        check_nothing_leaked(site)
        again = site.run(*options)
        if again.code != 0:
            assert died
            assert "The charge is spent and written off. To measure again, run a new release version" in again.sentence
            version = f"2026.11.{number + 2}"
            assert site.run("--release", version, "--share", SMALL_SHARE).code == 0
        check_books(site, number + 3)
        check_sound(site, (FIRST, version))
        version = f"2026.12.{number}"
    check_nothing_leaked(site)
    assert before.items() <= kept(site).items()
