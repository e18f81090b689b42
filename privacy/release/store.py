"""Measurement files: noisy integers written once, exactly as drawn, in the restricted zone.

`<restricted>/measurements/cohort=<c>/release=<v>/<family>.json`, readable by the owner only. A file appears whole or
not at all. It is read only if its name, its own hash and the plan's hash all agree, and its noise comes from OpenDP.
Until its charge is committed it waits as `<restricted>/drawn/<hash of the RESERVE entry>.json`, where nothing reads it;
then it is moved to its final path or deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from privacy.doors import files
from privacy.release.canonical import check_name, compute_sha256, encode_canonical_json
from privacy.release.ledger import StatedCharge
from privacy.release.mechanism import OPENDP, Measurement, check_counts
from privacy.release.plan import Plan

_LONGEST = len(str(-(2**63)))
_RESTORE = ": restore it from a backup, for it is never drawn again"


class StoreError(Exception):
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


def keep(restricted: Path, stored: StoredMeasurement) -> str:
    """Write the file to its waiting path, durable on return, and return its SHA-256."""
    content = _encode_measurement(stored)
    files.write(_build_drawn_path(restricted, stored.ledger_entry), content)
    return compute_sha256(content)


def promote(restricted: Path, cohort: str, release: str, family: str, ledger_entry: str) -> None:
    """Move the waiting file of a committed charge to its final path, unless a file is already there."""
    waiting, place = (
        _build_drawn_path(restricted, ledger_entry),
        build_measurement_path(restricted, cohort, release, family),
    )
    # A file in place may have been seen, so it is never replaced.
    if waiting.exists() and not place.exists():
        files.promote(waiting, place)


def remove_uncommitted(restricted: Path, committed: Collection[str]) -> None:
    """Delete, unread, everything drawn for charges other than these (hashes of RESERVE entries), complete or not."""
    names = {f"{ledger_entry}.json" for ledger_entry in committed}
    # This also finds unfinished files, whose names begin with a dot.
    for path in (restricted / "drawn").glob("*"):
        if path.name not in names:
            path.unlink(missing_ok=True)


def read(
    restricted: Path,
    cohort: str,
    release: str,
    family: str,
    *,
    plan: Plan,
    sha256: str | None = None,
    noise_source: str = OPENDP,
) -> StoredMeasurement:
    """Return the stored measurement at its final path.

    Raises StoreError if the file is missing, differs from `sha256` or from its own hash, belongs to another plan,
    family, release or cohort, or does not come from `noise_source`; only tests name a source other than OpenDP.
    """
    path = build_measurement_path(restricted, cohort, release, family)
    what = f"the measurement of {family}, release {release}, cohort {cohort}"
    if not path.exists():
        raise StoreError(f"{what} is not in the store{_RESTORE}")
    content = path.read_bytes()
    if sha256 not in (None, compute_sha256(content)):
        raise StoreError(f"{what} is not the file that the ledger recorded{_RESTORE}")
    stored = _parse_measurement(content, what)
    if (stored.cohort, stored.release, stored.family) != (cohort, release, family):
        raise StoreError(f"{what} holds that of another family, release or cohort")
    _check(stored.measurement, plan, noise_source, what)
    return stored


def read_charges(restricted: Path, cohort: str) -> list[StatedCharge]:
    """Return the charges that paid for the cohort's measurements, of every release, as the measurements state them."""
    kept = sorted((restricted / "measurements" / f"cohort={cohort}").glob("release=*/*.json"))
    found = [_parse_measurement(path.read_bytes(), f"the measurement {path}") for path in kept]
    return [
        StatedCharge(
            f"the stored measurement {path}",
            *(stored.cohort, stored.release, stored.family),
            *(stored.measurement.plan_sha256, stored.ledger_entry),
        )
        for path, stored in zip(kept, found, strict=True)
    ]


def hash_measurement(restricted: Path, cohort: str, release: str, family: str, ledger_entry: str) -> str | None:
    """Return the SHA-256 of a measurement at its final path; None if it is missing or another charge paid for it."""
    path = build_measurement_path(restricted, cohort, release, family)
    content = path.read_bytes() if path.exists() else b""
    paid = content and _parse_measurement(content, f"the measurement {path}").ledger_entry == ledger_entry
    return compute_sha256(content) if paid else None


def _build_drawn_path(restricted: Path, ledger_entry: str) -> Path:
    return restricted / "drawn" / f"{ledger_entry}.json"


def _check(measurement: Measurement, plan: Plan, noise_source: str, what: str) -> None:
    if measurement.noise_source != noise_source:
        raise StoreError(f"{what} has its noise from {measurement.noise_source!r}, not from {noise_source!r}")
    if measurement.plan_sha256 != plan.sha256:
        raise StoreError(f"{what} was made under another plan")
    try:
        check_counts(plan, measurement.noisy)
    except ValueError as error:
        raise StoreError(f"{what} does not fit its plan: {error}") from error


def _encode_measurement(stored: StoredMeasurement) -> bytes:
    measurement = stored.measurement
    body = {
        "cohort": stored.cohort,
        "release": stored.release,
        "family": stored.family,
        "input_mac": stored.input_mac,
        "ledger_entry": stored.ledger_entry,
        "plan_sha256": measurement.plan_sha256,
        "noise_source": measurement.noise_source,
        "opendp_version": measurement.opendp_version,
        "rho": measurement.rho,
        "marginals": [
            {"attributes": list(attributes), "shape": list(noisy.shape), "noisy": noisy.ravel().tolist()}
            for attributes, noisy in measurement.noisy.items()
        ],
    }
    document = encode_canonical_json({"measurement": body, "sha256": compute_sha256(encode_canonical_json(body))})
    # Padded as if every number were the longest of 64 bits, so that the size of a file, and so whether it fits on the
    # disk, does not depend on what was drawn.
    numbers = (str(number) for noisy in measurement.noisy.values() for number in noisy.ravel().tolist())
    return document + b" " * sum(_LONGEST - len(number) for number in numbers)


def _parse_measurement(content: bytes, what: str) -> StoredMeasurement:
    try:
        document = json.loads(content)
        body = document["measurement"]
        if document["sha256"] != compute_sha256(encode_canonical_json(body)):
            raise StoreError(f"{what} was altered: its content does not have the hash it states")
        return _build_stored(body)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{what} is not a measurement file{_RESTORE}") from error


def _build_stored(body: dict[str, Any]) -> StoredMeasurement:
    noisy = {
        tuple(marginal["attributes"]): np.array(marginal["noisy"], dtype=np.int64).reshape(marginal["shape"])
        for marginal in body["marginals"]
    }
    measurement = Measurement(body["plan_sha256"], body["noise_source"], body["opendp_version"], body["rho"], noisy)
    return StoredMeasurement(
        body["cohort"], body["release"], body["family"], body["input_mac"], body["ledger_entry"], measurement
    )
