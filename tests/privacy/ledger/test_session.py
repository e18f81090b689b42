"""Noise is drawn once for one charge, through every crash, retry and race.

It is kept in files that are canonical, private, written completely, and accepted only if everything agrees.
"""

import ctypes
import json
import os
import signal
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from privacy.release import session
from privacy.release.canonical import compute_sha256, encode_canonical_json
from privacy.release.ledger import (
    BudgetExceeded,
    BudgetNotApproved,
    Ledger,
    LedgerCorrupt,
    ReleaseConflict,
    StatedCharge,
)
from privacy.release.mechanism import OPENDP, OpenDPNoise, compute_charge, measure
from privacy.release.session import MeasurementStoreError, StoredMeasurement, settle
from tests.support.release.doubles import ForbiddenNoise, NoNoise
from tests.support.release.examples import make_small_plan, measure_small
from tests.support.waiting import run_processes
from tests.support.warm import WARM

CHARGE = ("202425", "2026.11.0", "small")


@pytest.fixture
def home(tmp_path):
    Ledger(tmp_path / "ledger.sqlite").approve("202425", 0.30)
    return tmp_path


def ledger_of(home):
    return Ledger(home / "ledger.sqlite")


def kinds(home):
    return [entry.kind for entry in ledger_of(home).list_entries()]


def ask(home, noise=None, store_dir="restricted", **changes):
    """Run the measurement that all these tests use, with changes."""
    return measure_small(ledger_of(home), home / store_dir, noise=noise, **changes)


def faulting(home):
    """Measure, and crash by reading invalid memory during the draw."""
    with patch.object(session, "OpenDPNoise", FaultyNoise):
        ask(home)


def racing(barrier, home):
    """Wait for the other processes, measure, and record every draw."""
    barrier.wait()
    ask(home, NotingNoise(home / "draws"))


class FaultyNoise(OpenDPNoise):
    def add(self, vectors, sigmas):
        super().add(vectors, sigmas)
        ctypes.string_at(0)
        raise AssertionError("it should have crashed")


class NotingNoise(OpenDPNoise):
    """OpenDP noise that records which process draws."""

    def __init__(self, notes):
        super().__init__(compute_charge(make_small_plan()))
        self.notes = notes

    def add(self, vectors, sigmas):
        with self.notes.open("a") as notes:
            notes.write(f"{os.getpid()}\n")
        return super().add(vectors, sigmas)


def same(one, other):
    return all((one.noisy[a] == other.noisy[a]).all() for a in make_small_plan().sigmas)


def test_it_is_charged_stored_and_read_back_ever_after(home):
    first = ask(home)
    again = ask(home, ForbiddenNoise(), count=lambda: pytest.fail("counted again"))
    assert same(first, again)
    assert first.noise_source == OPENDP
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]
    assert ledger_of(home).compute_remaining("202425") == pytest.approx(
        0.3 - compute_charge(make_small_plan()), abs=2e-9
    )
    stored = session.read_measurement(home / "restricted", *CHARGE, plan=make_small_plan())
    reservation = ledger_of(home).find(*CHARGE)
    content = session.build_measurement_path(home / "restricted", *CHARGE).read_bytes()
    assert reservation.end.measurement_sha256 == compute_sha256(content)
    assert stored.ledger_entry == reservation.entry.entry_hash
    ledger_of(home).check_known(session.read_charges(home / "restricted", "202425"))
    assert list((home / "restricted" / "drawn").iterdir()) == []


def test_a_segmentation_fault_in_a_draw_costs_neither_budget_nor_run(home):
    """After two in a row, the third run measures."""
    for _ in range(2):
        assert run_processes(WARM.Process(target=faulting, args=(home,))) == [-signal.SIGSEGV]
    assert list((home / "restricted").glob("**/*.json")) == []
    first = ask(home)
    assert same(first, ask(home, ForbiddenNoise()))
    assert kinds(home) == ["APPROVE", "RESERVE", "VOID", "RESERVE", "VOID", "RESERVE", "COMMIT"]
    assert ledger_of(home).compute_remaining("202425") == pytest.approx(
        0.3 - compute_charge(make_small_plan()), abs=2e-9
    )


def test_of_processes_at_once_exactly_one_draws(home):
    barrier = WARM.Barrier(4)
    assert run_processes(*(WARM.Process(target=racing, args=(barrier, home)) for _ in range(4))) == [0, 0, 0, 0]
    assert len((home / "draws").read_text().split()) == 1
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]


@pytest.mark.parametrize(
    ("change", "what"),
    [({"plan": make_small_plan(0.09)}, "another plan"), ({"input_mac": "b" * 64}, "another child table")],
)
def test_another_plan_or_input_under_the_same_release_is_refused(home, change, what):
    ask(home)
    with pytest.raises(ReleaseConflict, match=what):
        ask(home, noise=ForbiddenNoise(), **change)
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]


def test_a_charge_that_does_not_fit_draws_nothing(home):
    for release in ("1", "2"):
        ask(home, release=release)
    with pytest.raises(
        BudgetExceeded, match=r"would fit, with noise 1\.\d\d times as wide, epsilon 2\.14 instead of 3\.13 at delta"
    ):
        ask(home, release="3", plan=make_small_plan(0.2), noise=ForbiddenNoise())
    with pytest.raises(BudgetNotApproved):
        ask(home, cohort="202526", noise=ForbiddenNoise())
    assert kinds(home).count("RESERVE") == 2


def test_a_table_that_cannot_be_counted_costs_nothing(home):
    with pytest.raises(RuntimeError):
        ask(home, ForbiddenNoise(), count=_fail)
    with pytest.raises(ValueError, match="measured marginals"):
        ask(home, ForbiddenNoise(), count=dict)
    assert kinds(home) == ["APPROVE"]


def test_a_stored_file_that_is_not_the_committed_one_is_refused(home):
    ask(home)
    path = session.build_measurement_path(home / "restricted", *CHARGE)
    path.write_bytes(path.read_bytes().replace(b'"cohort":"202425"', b'"cohort":"202426"'))
    with pytest.raises(MeasurementStoreError, match="not the file that the ledger recorded"):
        ask(home, ForbiddenNoise())
    path.unlink()
    with pytest.raises(MeasurementStoreError, match="not in the store"):
        ask(home, ForbiddenNoise())


def measurement_of(home, paid_by):
    plan = make_small_plan()
    counts = {a: np.zeros(plan.family.get_shape(a), dtype=np.int64) for a in plan.sigmas}
    measurement = replace(measure(plan, counts, NoNoise()), noise_source=OPENDP)
    return session.StoredMeasurement(*CHARGE, "a" * 64, paid_by, measurement)


def reserve(home):
    return ledger_of(home).reserve(*CHARGE, compute_charge(make_small_plan()), make_small_plan().sha256, "a" * 64)


def test_a_file_that_another_charge_paid_for_is_removed_unread(home):
    reserve(home)
    session.keep_drawn(home / "restricted", measurement_of(home, "0" * 64))
    ask(home)
    assert kinds(home) == ["APPROVE", "RESERVE", "VOID", "RESERVE", "COMMIT"]
    assert list((home / "restricted" / "drawn").iterdir()) == []


def test_another_charges_measurement_is_not_committed(home):
    """Not even from its final path, where an intact home has no file before the charge is committed."""
    reserve(home)
    session.keep_drawn(home / "restricted", measurement_of(home, "0" * 64))
    session.promote_drawn(home / "restricted", *CHARGE, "0" * 64)
    with pytest.raises(LedgerCorrupt, match="another ledger, or an old copy"):
        ask(home, ForbiddenNoise())
    assert kinds(home) == ["APPROVE", "RESERVE"]


def test_what_lies_in_its_place_is_committed_to_a_ledger_of_before_its_commit(home):
    """The ledger is a copy from before the commit: the measurement at its final path may have been seen."""
    begun = reserve(home)
    stored = measurement_of(home, begun.entry.entry_hash)
    session.keep_drawn(home / "restricted", stored)
    session.promote_drawn(home / "restricted", *CHARGE, begun.entry.entry_hash)
    assert same(ask(home, ForbiddenNoise()), stored.measurement)
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]


def test_two_homes_with_one_ledger_share_its_cap_and_draw_a_release_once(home):
    """Like workers that share a database, or an attacker who points a copy at the first home's ledger."""
    ask(home)
    with pytest.raises(MeasurementStoreError, match="not in the store"):
        ask(home, ForbiddenNoise(), store_dir="second")
    ask(home, store_dir="second", release="2026.11.1")
    ask(home, release="2026.11.2")
    for store_dir in ("restricted", "second"):
        with pytest.raises(BudgetExceeded):
            ask(home, ForbiddenNoise(), store_dir=store_dir, release="2026.11.3")


def test_a_ledger_that_lost_its_write_ahead_log_draws_nothing(home):
    """Somebody deletes the log while another program has the ledger open, so the file itself is out of date."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as held:
        held.execute("BEGIN")
        held.execute("SELECT * FROM entries").fetchall()
        ask(home)
        content = (home / "ledger.sqlite").read_bytes()
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    (home / "ledger.sqlite").write_bytes(content)
    assert kinds(home) == ["APPROVE"]
    with pytest.raises(LedgerCorrupt, match="another ledger, or an old copy"):
        ask(home, ForbiddenNoise())
    assert kinds(home) == ["APPROVE"]


def stated(entry, **changes):
    claim = StatedCharge("the bundle", entry.cohort, entry.release, entry.family, entry.plan_sha256, entry.entry_hash)
    return replace(claim, **changes)


def test_what_is_published_is_never_given_back(home):
    """The ledger is restored from a copy between RESERVE and COMMIT, without measurements but with its bundle."""
    published = stated(reserve(home).entry)
    for _ in range(2):
        with pytest.raises(LedgerCorrupt, match="does not have the charge that the bundle states for small"):
            ask(home, published=lambda: [published], noise=ForbiddenNoise())
    assert kinds(home) == ["APPROVE", "RESERVE"]


@pytest.mark.parametrize("change", ["cohort", "release", "family", "plan_sha256", "ledger_entry"])
def test_a_ledger_that_does_not_know_what_is_published_charges_nothing(home, change):
    ask(home)
    published = stated(ledger_of(home).find(*CHARGE).entry)
    settle(ledger_of(home), home / "restricted", "202425", lambda: [published])
    with pytest.raises(LedgerCorrupt, match="another ledger, or an old copy"):
        ask(home, release="2026.11.1", published=lambda: [replace(published, **{change: "x"})], noise=ForbiddenNoise())
    assert kinds(home) == ["APPROVE", "RESERVE", "COMMIT"]


def test_who_was_cut_off_from_the_ledger_cannot_commit(home):
    """Its draw belongs to a charge that was refunded: it is not used, and the next run removes it."""
    slow = ledger_of(home).reserve(*CHARGE, compute_charge(make_small_plan()), make_small_plan().sha256, "a" * 64)
    first = ask(home)
    sha256 = session.keep_drawn(home / "restricted", measurement_of(home, slow.entry.entry_hash))
    with pytest.raises(ReleaseConflict, match="already ended"):
        ledger_of(home).commit(slow, sha256)
    with pytest.raises(ReleaseConflict, match="already ended"):
        ledger_of(home).void(slow, "late")
    settle(ledger_of(home), home / "restricted", "202425", tuple)
    assert list((home / "restricted" / "drawn").iterdir()) == []
    assert same(first, ask(home, ForbiddenNoise()))


def test_the_size_of_what_is_stored_does_not_depend_on_what_was_drawn(home):
    sizes = set()
    for number in (0, -7, 10**12):
        stored = measurement_of(home, "0" * 64)
        noisy = {a: np.full_like(n, number) for a, n in stored.measurement.noisy.items()}
        session.keep_drawn(home / "restricted", replace(stored, measurement=replace(stored.measurement, noisy=noisy)))
        sizes.add((home / "restricted" / "drawn" / f"{'0' * 64}.json").stat().st_size)
    assert len(sizes) == 1


def _fail():
    raise RuntimeError("no table")


# --- Files of measurements


@pytest.fixture
def written(tmp_path):
    plan = make_small_plan()
    counts = {a: np.full(plan.family.get_shape(a), 3, dtype=np.int64) for a in plan.sigmas}
    measurement = measure(plan, counts, OpenDPNoise(compute_charge(plan)))
    sha256 = session.keep_drawn(tmp_path, StoredMeasurement(*CHARGE, "a" * 64, "b" * 64, measurement))
    session.promote_drawn(tmp_path, *CHARGE, "b" * 64)
    return tmp_path, measurement, sha256


def test_what_is_written_is_read(written):
    root, measurement, sha256 = written
    path = root / "measurements" / "cohort=202425" / "release=2026.11.0" / "small.json"
    stored = session.read_measurement(root, *CHARGE, plan=make_small_plan(), sha256=sha256)
    assert sha256 == compute_sha256(path.read_bytes())
    assert (stored.input_mac, stored.ledger_entry) == ("a" * 64, "b" * 64)
    assert stored.measurement.rho == measurement.rho
    assert all((stored.measurement.noisy[a] == noisy).all() for a, noisy in measurement.noisy.items())
    assert path.read_bytes().rstrip(b" ") == encode_canonical_json(json.loads(path.read_bytes()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["small.json"]


def test_nothing_is_ever_replaced(written):
    root, measurement, _ = written
    kept = session.build_measurement_path(root, *CHARGE).read_bytes()
    session.keep_drawn(root, StoredMeasurement(*CHARGE, "a" * 64, "c" * 64, measurement))
    session.promote_drawn(root, *CHARGE, "c" * 64)
    assert session.build_measurement_path(root, *CHARGE).read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.update(noise_source="none (test)"), "noise from 'none \\(test\\)'"),
        (lambda b: b.update(plan_sha256="0" * 64), "another plan"),
        (lambda b: b.update(release="2026.11.1"), "another family, release or cohort"),
        (lambda b: b["marginals"].pop(), "does not fit its plan"),
        (lambda b: b["marginals"][0].update(noisy=[1, 2]), "not a measurement file"),
        (lambda b: b.pop("rho"), "not a measurement file"),
    ],
)
def test_a_file_that_does_not_agree_is_refused(written, change, message):
    """Its hash is computed again, as someone who knows the format would."""
    root, _, _ = written
    path = session.build_measurement_path(root, *CHARGE)
    body = json.loads(path.read_bytes())["measurement"]
    change(body)
    rewritten = {"measurement": body, "sha256": compute_sha256(encode_canonical_json(body))}
    path.write_bytes(encode_canonical_json(rewritten))
    with pytest.raises(MeasurementStoreError, match=message):
        session.read_measurement(root, *CHARGE, plan=make_small_plan())


def test_an_altered_or_missing_file_is_refused(written):
    root, _, _ = written
    path = session.build_measurement_path(root, *CHARGE)
    with pytest.raises(MeasurementStoreError, match="ledger recorded"):
        session.read_measurement(root, *CHARGE, plan=make_small_plan(), sha256="0" * 64)
    altered = path.read_bytes().replace(b'"input_mac":"a', b'"input_mac":"c')
    for content, message in ((altered, "was altered"), (b"[", "not a measurement file")):
        path.write_bytes(content)
        with pytest.raises(MeasurementStoreError, match=message):
            session.read_measurement(root, *CHARGE, plan=make_small_plan())
    path.unlink()
    with pytest.raises(MeasurementStoreError, match="not in the store"):
        session.read_measurement(root, *CHARGE, plan=make_small_plan())


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_a_name_that_would_leave_its_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="may hold only"):
        session.build_measurement_path(tmp_path, "202425", name, "small")
