"""One meaning for each option over all commands."""

import re
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest

from pipelines.cli import main
from pipelines.council_cli import main as council_main

ASKS_FOR_YES = {"restore", "forget", "shred", "retention", "parts withdraw", "publish", "withdraw", "synth"}
"""Commands that remove, replace or put out what cannot be taken back."""
PAGES = {"plan", "budget", "log", "status", "doctor", "request check", "pseudonymise"}


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its words, groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")


def options(command: click.Command) -> Iterator[click.Option]:
    return (each for each in command.params if isinstance(each, click.Option))


def meaning(option: click.Option) -> tuple[object, ...]:
    """What it is and what it is of, up to where the help says what that means for one command."""
    kind = "place" if "--out" in option.opts else option.type.name
    several = option.multiple and "--council" not in option.opts  # a hold may be accepted of several councils at once
    return re.split(r"[;:.,] ?", option.help or "")[0], kind, several, option.is_flag


def test_an_option_means_the_same_wherever_it_is() -> None:
    meanings = defaultdict(set)
    for group in (main, council_main):
        for _, command in commands(group):
            for option in options(command):
                meanings[option.opts[0]].add(meaning(option))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}
    assert all(words for ((words, *_),) in meanings.values())


@pytest.mark.parametrize(("option", "wanted"), [("--html", PAGES), ("--yes", ASKS_FOR_YES)])
def test_which_commands_write_a_page_and_which_ask(option: str, wanted: set[str]) -> None:
    found = {words for words, command in commands() if any(option in each.opts for each in options(command))}
    assert found == wanted
