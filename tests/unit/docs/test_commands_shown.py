"""Every command of the runbook and of the page on backups can be typed: its words, its options, what it must have."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from pipelines.cli import main
from tests.support import PROJECT

_BLOCK = re.compile(r"^(?:    .*\n)+", re.MULTILINE)


def _commands() -> Iterator[str]:
    """What is shown as typed, one command after the other, without the comments behind it."""
    for page in ("runbook.md", "backup.md"):
        for block in _BLOCK.findall((PROJECT / "docs" / page).read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("#")[0].split("&&"):
                    if part.strip().startswith("readiness "):
                        yield " ".join(part.split())


SHOWN = sorted(set(_commands()))


@pytest.mark.parametrize("shown", SHOWN)
def test_a_command_that_is_shown_can_be_typed(shown: str) -> None:
    words = shlex.split(shown)[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found
        command = found
    options, left, _ = command.make_parser(click.Context(command)).parse_args(words)
    assert not left
    missing = [
        each.name for each in command.params if each.required and not each.envvar and not options.get(each.name or "")
    ]
    assert missing == []
    for each in command.params:
        if isinstance(each.type, click.Choice) and options.get(each.name or ""):
            assert options[each.name or ""] in each.type.choices


def test_commands_are_found() -> None:
    assert len(SHOWN) > 35
    assert {"backup", "restore", "forget", "run", "publish", "withdraw"} <= {shown.split()[1] for shown in SHOWN}
