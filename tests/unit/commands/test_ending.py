"""Exit statuses that a scheduler can tell apart, for every command, in one place."""

import re

import click
import pytest
from click.testing import CliRunner

from assets.home.errors import PACKAGES
from assets.home.home_lock import InUse
from assets.linkage.link import NotEnoughMemory
from ndl_export.publish.upload import PlaceInUse
from pipelines.cli import main
from pipelines.commands.console import HELP, PlainGroup
from pipelines.ending import ENDINGS, Ending, RunStopped, find_ending, find_ending_by_name
from privacy.keys import KeyProblem
from privacy.release.approval import WaitsForApproval
from privacy.release.ledger import BudgetExceeded, LedgerCorrupt, ReleaseConflict
from tests.support import PROJECT


def classes() -> set[str]:
    sources = (path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    return {name for path in sources for name in re.findall(r"^class (\w+)\(", path.read_text(), re.MULTILINE)}


def test_every_error_that_has_an_ending_is_one_of_the_code_and_has_one() -> None:
    named = [name for names in ENDINGS.values() for name in names]
    assert sorted(set(named)) == sorted(named)
    assert set(named) <= classes()


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (KeyProblem("x"), Ending.INPUT),
        (ReleaseConflict("x"), Ending.INPUT),
        (BudgetExceeded("x", requested=1.0, left=0.0), Ending.BUDGET),
        (WaitsForApproval("x"), Ending.HOLD),
        (InUse("x"), Ending.HOLD),
        (PlaceInUse("x"), Ending.HOLD),
        (LedgerCorrupt("x"), Ending.FAULT),
        (NotEnoughMemory("x"), Ending.FAULT),
        (RunStopped("x", Ending.HOLD), Ending.HOLD),
        (OSError(28, "No space left on device"), Ending.FAULT),
        (ZeroDivisionError(), Ending.FAULT),
    ],
)
def test_a_command_ends_as_its_error_asks(error: Exception, ending: Ending) -> None:
    @click.group(cls=PlainGroup, context_settings=HELP)
    def group() -> None: ...

    @group.command()
    def fails() -> None:
        raise error

    done = CliRunner().invoke(group, ["fails"])
    assert done.exit_code == ending == find_ending(error)
    assert done.stderr.startswith("readiness: ")
    assert done.stderr.count("\n") == 1
    if not isinstance(error, (RunStopped, OSError, ZeroDivisionError)):
        assert find_ending_by_name(type(error).__name__) == ending


def test_what_is_asked_wrongly_is_told_from_what_is_sent_wrongly() -> None:
    for wrong in (["plan"], ["plan", "--home", "h", "--cohort", "2024"], ["no-such-command"], ["budget", "--jsno"]):
        assert CliRunner().invoke(main, wrong).exit_code == Ending.USAGE
    assert CliRunner().invoke(main, ["budget", "--home", "/nowhere"]).exit_code == Ending.INPUT
