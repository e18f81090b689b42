"""People who sign off releases: their keys, and a policy that names them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import Home
from assets.release.decision_sheet import write_decision_sheet
from assets.release.release import Release
from assets.release.requests_to_sign import build_people_request, build_publication_request, build_withdrawal_request
from assets.release.sign_off import sign_request
from privacy.release.policy import DEFAULT_PATH, Person, SignOff, format_public_key, load_policy
from privacy.release.signature_log import SignatureLog
from privacy.release.signed_lines import Request, hash_text_page
from tests.support.installation.commands import invoke


@dataclass(frozen=True)
class Signer:
    """A person with a private key."""

    name: str
    role: str
    key: Ed25519PrivateKey
    until: dt.date | None = None
    public: bool = False

    @classmethod
    def create(cls, name: str, role: str = "privacy lead", **of: Any) -> Signer:
        return cls(name, role, Ed25519PrivateKey.generate(), **of)

    @property
    def person(self) -> Person:
        return Person(self.name, self.role, format_public_key(self.key.public_key()), self.public, self.until)

    def write_key_file(self, folder: Path) -> Path:
        path = folder / f"{self.name.split()[0]}.pem"
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


DEMONSTRATION_KEY = Ed25519PrivateKey.from_private_bytes(b"demonstration".ljust(32))  # the same for all workers
"""Signs if a test has no key set of a demonstration."""
ANNA, BRAM = Signer.create("Anna Quillfeather"), Signer.create("Bram Thistlewood", "statistics lead")


def read_page(output: str) -> tuple[str, str]:
    """Return the option by which a reader confirms the page written by `readiness approve` or `accept`."""
    return "--sheet", output.partition("SHA-256 ")[2][:64]


def sign_off(*signers: Signer, measurement: int = 1, publication: int = 1) -> SignOff:
    persons = {"measurement": measurement, "publication": publication}
    return SignOff(persons, tuple(signer.person for signer in signers))


def write_policy(path: Path, signers: Sequence[Signer], measurement: int = 1, publication: int = 1) -> Path:
    content = yaml.safe_load(DEFAULT_PATH.read_text())
    people = [
        {"name": each.name, "role": each.role, "key": each.person.key, "public": each.public}
        | ({"until": each.until} if each.until else {})
        for each in signers
    ]
    content["sign_off"] = {"persons": {"measurement": measurement, "publication": publication}, "people": people}
    path.write_text(yaml.safe_dump(content))
    return path


def write_publisher(path: Path, **other: str) -> Path:
    """Write the publisher's details of an installation that is not a demonstration."""
    stated = {
        "name": "A combined authority",
        "contact": "statistics@combined-authority.gov.uk",
        "address": "https://data.combined-authority.gov.uk/readiness",
        "organisation": "combined-authority",
        "status": "These are made up for a test.",
    }
    path.write_text(yaml.safe_dump(stated | other))
    return path


def name_people(folder: Path, monkeypatch: pytest.MonkeyPatch, signers: Sequence[Signer], **persons: int) -> None:
    """Name people in the policy of this process, and a publisher whose details are complete."""
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(folder / "policy.yaml", signers, **persons)))
    monkeypatch.setenv("READINESS_PUBLISHER", str(write_publisher(folder / "publisher.yaml")))


def sign_page(home: Home, asked: Sequence[str], who: Signer | None, *options: str) -> Result:
    """Run a command that writes a page and, unless `who` is None, sign the page with the same command and `options`."""
    command = (asked[0], "--home", home.root, *asked[1:])
    written = invoke(*command)
    if who is None or "SHA-256" not in written.output:
        return written
    key = who.write_key_file(home.root.parent / "people")
    return invoke(*command, *options, *read_page(written.output), "--key", key)


def change_people(home: Home, *signers: Signer) -> None:
    """Sign the change to the people named in the policy, as the currently recorded people do."""
    request = build_people_request(home)
    for signer in signers:
        sign_request(
            home.get_cohort(""), request, write_decision_sheet(home.get_cohort(""), request).sheet_sha256, signer.key
        )


def approve_publication(home: Home, version: str, key: Ed25519PrivateKey) -> None:
    """Approve publication of the bundle in the release directory, signed with `key`, as a demonstration does."""
    _allow(home, build_publication_request(Release(home, version)), "5" * 64, key)


def approve_withdrawal(home: Home, version: str, reason: str) -> None:
    """Approve withdrawal of a release, as a demonstration does."""
    request = build_withdrawal_request(Release(home, version), reason)
    _allow(home, request, hash_text_page(request), None)


def _allow(home: Home, request: Request, sheet_sha256: str, key: Ed25519PrivateKey | None) -> None:
    log = SignatureLog(home.open_ledger(), load_policy().sign_off)
    log.record_keys(Ed25519PrivateKey.generate(), format_public_key(DEMONSTRATION_KEY.public_key()))
    log.sign(request, "202425", sheet_sha256, DEMONSTRATION_KEY)
    log.allow(request, sheet_sha256, key)
