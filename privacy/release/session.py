"""The one path that draws noise: charged before it is drawn, drawn once, found again ever after.

    state of the charge in the ledger        measurement file      what `measure_once` does
    -----------------------------------      ----------------      ------------------------------------------------
    none                                     none                  count, RESERVE, draw, store, COMMIT
    none                                     there                 refuse: the ledger has lost an entry
    RESERVE                                  there                 COMMIT it and return it; draws nothing
    RESERVE                                  none                  WRITE_OFF, and refuse: spent in a crash
    COMMIT                                   there, same hash      return it; draws nothing
    COMMIT                                   missing or altered    refuse
    WRITE_OFF                                any                   refuse
    any, under another plan or input                               refuse

`measured_before` looks at no input: it reads back what a COMMIT has recorded, and can neither charge nor draw.

A charge that was lost stays lost, and so does its place in the release: measuring again takes a new release version,
which draws on the same budget. Whoever decides to spend again does so knowingly, and no automatic retry can.

Before a charge, the ledger must know every measurement that the store holds of the cohort: a ledger that was replaced,
or restored from an old copy, would hand out the same budget again.

Counting comes before RESERVE so that a table that cannot be counted costs nothing; counts are held in memory only. The
lock is held from the look at the ledger to the COMMIT, so of two processes at once exactly one draws and the other
reads; it is let go by a dying process, which is how a crash is told from work in progress.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from privacy.release import store
from privacy.release.ledger import BudgetExceeded, Ledger, LedgerCorrupt, ReleaseConflict, Reservation
from privacy.release.mechanism import (
    OPENDP,
    Counts,
    Measurement,
    NoiseSource,
    OpenDPNoise,
    charge,
    check_counts,
    epsilon,
    measure,
)
from privacy.release.plan import Plan


class ChargeLost(ReleaseConflict):
    """A charge that was spent in a crash, with no measurement to show for it."""


def measure_once(
    ledger: Ledger,
    store_dir: Path,
    *,
    cohort: str,
    release: str,
    family: str,
    plan: Plan,
    input_mac: str,
    count: Callable[[], Counts],
    noise: NoiseSource | None = None,
) -> Measurement:
    """The measurement of one family of one release: made now and charged, or read back if it was made before.

    `store_dir` is the restricted zone; `count` is called only if noise will be drawn; `noise` is for tests, and by
    default OpenDP behind a filter of exactly the reserved rho. Raises BudgetExceeded or BudgetNotApproved before
    anything is spent, ReleaseConflict for another plan or input, ChargeLost, LedgerCorrupt or StoreError.
    """
    if family != plan.family.name:
        raise ValueError(f"the plan is for family {plan.family.name!r}, not {family!r}")
    wanted = _Wanted(ledger, store_dir, cohort, release, plan, input_mac)
    with ledger.exclusive():
        reservation = ledger.find(cohort, release, family)
        if reservation is not None:
            return _found(wanted, reservation, noise)
        if wanted.path.exists():
            raise LedgerCorrupt(f"a measurement of {family}, release {release}, exists that no ledger entry paid for")
        return _drawn(wanted, count, noise)


def measured_before(ledger: Ledger, store_dir: Path, *, cohort: str, release: str, plan: Plan) -> Measurement:
    """The measurement that a family of a release was charged for and that was stored, whatever has become of its input.

    Raises ReleaseConflict where there is none, or it was of another plan; LedgerCorrupt or StoreError.
    """
    reservation = ledger.find(cohort, release, plan.family.name)
    if reservation is None or not reservation.is_committed:
        raise ReleaseConflict(f"{plan.family.name} of release {release}, cohort {cohort}, has no stored measurement")
    return _found(_Wanted(ledger, store_dir, cohort, release, plan, reservation.entry.input_mac), reservation, None)


@dataclass(frozen=True)
class _Wanted:
    """One family of one release, as asked for now, and where to look for it."""

    ledger: Ledger
    store_dir: Path
    cohort: str
    release: str
    plan: Plan
    input_mac: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.cohort, self.release, self.plan.family.name

    @property
    def path(self) -> Path:
        return store.path_of(self.store_dir, *self.key)


def _drawn(wanted: _Wanted, count: Callable[[], Counts], noise: NoiseSource | None) -> Measurement:
    """Count, charge, draw, store, commit, in this order."""
    rho = charge(wanted.plan)
    counts = count()
    check_counts(wanted.plan, counts)
    wanted.ledger.verify_chain(store.charges(wanted.store_dir, wanted.cohort))
    reservation = _reserved(wanted, rho)
    measurement = measure(wanted.plan, counts, noise or OpenDPNoise(reservation.rho))
    paid_by = reservation.entry.entry_hash
    stored = store.StoredMeasurement(*wanted.key, wanted.input_mac, paid_by, measurement)
    wanted.ledger.commit(reservation, store.write(wanted.store_dir, stored))
    return measurement


def _reserved(wanted: _Wanted, rho: float) -> Reservation:
    try:
        return wanted.ledger.reserve(*wanted.key, rho, wanted.plan.sha256, wanted.input_mac)
    except BudgetExceeded as refused:
        if not refused.left:
            raise
        would_fit, asked = (epsilon(amount, wanted.plan.delta) for amount in (refused.left, refused.asked))
        message = f"{refused}, epsilon {would_fit:.2f} instead of {asked:.2f} at delta {wanted.plan.delta:g}"
        raise BudgetExceeded(message, asked=refused.asked, left=refused.left) from None


def _found(wanted: _Wanted, reservation: Reservation, noise: NoiseSource | None) -> Measurement:
    """What a charge made earlier has left: its measurement, or a refusal that says it is gone."""
    _refuse_change(reservation, wanted.plan, wanted.input_mac)
    if reservation.is_written_off:
        raise _lost(reservation)
    if reservation.end is None and not wanted.path.exists():
        store.discard_unfinished(wanted.store_dir, *wanted.key)
        raise _lost(wanted.ledger.write_off(reservation, "no measurement was stored: the process that drew it stopped"))
    recorded = reservation.end.measurement_sha256 if reservation.end else None
    source = noise.name if noise else OPENDP
    stored, sha256 = store.read(wanted.store_dir, *wanted.key, plan=wanted.plan, sha256=recorded, noise_source=source)
    if (stored.ledger_entry, stored.input_mac) != (reservation.entry.entry_hash, wanted.input_mac):
        raise LedgerCorrupt(
            f"the measurement at {wanted.path.name}, release {wanted.release}, was paid by another charge"
        )
    if reservation.end is None:
        wanted.ledger.commit(reservation, sha256)
    return stored.measurement


def _refuse_change(reservation: Reservation, plan: Plan, input_mac: str) -> None:
    charged = reservation.entry
    changed = [
        what
        for what, same in (
            ("plan", charged.plan_sha256 == plan.sha256),
            ("child table", hmac.compare_digest(charged.input_mac, input_mac)),
        )
        if not same
    ]
    if changed:
        raise ReleaseConflict(
            f"{charged.family} of release {charged.release}, cohort {charged.cohort}, was charged with another "
            f"{' and another '.join(changed)}. A revision is a new release, and draws on the same budget."
        )


def _lost(reservation: Reservation) -> ChargeLost:
    charged = reservation.entry
    return ChargeLost(
        f"{charged.family} of release {charged.release}, cohort {charged.cohort}, was charged rho {reservation.rho:g}, "
        "and the process stopped before its measurement was stored. The charge is spent and written off. To measure "
        "again, run a new release version: it is charged anew, if the budget of the cohort allows."
    )
