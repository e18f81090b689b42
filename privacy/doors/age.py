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
# pyrage raises one error for a wrong key and for a damaged file; only its text tells them apart.
_ANOTHER_KEY = "No matching keys"


class AgeProblem(Exception):
    """Raised if a key cannot be used or does not decrypt a file. The message quotes none of the content."""


def encrypt(content: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt to age public keys. Raises `AgeProblem` for an invalid key."""
    encrypted: bytes = import_pyrage().encrypt(content, [parse_recipient(text) for text in recipients])
    return encrypted


def decrypt(path: Path, identities: Sequence[Any]) -> bytes:
    """Return the content of an encrypted file.

    Raises `AgeProblem` if it is encrypted to other keys, was changed or is truncated.
    """
    age = import_pyrage()
    try:
        content: bytes = age.decrypt(path.read_bytes(), list(identities))
    except (OSError, ValueError, age.DecryptError) as error:
        raise _build_open_error(path, error) from None
    return content


def _build_open_error(path: Path, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return AgeProblem(f"{path} cannot be read ({error.strerror})")
    if _ANOTHER_KEY in str(error):
        return AgeProblem(f"{path.name}: is not encrypted to the key you gave; give the private key that it is for")
    return AgeProblem(f"{path.name}: was changed or cut short, or is no age file; take another copy of it")


def create_identity(path: Path) -> str:
    """Write a new age private key to `path` (mode 0600), as age-keygen does, and return the public key.

    Raises `AgeProblem` if the file exists: a key is never replaced.
    """
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
