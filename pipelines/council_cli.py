"""The command line of the tool for councils: the commands that need no pipeline.

Each command is that of the full product. `keys create` only makes a sender's keys: a linker key cannot be made here.
"""

from __future__ import annotations

import click

from pipelines.commands.console import HELP, PlainGroup, check_environment
from pipelines.commands.council import council
from pipelines.commands.keys import keys
from pipelines.commands.returns import returns
from pipelines.commands.sender import pseudonymise


@click.group(cls=PlainGroup, context_settings=HELP | {"default_map": {"keys": {"create": {"at_sender": True}}}})
def main() -> None:
    """Prepare early-years extracts where they are, before anything leaves the building."""
    check_environment()


main.add({"Commands": (pseudonymise, returns, council, keys)})
