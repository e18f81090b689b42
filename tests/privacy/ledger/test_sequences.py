"""For any sequence of runs, crashes, lost and restored ledgers, second homes and publications: what is visible at a
place never costs more than the cap, and every visible draw was committed for its own charge."""

import json
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ndl_export.facts.bundle_reader import UnreadableAnchor
from privacy.release import session
from privacy.release.ledger import Ledger, LedgerError
from privacy.release.session import MeasurementStoreError
from tests.support.daily import limit_examples
from tests.support.release.anchored import CAP, COHORT, FAMILY, Books

VERSIONS = st.integers(0, 5).map(lambda number: f"2026.11.{number}")
STEPS = ("before reserve", "reserve", "draw", "keep", "before commit", "commit", "before promote", "promote")
HOMES, PLACES = st.sampled_from(["one", "two"]), st.sampled_from(["here", "there"])


class Killed(BaseException):
    """Raised when the process dies at this point: no later code of it runs."""


@contextmanager
def killed_at(step: str):
    """Simulate death before or after one step: no handler runs, and locks are released."""
    owner, name = {
        "reserve": (Ledger, "reserve"),
        "draw": (session, "measure"),
        "keep": (session, "keep_drawn"),
        "commit": (Ledger, "commit"),
        "promote": (session, "promote_drawn"),
    }[step.removeprefix("before ")]
    call = getattr(owner, name)

    def dying(*arguments, **named):
        if not step.startswith("before"):
            call(*arguments, **named)
        raise Killed

    with suppress(Killed), patch.object(owner, name, dying):
        yield


class Sequences(RuleBasedStateMachine):
    """Two homes with one signing key; `one` is configured to publish at `here`, and either can publish anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        places = {name: str(self.root / name) for name in ("here", "there")}
        self.homes = {
            "one": Books.for_folder(self.root / "one", places["here"]),
            "two": Books.for_folder(self.root / "two"),
        }
        self.places, self.backups = places, 0

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def attempt(self, act) -> None:
        """Run `act`; any refusal must come from the ledger, the store or an anchor."""
        with suppress(LedgerError, MeasurementStoreError, UnreadableAnchor):
            act()

    @rule(home=HOMES, version=VERSIONS)
    def run(self, home: str, version: str) -> None:
        self.attempt(lambda: self.homes[home].release(version))

    @rule(home=HOMES, version=VERSIONS, step=st.sampled_from(STEPS))
    def crash(self, home: str, version: str, step: str) -> None:
        with killed_at(step):
            self.attempt(lambda: self.homes[home].release(version))

    @rule(home=HOMES, version=VERSIONS, place=PLACES)
    def publish(self, home: str, version: str, place: str) -> None:
        books = self.homes[home]
        if (books.home.release / version).exists():
            self.attempt(lambda: books.publish(version, self.places[place]))

    @rule(home=HOMES)
    def back_up(self, home: str) -> None:
        if (ledger := Path(self.homes[home].home.ledger)).exists():
            self.backups += 1
            shutil.copy(ledger, self.root / f"backup{self.backups}")

    @rule(home=HOMES, number=st.integers(0, 9))
    def restore(self, home: str, number: int) -> None:
        """Restore any copy of any ledger into either home."""
        if self.backups:
            self.homes[home].lose_ledger()
            shutil.copy(self.root / f"backup{1 + number % self.backups}", Path(self.homes[home].home.ledger))

    @rule(home=HOMES)
    def lose_ledger(self, home: str) -> None:
        self.homes[home].lose_ledger()

    @rule(home=HOMES)
    def lose_measurements(self, home: str) -> None:
        self.homes[home].lose_measurements()

    @rule(home=HOMES)
    def empty_the_release_directory(self, home: str) -> None:
        shutil.rmtree(self.homes[home].home.release)
        self.homes[home].home.prepare()

    @rule()
    def copy_the_first_home(self) -> None:
        shutil.rmtree(self.root / "two")
        shutil.copytree(self.root / "one", self.root / "two")

    @invariant()
    def what_is_visible_is_paid_for_within_the_cap(self) -> None:
        for place in map(Path, self.places.values()):
            found = [json.loads(path.read_bytes()) for path in place.glob("*/privacy_statement.json")]
            families = [family for statement in found for family in statement["families"]]
            paid = {family["ledger_entry"]: family["rho"] for family in families}
            assert len(paid) == len(families), "one charge paid for two draws"
            assert sum(paid.values()) <= CAP + 1e-12

    @invariant()
    def a_ledger_never_exceeds_its_cap(self) -> None:
        for books in self.homes.values():
            if Path(books.home.ledger).exists():
                spent = sum(charge.rho for charge in books.ledger.list_charges())
                assert spent <= CAP + 1e-12

    @invariant()
    def what_lies_in_its_place_was_drawn_for_the_charge_it_names(self) -> None:
        for books in self.homes.values():
            kept = session.read_charges(books.home.restricted, COHORT)
            assert len({charge.ledger_entry for charge in kept}) == len(kept)


TestSequences = pytest.mark.slow(Sequences.TestCase)
TestSequences.settings = settings(limit_examples(40), stateful_step_count=40, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_each_step_is_undone_or_finished(step: str, tmp_path: Path) -> None:
    """It never costs budget: three releases fit within the cap, whatever died before each."""
    books = Books.for_folder(tmp_path / "home")
    for version in ("2026.11.0", "2026.11.1"):
        with killed_at(step):
            books.release(version)
        assert books.release(version).is_dir()
        books.measure(version, count=lambda: pytest.fail("counted again"))
    kept = {charge.release: charge for charge in session.read_charges(books.home.restricted, COHORT)}
    assert len(kept) == len(books.ledger.list_charges()) == 2
    assert all(books.ledger.find(COHORT, version, FAMILY).is_committed for version in kept)
    assert list((books.home.restricted / "drawn").glob("*")) == []
