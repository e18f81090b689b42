"""The recipes for a table and a column, followed to the letter in a copy of the project, up to a verified release."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import PROJECT

pytestmark = pytest.mark.slow

_RELEASE = """
from pathlib import Path
import duckdb
from assets.linkage.children import get_derivations
from ndl_export.bundle.verify import verify
from ndl_export.tables.schema import SCHEMA_VERSION
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from tests.support.release.homes import make_home, make_release
folder, councils = Path.cwd(), ["halton", "leeds"]
home = make_home(folder / "home", 200, councils)
report = verify(make_release(home, KeyRing.create(folder / "keys", demonstration=True), councils))
assert report.ok, str(report)
assert SCHEMA_VERSION == "1.1.0"
for derivation in get_derivations("pupil").values():
    for source, columns in derivation.made_of.items():
        contract = CONTRACTS[source]
        assert {*columns} <= {column.name for column in (*contract.columns, *contract.derived)}, columns
with duckdb.connect(str(home.release / "readiness.duckdb"), read_only=True) as database:
    print(database.execute("SELECT DISTINCT %s FROM %s ORDER BY ALL").fetchall())
"""
_ANCHORS = {
    "sources/contracts/sources.py": ("        people.ETHNICITY,\n", '        "fsm_eligible": ("pupil.fsm",),\n'),
    "ndl_export/tables/pupil.yaml": ("tables:\n",),
}
"""Lines after which the snippets of a recipe are added."""


def _read_snippets(heading: str) -> dict[str, list[str]]:
    """Return what a recipe adds, by the file that each step names."""
    recipes = (PROJECT / "docs" / "recipes.md").read_text()
    recipe = recipes.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    steps = re.split(r"\n\d\. \*\*`(.*?)`\*\*", recipe)
    blocks = [re.findall(r"(?:^ {7}.*\n)+", text, re.MULTILINE) for text in steps[2::2]]
    return {name: list(map(textwrap.dedent, found)) for name, found in zip(steps[1::2], blocks, strict=True)}


def _follow(root: Path, heading: str) -> int:
    """Do what a recipe says, and return the number of files that it takes."""
    steps = _read_snippets(heading)
    for name, snippets in steps.items():
        path, text = root / name, (root / name).read_text()
        if name.endswith(".yaml"):
            *attributes, table = snippets
            text = text.replace("tables:\n", f"tables:\n{textwrap.indent(table, '  ')}\n", 1)
            declared = "".join(textwrap.indent(each, "  ") for each in attributes)
            text = f"attributes:\n{declared}\n{text}" if declared else text
        else:
            for anchor, added in zip(_ANCHORS[name], snippets, strict=True):
                assert text.count(anchor) == 1, (name, anchor)
                text = text.replace(anchor, anchor + textwrap.indent(added, " " * 8))
        path.write_text(text)
    return len(steps)


@pytest.mark.parametrize(
    ("heading", "files", "column", "table", "category"),
    [
        ("Add a published table", 1, "goals_band", "gld_by_goals", "0 to 4"),
        ("Add a source column", 2, "young_carer", "gld_by_young_carer", "Not a young carer"),
    ],
)
def test_a_recipe_ends_in_a_charged_release(
    tmp_path: Path, heading: str, files: int, column: str, table: str, category: str
) -> None:
    for name in ("assets", "ndl_export", "pipelines", "privacy", "sources", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    assert _follow(tmp_path, heading) == files
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _RELEASE % (column, table)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert category in done.stdout
