"""The documentation as a site: it is made without a warning, which a link that leads nowhere would be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "sphinx", "-q", "-W", "--keep-going"]
    done = subprocess.run(
        [*command, "-d", made / "doctrees", PROJECT / "docs", made / "html"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr
    return made / "html"


def test_every_page_is_there(site: Path) -> None:
    for page in (PROJECT / "docs").rglob("*.md"):
        assert (site / page.relative_to(PROJECT / "docs").with_suffix(".html")).is_file(), page


def test_the_reference_is_that_of_the_code(site: Path) -> None:
    commands = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert "readiness approve" in commands
    assert "--publish" in commands
    assert "option::" not in commands
    ledger = (site / "reference/code/privacy/privacy.release.html").read_text(encoding="utf-8")
    assert "The only code that draws noise" in ledger


def test_pages_of_the_first_folder_lead_to_pages_of_the_site(site: Path) -> None:
    contributing = (site / "contributing.html").read_text(encoding="utf-8")
    assert 'href="architecture.html"' in contributing
    assert 'href="contributing.html"' in (site / "recipes.html").read_text(encoding="utf-8")
