"""Integrity of a bundle: SHA-256 sums of its files, for `sha256sum --check`, and an Ed25519 signature over them.

The signature (RFC 8032) has the form that standard `openssl` reads: PEM keys and a raw 64-byte signature.
"""

import hashlib
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SUMS_FILE = "SHA256SUMS"
SIGNATURE_FILE = "SHA256SUMS.sig"
PUBLIC_KEY_FILE = "public_key.pem"
UNCOVERED = (SUMS_FILE, SIGNATURE_FILE)
"""Files that the sums do not cover: the sums themselves and the signature over them."""

# Names at most one folder deep that lead out of none, without the backslashes and line breaks that `sha256sum` escapes.
_LINE = re.compile(r"([0-9a-f]{64})  ((?:(?!\.)[^/\\\s]+/)?(?!\.)[^/\\\s]+)")


def read_sums(content: bytes) -> dict[str, str]:
    """Return the sums by file name. Raises ValueError if a line is not a sum and a name, or if a name is repeated."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is not plain text") from None
    matches = [_LINE.fullmatch(line) for line in lines]
    entries = {match[2]: match[1] for match in matches if match}
    if len(entries) != len(lines):
        raise ValueError("a line is not a checksum and a file name, or a name comes twice")
    return entries


def list_changed(files: Mapping[str, bytes], expected: Mapping[str, str]) -> list[str]:
    """Return the names of files whose content does not have the expected sum."""
    return sorted(
        name for name, digest in expected.items() if name in files and hashlib.sha256(files[name]).hexdigest() != digest
    )


def read_signed(files: Mapping[str, bytes | None]) -> tuple[dict[str, str], str]:
    """Return the sums of a bundle by file name, and the fingerprint of the key that signed them.

    `files` are its sums, signature and public key by name. Raises ValueError if one is missing or does not fit.
    """
    sums, signature, public = (files.get(name) for name in (SUMS_FILE, SIGNATURE_FILE, PUBLIC_KEY_FILE))
    if sums is None or signature is None or public is None:
        raise ValueError(f"{SUMS_FILE}, its signature or {PUBLIC_KEY_FILE} is missing")
    listed = read_sums(sums)
    if not is_signed(public, sums, signature):
        raise ValueError(f"{SIGNATURE_FILE} is not the signature of {SUMS_FILE}")
    if listed.get(PUBLIC_KEY_FILE) != hashlib.sha256(public).hexdigest():
        raise ValueError(f"{PUBLIC_KEY_FILE} is not as in {SUMS_FILE}")
    return listed, compute_fingerprint(public)


class UnusableKey(ValueError):
    """A file that is not an Ed25519 key in PEM. The message names the file, never its content."""


def get_public_pem(key: Ed25519PrivateKey) -> bytes:
    """Return the public half of a signing key, as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign_files(key: Ed25519PrivateKey, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the sums of `files` and their signature (64 bytes), by name; always the same for one key and content."""
    covered = sorted(files.keys() - set(UNCOVERED))
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in covered).encode()
    return {SUMS_FILE: sums, SIGNATURE_FILE: key.sign(sums)}


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is valid for `message` under the PEM public key. Raises `UnusableKey`."""
    try:
        load_public_key(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def compute_fingerprint(public: bytes) -> str:
    """Return the SHA-256 of the public key in DER, in hexadecimal, for comparing keys. Raises `UnusableKey`."""
    # One key has one form in DER, but in PEM it may differ in line ends.
    der = load_public_key(public).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    """Return the public key in PEM. Raises `UnusableKey`."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey("the public key is not an Ed25519 key in PEM")
    return key
