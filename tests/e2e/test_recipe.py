"""The recipe for a new table, followed to the letter in a copy of the project, up to a charged and verified release."""

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
from ndl_export.bundle.verify import verify
from privacy.keys import KeyRing
from tests.support.release.homes import make_home, make_release
folder, councils = Path.cwd(), ["halton", "leeds"]
home = make_home(folder / "home", 200, councils)
report = verify(make_release(home, KeyRing.create(folder / "keys", demonstration=True), councils))
assert report.ok, str(report)
with duckdb.connect(str(home.release / "readiness.duckdb"), read_only=True) as database:
    print(database.execute("SELECT DISTINCT goals FROM gld_by_goals ORDER BY ALL").fetchall())
"""


def _read_snippets() -> dict[str, list[str]]:
    """Return what the recipe adds, by the file that each step names."""
    recipes = (PROJECT / "docs" / "recipes.md").read_text()
    recipe = recipes.partition("## Add a published table")[2].partition("\n## ")[0]
    steps = re.split(r"\n\d\. \*\*`(.*?)`\*\*", recipe)
    blocks = [re.findall(r"(?:^ {7}.*\n)+", text, re.MULTILINE) for text in steps[2::2]]
    return {name: list(map(textwrap.dedent, found)) for name, found in zip(steps[1::2], blocks, strict=True)}


def _insert(path: Path, anchor: str, text: str) -> None:
    before = path.read_text()
    assert before.count(anchor) == 1, (path, anchor)
    path.write_text(before.replace(anchor, text))


def _follow(root: Path) -> None:
    steps = {name.rpartition("/")[2]: (root / name, found) for name, found in _read_snippets().items()}
    for name in ("tables.yaml", "filters.csv"):
        path, (added,) = steps.pop(name)
        path.write_text(path.read_text() + added)
    path, (added,) = steps.pop("<family>.py")
    path = path.with_name("pupil.py")
    _insert(path, "FAMILY = model.Family(\n", f"{added}\nFAMILY = model.Family(\n")
    _insert(path, "    tables=(\n", "    tables=(\n        GLD_BY_GOALS,\n")
    path, _ = steps.pop("schema.py")
    path.write_text(path.read_text().replace('SCHEMA_VERSION = "1.0.1"', 'SCHEMA_VERSION = "1.1.0"'))
    path, (added,) = steps.pop("short_views.yaml")
    path.write_text(path.read_text() + textwrap.indent(added, "  "))
    path, (characteristic, groups) = steps.pop("names.yaml")
    for section, added in (("characteristics", characteristic), ("groups", groups)):
        heading = next(line for line in path.read_text().splitlines(keepends=True) if line.startswith(f"{section}:"))
        _insert(path, heading, heading + textwrap.indent(added, "  "))
    assert not steps


def test_the_recipe_for_a_table_ends_in_a_charged_release(tmp_path: Path) -> None:
    for name in ("assets", "ndl_export", "pipelines", "privacy", "sources", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    _follow(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _RELEASE], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "0 to 4" in done.stdout
