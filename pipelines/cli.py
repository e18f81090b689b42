"""The command line. Heavy imports are inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import click

from pipelines.commands import keeping, linked, releases, runs
from pipelines.commands.console import HELP, PlainGroup, check_environment
from pipelines.commands.council import council
from pipelines.commands.keys import keys
from pipelines.commands.requests import request
from pipelines.commands.returns import returns
from pipelines.commands.sender import pseudonymise
from pipelines.commands.sign_off import accept, approve


@click.group(cls=PlainGroup, context_settings=HELP)
def main() -> None:
    """From councils' extracts to safe school-readiness statistics."""
    # `doctor` lists every setting that cannot be used, and must not be stopped by the first
    if click.get_current_context().invoked_subcommand != runs.doctor.name:
        check_environment()


main.add(
    {
        "Data engineer": (
            runs.run,
            runs.status,
            runs.doctor,
            runs.metrics,
            runs.ui,
            council,
            keys,
            keeping.backup,
            keeping.restore,
            runs.synth,
        ),
        "Data protection": keeping.COMMANDS,
        "Council or health data officer": (pseudonymise, returns),
        "Privacy or statistics lead": (releases.plan, accept, approve, releases.budget, linked.link, linked.review),
        "Researcher, and whoever answers one": (request,),
        "Publisher, and whoever checks a release": (
            *(releases.publish, releases.withdraw),
            *(releases.verify, releases.recompute, releases.synthesise, releases.diff),
        ),
    }
)
for command in (linked.make, linked.release_delivery, linked.log):
    returns.add_command(command)
