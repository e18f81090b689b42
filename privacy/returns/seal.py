"""Seals and opens the file of a return: signed by the pipeline, then encrypted to the recipient in the age format.

    readiness-return-3 <Ed25519 signature, hexadecimal>
    {header, JSON}
    {one row's fact, JSON}
    ...

The signature covers the first word, the header and every row. The header names recipient key, council, source, cohort
and extract, so a return signed for one recipient cannot be encrypted again for another and pass as theirs. `age -d`
(C2SP age v1, X25519) decrypts the file.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from privacy.doors import age

FORMAT = "readiness-return-3"
RECEIPT_FORMAT = "readiness-told-1"
"""First word of a receipt: who was told about a service's rows. One JSON document follows."""
_SIGNATURE_DIGITS = 128  # 64 bytes in hexadecimal


class ReturnProblem(Exception):
    """Raised if a key or a return cannot be used. The message says why and what to do, and shows no row content."""


@dataclass(frozen=True)
class Header:
    """The header of a return: whom it is for and what it covers.

    `recipient` is the age public key. `tells` are the facts by teller (`council/service`), `agreements` the version
    (SHA-256) of each agreement by council. `absence_of` are the services covered if a row says that no other service
    knows the child; `absence_why_not` is a sentence giving the reason if no row can say so. `reviews` has the services
    covered by code of each review that a row can say is not recorded, `reviews_why_not` the reason if none. `contacts`
    are role, telephone and mail by teller.
    `sender_mac` (under `sender_key`) and `extract_mac` identify the sender's file. If it came in parts, each record is
    numbered by the newest part that has it (row 17 of part 3 is 3 x 2^40 + 17), and `parts` has the number of each of
    these files by its MAC under `sender_key`: the newest alone if every file holds everything so far. The files of the
    parts in `several` also hold rows of other cohorts. `new_children` is the rule about new rows. `serial` counts the
    returns of a council, source and cohort: a higher one replaces every lower one. `made_on` is a day.
    """

    council: str
    source: str
    service: str
    cohort: str
    recipient: str
    recipient_name: str
    sender_key: str
    sender_mac: str
    extract_mac: str
    extract_rows: int
    parts: dict[str, int]
    several: list[int]
    reference: str
    purpose: str
    legal_basis: str
    impact_assessment: str
    expires: str
    agreements: dict[str, str]
    tells: dict[str, list[str]]
    contacts: dict[str, dict[str, str]]
    absence_of: list[str]
    absence_why_not: str | None
    reviews: dict[str, list[str]]
    reviews_why_not: str | None
    new_children: dict[str, Any]
    rows: int
    serial: int
    made_on: str


@dataclass(frozen=True)
class Opened:
    """A return that passed every check: its header, and each row's fact as JSON text."""

    header: Header
    facts: tuple[str, ...]


def encode_content(header: Header, facts: list[str]) -> bytes:
    """Return the signed content without serial number and day, to detect whether a return has changed."""
    return _encode_document(replace(header, serial=0, made_on=""), facts)


def _encode_document(header: Header, facts: list[str]) -> bytes:
    # Sorted keys, because these bytes are signed and show whether a return has changed.
    first = json.dumps(vars(header), sort_keys=True, ensure_ascii=False)
    return "\n".join([first, *facts]).encode()


def seal(header: Header, facts: list[str], signing_key: Ed25519PrivateKey) -> bytes:
    """Return the file of a return. Raises `AgeProblem` for an invalid recipient key."""
    return seal_document(FORMAT, _encode_document(header, facts), header.recipient, signing_key)


def seal_document(word: str, document: bytes, recipient: str, signing_key: Ed25519PrivateKey) -> bytes:
    """Return a document of the kind `word`, signed, then encrypted to an age public key. Raises `AgeProblem`."""
    signature = signing_key.sign(_build_signed_bytes(word, document))
    return age.encrypt(f"{word} {signature.hex()}\n".encode() + document, [recipient])


def unseal(path: Path, key: Path, signer: Path) -> Opened:
    """Decrypt a return, and check who made it and for whom.

    `key` is a file with the recipient's age private key, `signer` one with the pipeline's public key. Raises
    `ReturnProblem` and `AgeProblem`.
    """
    document, recipient = unseal_document(FORMAT, path, key, signer)
    header, facts = _parse_document(path.name, document)
    # A recipient can encrypt a signed return again, to another service. The signed header still names the right one.
    check_recipient(path, header.recipient, recipient)
    if header.rows != len(facts):
        raise ReturnProblem(f"{path.name}: does not hold the rows that it says; ask for the original")
    return Opened(header, facts)


def unseal_document(word: str, path: Path, key: Path, signer: Path) -> tuple[bytes, str]:
    """Return a document of the kind `word`, checked, and its recipient. Raises `ReturnProblem` and `AgeProblem`."""
    identity, public = age.read_identity(key), read_signer_key(signer)
    first, _, document = age.decrypt(path, [identity]).partition(b"\n")
    # Anybody can encrypt to a public key, so the first line can be any bytes.
    kind, _, signature = first.decode("ascii", errors="replace").partition(" ")
    if kind != word or len(signature) != _SIGNATURE_DIGITS:
        raise ReturnProblem(f"{path.name}: is not a signed return of this version; ask for the original")
    try:
        public.verify(bytes.fromhex(signature), _build_signed_bytes(word, document))
    except (InvalidSignature, ValueError):
        raise ReturnProblem(
            f"{path.name}: was not signed with the key you gave as the pipeline's; do not use it, and ask who sent it"
        ) from None
    return document, str(identity.to_public())


def check_recipient(path: Path, recipient: str, own: str) -> None:
    """Raise `ReturnProblem` if a document was made for a recipient other than the one that could decrypt it."""
    if recipient != own:
        raise ReturnProblem(
            f"{path.name}: was made for another recipient and encrypted to you; do not use it, and tell whoever runs"
            " the pipeline"
        )


def _parse_document(name: str, document: bytes) -> tuple[Header, tuple[str, ...]]:
    first, *facts = document.decode("utf-8", errors="replace").split("\n")
    try:
        return Header(**json.loads(first)), tuple(facts)
    except (ValueError, TypeError):
        raise ReturnProblem(
            f"{name}: is of another version of the software; get the tool of the pipeline's version"
        ) from None


def _build_signed_bytes(word: str, document: bytes) -> bytes:
    return word.encode() + b"\n" + document


def read_signer_key(path: Path) -> Ed25519PublicKey:
    """Read the pipeline's public key in PEM, with which releases are verified. Raises `ReturnProblem`."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ReturnProblem(
            f"{path} is not the pipeline's public key (Ed25519, PEM); it is public_key.pem of any of its releases"
        )
    return key
