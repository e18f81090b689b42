"""One meaning for each option over all commands, words that fit a terminal, and completion by the shell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from assets.home.software import software
from pipelines.cli import main
from pipelines.council_cli import main as council_main
from pipelines.ending import Ending
from privacy.doors.environment import HOME, LANDING
from sources.contracts import CONTRACTS

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


@pytest.mark.parametrize("group", [main, council_main])
def test_summaries_are_whole_and_help_fits_a_terminal(group: click.Group) -> None:
    for words in ("", *(words for words, _ in commands(group))):
        shown = CliRunner().invoke(group, [*words.split(), "--help"], terminal_width=80).output
        assert max(map(len, shown.splitlines())) <= 80, words
        listed = shown.partition("\nOptions:")[2] if not words else ""
        assert "..." not in listed, listed
        names = [line for line in listed.splitlines() if re.match(r"  [a-z]", line)]
        assert all(re.search(r"[.!]$", line) for line in names), names


@pytest.mark.parametrize("group", [main, council_main])
def test_a_command_is_listed_with_its_own_summary(group: click.Group) -> None:
    listed = {name: summary for own in group.used_by.values() for name, (_, summary) in own.items()}  # type: ignore[attr-defined]
    assert listed == {name: found.get_short_help_str(1_000) for name, found in commands(group) if " " not in name}


@pytest.mark.parametrize("group", [main, council_main])
def test_the_version_is_shown(group: click.Group) -> None:
    shown = CliRunner().invoke(group, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"readiness {software()}\n")


@pytest.mark.parametrize(
    ("line", "begun", "wanted"),
    [
        ("readiness", "bu", {"budget"}),
        ("readiness parts", "", {"list", "withdraw"}),
        ("readiness budget", "--j", {"--json"}),
        ("readiness plan --cohort", "2024", {"202425"}),
        ("readiness plan --council", "le", {"leeds", "leicester", "leicestershire", "lewisham"}),
        ("readiness parts list --source", "", set(CONTRACTS)),
    ],
)
def test_a_shell_completes_commands_options_cohorts_councils_and_sources(
    line: str, begun: str, wanted: set[str]
) -> None:
    found = BashComplete(main, {}, "readiness", "_READINESS_COMPLETE").get_completions(line.split()[1:], begun)
    assert {each.value for each in found} == wanted


def test_a_cohort_that_is_none_ends_the_command_with_a_sentence() -> None:
    shown = CliRunner().invoke(main, ["plan", "--cohort", "2024/26"])
    assert shown.exit_code == Ending.USAGE
    assert "'2024/26' is not a cohort: write two consecutive years as 202425 or 2024/25" in shown.stderr


@pytest.mark.parametrize(
    ("given", "option", "variable"), [([], "landing", LANDING), (["--landing", "/l"], "home", HOME)]
)
def test_what_is_missing_names_the_variable_that_may_give_it(given: list[str], option: str, variable: str) -> None:
    missing = CliRunner().invoke(main, ["run", *given], env={HOME: None, LANDING: None})
    assert missing.exit_code == Ending.USAGE
    assert f"Missing option '--{option}' (env var: '{variable}')" in missing.stderr
