"""Secret keys: storage, checks, and the sub-keys used by the rest of the package.

A key set is a directory with one file per key. Symmetric keys are 32 random bytes, raw or as 64 hexadecimal digits;
the release signing key is an Ed25519 private key in PEM. Two key pairs (X25519, PEM) seal files: `intake` for files
from senders, `tokens` for files that only the linkage reads; the writer of such a file needs only `<name>.pub.pem`. A
sender that pseudonymises on its own premises has the first three symmetric keys and `intake.pub.pem`, never
`linker.key`.

A set belongs to an epoch, a number in its file `epoch` (not secret; 1 if the file is missing). Rotation creates a new
set for the next epoch: tokens of different epochs cannot be compared, so extracts are pseudonymised again. The keys
that make no tokens (`row`, `input-mac`, the signing key) are carried over, so children keep their ids and releases
stay valid.

Symmetric keys never leave this module: callers get sub-keys (HKDF-SHA256, RFC 5869, one per purpose) and fingerprints.
No message, `repr` or pickle of a key ring contains key material.
"""

import hashlib
import hmac
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.doors import files

KEY_BYTES = 32
SIGNING_FILE = "signing.pem"
DEMONSTRATION_FILE = "demo-approver.pem"
"""Key that signs off releases in a demonstration, below a line that binds it to its key set. Key sets for real extracts
do not have it."""
STANDARD_INPUT = Path("-")
EPOCH_FILE = "epoch"
SENDER_KEYS = ("linkage", "upn", "nhs")
"""Keys with which a sender pseudonymises: health and education must share all three, or nothing can be linked."""
LINKED_UNDER = (*SENDER_KEYS, "linker")
"""Keys of the tokens that are linked; `linker` is for their second keying."""
PIPELINE_KEYS = (*LINKED_UNDER, "row", "input-mac")
"""Symmetric keys of the pipeline: also `row`, for row keys, and `input-mac`, for the identity of files and of the child
table in the ledger."""
PAIRS = ("intake", "tokens")
"""Key pairs to which files are sealed: files from senders, and the tokens that are linked."""

FROM_BACKUP = (
    "if keys were lost, restore their backup first (`readiness restore keys`): new ones open nothing sealed before"
)
_REMEDY = f"{FROM_BACKUP}. `readiness keys create` makes a set for a new installation"


@dataclass(frozen=True)
class Holder:
    """The keys that a holder needs, to seal `to` or `open` files of pairs; `remedy` is advice if one is missing."""

    symmetric: tuple[str, ...] = ()
    signing: bool = False
    to: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    remedy: str = _REMEDY

    @property
    def files(self) -> set[str]:
        """Names of the files with these keys."""
        found = {f"{key}.key" for key in self.symmetric} | {f"{pair}.pub.pem" for pair in self.to}
        return found | {f"{pair}.pem" for pair in self.open} | ({SIGNING_FILE} if self.signing else set())


PIPELINE = Holder(PIPELINE_KEYS, signing=True, to=PAIRS, open=PAIRS)
SENDER = Holder(SENDER_KEYS, to=("intake",), remedy="ask whoever runs the pipeline for the senders' keys")
RESTRICTED = Holder(PIPELINE_KEYS, to=PAIRS, open=PAIRS)
"""Intake and linkage in an installation without releases, and removal of rows."""
INTAKE = Holder(PIPELINE_KEYS, to=("tokens",), open=("intake",))
LINKAGE = Holder(open=("tokens",))
ROWS = Holder(("row",))
"""Commands that show row numbers."""
EXPLANATION = Holder(("row",), open=("tokens",))
"""Explanations of links."""
REVIEW = Holder(("row",), signing=True, open=("tokens",))
"""Clerical review: drawing the sample and sealing its sheets."""
RELEASE = Holder(("input-mac",), signing=True)
"""Measurement and publication in an installation without intake."""

_CARRIED_OVER = ("row.key", "input-mac.key", SIGNING_FILE)

_MIN_DISTINCT_BYTES = 16  # 32 random bytes hold 16 or fewer distinct values with probability below 2**-40
_OTHERS = 0o077  # all permissions of group and others


class KeyProblem(Exception):
    """Raised if a key set cannot be used. The message names the file and the remedy, never the file's content."""


class KeyRing:
    """The checked keys of one directory, created by `load` or `create`."""

    def __init__(self, directory: Path, keys: Mapping[str, Any], epoch: int) -> None:
        """Take the keys of a directory by the names of their files; `load` reads and checks them."""
        self._directory, self._keys, self.epoch = directory, keys, epoch
        self.demonstration_key: Ed25519PrivateKey | None = None

    @classmethod
    def load(cls, directory: Path, holder: Holder = PIPELINE) -> "KeyRing":
        """Read and check the key set in `directory`.

        Only the keys that `holder` needs must exist; others are read if present. Raises `KeyProblem` for a
        missing, short, guessable or exposed key.
        """
        keys = {
            file: read(directory / file, holder.remedy)
            for file, read in _READERS.items()
            if file in holder.files or (directory / file).exists()
        }
        ring = cls(directory, keys, _read_epoch(directory / EPOCH_FILE))
        approver = directory / DEMONSTRATION_FILE
        if approver.exists() and ring.can_sign and ring.has_key("input-mac"):
            key = _read_private_key(approver, Ed25519PrivateKey, _REMEDY)
            binding = _read_private_bytes(approver, _REMEDY).partition(b"\n")[0]
            if hmac.compare_digest(binding, ring._build_binding(key)):
                ring.demonstration_key = key
        return ring

    @classmethod
    def create(cls, directory: Path, *, at_sender: bool = False, demonstration: bool = False) -> "KeyRing":
        """Create a new key set in `directory` (mode 0700, files 0600) and load it.

        A `demonstration` set includes a key that signs off its releases. Raises `KeyProblem` if a key file exists: none
        is ever replaced, because rotation uses a new directory.
        """
        names = SENDER_KEYS if at_sender else PIPELINE_KEYS
        contents = _generate_symmetric_keys(names)
        if not at_sender:
            contents |= {SIGNING_FILE: generate_private_pem()} | _generate_pairs()
        _write_set(directory, contents | {EPOCH_FILE: b"1\n"})
        ring = cls.load(directory, Holder(SENDER_KEYS) if at_sender else PIPELINE)
        if demonstration:
            # Only after the set is loaded, because the binding is computed with a sub-key of the set.
            key = Ed25519PrivateKey.generate()
            _write_set(directory, {DEMONSTRATION_FILE: ring._build_binding(key) + b"\n" + _encode_pem(key)})
            ring.demonstration_key = key
        return ring

    def rotate(self, directory: Path) -> "KeyRing":
        """Create the key set of the next epoch in a new `directory` and load it; this set is unchanged.

        Raises `KeyProblem` if the directory has a key already, or if this is a sender's set: senders receive theirs.
        """
        contents = _generate_symmetric_keys(LINKED_UNDER) | _generate_pairs()
        for file in (*_CARRIED_OVER, *([DEMONSTRATION_FILE] if self.demonstration_key else [])):
            contents[file] = _read_private_bytes(self._directory / file, _REMEDY)
        _write_set(directory, contents | {EPOCH_FILE: f"{self.epoch + 1}\n".encode()})
        return KeyRing.load(directory)

    def limit_to_sender(self) -> "KeyRing":
        """Return the set with only the keys that a sender may have."""
        keys = {f"{name}.key": self._get_key(f"{name}.key") for name in SENDER.symmetric}
        keys |= {f"{pair}.pub.pem": self.get_public_key(pair) for pair in SENDER.to}
        return KeyRing(self._directory, keys, self.epoch)

    def has_key(self, key: str) -> bool:
        """Return whether the set has this symmetric key."""
        return f"{key}.key" in self._keys

    def derive_subkey(self, key: str, purpose: str) -> bytes:
        """Return 32 bytes for a purpose (HKDF-SHA256, its `info`). Raises `KeyProblem` if the key is missing."""
        info = f"readiness/{key}/{purpose}".encode()
        # Without the optional salt, because the key material is uniformly random already (RFC 5869, section 3).
        return HKDF(hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._get_key(f"{key}.key"))

    def get_public_key(self, pair: str) -> X25519PublicKey:
        """Return the public key of a pair, to seal files. Raises `KeyProblem` if it is missing."""
        private, public = f"{pair}.pem", f"{pair}.pub.pem"
        if public not in self._keys and private in self._keys:
            return self.get_private_key(pair).public_key()
        return cast(X25519PublicKey, self._get_key(public))

    def get_private_key(self, pair: str) -> X25519PrivateKey:
        """Return the private key of a pair, to open files. Raises `KeyProblem` if it is missing."""
        return cast(X25519PrivateKey, self._get_key(f"{pair}.pem"))

    def _get_key(self, file: str) -> Any:
        if file not in self._keys:
            raise KeyProblem(f"{self._directory / file} is needed here and is not in this key set")
        return self._keys[file]

    def _build_binding(self, demonstration: Ed25519PrivateKey) -> bytes:
        """Return the line that binds a demonstration key to this set, so that it cannot be copied into another set."""
        public = [key.public_key().public_bytes_raw() for key in (demonstration, self.signing_key)]
        own = self.derive_subkey("input-mac", "demonstration")
        return f"demonstration key of the set {hmac.digest(own, b''.join(public), 'sha256').hex()}".encode()

    @property
    def can_sign(self) -> bool:
        """Whether the set has the key that signs releases."""
        return SIGNING_FILE in self._keys

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """Key that signs releases. Raises `KeyProblem` if it is missing."""
        return cast(Ed25519PrivateKey, self._get_key(SIGNING_FILE))

    @property
    def fingerprints(self) -> dict[str, str]:
        """Sixteen hexadecimal digits per key, safe to publish: SHA-256 of an HMAC under the key, or of a public key."""
        contents = {
            # From a separate sub-key, so that a published fingerprint shows nothing of a sub-key in use.
            name: hmac.digest(self.derive_subkey(name, "fingerprint"), b"readiness key fingerprint", "sha256")
            for name in self._list_symmetric()
        }
        contents |= {
            pair: self.get_public_key(pair).public_bytes_raw() for pair in PAIRS if f"{pair}.pub.pem" in self._keys
        }
        return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in contents.items()}

    def _list_symmetric(self) -> list[str]:
        return [name for name in PIPELINE_KEYS if self.has_key(name)]

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(sorted(self._list_symmetric()))})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key ring cannot be pickled: load it where it is used")


def derive_sender_key(keys: KeyRing, source: str, council: str) -> bytes:
    """Return the key of a sender's file MACs, which a return passes to its recipient.

    Only the sender and the pipeline know it. The pipeline keeps no plain hash of an extract, because a guess at its
    content could be tested against that.
    """
    return keys.derive_subkey("input-mac", f"sender/{source}/{council}")


def compute_sender_mac(key: bytes, sha256: str) -> str:
    """Return the HMAC-SHA256, under a sender's key, of a file's SHA-256; both are hexadecimal."""
    return hmac.digest(key, bytes.fromhex(sha256), hashlib.sha256).hex()


def _generate_symmetric_keys(names: Iterable[str]) -> dict[str, bytes]:
    return {f"{name}.key": secrets.token_hex(KEY_BYTES).encode() + b"\n" for name in names}


def _generate_pairs() -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for name in PAIRS:
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        contents |= {f"{name}.pem": _encode_pem(key), f"{name}.pub.pem": public}
    return contents


def generate_private_pem(password: bytes | None = None) -> bytes:
    """Generate an Ed25519 private key in PEM, encrypted if a password is given."""
    return _encode_pem(Ed25519PrivateKey.generate(), password)


def _encode_pem(key: Ed25519PrivateKey | X25519PrivateKey, password: bytes | None = None) -> bytes:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def load_own_key(path: Path, ask_password: Callable[[], str]) -> Ed25519PrivateKey:
    """Load a person's key from a file or (`-`) standard input, asking for any password. Raises `KeyProblem`."""
    remedy = "`readiness keys approver` makes one"
    content = sys.stdin.buffer.read() if path == STANDARD_INPUT else _read_private_bytes(path, remedy)
    # Asked for only if needed: the library refuses a password for a key that is not encrypted.
    password = ask_password().encode() if b"BEGIN ENCRYPTED PRIVATE KEY" in content else None
    try:
        key = serialization.load_pem_private_key(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        named = "what standard input gave" if path == STANDARD_INPUT else path
        raise KeyProblem(f"{named} is not an Ed25519 private key in PEM, or this is not its password; {remedy}")
    return key


def _write_set(directory: Path, contents: dict[str, bytes]) -> None:
    """Write files (mode 0600) into a directory (mode 0700). Raises `KeyProblem` rather than replace a file."""
    files.make_folder(directory)
    # `make_folder` leaves the mode of a folder that exists.
    directory.chmod(files.OWNER_ONLY_FOLDER)
    # All names are checked before any file is written, so that a refused set leaves no files.
    present = [file for file in contents if (directory / file).exists()]
    if present:
        raise KeyProblem(f"{directory} already holds {', '.join(present)}; keys are never replaced in place")
    for file, content in contents.items():
        with files.create(directory / file) as opened:
            opened.write(content)


def _read_epoch(path: Path) -> int:
    text = path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else "1"
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise KeyProblem(f"{path} does not hold the number of an epoch, 1 or more")
    return int(text)


def _read_symmetric_key(path: Path, remedy: str) -> bytes:
    content = _read_private_bytes(path, remedy)
    # Only hexadecimal digits are stripped: a raw key may begin or end with a byte that is white space.
    text = content.strip()
    if text and all(byte in b"0123456789abcdefABCDEF" for byte in text) and len(text) % 2 == 0:
        content = bytes.fromhex(text.decode())
    if len(content) < KEY_BYTES:
        raise KeyProblem(f"{path} is shorter than {KEY_BYTES} bytes; {remedy}")
    if _is_guessable(content):
        raise KeyProblem(f"{path} is not random (a constant, a pattern, a default or text); {remedy}")
    return content


def _read_private_key(path: Path, kind: Any, remedy: str) -> Any:
    """Return the private key of this class that a PEM file holds."""
    content, name = _read_private_bytes(path, remedy), kind.__name__.removesuffix("PrivateKey")
    try:
        key: object = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, kind):
        raise KeyProblem(f"{path} is not an {name} private key in PEM; {remedy}")
    return key


def _read_public_key(path: Path, remedy: str) -> X25519PublicKey:
    if not path.is_file():
        raise KeyProblem(f"{path} is missing; {remedy}")
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise KeyProblem(f"{path} is not an X25519 public key in PEM; {remedy}")
    return key


def _read_private_bytes(path: Path, remedy: str) -> bytes:
    if not path.is_file():
        raise KeyProblem(f"{path} is missing; {remedy}")
    if _is_exposed(path.stat()):
        raise KeyProblem(f"{path} can be read by others than its owner; run: chmod 600 {path}")
    return path.read_bytes()


def _is_exposed(status: os.stat_result) -> bool:
    """Return whether other accounts can read a key."""
    if os.name != "posix":  # the mode does not say who may read
        return False
    # A key owned by root may be readable by its group, as mounted secrets are; PostgreSQL has the same rule.
    mounted = status.st_uid == 0 and os.geteuid() != 0
    return bool(status.st_mode & (_OTHERS & ~0o040 if mounted else _OTHERS))


def _is_guessable(key: bytes) -> bool:
    """Return whether a key is guessable: constant, short alphabet, arithmetic sequence, repeated half or text."""
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    half = len(key) // 2
    return (
        len(set(key)) < _MIN_DISTINCT_BYTES
        or len(steps) < _MIN_DISTINCT_BYTES // 2
        or key[:half] == key[half : 2 * half]
        or all(32 <= byte < 127 for byte in key)
    )


_READERS: dict[str, Callable[[Path, str], Any]] = {
    **{f"{name}.key": _read_symmetric_key for name in PIPELINE_KEYS},
    SIGNING_FILE: lambda path, remedy: _read_private_key(path, Ed25519PrivateKey, remedy),
    **{f"{pair}.pub.pem": _read_public_key for pair in PAIRS},
    **{f"{pair}.pem": lambda path, remedy: _read_private_key(path, X25519PrivateKey, remedy) for pair in PAIRS},
}
"""How the file of each key is read, in the order in which keys are checked."""
