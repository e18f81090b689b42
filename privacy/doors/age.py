"""Encryption to named recipients in the age format (C2SP age v1, X25519), which `age -d` can also decrypt.

Decrypted content is complete and unchanged, but age does not authenticate its author. Uses `pyrage`, and works on
Windows, where senders run it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from privacy.doors import files

_OTHERS = 0o077  # all permissions of group and others
_START = b"age-encryption.org/"


class AgeProblem(Exception):
    """Raised if a key cannot be used or does not decrypt a file. The message quotes none of the content."""


def encrypt(content: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt to age public keys. Raises `AgeProblem` for an invalid key."""
    encrypted: bytes = import_pyrage().encrypt(content, [parse_recipient(text) for text in recipients])
    return encrypted


def decrypt(path: Path, identities: Sequence[Any]) -> bytes:
    """Return the content of a file. Raises `AgeProblem` if it is unreadable, changed, cut short or for another key."""
    age = import_pyrage()
    try:
        sealed = path.read_bytes()
    except OSError as error:
        raise AgeProblem(f"{path} cannot be read ({error.strerror}); check its owner and mode") from None
    if not sealed.startswith(_START):
        raise AgeProblem(f"{path.name}: is not encrypted in the age format; give the file that was sent to you")
    try:
        return bytes(age.decrypt(sealed, list(identities)))
    except (OSError, ValueError, age.DecryptError) as error:
        # pyrage raises one error for another key and for a damaged file; only its text tells them apart.
        if "No matching keys" in str(error):
            raise AgeProblem(
                f"{path.name}: is not encrypted to the key you gave; it is another recipient's, or to an older key of"
                " yours: open it with that key, or ask for a new one"
            ) from None
        raise AgeProblem(
            f"{path.name}: was changed or cut short; take another copy of it, or ask for it again"
        ) from None


def create_identity(path: Path) -> str:
    """Write a new private key (mode 0600), never over another; return the public one. Raises `AgeProblem`."""
    identity = import_pyrage().x25519.Identity.generate()
    public = str(identity.to_public())
    files.make_folder(path.parent)
    try:
        with files.create(path) as file:
            file.write(f"# public key: {public}\n{identity}\n".encode("ascii"))
    except FileExistsError:
        raise AgeProblem(f"{path} is there already; a key is never replaced, choose another name") from None
    return public


def read_identity(path: Path) -> Any:
    """Read an age X25519 private key written by age-keygen or `create_identity`; raises `AgeProblem`."""
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise AgeProblem(f"{path} {what}; give the private key that `readiness returns keygen` wrote")
    # On Windows the mode does not say who may read a file.
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise AgeProblem(f"{path} can be read by others than its owner; run: chmod 600 {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AgeProblem(f"{path} cannot be read ({error.strerror}); check its owner and mode") from None
    lines = [line.strip() for line in content.decode("utf-8", errors="replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    age = import_pyrage()
    try:
        (key,) = keys
        return age.x25519.Identity.from_str(key)
    except (ValueError, age.IdentityError):
        raise AgeProblem(
            f"{path} is not a file with one age private key (AGE-SECRET-KEY-1...); give the one that"
            " `readiness returns keygen` wrote"
        ) from None


def parse_recipient(text: str) -> Any:
    """Parse an age X25519 public key; raises `AgeProblem`."""
    if not is_recipient(text):
        raise AgeProblem("the key of a recipient is no age public key (age1...)")
    return import_pyrage().x25519.Recipient.from_str(text)


def is_recipient(text: str) -> bool:
    """Return whether `text` is an age X25519 public key."""
    age = import_pyrage()
    try:
        age.x25519.Recipient.from_str(text)
    except age.RecipientError:
        return False
    return True


def import_pyrage() -> Any:
    """Import and return `pyrage`, which a sender may not have installed; raises `AgeProblem`."""
    try:
        import pyrage
    except ImportError:
        raise AgeProblem("this needs the library pyrage: install the extra `returns`") from None
    return pyrage
