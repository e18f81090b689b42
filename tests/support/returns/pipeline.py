"""An installation with agreements, and the keys of the recipients of returns."""

import csv
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import Result
from cryptography.hazmat.primitives import serialization

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage.link import link_cohort
from assets.returns.agreements import load_all
from assets.returns.make import Made, make_returns
from pipelines.cli import main
from privacy.doors import clock
from privacy.keys import KeyRing
from privacy.returns.seal import Opened, unseal
from privacy.services import SERVICES
from sources.extract.landing import find
from tests.support.installation.commands import invoke
from tests.support.returns.agreements import Recipients, write

COHORT = "202425"
TODAY = clock.today()
REVIEW_DAYS = [f"{2021 + number // 12}-{number % 12 + 1:02d}-02" for number in range(8, 26)]
"""A day in each month in which two-year reviews of the cohort are made: from the age of two until the last is due."""


@dataclass(frozen=True)
class Pipeline:
    """An installation with its agreements and the keys of its recipients."""

    root: Path
    keys: KeyRing
    signer: Path
    recipients: Recipients

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def agreements(self) -> Path:
        return self.root / "agreements"

    def extract(self, council: str, source: str) -> Path:
        return find(self.landing, council, source, COHORT).path

    def read_rows(self, council: str, source: str) -> list[dict[str, str]]:
        with self.extract(council, source).open(newline="") as file:
            return list(csv.DictReader(file))

    def put(self, council: str, source: str, rows: Iterable[dict[str, str]]) -> None:
        rows = list(rows)
        with self.extract(council, source).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def ingest(self, councils: Iterable[str]) -> None:
        intake = Intake(self.landing, self.home, self.keys)
        for source in SERVICES:
            landed = [found for council in councils if (found := find(self.landing, council, source, COHORT))]
            for outcome in intake.ingest_all(landed) if landed else ():
                assert not isinstance(outcome, Exception), outcome

    def link(self, councils: Iterable[str]) -> None:
        link_cohort(self.home.get_cohort(COHORT), sorted(councils), self.keys)

    def make(self, on: dt.date = TODAY) -> list[Made]:
        return make_returns(self.home.get_cohort(COHORT), load_all(self.agreements), self.keys, on)

    def ingest_and_link(self, councils: Sequence[str]) -> None:
        self.ingest(councils)
        self.link(councils)

    def make_first(self, councils: Sequence[str]) -> None:
        """Ingest and link what has landed, agree to everything in each council, and make the returns."""
        self.ingest_and_link(councils)
        for council in councils:
            write(self.agreements, council, self.recipients)
        self.make()

    def get_file(self, council: str, source: str) -> Path:
        return self.home.get_extract(source, COHORT, council).return_file

    def read_opened(self, council: str, source: str) -> Opened:
        return unseal(self.get_file(council, source), self.recipients.get_key(council, SERVICES[source]), self.signer)

    def read_facts(self, council: str, source: str) -> list[dict[str, Any]]:
        return [json.loads(fact) for fact in self.read_opened(council, source).facts]

    def open(self, council: str, source: str, tool: click.Group = main, **other: Path) -> Result:
        """Run `readiness returns open` as the sender does; `other` replaces arguments."""
        given = {
            "key": self.recipients.get_key(council, SERVICES[source]),
            "signer": self.signer,
            "out": self.root / "opened",
        } | other
        given.setdefault("extract", self.extract(council, source))
        file = given.pop("file", self.get_file(council, source))
        options = (f"--{name}={value}" for name, value in given.items())
        return invoke("returns", "open", file, *options, tool=tool)

    def read_table(self, council: str, source: str, **other: Path) -> list[dict[str, str]]:
        done = self.open(council, source, **other)
        assert done.exit_code == 0, done.output
        with (self.root / "opened" / f"{council}-{source}-{COHORT}.csv").open(encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))


def make_pipeline(root: Path) -> Pipeline:
    keys = KeyRing.create(root / "keys")
    signer = root / "signer.pem"
    signer.write_bytes(
        keys.signing_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    (root / "landing").mkdir(exist_ok=True)
    return Pipeline(root, keys, signer, Recipients(root / "recipients"))
