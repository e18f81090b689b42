"""Leeds' EYFS Profile, which comes in parts, with a landing folder, a home folder and keys."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assets.home.paths import ExtractStore, Home
from assets.intake import deliveries, ingest, parts
from assets.keeping.withdrawing import Withdrawn, withdraw
from assets.linkage.link import derive_confidential_tables, link_cohort
from privacy.keys import KeyRing
from sources.extract.landing import find
from tests.support.extracts import COHORT, build_row, format_rows, make_nhs_number, make_upn
from tests.support.intake.numbered import read_numbered

REASON = "It is of Bradford."


def build_child(number: int, **changes: str) -> dict[str, str]:
    """Return a child's row; no two children have the same numbers or the same two names."""
    names = {"surname": f"Surname{chr(97 + number % 26)}", "forename": f"Name{chr(97 + number // 26)}"}
    numbers = {"upn": make_upn(800_000_000_000 + number), "nhs_number": str(make_nhs_number(number * 11 + 1))}
    return build_row("eyfsp", names, numbers, changes)


@dataclass
class Parts:
    """The extract below a folder; its keys are made when they are first used."""

    root: Path

    @cached_property
    def keys(self) -> KeyRing:
        folder = self.root / "keys"
        return KeyRing.load(folder) if folder.exists() else KeyRing.create(folder)

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def store(self) -> ExtractStore:
        return self.home.get_extract("eyfsp", COHORT, "leeds")

    @property
    def numbers(self) -> list[int]:
        return [part.number for part in parts.PartStore(self.store).list_kept()]

    @property
    def sexes(self) -> list[str]:
        return sorted(read_numbered(self.home, self.keys, "eyfsp", "leeds")["sex"].to_pylist())

    def send(self, name: str, *rows: dict[str, str], folder: str = COHORT) -> Path:
        """Write a file into the folder of the cohort, or of the source for a file of several cohorts."""
        path = self.landing / "leeds" / "eyfsp" / folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(format_rows(rows))
        return path

    def send_thirty_and_ten(self) -> None:
        """Send thirty children in January; in February three of them with another sex, and ten of another council.

        Thirty-five rows are expected.
        """
        (self.landing / "reference").mkdir(parents=True)
        expected = f"council,source,cohort,rows\nleeds,eyfsp,{COHORT},35\n"
        (self.landing / "reference" / "expected_rows.csv").write_text(expected)
        self.send("2026-01", *map(build_child, range(30)))
        self.send("2026-02", *(build_child(n, sex="M") for n in range(3)), *map(build_child, range(100, 110)))

    def take(self, cohort: str = COHORT) -> deliveries.ExtractQuality:
        return ingest.Intake(self.landing, self.home, self.keys).ingest(find(self.landing, "leeds", "eyfsp", cohort))

    def link(self) -> None:
        link_cohort(self.store.cohort_store, ["leeds"], self.keys)
        derive_confidential_tables(self.store.cohort_store, ["leeds"], self.keys)

    def withdraw(self, number: int, reason: str = REASON) -> tuple[list[Withdrawn], list[str]]:
        return withdraw(self.landing, self.store, self.keys, number, reason)
