"""The command line of the tool for councils: the commands that need no pipeline.

Each is the full product's own. `keys create` makes a sender's keys alone: no linker key can be made here.
"""

from __future__ import annotations

import click

from pipelines.console import HELP
from pipelines.council_commands import council
from pipelines.key_commands import keys
from pipelines.returns_commands import returns
from pipelines.sender_commands import pseudonymise


@click.group(context_settings=HELP | {"default_map": {"keys": {"create": {"at_sender": True}}}})
def main() -> None:
    """Prepare early-years extracts where they are, before anything leaves the building."""


for command in (council, pseudonymise, keys, returns):
    main.add_command(command)
