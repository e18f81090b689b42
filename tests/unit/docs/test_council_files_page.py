"""What docs/council-files.md shows can be written as it stands."""

import re
from pathlib import Path

import pytest

from sources.contracts import CONTRACTS
from sources.councils.council_file import read_council_file
from tests.support import PROJECT

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
