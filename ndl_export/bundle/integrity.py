"""Whether the files of a bundle are the publisher's, all there, and as they were when they were signed."""

from __future__ import annotations

from collections.abc import Mapping

from ndl_export.bundle.make import expected_files
from ndl_export.files import signing
from ndl_export.files.checksums import PUBLIC_KEY_FILE, SIGNATURE_FILE, SUMS_FILE, UNCOVERED, changed, read_sums

Faults = list[tuple[str, str]]
"""(file, what is wrong with it)."""


def integrity_faults(files: Mapping[str, bytes], trusted: bytes | None) -> Faults:
    """Faults in the set of `files` (content by name), signature or checksums; empty where all holds.

    `trusted` is the publisher's public key in PEM, or None to use the bundle's own.
    """
    faults = [(name, "missing") for name in sorted(expected_files(files) - files.keys())]
    faults += [(name, "not part of a bundle") for name in sorted(files.keys() - expected_files(files))]
    if {SUMS_FILE, SIGNATURE_FILE, PUBLIC_KEY_FILE} <= files.keys():
        faults += _signature_faults(files, trusted)
    if SUMS_FILE in files:
        faults += _checksum_faults(files)
    return faults


def _signature_faults(files: Mapping[str, bytes], trusted: bytes | None) -> Faults:
    own = files[PUBLIC_KEY_FILE]
    try:
        if trusted is not None and signing.fingerprint(trusted) != signing.fingerprint(own):
            return [(PUBLIC_KEY_FILE, "this is not the trusted key")]
        if not signing.is_signed(own, files[SUMS_FILE], files[SIGNATURE_FILE]):
            return [(SIGNATURE_FILE, f"this is not the signature of {SUMS_FILE}")]
    except signing.UnusableKey as error:
        return [(PUBLIC_KEY_FILE, str(error))]
    return []


def _checksum_faults(files: Mapping[str, bytes]) -> Faults:
    try:
        expected = read_sums(files[SUMS_FILE])
    except ValueError as error:
        return [(SUMS_FILE, str(error))]
    due = expected_files(files)
    unlisted = sorted(due - expected.keys() - set(UNCOVERED))
    unknown = sorted(expected.keys() - due - files.keys())
    return [
        *((name, f"changed: its content does not match {SUMS_FILE}") for name in changed(files, expected)),
        *((SUMS_FILE, f"does not list {name}") for name in unlisted),
        *((SUMS_FILE, f"lists {name}, which is not part of a bundle") for name in unknown),
    ]
