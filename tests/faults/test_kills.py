"""Runs killed at random moments of every stage."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.installation.rig import (
    FIRST,
    KILLS,
    NEXT,
    SMALL_SHARE,
    STAGES,
    Ended,
    Site,
    check_all_spent_is_kept,
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
    """The next run completes the same version, whatever was killed; no charge is lost."""
    moments, longest = random.Random(stage), seconds_of(finished[1].output)[STAGES[stage] - 1]
    before, version = kept(site), NEXT
    for number in range(int(KILLS or 1)):
        site.send_again()
        options = ("--release", version, "--share", SMALL_SHARE)
        run = site.start(*options)
        run.reach(stage)
        time.sleep(moments.uniform(0, longest))
        run.kill()
        check_books(site, number + 2)
        check_nothing_leaked(site)
        again = site.run(*options)
        assert again.code == 0, again.output
        check_books(site, number + 2)
        check_all_spent_is_kept(site)
        check_sound(site, (FIRST, version))
        version = f"2026.12.{number}"
    check_nothing_leaked(site)
    assert before.items() <= kept(site).items()
