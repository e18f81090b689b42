"""Which council has sent what, and since when."""

import datetime as dt
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.deliveries import MAC_KEY, ExtractQuality, StoppedExtract
from assets.intake.quality_report.profile import Profile
from assets.linkage.arrivals import (
    Arrival,
    ArrivalState,
    describe_absent_sources,
    describe_waiting_deliveries,
    list_arrivals,
)
from assets.pseudonymise.findings import Staged
from pipelines.dagster.arriving import find_still_arriving
from pipelines.reports.status import report
from sources.contracts import CONTRACTS
from sources.extract.landing import Landed, describe_unread_entries, hash_content, iter_candidates
from sources.reference.cohorts import Cohort

COHORT = Cohort("202425")
BEFORE, AFTER = dt.date(2025, 7, 31), dt.date(2025, 8, 1)


def read_time(landed: Landed) -> dt.datetime:
    """Return the time at which a file was written, by the clock of the file system."""
    return dt.datetime.fromtimestamp(landed.path.stat().st_mtime, dt.UTC)


@dataclass
class Place:
    """A landing folder and a home for one council."""

    landing: Path
    home: Home

    def send(self, source: str = "eyfsp", text: str = "a,b\n", council: str = "halton") -> Landed:
        path = self.landing / council / source / "202425.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return Landed(council, source, COHORT.code, path)

    def take(self, landed: Landed, taken_at: str) -> None:
        quality = ExtractQuality(
            *(landed.council, landed.source, landed.cohort, landed.path.name, "sender's mac", "mac"),
            *({}, taken_at, {}, 17, 17, 0, (), (), Profile(17, {}, {})),
        )
        with self.home.open_staging() as staging:
            kept, quarantine = staging / "kept", staging / "quarantine"
            pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({MAC_KEY: "mac"}), kept)
            quarantine.write_bytes(b"")
            tokens = staging / "tokens"
            tokens.write_bytes(b"PAREPARE")
            staged = Staged(kept, tokens, quarantine, {}, 17, 17, (), {})
            deliveries.accept(self.home, quality, staged)
        _set_time(self.home.get_extract(*landed.key).quality, taken_at)

    def stop(self, landed: Landed, stopped_at: str) -> None:
        about = (landed.council, landed.source, landed.cohort, landed.path.name)
        note = StoppedExtract(*about, "mac", stopped_at, "missing column upn", "own")
        deliveries.note_stopped(self.home, note)
        _set_time(self.home.get_extract(*landed.key).stopped, stopped_at)

    def find(self, today: dt.date = AFTER, source: str = "eyfsp") -> Arrival:
        (found,) = [a for a in list_arrivals(self.landing, self.home, COHORT, ["halton"], today) if a.source == source]
        return found


def _set_time(path: Path, time: str) -> None:
    seconds = dt.datetime.fromisoformat(time).timestamp()
    os.utime(path, (seconds, seconds))


@pytest.fixture
def at(tmp_path: Path) -> Place:
    (tmp_path / "landing" / "halton").mkdir(parents=True)
    return Place(tmp_path / "landing", Home(tmp_path / "home"))


def test_due_dates_are_those_of_the_calendar_years_of_the_cohort() -> None:
    assert {source: contract.get_due_day(COHORT).isoformat() for source, contract in CONTRACTS.items()} == {
        "eyfsp": "2025-07-31",
        "school_census": "2025-02-17",
        "early_years_census": "2024-03-15",
        "hv_reviews": "2023-05-31",
        "parent_experience": "2025-07-31",
    }

    contract = CONTRACTS["eyfsp"]  # a due date is no part of what a file is made under
    assert replace(contract, expected=CONTRACTS["hv_reviews"].expected).sha256 == contract.sha256
    assert replace(contract, row_per="Another").sha256 != contract.sha256


@pytest.mark.parametrize(("today", "state"), [(BEFORE, ArrivalState.NOT_DUE), (AFTER, ArrivalState.MISSING)])
def test_nothing_sent_is_missing_once_it_was_due(at: Place, today: dt.date, state: ArrivalState) -> None:
    assert at.find(today) == Arrival("halton", "eyfsp", state, dt.date(2025, 7, 31))
    assert ("no EYFS Profile" in " ".join(describe_absent_sources([at.find(today)]))) == (state is ArrivalState.MISSING)


def test_a_delivery_lands_is_taken_comes_again_and_is_gone_from_landing(at: Place) -> None:
    landed, day = at.send(), dt.date(2025, 7, 10)
    assert (at.find().state, at.find().since, at.find().is_in) == (ArrivalState.LANDED, read_time(landed).date(), False)
    at.take(landed, "2025-07-10T08:00:00+00:00")
    landed.path.write_text("a,c\n")
    found = at.find()
    assert (found.state, found.since, found.in_since) == (ArrivalState.LANDED, read_time(landed).date(), day)
    assert not describe_absent_sources([found])
    assert describe_waiting_deliveries([found])[0].startswith("Halton: EYFS Profile landed, not taken since ")
    at.home.get_extract(*landed.key).quality.touch()  # it was looked at
    assert at.find().state is ArrivalState.TAKEN
    landed.path.unlink()
    at.take(landed, "2025-07-10T08:00:00+00:00")
    assert at.find() == Arrival("halton", "eyfsp", ArrivalState.TAKEN, day, day, "under a hundred")


@pytest.mark.parametrize("earlier", [True, False])
def test_a_stop_has_a_reason_and_an_earlier_delivery_stays(at: Place, earlier: bool) -> None:
    landed = at.send()
    if earlier:
        at.take(landed, "2025-07-10T08:00:00+00:00")
    stopped = read_time(landed) + dt.timedelta(seconds=1)
    at.stop(landed, stopped.isoformat())
    found = at.find()
    assert (found.state, found.since, found.why) == (ArrivalState.STOPPED, stopped.date(), "missing column upn")
    assert found.is_in == earlier
    assert len(describe_absent_sources([found])) == (not earlier)
    assert len(describe_waiting_deliveries([found])) == earlier


def test_a_file_sent_after_the_stop_is_a_new_one_and_two_files_of_one_extract_stop_each_other(at: Place) -> None:
    landed = at.send()
    at.stop(landed, "2025-07-10T08:00:00+00:00")
    assert at.find().state is ArrivalState.LANDED
    landed.path.with_suffix(".csv.gz").write_text("x")
    assert at.find().state is ArrivalState.STOPPED
    assert "keep only the right one" in at.find().why


def test_files_under_other_names_are_reported_as_not_read(at: Place) -> None:
    at.send()
    for name in ("202425.csv.ready", "~$202425.xlsx", ".202425.csv", "202425.csv.part", "202526.pdf", "202425"):
        (at.landing / "halton" / "eyfsp" / name).write_text("x")
    assert describe_unread_entries(at.landing) == []
    for name in ("halton/eyfsp/2024-25.doc", "halton/eyfsp/202425 (1).dat", "halton/eyfsp/202426"):
        (at.landing / name).write_text("x")
    for folder in ("halton/eyfs", "haltn/eyfsp", "reference/anything"):
        (at.landing / folder).mkdir(parents=True)
    (at.landing / "halton" / "hv_reviews").write_text("x")
    (at.landing / "Qwyjibo.csv").write_text("x")
    found = describe_unread_entries(at.landing)
    for words in (
        *("1 entry of landing is not read", "perhaps halton", "3 files of halton/eyfsp are not read"),
        *("2 entries of halton are not read", "perhaps eyfsp or hv_reviews", "1 file in landing itself is not read"),
    ):
        assert sum(words in sentence for sentence in found) == 1, words
    made = report([], COHORT, found)
    assert "Something in landing is not read, and may be an extract: see below." in made.text
    assert not made.good
    assert "Qwyjibo" not in str(found)


CLUTTER = (".DS_Store", "._202425.csv", "~$1.xlsx", ".~lock.1.xlsx#", "Thumbs.db", "desktop.ini", ".Trashes")


def test_what_systems_and_office_programs_leave_is_nothing(at: Place) -> None:
    at.send()
    tables = at.landing / "halton" / "hv_reviews" / COHORT.code
    tables.mkdir(parents=True)
    for number in ("001", "101"):
        (tables / f"CYP{number}.csv").write_text("a,b\n")
    before = _seen(at.landing)
    earlier = at.landing / "halton" / "eyfsp" / "202324"
    earlier.mkdir()
    for folder in (at.landing, at.landing / "halton", at.landing / "halton" / "eyfsp", tables, earlier):
        for name in CLUTTER:
            (folder / name).write_text("x")
    assert _seen(at.landing) == before
    assert describe_unread_entries(at.landing) == []
    assert find_still_arriving(at.landing, COHORT.code) == []


def _seen(landing: Path) -> object:
    """Every extract that lies there, by its content."""
    return {(found.name, hash_content(found.path)) for found in iter_candidates(landing)}
