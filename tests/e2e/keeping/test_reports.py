"""What the commands report of an installation with a release: 80 columns, one JSON document, a page, the same facts."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from tests.support.areas import describe_missing
from tests.support.installation.released import COHORT, Place

pytestmark = pytest.mark.slow

VALIDATOR = shutil.which("html-validate")
WIDTH = 80
VERSION = "2026.11.0"
Command = tuple[str, ...]
PAGES: tuple[Command, ...] = (
    ("plan", "--cohort", COHORT),
    ("plan", "--cohort", COHORT, "--all"),
    ("plan", "--cohort", COHORT, "--share", "0.2"),
    ("plan", "--cohort", COHORT, "--council", "leeds"),
    ("budget",),
    ("log",),
    ("log", "--all", "--verify"),
    ("status", "--cohort", COHORT, "--landing", "LANDING"),
    ("doctor", "--landing", "LANDING", "--keys", "KEYS"),
)
REPORTS: tuple[Command, ...] = (
    *PAGES,
    ("accept", "--cohort", COHORT),
    ("verify", f"HOME/release/{VERSION}"),
    ("recompute", f"HOME/release/{VERSION}"),
    ("diff", VERSION, VERSION),
    ("retention", "--landing", "LANDING", "--keys", "KEYS"),
    ("shred", "--landing", "LANDING", "--keys", "KEYS"),
    ("forget", "--cohort", COHORT, "--council", "leeds", "--source", "eyfsp", "--row", "1", "--keys", "KEYS"),
    ("parts", "list", "--cohort", COHORT, "--council", "leeds", "--source", "eyfsp"),
    ("publish", VERSION, "--to", "HOME/elsewhere"),
    ("withdraw", VERSION, "--reason", "A council sent another year."),
    ("returns", "log"),
    ("keys", "show", "KEYS"),
)
WITHOUT_HOME = ("verify", "recompute", "keys")
WAIT = ("shred", "forget", "publish", "withdraw")


@pytest.fixture(scope="module")
def ask(released: Place) -> Callable[..., Result]:
    """Runs a command at the installation, in a folder from which its paths are short."""
    names = {"LANDING": released.landing, "KEYS": released.root / "keys", "HOME": released.home.root}

    def run(command: Command, *more: str) -> Result:
        words = [_with(each, names) for each in command]
        home = () if command[0] in WITHOUT_HOME else ("--home", str(released.home.root))
        done = CliRunner().invoke(main, [*words, *home, *more])
        assert done.exit_code == (4 if command[0] in WAIT else 0), done.output
        return done

    return run


def _with(word: str, names: dict[str, Path]) -> str:
    for name, path in names.items():
        word = word.replace(name, str(path)) if word.startswith(name) else word
    return word


@pytest.mark.parametrize("command", REPORTS, ids=" ".join)
def test_json_is_one_document_and_nothing_else(ask: Callable[..., Result], command: Command) -> None:
    found = json.loads(ask(command, "--json").stdout)
    if command[0] in WAIT:
        assert found["done"] is False


def test_what_waits_for_yes_has_done_nothing(ask: Callable[..., Result], released: Place) -> None:
    """But for the page about a withdrawal and the file to sign, which people need before they can say yes."""

    def state() -> dict[str, bytes]:
        files = (path for path in released.root.rglob("*") if path.is_file() and path.stem != f"{VERSION}-withdrawal")
        return {str(path): path.read_bytes() for path in files}

    before = state()
    for command in REPORTS:
        if command[0] in WAIT:
            assert "nothing was done yet: run the same command with --yes to do it" in ask(command).stderr
    assert state() == before
    assert not (released.home.root / "elsewhere").exists()


@pytest.fixture(scope="module")
def pages(ask: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> dict[Command, Path]:
    made = {command: tmp_path_factory.mktemp("page") / "page.html" for command in PAGES}
    for command, page in made.items():
        assert ask(command, "--html", str(page)).stdout == f"Page: {page}\n"
    return made


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_the_text_fits_a_terminal_and_the_page_says_what_it_says(
    ask: Callable[..., Result], pages: dict[Command, Path], command: Command
) -> None:
    shown = ask(command).output.splitlines()
    assert [line for line in shown if len(line) > WIDTH] == []
    assert pages[command].stat().st_mode & 0o077 == 0
    markup = pages[command].read_text(encoding="utf-8")
    assert f"<h1>{shown[0]}</h1>" in markup
    assert "http://" not in markup
    assert "https://" not in markup


@pytest.mark.skipif(VALIDATOR is None, reason=describe_missing("html"))
def test_a_validator_finds_nothing_in_the_pages(pages: dict[Command, Path]) -> None:
    """But that elements are closed as in XML, and that a frame which scrolls is a region, as in all reports."""
    rules = [word for rule in ("void-style:off", "prefer-native-element:off") for word in ("--rule", rule)]
    command = [str(VALIDATOR), "--preset", "recommended", *rules, *map(str, pages.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
