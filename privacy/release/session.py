"""The only code that draws noise, which is charged before it is drawn and committed before it is seen.

    1  count      in memory only; a table that cannot be counted costs nothing
    2  RESERVE    the charge is in the ledger, within the cap
    3  draw       OpenDP, once
    4  keep       the noisy counts are durable, where nothing reads them (`keep_drawn`)
    5  COMMIT     the ledger has the hash of what was kept; from here on the charge is spent for good
    6  promote    the file is moved to its final path, where it is read

`settle` finishes what a killed run left. It holds the lock that a measuring process holds from reading the ledger to
promoting the file, so any earlier reservation belongs to a process that has died or lost its connection to the ledger,
and cannot commit any more, because its charge has ended. A file carries the hash of the RESERVE entry that paid for it:
no draw has two charges and no charge has two stored draws.

    charge in the ledger            its file                     what a run does
    --------------------------      -------------------------    ---------------------------------------------
    none, or VOID                   none                         1 to 6
    RESERVE of a dead process       waiting, partial or none     VOID, delete the file unread, then 1 to 6
    RESERVE                         in place                     COMMIT, return it: the ledger was restored, and the
                                                                 file may have been seen
    COMMIT                          waiting                      promote, return it
    COMMIT                          in place, same hash          return it
    COMMIT                          missing or altered           refuse
    any, under another plan or input                             refuse

Before a charge, the ledger must know every charge stated elsewhere: in the cohort's stored measurements, and in what is
published (`published`). A ledger that was lost, replaced or restored from an old copy would hand out the same budget
again.

A measurement file is `<restricted>/measurements/cohort=<c>/release=<v>/<family>.json`, readable by the owner only: the
noisy integers exactly as drawn. It appears whole or not at all, and is read only if its name, its own hash and the
plan's hash all agree, and its noise comes from OpenDP. Until its charge is committed it waits as
`<restricted>/drawn/<hash of the RESERVE entry>.json`, where nothing reads it.
"""

import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from privacy.doors import files
from privacy.release import mechanism
from privacy.release.canonical import check_name, compute_sha256, encode_canonical_json, hash_json
from privacy.release.ledger import BudgetExceeded, Ledger, LedgerCorrupt, ReleaseConflict, Reservation, StatedCharge
from privacy.release.mechanism import Counts, Measurement, OpenDPNoise, compute_charge, measure
from privacy.release.plan import Plan

Published = Callable[[], Iterable[StatedCharge]]
"""Looks up the charges stated by everything published so far."""


def measure_once(
    ledger: Ledger,
    store_dir: Path,
    *,
    cohort: str,
    release: str,
    plan: Plan,
    input_mac: str,
    count: Callable[[], Counts],
    published: Published,
    noise: OpenDPNoise | None = None,
) -> Measurement:
    """Return the measurement of one family of one release: made and charged now, or read back if it was made before.

    `count` is called only if noise will be drawn; `noise` is for tests. Raises BudgetExceeded before anything is spent,
    ReleaseConflict for another plan or input, LedgerCorrupt if a stated charge is missing.
    """
    wanted = _Wanted(ledger, store_dir, cohort, release, plan, input_mac)
    with ledger.lock_exclusively():
        # A committed charge needs no settling, so what is published is not looked up.
        if (found := _find_committed(wanted)) is None:
            _settle(ledger, store_dir, cohort, published)
            found = _find_committed(wanted)
        return _draw_measurement(wanted, count, noise) if found is None else _read(wanted, found, noise)


def read_stored_measurement(ledger: Ledger, store_dir: Path, *, cohort: str, release: str, plan: Plan) -> Measurement:
    """Return the stored measurement of a committed charge, even if its input has changed since."""
    reservation = ledger.find(cohort, release, plan.family.name)
    if reservation is None or not reservation.is_committed:
        raise ReleaseConflict(f"{plan.family.name} of release {release}, cohort {cohort}, has no stored measurement")
    return _read(_Wanted(ledger, store_dir, cohort, release, plan, reservation.entry.input_mac), reservation, None)


def settle(ledger: Ledger, store_dir: Path, cohort: str, published: Published) -> None:
    """Finish what dead processes of any cohort left: promote what is committed, give back what is not.

    Waits for a process that measures. Raises LedgerCorrupt, with nothing given back, if a stated charge is missing.
    """
    with ledger.lock_exclusively():
        _settle(ledger, store_dir, cohort, published)


def _settle(ledger: Ledger, store_dir: Path, cohort: str, published: Published) -> None:
    """Do the work of `settle` for a caller that holds the lock."""
    for each in ledger.list_charges():
        path = build_measurement_path(store_dir, *each.entry.key)
        # In place already: the ledger was restored from before its COMMIT, and the file may have been seen.
        if each.end is None and path.exists():
            content = path.read_bytes()
            if _parse_measurement(content, f"the measurement {path}").ledger_entry == each.entry.entry_hash:
                ledger.commit(each, compute_sha256(content))
    # Before anything is given back: another ledger or an old copy must not hand out spent budget.
    ledger.check_known([*read_charges(store_dir, cohort), *published()])
    for each in ledger.list_charges():
        if each.end is None:
            ledger.void(each, "the process that reserved it stopped; what it drew, if anything, is removed unseen")
    committed = ledger.list_charges()
    for each in committed:
        promote_drawn(store_dir, *each.entry.key, each.entry.entry_hash)
    names = {_build_drawn_path(store_dir, each.entry.entry_hash).name for each in committed}
    # Deleted unread, complete or not: this also finds unfinished files, whose names begin with a dot.
    for path in (store_dir / "drawn").glob("*"):
        if path.name not in names:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Wanted:
    """A request for one family of one release, and where to look for it."""

    ledger: Ledger
    store_dir: Path
    cohort: str
    release: str
    plan: Plan
    input_mac: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.cohort, self.release, self.plan.family.name


def _find_committed(wanted: _Wanted) -> Reservation | None:
    """Return the charge made for it before, if it has ended."""
    reservation = wanted.ledger.find(*wanted.key)
    return reservation if reservation is not None and reservation.is_committed else None


def _draw_measurement(wanted: _Wanted, count: Callable[[], Counts], noise: OpenDPNoise | None) -> Measurement:
    """Count, charge, draw, keep, commit and promote, in this order."""
    rho = compute_charge(wanted.plan)
    counts = count()
    mechanism.check_counts(wanted.plan, counts)
    reservation = _reserve_budget(wanted, rho)
    measurement = measure(wanted.plan, counts, noise or OpenDPNoise(reservation.rho))
    paid_by = reservation.entry.entry_hash
    stored = StoredMeasurement(*wanted.key, wanted.input_mac, paid_by, measurement)
    wanted.ledger.commit(reservation, keep_drawn(wanted.store_dir, stored))
    promote_drawn(wanted.store_dir, *wanted.key, paid_by)
    return measurement


def _reserve_budget(wanted: _Wanted, rho: float) -> Reservation:
    try:
        unit = wanted.plan.family.unit
        return wanted.ledger.reserve(*wanted.key, rho, wanted.plan.sha256, wanted.input_mac, unit=unit)
    except BudgetExceeded as refused:
        # With nothing left there is no smaller plan whose epsilon could be named.
        if not refused.left:
            raise
        delta = wanted.plan.delta
        would_fit, requested = (mechanism.compute_epsilon(rho, delta) for rho in (refused.left, refused.requested))
        message = f"{refused}, epsilon {would_fit:.2f} instead of {requested:.2f} at delta {delta:g}"
        raise BudgetExceeded(message, requested=refused.requested, left=refused.left) from None


def _read(wanted: _Wanted, reservation: Reservation, noise: OpenDPNoise | None) -> Measurement:
    """Return the measurement recorded for a charge. Raises ReleaseConflict for another plan or input."""
    charged = reservation.entry
    same = {
        "plan": charged.plan_sha256 == wanted.plan.sha256,
        "child table": hmac.compare_digest(charged.input_mac, wanted.input_mac),
    }
    if changed := [what for what, is_same in same.items() if not is_same]:
        raise ReleaseConflict(
            f"{charged.family} of release {charged.release}, cohort {charged.cohort}, was charged with another "
            f"{' and another '.join(changed)}. Its measurement is kept and never drawn again; anything else is for a"
            " later release."
        )
    paid_by, recorded = charged.entry_hash, reservation.end.measurement_sha256 if reservation.end else None
    # The process that committed may have been killed before it moved the file.
    promote_drawn(wanted.store_dir, *wanted.key, paid_by)
    source = noise.name if noise else mechanism.OPENDP
    stored = read_measurement(wanted.store_dir, *wanted.key, plan=wanted.plan, sha256=recorded, noise_source=source)
    if (stored.ledger_entry, stored.input_mac) != (paid_by, wanted.input_mac):
        raise LedgerCorrupt(
            f"the measurement of {wanted.plan.family.name}, release {wanted.release}, was paid by another charge"
        )
    return stored.measurement


# --- Measurement files

_LONGEST = len(str(-(2**63)))
_RESTORE = ": restore it from a backup, for it is never drawn again"
_BELONGS_TO = ("cohort", "release", "family", "input_mac", "ledger_entry")
_MADE_BY = ("plan_sha256", "noise_source", "opendp_version", "rho")
"""Fields of `StoredMeasurement` and of `Measurement` that a file states."""


class MeasurementStoreError(Exception):
    """A measurement file that is missing, altered, or not the one that was asked for."""


@dataclass(frozen=True, eq=False)
class StoredMeasurement:
    """A measurement and what it belongs to; `ledger_entry` is the hash of the RESERVE entry that paid for it."""

    cohort: str
    release: str
    family: str
    input_mac: str
    ledger_entry: str
    measurement: Measurement


def build_measurement_path(restricted: Path, cohort: str, release: str, family: str) -> Path:
    """Return the path of the measurement of a family of a release. Raises ValueError for names unfit for a path."""
    for kind, name in (("cohort", cohort), ("release", release), ("family", family)):
        check_name(kind, name)
    return restricted / "measurements" / f"cohort={cohort}" / f"release={release}" / f"{family}.json"


def keep_drawn(restricted: Path, stored: StoredMeasurement) -> str:
    """Write the file to its waiting path, durable on return, and return its SHA-256."""
    content = _encode_measurement(stored)
    files.write(_build_drawn_path(restricted, stored.ledger_entry), content)
    return compute_sha256(content)


def promote_drawn(restricted: Path, cohort: str, release: str, family: str, ledger_entry: str) -> None:
    """Move the waiting file of a committed charge to its final path, unless a file is already there."""
    waiting = _build_drawn_path(restricted, ledger_entry)
    place = build_measurement_path(restricted, cohort, release, family)
    # A file in place may have been seen, so it is never replaced.
    if waiting.exists() and not place.exists():
        files.promote(waiting, place)


def read_measurement(
    restricted: Path,
    cohort: str,
    release: str,
    family: str,
    *,
    plan: Plan,
    sha256: str | None = None,
    noise_source: str = mechanism.OPENDP,
) -> StoredMeasurement:
    """Return the stored measurement at its final path; only tests name a source of noise other than OpenDP.

    Raises StoreError if it is missing or altered, or belongs to another plan, family, release, cohort or source.
    """
    path = build_measurement_path(restricted, cohort, release, family)
    what = f"the measurement of {family}, release {release}, cohort {cohort}"
    if not path.exists():
        raise MeasurementStoreError(f"{what} is not in the store{_RESTORE}")
    content = path.read_bytes()
    if sha256 not in (None, compute_sha256(content)):
        raise MeasurementStoreError(f"{what} is not the file that the ledger recorded{_RESTORE}")
    stored = _parse_measurement(content, what)
    if (stored.cohort, stored.release, stored.family) != (cohort, release, family):
        raise MeasurementStoreError(f"{what} holds that of another family, release or cohort")
    measurement = stored.measurement
    if measurement.noise_source != noise_source:
        raise MeasurementStoreError(
            f"{what} has its noise from {measurement.noise_source!r}, not from {noise_source!r}"
        )
    if measurement.plan_sha256 != plan.sha256:
        raise MeasurementStoreError(f"{what} was made under another plan")
    try:
        mechanism.check_counts(plan, measurement.noisy)
    except ValueError as error:
        raise MeasurementStoreError(f"{what} does not fit its plan: {error}") from error
    return stored


def read_charges(restricted: Path, cohort: str = "*") -> list[StatedCharge]:
    """Return the charges that paid for measurements, of one cohort or of all, as the measurements state them."""
    kept = sorted((restricted / "measurements").glob(f"cohort={cohort}/release=*/*.json"))
    found = [_parse_measurement(path.read_bytes(), f"the measurement {path}") for path in kept]
    return [
        StatedCharge(
            f"the stored measurement {path}",
            *(stored.cohort, stored.release, stored.family),
            *(stored.measurement.plan_sha256, stored.ledger_entry),
        )
        for path, stored in zip(kept, found, strict=True)
    ]


def _build_drawn_path(restricted: Path, ledger_entry: str) -> Path:
    return restricted / "drawn" / f"{ledger_entry}.json"


def _encode_measurement(stored: StoredMeasurement) -> bytes:
    measurement = stored.measurement
    marginals = [
        {"attributes": list(attributes), "shape": list(noisy.shape), "noisy": noisy.ravel().tolist()}
        for attributes, noisy in measurement.noisy.items()
    ]
    body = {name: getattr(stored, name) for name in _BELONGS_TO} | {"marginals": marginals}
    body |= {name: getattr(measurement, name) for name in _MADE_BY}
    document = encode_canonical_json({"measurement": body, "sha256": hash_json(body)})
    # Padded as if every number were the longest of 64 bits, so that the size of a file, and so whether it fits on the
    # disk, does not depend on what was drawn.
    numbers = (str(number) for noisy in measurement.noisy.values() for number in noisy.ravel().tolist())
    return document + b" " * sum(_LONGEST - len(number) for number in numbers)


def _parse_measurement(content: bytes, what: str) -> StoredMeasurement:
    try:
        document = json.loads(content)
        body = document["measurement"]
        if document["sha256"] != hash_json(body):
            raise MeasurementStoreError(f"{what} was altered: its content does not have the hash it states")
        noisy = {
            tuple(marginal["attributes"]): np.array(marginal["noisy"], dtype=np.int64).reshape(marginal["shape"])
            for marginal in body["marginals"]
        }
        measurement = Measurement(**{name: body[name] for name in _MADE_BY}, noisy=noisy)
        return StoredMeasurement(**{name: body[name] for name in _BELONGS_TO}, measurement=measurement)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementStoreError(f"{what} is not a measurement file{_RESTORE}") from error
