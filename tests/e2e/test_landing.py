"""Files that arrive: half-written, marked, corrected, gone again."""

import os
import time
from pathlib import Path

import dagster as dg
import pytest

from assets.home.installation import Installation
from assets.intake import deliveries
from assets.release.fix_release import ReleaseOptions
from pipelines.commands.console import RunStopped
from pipelines.dagster import arriving
from pipelines.dagster.arriving import find_still_arriving, iter_looks
from pipelines.dagster.jobs import landing_sensor
from pipelines.run import run_cohort
from privacy.doors import clock
from privacy.keys import KeyRing
from sources.extract.landing import is_unfinished
from sources.reference.cohorts import Cohort
from tests.support.extracts import build_row, format_rows

NAME = "halton/eyfsp/202425.csv"


REVIEWS, CENSUS = "halton/hv_reviews/202425.csv.gz", "halton/school_census/202425.parquet"
UNFINISHED = ("202425.csv.part", "202425.csv.filepart", ".202425.csv", "202425.tmp")
FIRST_CHANGE = time.time() - 1000

Step = tuple[dict[str, str | None], int]
"""Files that are written (None: removed) before a look of the sensor, and the runs that it starts."""
SCENARIOS: dict[str, list[Step]] = {
    "several files of a council give one run": [({NAME: "a", REVIEWS: "b", CENSUS: "c"}, 0), ({}, 1), ({}, 0)],
    "one moving file holds the council back": [({NAME: "a", REVIEWS: "b"}, 0), ({REVIEWS: "b and more"}, 0), ({}, 1)],
    "two files of one extract, of which the intake says which": [({NAME: "a", f"{NAME}.gz": "a"}, 0), ({}, 1)],
    "a marker, which does not count for a later correction": [
        ({NAME: "a", f"{NAME}.ready": ""}, 1),
        ({NAME: "corrected"}, 0),
        ({}, 1),
    ],
    "a correction of the same size": [({NAME: "content"}, 0), ({}, 1), ({NAME: "CONTENT"}, 0), ({}, 1)],
    "a file that goes away": [({NAME: "a", REVIEWS: "b"}, 0), ({}, 1), ({NAME: None}, 0), ({}, 0)],
    **{f"an unfinished file {name}": [({f"halton/eyfsp/{name}": "a"}, 0), ({}, 0)] for name in UNFINISHED},
    **{
        f"a name of {len(name)} letters": [({NAME: "a", f"leeds/eyfsp/{name}": "a"}, 0), ({}, 1)]
        for name in ("x" * 250 + ".csv", "a\nb\x1b[31m.csv")
    },
}


def put(installation: Installation, name: str = NAME, content: str = "content") -> Path:
    path = installation.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    now = clock.read_file_time()  # under a false clock, the file system's differs
    os.utime(path, (now, now))
    return path


@pytest.mark.parametrize("steps", SCENARIOS.values(), ids=SCENARIOS)
def test_the_sensor_starts_an_intake_once_all_files_of_a_council_are_whole(
    installation: Installation, steps: list[Step]
) -> None:
    cursor, keys = None, list[str | None]()
    for number, (files, runs) in enumerate(steps):
        for name, content in files.items():
            if content is None:
                (installation.landing / name).unlink()
            else:
                os.utime(put(installation, name, content), (FIRST_CHANGE + number, FIRST_CHANGE + number))
        context = dg.build_sensor_context(cursor=cursor, resources={"installation": installation})
        found = landing_sensor(context)
        cursor = found.cursor
        (added,) = found.dynamic_partitions_requests or ()
        assert set(added.partition_keys) == {path.name for path in installation.landing.iterdir()}
        # a name of no cohort in Leeds may hold rows of every cohort, so it starts runs of its own
        of_halton = [each for each in found.run_requests or () if str(each.partition_key).endswith("|halton")]
        assert [request.partition_key for request in of_halton] == ["202425|halton"] * runs
        keys += [request.run_key for request in of_halton]
    assert len(set(keys)) == len(keys)
    assert all(map(is_unfinished, UNFINISHED))
    assert find_still_arriving(installation.landing, "202425") == []


def test_a_link_to_another_place_is_not_looked_through(installation: Installation, tmp_path: Path) -> None:
    put(installation)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".hidden").write_text("x")
    (installation.landing / "leeds" / "eyfsp").mkdir(parents=True)
    (installation.landing / "leeds" / "eyfsp" / "202425").symlink_to(tmp_path / "elsewhere")
    assert find_still_arriving(installation.landing, "202425") == []


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


def test_old_and_marked_files_are_not_waited_for(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(put(installation, "leeds/eyfsp/202425.csv"), (FIRST_CHANGE, FIRST_CHANGE))
    put(installation)
    put(installation, f"{NAME}.ready", "")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    assert find_still_arriving(installation.landing, "202425") == []


@pytest.mark.usefixtures("at_usual_moment")
def test_a_run_does_not_take_a_half_written_file(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyRing.create(installation.keys)
    extract = put(installation)
    put(installation, "leeds/eyfsp/202425.csv", format_rows([build_row("eyfsp")] * 20))
    pauses: list[float] = []

    def written_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        extract.write_text("content that grows")

    monkeypatch.setattr(arriving.time, "sleep", written_meanwhile)
    with pytest.raises(RunStopped, match=rf"^{NAME}: still being written; run again when it has arrived whole\. The "):
        run_cohort(installation, Cohort("202425"), None, ReleaseOptions(), print)
    assert pauses == [arriving.PAUSE_SECONDS]
    taken = [
        deliveries.read_current(installation.home.get_extract("eyfsp", "202425", council))
        for council in ("halton", "leeds")
    ]
    assert [each is not None for each in taken] == [False, True]
    monkeypatch.setattr(arriving.time, "sleep", pauses.append)
    assert find_still_arriving(installation.landing, "202425") == []
