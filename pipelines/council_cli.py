"""The command line of the tool for councils: the commands that need no pipeline.

Each command is the same as in the full product, but `keys create` only makes a sender's keys: it cannot make a linker
key.
"""

import click

from pipelines.commands.console import HELP, PlainGroup, check_environment

COMMANDS = {
    "pseudonymise": ("sender.pseudonymise", "Replace identifiers by tokens, before anything is sent."),
    "returns": ("returns.returns", "Joined-up returns to services, under sharing agreements."),
    "council": ("council.council", "Onboard a council: draft and check its council file."),
    "keys": ("keys.keys", "Make and look at key sets."),
}
SENDERS_KEYS = {"default_map": {"keys": {"create": {"at_sender": True}}}}


@click.group(cls=PlainGroup, context_settings=HELP | SENDERS_KEYS, used_by={"Commands": COMMANDS})
def main() -> None:
    """Prepare early-years extracts where they are, before anything leaves the building."""
    check_environment()
