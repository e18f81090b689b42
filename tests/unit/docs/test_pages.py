"""Pages of the documentation: links lead somewhere, commands can be typed, and council files load."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipelines.cli import main
from sources.contracts import CONTRACTS
from sources.councils.council_file import read_council_file
from tests.support import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
SHOWN = re.compile(r"^```[\s\S]*?^```|^    .*$|`[^`\n]*`", re.MULTILINE)
"""What is shown as it stands, and is no link."""
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Of the headings, as they are made of their words by those who show Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in LINK.findall(SHOWN.sub("", page.read_text(encoding="utf-8")))]
    assert len(links) > 200
    for page, link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), (page, link)
        assert target.is_relative_to(PROJECT), (page, link)
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), (page, link)


_BLOCK = re.compile(r"^(?:    .*\n)+", re.MULTILINE)


def _commands() -> Iterator[str]:
    """What is shown as typed, one command after the other, without the comments behind it."""
    for page in ("runbook.md", "backup.md"):
        for block in _BLOCK.findall((PROJECT / "docs" / page).read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split("#")[0].split("&&"):
                    if part.strip().startswith("readiness "):
                        yield " ".join(part.split())


TYPED = sorted(set(_commands()))


@pytest.mark.parametrize("shown", TYPED)
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
    assert len(TYPED) > 35
    assert {"backup", "restore", "forget", "run", "publish", "withdraw"} <= {shown.split()[1] for shown in TYPED}


PAGE = (PROJECT / "docs" / "council-files.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"`(\w+): (\{(?:from|join|first_of): [^`]*\})`", PAGE)


def test_the_whole_file_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"(?:^    .*\n)*^    council: bradford.*\n(?:^    .*\n)*", PAGE, re.MULTILINE)
    path = tmp_path / "bradford.yaml"
    path.write_text("\n".join(line[4:] for line in block.splitlines()))
    dialect = read_council_file(path).get_dialect("eyfsp")
    assert dialect.delimiter == "|"
    assert dialect.get_formats("date_of_birth") == ("excel",)
    assert dialect.derived["surname"].inputs == ("Child name",)


@pytest.mark.parametrize(("column", "operation"), EXAMPLES)
def test_each_derived_column_loads(tmp_path: Path, column: str, operation: str) -> None:
    source = next(name for name, contract in CONTRACTS.items() if column in contract)
    path = tmp_path / "bradford.yaml"
    path.write_text(f"council: bradford\nsources:\n  {source}:\n    derived:\n      {column}: {operation}\n")
    assert list(read_council_file(path).get_dialect(source).derived) == [column]
