"""`readiness plan` and `budget`: what a release would cost and say, and what is spent and left."""

from dataclasses import asdict
from pathlib import Path

import click

from assets.home.paths import CohortStore, Home
from assets.release import fix_release, planning
from pipelines.commands import options
from pipelines.commands.console import Ending, end, show, show_progress, stop
from pipelines.commands.pipeline_options import add_cohort_options, add_home_option, require_ledger, share
from pipelines.reports.budget import report_budget, report_plan
from sources.extract.landing import list_councils
from sources.reference.places import PILOT


@click.command()
@add_cohort_options()
@options.add_option("--landing")
@share
@options.add_option("--council", "; its tables alone")
@options.everything
@options.as_html
@options.as_json
def plan(store: CohortStore, landing: Path | None, share: float | None, council: str | None, everything: bool) -> None:
    """Show how accurate a release will be, before any budget is spent.

    Uses the policy and public figures: reads no extract. Exit status 3 if the cohort's budget has no room for the
    --share that you ask for.
    """
    # a plan reads no extract: the folders in landing say only who takes part
    councils = list_councils(landing) if landing else sorted(PILOT)
    if council is not None and council not in councils:
        stop(f"no council {council!r} takes part: {', '.join(councils)}")
    with show_progress("Planning"):
        policy, room = store.home.load_policy(), fix_release.compute_remaining_budget(store, share)
        expected = planning.compute_expected_accuracy(councils, policy.scale(room.share))
        found = {"cohort": store.cohort, **expected, "budget": asdict(room)}
    show(report_plan(found, policy.minimum_accuracy, council=council, everything=everything))
    if room.share_was_asked and not room.fits:
        end(Ending.BUDGET)


@click.command()
@add_home_option()
@options.as_html
@options.as_json
def budget(home: Home) -> None:
    """Show how much of the privacy budget is spent and left."""
    require_ledger(home)
    show(report_budget(home))
