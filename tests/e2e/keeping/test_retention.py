"""What has had its time goes, what must stay stays, and nothing of an expired cohort is made again."""

import datetime as dt
import os
from pathlib import Path

import dagster as dg
import pytest

from assets.home.processing_log import read_entries, verify
from assets.home.retention_policy import CohortExpired, check_may_be_held, get_retention
from assets.intake import deliveries
from assets.keeping.retention import Shreddable, expire, find_due_items, find_shreddable, shred, shred_taken
from assets.release.fix_release import ReleaseOptions
from pipelines.dagster.instance import expire_all
from pipelines.definitions import build_definitions
from pipelines.run import run_cohort
from privacy.doors import clock
from sources.reference.cohorts import Cohort
from tests.support import PROJECT
from tests.support.installation.released import COHORT, Place
from tests.support.installation.traces import hash_files

pytestmark = pytest.mark.slow

DAY = dt.timedelta(days=1)
OWN = PROJECT / "privacy" / "retention.yaml"


def _set_policy(folder: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    (folder / "policy.yaml").write_text(OWN.read_text().replace(old, new))
    monkeypatch.setenv("READINESS_RETENTION", str(folder / "policy.yaml"))


def ready(place: Place) -> dict[Path, Shreddable]:
    return {file.landed.path: file for file in find_shreddable(place.landing, place.home, place.keys).ready}


def test_an_expired_cohort_goes_and_its_releases_stay(place: Place) -> None:
    assert get_retention().compute_end(Cohort(COHORT)) == dt.date(2031, 9, 1)
    check_may_be_held(Cohort(COHORT), dt.date(2031, 8, 31))
    with pytest.raises(CohortExpired, match="may not be held since 1 September 2031"):
        check_may_be_held(Cohort(COHORT), dt.date(2031, 9, 1))
    store = place.home.get_cohort(COHORT)
    stay = ("release", "restricted/measurements", "restricted/releases")
    before = {part: hash_files(place.home.root / part) for part in stay}
    ledger = (place.home.root / "ledger.sqlite").read_bytes()
    at = dt.datetime(2031, 9, 1, 12, tzinfo=dt.UTC)
    assert {entry.what for entry in find_due_items(place.home, None, None, at - DAY).held} == {"quarantine"}
    returned = (
        place.home.get_extract("eyfsp", COHORT, "leeds").return_file,
        place.home.get_extract("health", COHORT, "leeds").told_file,
    )
    others = (store.get_return_summary_path("leeds"), store.row_history, store.reviewed)
    for path in (*returned, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"made under an agreement")
    expire(place.home, None, None, at)
    assert not [path for path in place.home.returns.rglob("*") if path.is_file()]
    held = [p for p in place.home.restricted.rglob("*") if p.is_file() and f"cohort={COHORT}" in str(p)]
    kinds = {path.relative_to(place.home.restricted).parts[0] for path in held}
    assert kinds <= {"measurements", "turns"}
    assert not [path for path in place.home.tokens_zone.rglob("*") if path.is_file()]
    assert {part: hash_files(place.home.root / part) for part in stay} == before
    assert (place.home.root / "ledger.sqlite").read_bytes() == ledger
    notes = {entry.note for entry in verify(place.home) if entry.what.startswith("removed at the end")}
    assert notes >= {"pseudonymised", "tokens", "linked", "reports", "reviews"}


def test_a_run_of_an_expired_cohort_says_so_and_makes_nothing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_policy(tmp_path, monkeypatch, "cohort_months: 72", "cohort_months: 1")
    before = hash_files(place.home.restricted)
    with pytest.raises(CohortExpired, match="may not be held since 1 October 2025"):
        run_cohort(place.installation, Cohort(COHORT), None, ReleaseOptions(), lambda _: None)
    job = build_definitions(place.installation).resolve_job_def("linkage")
    assert not job.execute_in_process(partition_key=COHORT, raise_on_error=False).success
    assert hash_files(place.home.restricted) == before


def test_quarantine_superseded_results_and_landing_files_go_after_their_days_and_not_before(place: Place) -> None:
    policy = get_retention()
    early, late = (clock.now() + (policy.landing_days + days) * DAY for days in (-1, 1))
    assert not find_due_items(place.home, place.landing, place.keys, early).landing
    assert len(find_due_items(place.home, place.landing, place.keys, late).landing) == 20
    with place.find_file("leeds/eyfsp").open("a") as file:
        file.write(place.find_file("leeds/eyfsp").read_text().splitlines()[1].replace(",F,", ",M,") + "\n")
    place.take("leeds/eyfsp")
    history = place.home.get_extract("eyfsp", COHORT, "leeds").history
    assert len(list(history.iterdir())) == 1
    at = clock.now() + (policy.superseded_days + 1) * DAY
    expire(place.home, None, None, at)
    assert not list(history.iterdir())
    assert not list(place.home.restricted.glob("quarantine/*/*/*.parquet"))
    assert place.list_rows("leeds/eyfsp")


def test_only_files_whose_rows_are_in_are_shredded(place: Place) -> None:
    place.find_file("leeds/eyfsp").write_text("not what was taken in\n")
    place.take("halton/eyfsp")
    stopped = place.find_file("wirral/eyfsp")
    good = stopped.read_bytes()
    stopped.write_bytes(good[: len(good) // 2])
    with pytest.raises(Exception, match="wirral/eyfsp"):
        place.take("wirral/eyfsp")
    (place.landing / "sefton" / "eyfsp" / "elsewhere").hardlink_to(place.find_file("sefton/eyfsp"))
    found = shred_taken(place.landing, place.home, place.keys, COHORT)
    assert place.find_file("leeds/eyfsp").exists()
    assert stopped.exists()
    assert place.find_file("sefton/eyfsp").exists()
    assert not place.find_file("halton/eyfsp").exists()
    assert len(found.ready) == 20 - 3
    assert {sentence.split()[0].rstrip(":") for sentence in found.kept} == {
        f"{council}/eyfsp/{COHORT}.csv" for council in ("leeds", "sefton", "wirral")
    }
    logged = {(e.council, e.source) for e in read_entries(place.home) if e.what == "landing file shredded"}
    assert ("halton", "eyfsp") in logged
    assert ("leeds", "eyfsp") not in logged


def test_the_bytes_are_overwritten_before_the_name_goes(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.find_file("halton/eyfsp")
    content, seen, unlink = path.read_bytes(), list[bytes](), os.unlink

    def unlinked(name: str | Path, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None:
            seen.append(path.with_name(str(name)).read_bytes())
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr("privacy.doors.regular.os.unlink", unlinked)
    assert shred(place.home, place.keys, ready(place)[path])
    assert [len(found) for found in seen] == [len(content)]
    assert content[:40] not in seen[0]


def test_what_came_since_it_was_looked_at_stays(place: Place) -> None:
    """Another file in the place of one that was taken in, none, and a folder in its way."""
    looked_at = ready(place)
    path, gone = place.find_file("halton/eyfsp"), place.find_file("leeds/eyfsp")
    corrected = path.read_bytes() + b"\n"
    path.write_bytes(corrected)
    gone.unlink()
    assert not shred(place.home, place.keys, looked_at[path])
    assert not shred(place.home, place.keys, looked_at[gone])
    barred = place.find_file("sefton/eyfsp")
    (barred.with_name(f".shredding-{barred.name}") / "deeper").mkdir(parents=True)
    assert not shred(place.home, place.keys, looked_at[barred])
    assert barred.exists()
    assert path.read_bytes() == corrected
    assert "landing file shredded" not in {entry.what for entry in read_entries(place.home)}


def test_a_link_out_of_a_councils_folder_holds_no_other_file_up(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text("another's\n")
    (place.landing / "leeds" / "eyfsp" / "all years.csv").symlink_to(tmp_path / "elsewhere.csv")
    found = find_shreddable(place.landing, place.home, place.keys)
    assert place.find_file("halton/eyfsp") in {file.landed.path for file in found.ready}
    assert "a file of leeds/eyfsp: was not taken in with its present content; it stays" in found.kept


@pytest.mark.parametrize("in_time", [True, False], ids=["before it begins", "while it renames"])
def test_a_folder_changed_for_a_link_since_it_was_looked_at_is_left_alone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    """Even where what it leads to is the same, byte for byte."""
    path = place.find_file("halton/eyfsp")
    file = ready(place)[path]

    def swap() -> None:
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")

    def looked(*_: Path) -> bool:
        swap()
        return False

    if in_time:
        swap()
    else:
        monkeypatch.setattr("assets.keeping.retention.is_link_out", looked)
    content = path.read_bytes()
    assert not shred(place.home, place.keys, file)
    assert (tmp_path / "elsewhere" / path.name).read_bytes() == content
    assert "landing file shredded" not in {entry.what for entry in read_entries(place.home)}


def test_nothing_that_a_sender_calls_so_takes_another_file_along(place: Place, tmp_path: Path) -> None:
    """Links to a file, to a folder and to nowhere, a second name, a pipe, a folder of folders."""
    folder, other = place.landing / "leeds" / "eyfsp", place.find_file("sefton/eyfsp")
    (tmp_path / "victims").mkdir()
    victims = [tmp_path / "victims" / "a.csv", tmp_path / "victims" / "b.csv"]
    for victim in (*victims, tmp_path / "c.csv"):
        victim.write_text("another's\n")
    before = other.read_bytes()
    (folder / ".shredding-1").symlink_to(tmp_path / "victims")
    (folder / ".shredding-2").symlink_to(other)
    (folder / ".shredding-3").symlink_to(folder / "nowhere")
    (folder / ".shredding-4").hardlink_to(tmp_path / "c.csv")
    os.mkfifo(folder / ".shredding-5")
    (folder / ".shredding-6").mkdir()
    (folder / ".shredding-6" / "in").symlink_to(tmp_path / "victims")
    (folder / ".shredding-7" / "deeper").mkdir(parents=True)
    found = shred_taken(place.landing, place.home, place.keys, "202324")
    assert found.kept == ("leeds/eyfsp: a folder named like the rest of a shredding holds folders; it stays",)
    assert [path.name for path in folder.glob(".shredding-*")] == [".shredding-7"]
    assert [path.read_text() for path in (*victims, tmp_path / "c.csv")] == ["another's\n"] * 3
    assert other.read_bytes() == before
    # What a death left of a shredding goes with the next, and with retention, which shreds what has lain long enough.
    left = place.find_file("halton/eyfsp").rename(place.find_file("halton/eyfsp").with_name(".shredding-202425.csv"))
    shred_taken(place.landing, place.home, place.keys, "202324")
    assert not left.exists()
    left.write_text("pupils\n")
    expire(place.home, place.landing, place.keys, clock.now())
    assert not left.exists()


def test_a_run_after_shredding_goes_on_as_before(place: Place) -> None:
    """A file that is gone is not a council that is missing; the release is found again, byte for byte."""
    before = hash_files(place.home.release)
    shred_taken(place.landing, place.home, place.keys)
    assert not [path for path in place.landing.rglob(f"{COHORT}.*") if path.is_file()]
    run_cohort(place.installation, Cohort(COHORT), None, ReleaseOptions(), lambda _: None)
    after = hash_files(place.home.release)
    of_release = {name: digest for name, digest in before.items() if name.startswith("2026.11.0")}
    assert of_release == {name: after[name] for name in of_release}
    assert deliveries.read_current(place.home.get_extract("eyfsp", COHORT, "leeds"))


def test_old_runs_leave_dagsters_storage(place: Place) -> None:
    folder = place.home.root / "dagster"
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        runs = instance.get_runs_count()
        assert runs == 3
        assert expire_all(place.home, None, None, storage=instance, now=clock.now()) == []
        # Dagster records the time of the machine, which is not that of the tests' clock
        later = dt.datetime.now(dt.UTC) + (get_retention().dagster_days + 1) * DAY
        said = expire_all(place.home, None, None, storage=instance, now=later)
        assert any(sentence.startswith("3 runs of Dagster's storage") for sentence in said)
        assert instance.get_runs_count() == 0


def test_the_job_removes_and_the_schedule_asks_for_it_daily(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_policy(tmp_path, monkeypatch, "landing_days: 30", "landing_days: 0")
    definitions = build_definitions(place.installation)
    assert definitions.resolve_job_def("retention").execute_in_process().success
    assert not place.find_file("leeds/eyfsp").exists()
    (schedule,) = [s for s in definitions.schedules or () if s.name == "daily_retention"]
    assert schedule.cron_schedule == "30 3 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert next(e.run_id for e in read_entries(place.home) if e.what == "landing file shredded")
