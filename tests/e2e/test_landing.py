"""Files that arrive: half-written, marked, corrected, gone again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets.home.installation import Installation
from assets.intake import deliveries
from pipelines.dagster import arriving
from pipelines.dagster.arriving import find_still_arriving, iter_looks
from pipelines.dagster.automation import landing_sensor
from pipelines.ending import RunStopped
from pipelines.run import run_cohort
from privacy.keys import KeyRing
from sources.extract.landed import is_unfinished
from sources.reference.cohorts import Cohort
from tests.support.extracts import row, text

NAME = "halton/eyfsp/202425.csv"


@pytest.fixture
def tick(installation: Installation) -> Callable[[], list[dg.RunRequest]]:
    """One look of the sensor, from where the last one left off."""
    cursor: list[str | None] = [None]

    def look() -> list[dg.RunRequest]:
        context = dg.build_sensor_context(cursor=cursor[0], resources={"installation": installation})
        found = landing_sensor(context)
        assert isinstance(found, dg.SensorResult)
        cursor[0] = found.cursor
        (added,) = found.dynamic_partitions_requests or ()
        assert set(added.partition_keys) == {path.name for path in installation.landing.iterdir()}
        return list(found.run_requests or ())

    return look


def put(installation: Installation, name: str = NAME, text: str = "content") -> Path:
    path = installation.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def age(path: Path, seconds: float) -> None:
    changed = time.time() - seconds
    os.utime(path, (changed, changed))


Tick = Callable[[], list[dg.RunRequest]]


def test_several_files_of_a_council_give_one_run(installation: Installation, tick: Tick) -> None:
    put(installation)
    put(installation, "halton/hv_reviews/202425.csv.gz")
    put(installation, "halton/school_census/202425.parquet")
    assert tick() == []
    assert [request.partition_key for request in tick()] == ["202425|halton"]
    assert tick() == []


def test_one_moving_file_holds_the_council_back(installation: Installation, tick: Tick) -> None:
    put(installation)
    moving = put(installation, "halton/hv_reviews/202425.csv")
    tick()
    moving.write_text("content and more")
    assert tick() == []
    assert len(tick()) == 1


def test_a_marker_says_that_a_file_is_whole(installation: Installation, tick: Tick) -> None:
    extract = put(installation)
    marker = put(installation, f"{NAME}.ready", "")
    assert [request.partition_key for request in tick()] == ["202425|halton"]
    age(marker, 60)
    extract.write_text("a correction that the old marker does not speak of")
    assert tick() == []
    assert len(tick()) == 1


@pytest.mark.parametrize("name", ["202425.csv.part", "202425.csv.filepart", ".202425.csv", "202425.tmp"])
def test_unfinished_names_are_no_extracts(installation: Installation, tick: Tick, name: str) -> None:
    put(installation, f"halton/eyfsp/{name}")
    assert is_unfinished(name)
    assert (tick(), tick()) == ([], [])


@pytest.mark.parametrize("name", ["x" * 250 + ".csv", "a\nb\x1b[31m.csv"])
def test_a_name_of_any_length_or_letters_stops_no_run(installation: Installation, tick: Tick, name: str) -> None:
    put(installation)
    put(installation, f"leeds/eyfsp/{name}")
    assert find_still_arriving(installation.landing, "202425") == []
    tick()
    assert "202425|halton" in [request.partition_key for request in tick()]


def test_a_link_to_another_place_is_not_looked_through(installation: Installation, tmp_path: Path) -> None:
    put(installation)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".hidden").write_text("x")
    (installation.landing / "leeds" / "eyfsp").mkdir(parents=True)
    (installation.landing / "leeds" / "eyfsp" / "202425").symlink_to(tmp_path / "elsewhere")
    assert find_still_arriving(installation.landing, "202425") == []


def test_a_correction_of_the_same_size_starts_again(installation: Installation, tick: Tick) -> None:
    extract = put(installation)
    age(extract, 100)
    tick()
    (first,) = tick()
    extract.write_text("CONTENT")
    tick()
    (second,) = tick()
    assert first.run_key != second.run_key


def test_a_file_that_goes_away_is_no_crash_and_no_run(installation: Installation, tick: Tick) -> None:
    put(installation, "halton/hv_reviews/202425.csv")
    gone = put(installation)
    tick()
    assert len(tick()) == 1
    gone.unlink()
    assert (tick(), tick()) == ([], [])


def test_a_file_that_goes_away_while_looked_at(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    put(installation)
    put(installation, "leeds/eyfsp/202425.csv")
    state = arriving.get_state

    def vanishing(path: Path) -> list[list[int]]:
        if "halton" in path.parts:
            path.unlink()
        return state(path)

    monkeypatch.setattr(arriving, "get_state", vanishing)
    assert [look.landed.council for look in iter_looks(installation.landing)] == ["leeds"]


def test_two_files_of_one_extract_are_both_looked_at(installation: Installation, tick: Tick) -> None:
    """So that the intake says which two."""
    put(installation)
    put(installation, f"{NAME}.gz")
    tick()
    assert len(tick()) == 1


def test_old_and_marked_files_are_not_waited_for(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    age(put(installation, "leeds/eyfsp/202425.csv"), 60)
    put(installation)
    put(installation, f"{NAME}.ready", "")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    assert find_still_arriving(installation.landing, "202425") == []


def test_a_run_does_not_take_a_half_written_file(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyRing.create(installation.keys)
    extract = put(installation)
    put(installation, "leeds/eyfsp/202425.csv", text([row("eyfsp")] * 20))
    pauses: list[float] = []

    def written_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        extract.write_text("content that grows")

    monkeypatch.setattr(arriving.time, "sleep", written_meanwhile)
    with pytest.raises(RunStopped, match=rf"^{NAME}: still being written; run again when it has arrived whole\. The "):
        run_cohort(installation, Cohort("202425"), None, False, print)
    assert pauses == [arriving.PAUSE_SECONDS]
    taken = [
        deliveries.read_current(installation.home.extract("eyfsp", "202425", council))
        for council in ("halton", "leeds")
    ]
    assert [each is not None for each in taken] == [False, True]
    monkeypatch.setattr(arriving.time, "sleep", pauses.append)
    assert find_still_arriving(installation.landing, "202425") == []
