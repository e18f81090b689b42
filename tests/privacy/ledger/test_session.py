"""Noise is drawn once for one charge: through every crash, retry and race."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import replace

import numpy as np
import pytest

from privacy.release import store
from privacy.release.ledger import BudgetExceeded, BudgetNotApproved, Ledger, LedgerCorrupt, ReleaseConflict
from privacy.release.mechanism import OPENDP, charge, measure
from privacy.release.session import ChargeLost, measure_once
from privacy.release.store import StoreError
from tests.support.release.doubles import ForbiddenNoise, NoNoise
from tests.support.release.examples import small_plan
from tests.support.release.processes import POINTS, SURVIVES, killed_at, measure_here, racing

SPAWN = multiprocessing.get_context("spawn")
CHARGE = ("202425", "2026.11.0", "small")


@pytest.fixture
def home(tmp_path):
    Ledger(tmp_path / "ledger.sqlite").approve("202425", 0.30)
    return tmp_path


def ledger_of(home):
    return Ledger(home / "ledger.sqlite")


def kinds(home):
    return [entry.kind for entry in ledger_of(home).entries()]


def ask(home, **changes):
    plan = changes.pop("plan", small_plan())
    arguments = {"cohort": "202425", "release": "2026.11.0", "family": "small", "plan": plan, "input_mac": "a" * 64}
    counts = {a: np.full(plan.family.shape(a), 7, dtype=np.int64) for a in plan.sigmas}
    arguments |= {"count": lambda: counts, "noise": None} | changes
    return measure_once(ledger_of(home), home / "restricted", **arguments)


def same(one, other):
    return all((one.noisy[a] == other.noisy[a]).all() for a in small_plan().sigmas)


def test_it_is_charged_stored_and_read_back_ever_after(home):
    first = measure_here(home)
    again = measure_here(home, ForbiddenNoise(), count=lambda: pytest.fail("counted again"))
    assert same(first, again)
    assert first.noise_source == OPENDP
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]
    assert ledger_of(home).remaining("202425") == pytest.approx(0.3 - charge(small_plan()), abs=2e-9)
    stored, sha256 = store.read(home / "restricted", *CHARGE, plan=small_plan())
    reservation = ledger_of(home).find(*CHARGE)
    assert reservation.end.measurement_sha256 == sha256
    ledger_of(home).verify_chain(anchors=[stored.ledger_entry])


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_never_draws_twice_for_one_charge(home, point):
    process = SPAWN.Process(target=killed_at, args=(point, home))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    folder = store.path_of(home / "restricted", *CHARGE).parent
    if point == "count":
        assert kinds(home) == ["APPROVE"]
        measure_here(home)
        assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]
    elif point in SURVIVES:
        kept = (folder / "small.json").read_bytes()
        first = measure_here(home, ForbiddenNoise())
        assert same(first, measure_here(home, ForbiddenNoise()))
        assert (folder / "small.json").read_bytes() == kept
        assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]
    else:
        for _ in range(2):
            with pytest.raises(ChargeLost, match=r"was charged rho 0\.0999.*written off.*new release version"):
                measure_here(home, ForbiddenNoise())
        assert kinds(home) == ["APPROVE", "RESERVE", "WRITE_OFF"]
        assert not folder.exists() or list(folder.iterdir()) == []
        ask(home, release="2026.11.1")
        assert kinds(home)[-2:] == ["RESERVE", "COMMIT"]
    ledger_of(home).verify_chain()


def test_of_processes_at_once_exactly_one_draws(home):
    barrier = SPAWN.Barrier(4)
    processes = [SPAWN.Process(target=racing, args=(barrier, home)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert len((home / "draws").read_text().split()) == 1
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]


@pytest.mark.parametrize(
    ("change", "what"),
    [({"plan": small_plan(0.09)}, "another plan"), ({"input_mac": "b" * 64}, "another child table")],
)
def test_another_plan_or_input_under_the_same_release_is_refused(home, change, what):
    measure_here(home)
    with pytest.raises(ReleaseConflict, match=what):
        ask(home, noise=ForbiddenNoise(), **change)
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]


def test_a_charge_that_does_not_fit_draws_nothing(home):
    for release in ("1", "2"):
        ask(home, release=release)
    with pytest.raises(
        BudgetExceeded, match=r"would fit, with noise 1\.\d\d times as wide, epsilon 2\.14 instead of 3\.13 at delta"
    ):
        ask(home, release="3", plan=small_plan(0.2), noise=ForbiddenNoise())
    with pytest.raises(BudgetNotApproved):
        ask(home, cohort="202526", noise=ForbiddenNoise())
    assert kinds(home).count("RESERVE") == 2


def test_a_table_that_cannot_be_counted_costs_nothing(home):
    with pytest.raises(RuntimeError):
        measure_here(home, ForbiddenNoise(), count=_fail)
    with pytest.raises(ValueError, match="measured marginals"):
        measure_here(home, ForbiddenNoise(), count=dict)
    assert kinds(home) == ["APPROVE"]


def test_a_measurement_without_a_charge_is_refused(home):
    measure_here(home)
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    ledger_of(home).approve("202425", 0.30)
    with pytest.raises(LedgerCorrupt, match="no ledger entry paid for"):
        measure_here(home, ForbiddenNoise())


def test_a_ledger_that_has_lost_a_charge_gives_no_other(home):
    measure_here(home)
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    ledger_of(home).approve("202425", 0.30)
    with pytest.raises(LedgerCorrupt, match="another ledger or an old copy"):
        ask(home, release="2026.11.1", noise=ForbiddenNoise())
    assert kinds(home) == ["APPROVE"]


def test_a_stored_file_that_is_not_the_committed_one_is_refused(home):
    measure_here(home)
    path = store.path_of(home / "restricted", *CHARGE)
    path.write_bytes(path.read_bytes().replace(b'"cohort":"202425"', b'"cohort":"202426"'))
    with pytest.raises(StoreError, match="not the file that the ledger recorded"):
        measure_here(home, ForbiddenNoise())
    path.unlink()
    with pytest.raises(StoreError, match="not in the store"):
        measure_here(home, ForbiddenNoise())


def test_another_charges_measurement_is_not_committed(home):
    ledger, plan = ledger_of(home), small_plan()
    reservation = ledger.reserve(*CHARGE, 0.1, plan.sha256, "a" * 64)
    counts = {a: np.zeros(plan.family.shape(a), dtype=np.int64) for a in plan.sigmas}
    measurement = replace(measure(plan, counts, NoNoise()), noise_source=OPENDP)
    foreign = store.StoredMeasurement(*CHARGE, "a" * 64, "0" * 64, measurement)
    store.write(home / "restricted", foreign)
    with pytest.raises(LedgerCorrupt, match="paid by another charge"):
        measure_here(home, ForbiddenNoise())
    assert ledger.find(*CHARGE).end is None
    assert reservation.rho == 0.1


def test_the_family_must_be_the_plans(home):
    with pytest.raises(ValueError, match="for family 'small', not 'pupil'"):
        ask(home, family="pupil")


def _fail():
    raise RuntimeError("no table")
