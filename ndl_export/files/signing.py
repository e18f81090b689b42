"""Ed25519 signature of a bundle (RFC 8032), in forms that stock `openssl` reads: PEM keys, raw 64-byte signature."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class UnusableKey(ValueError):
    """A file that is not an Ed25519 key in PEM. The message names the file, never its content."""


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """The signing key in the PEM file `path`, unencrypted PKCS #8. Raises `UnusableKey`."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path} is not a readable Ed25519 private key in PEM") from None
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half of a signing key, as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(key: Ed25519PrivateKey, message: bytes) -> bytes:
    """The signature (64 bytes); the same every time for one key and message."""
    return key.sign(message)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `message` under the PEM public key. Raises `UnusableKey`."""
    try:
        _public_key(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def fingerprint(public: bytes) -> str:
    """SHA-256 of the public key in DER, in hexadecimal, by which two copies are compared. Raises `UnusableKey`."""
    der = _public_key(public).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _public_key(pem: bytes) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey("the public key is not an Ed25519 key in PEM")
    return key
