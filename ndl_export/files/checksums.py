"""SHA-256 sums of a bundle's files, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

SUMS_FILE = "SHA256SUMS"
SIGNATURE_FILE = "SHA256SUMS.sig"
PUBLIC_KEY_FILE = "public_key.pem"
UNCOVERED = (SUMS_FILE, SIGNATURE_FILE)
"""Files that the sums do not cover: themselves, and the signature over them."""

_LINE = re.compile(r"([0-9a-f]{64})  ((?:[^/\\\s]+/)?[^/\\\s]+)")


def sums(files: Mapping[str, bytes]) -> bytes:
    """One line a file, sorted by name, of all but `UNCOVERED`."""
    covered = sorted(files.keys() - set(UNCOVERED))
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in covered).encode()


def read_sums(content: bytes) -> dict[str, str]:
    """Sum by file name. Raises ValueError where a line is not a sum and a name, or a name comes twice."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is not plain text") from None
    matches = [_LINE.fullmatch(line) for line in lines]
    entries = {match[2]: match[1] for match in matches if match}
    if len(entries) != len(lines):
        raise ValueError("a line is not a checksum and a file name, or a name comes twice")
    return entries


def changed(files: Mapping[str, bytes], expected: Mapping[str, str]) -> list[str]:
    """Names of files whose content does not have the expected sum."""
    return sorted(
        name for name, digest in expected.items() if name in files and hashlib.sha256(files[name]).hexdigest() != digest
    )
