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

A charge that was lost stays lost, and so does its place in the release: measuring again takes a new release version,
which draws on the same budget. Whoever decides to spend again does so knowingly, and no automatic retry can.

Counting comes before RESERVE so that a table that cannot be counted costs nothing; counts are held in memory only. The
lock is held from the look at the ledger to the COMMIT, so of two processes at once exactly one draws and the other
reads; it is let go by a dying process, which is how a crash is told from work in progress.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from privacy.release import store
from privacy.release.ledger import Ledger, LedgerCorrupt, ReleaseConflict, Reservation
from privacy.release.mechanism import (
    UNIT_COLUMN,
    Counts,
    Measurement,
    NoiseSource,
    OpenDPNoise,
    charge,
    check_counts,
    columns_of,
    measure,
    opened,
    quoted,
)
from privacy.release.plan import Plan

MINIMUM_KEY_BYTES = 32


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
    path = store.path_of(store_dir, cohort, release, family)
    with ledger.exclusive():
        reservation = ledger.find(cohort, release, family)
        if reservation is None:
            if path.exists():
                raise LedgerCorrupt(
                    f"a measurement of {family}, release {release}, exists that no ledger entry paid for"
                )
            return _measure(ledger, store_dir, cohort, release, plan, input_mac, count, noise)
        _refuse_change(reservation, plan, input_mac)
        return _found(ledger, store_dir, reservation, plan, noise)


def input_mac(table: pa.Table | Path | str, key: bytes, columns: Sequence[str] | None = None) -> str:
    """Keyed identity of a child table: HMAC-SHA256, hexadecimal, over the multiset of its rows.

    Order of rows and of columns does not matter, nor does `child_id`. `columns` defaults to every other column. A plain
    hash would let a guesser confirm a data set; this needs the key. Raises ValueError for a key under 32 bytes.
    """
    if len(key) < MINIMUM_KEY_BYTES:
        raise ValueError(f"the key of the input MAC needs at least {MINIMUM_KEY_BYTES} bytes")
    digest = hmac.new(key, digestmod=hashlib.sha256)
    with opened(table) as connection:
        names = sorted(columns or (name for name in columns_of(connection) if name != UNIT_COLUMN))
        digest.update(("\n".join(names) + "\n").encode())
        fields = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in names)
        rows = connection.execute(f"SELECT CAST(to_json([{fields}]) AS VARCHAR) AS row FROM children ORDER BY row")
        for batch in rows.to_arrow_reader(100_000):
            digest.update("".join(f"{row}\n" for row in batch.column(0).to_pylist()).encode())
    return digest.hexdigest()


def _measure(
    ledger: Ledger,
    store_dir: Path,
    cohort: str,
    release: str,
    plan: Plan,
    input_mac: str,
    count: Callable[[], Counts],
    noise: NoiseSource | None,
) -> Measurement:
    family, rho = plan.family.name, charge(plan)
    counts = count()
    check_counts(plan, counts)
    reservation = ledger.reserve(cohort, release, family, rho, plan.sha256, input_mac)
    measurement = measure(plan, counts, noise or OpenDPNoise(reservation.rho))
    entry = reservation.entry.entry_hash
    stored = store.StoredMeasurement(cohort, release, family, input_mac, entry, measurement)
    ledger.commit(reservation, store.write(store_dir, stored))
    return measurement


def _found(
    ledger: Ledger, store_dir: Path, reservation: Reservation, plan: Plan, noise: NoiseSource | None
) -> Measurement:
    """What a charge made earlier has left: its measurement, or a refusal that says it is gone."""
    charged = reservation.entry
    where = (store_dir, charged.cohort, charged.release, charged.family)
    if reservation.is_written_off:
        raise _lost(reservation)
    if reservation.end is None and not store.path_of(*where).exists():
        store.discard_unfinished(*where)
        raise _lost(ledger.write_off(reservation, "no measurement was stored: the process that drew it stopped"))
    recorded = reservation.end.measurement_sha256 if reservation.end else None
    source = {"noise_source": noise.name} if noise else {}
    stored, sha256 = store.read(*where, plan=plan, sha256=recorded, **source)
    if stored.ledger_entry != charged.entry_hash or stored.input_mac != charged.input_mac:
        raise LedgerCorrupt(
            f"the measurement of {charged.family}, release {charged.release}, was paid by another charge"
        )
    if reservation.end is None:
        ledger.commit(reservation, sha256)
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
        f"{charged.family} of release {charged.release}, cohort {charged.cohort}, was charged rho {reservation.rho:g}, and "
        "the process stopped before its measurement was stored. The charge is spent and written off. To measure again, "
        "run a new release version: it is charged anew, if the budget of the cohort allows."
    )
