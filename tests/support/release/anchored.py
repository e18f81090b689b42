"""Homes with a small family, whose bundles contain only the signed statement that anchors the ledger."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import Home
from assets.release.published_charges import check_known, list_stated_charges
from ndl_export.facts.bundle_reader import fetch_anchors, read_anchors
from ndl_export.facts.release_facts import PRIVACY_RECORD_FILE
from ndl_export.files import signing, stores
from privacy.release import mechanism, plan
from privacy.release.ledger import Ledger, StatedCharge
from tests.support.release.examples import make_small_plan, measure_small

COHORT, FAMILY = "202425", "small"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CAP = 0.30
PLAN: plan.Plan = make_small_plan(0.1)


@dataclass(frozen=True)
class Books:
    """A home: its ledger, restricted zone, release directory and publication address."""

    home: Home
    target: str | None = None
    key: Ed25519PrivateKey = KEY

    @classmethod
    def for_folder(cls, root: Path, target: str | None = None, key: Ed25519PrivateKey = KEY) -> Books:
        books = cls(Home(root), target, key)
        books.home.prepare()
        return books

    @property
    def ledger(self) -> Ledger:
        return self.home.open_ledger()

    def list_published(self) -> list[StatedCharge]:
        """Return `published_charges` without the settings of this process."""
        there = fetch_anchors(stores.open_store(self.target)) if self.target else []
        return list_stated_charges([*read_anchors(self.home.release), *there])

    def measure(self, version: str, **changes: Any) -> mechanism.Measurement:
        self.ledger.approve(COHORT, CAP)
        return measure_small(
            self.ledger, self.home.restricted, release=version, **{"published": self.list_published} | changes
        )

    def release(self, version: str) -> Path:
        """Measure and write the bundle as a run does."""
        drawn = self.measure(version)
        paid = self.ledger.find(COHORT, version, FAMILY)
        signed = self.ledger.add_sign_off(json.dumps({"kind": "approval", "release": version})).entry_hash
        statement = {
            "release": version,
            "cohorts": [{"cohort": COHORT, "measured_in": version, "approvals": [{"ledger_line": signed}]}],
            "families": [
                {
                    "cohort": COHORT,
                    "family": FAMILY,
                    "plan_sha256": PLAN.sha256,
                    "ledger_entry": paid.entry.entry_hash,
                    "rho": paid.rho,
                    "drawn": [noisy.ravel().tolist() for noisy in drawn.noisy.values()],
                }
            ],
        }
        return seal(self.home.release / version, statement, self.key)

    def publish(self, version: str, url: str) -> None:
        """Compare the ledger with local and published statements, then copy the bundle, as `upload.publish` does."""
        store = stores.open_store(url, to_write=True)
        check_known(self.home, [*read_anchors(self.home.release), *fetch_anchors(store, arriving=version)])
        for path in (self.home.release / version).iterdir():
            store.system.makedirs(f"{store.root}/{version}", exist_ok=True)
            store.system.pipe_file(f"{store.root}/{version}/{path.name}", path.read_bytes())

    def lose_ledger(self) -> None:
        for path in self.home.root.glob("ledger.sqlite*"):
            path.unlink()

    def lose_records(self) -> None:
        """Remove the ledger and every measurement, so that bundles alone say what was spent."""
        self.lose_ledger()
        self.lose_measurements()

    def lose_measurements(self) -> None:
        for name in ("measurements", "drawn"):
            shutil.rmtree(self.home.restricted / name, ignore_errors=True)


def seal(bundle: Path, statement: Any, key: Ed25519PrivateKey = KEY) -> Path:
    """Write the signed files that state what a bundle cost."""
    bundle.mkdir(parents=True, exist_ok=True)
    files = {PRIVACY_RECORD_FILE: json.dumps(statement).encode(), signing.PUBLIC_KEY_FILE: signing.get_public_pem(key)}
    files |= signing.sign_files(key, files)
    for name, content in files.items():
        (bundle / name).write_bytes(content)
    return bundle
