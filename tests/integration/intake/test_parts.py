"""An extract in parts: put together by what identifies a record, whatever parts are called and whenever they come."""

import datetime as dt
import shutil

import pytest

from assets.intake import context, deliveries, part_reader, parts
from assets.linkage.arrivals import ArrivalState, list_arrivals
from pipelines.dagster.arriving import find_not_taken, find_still_arriving, iter_looks
from privacy.row_keys import split_number
from sources.councils.council_file import CouncilFile
from sources.councils.dialect import Dialect, Parts
from sources.errors import ExtractStopped
from sources.extract.landing import find
from sources.reference.cohorts import Cohort
from tests.integration.intake.test_csds import REVIEW
from tests.support.extracts import make_nhs_number, make_upn
from tests.support.intake.desk import COHORT, Desk, build_eyfsp, build_reviews
from tests.support.intake.files import build_zip
from tests.support.intake.standards import build_csds, build_csds_files, build_workbook, write_folder

KEY = ("eyfsp", COHORT, "leeds")


def child(number: int, **changes: str) -> dict[str, str]:
    return {"upn": make_upn(800_000_000_000 + number), "forename": f"Child{chr(97 + number % 26)}", **changes}


def land(desk: Desk, name: str, text: str, source: str = "eyfsp", folder: str = COHORT) -> None:
    path = desk.landing / "leeds" / source / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def rows(desk: Desk, source: str = "eyfsp", columns: str = "source_row") -> list[tuple[object, ...]]:
    found = desk.list_kept(source, columns=f"source_row, {columns}")
    return [(*split_number(number), *rest) for number, *rest in found]


def test_a_later_record_replaces_an_earlier_one_and_a_repeat_is_dropped_and_counted(desk: Desk) -> None:
    land(desk, "2026-05.csv", build_eyfsp(child(1), child(2), child(3)))
    land(desk, "2026-06.csv", build_eyfsp(child(2, sex="M"), child(3), child(4)))
    quality = desk.take()
    first, second = quality.parts.parts
    assert (quality.parts.how, quality.parts.seen) == ("incremental", True)
    assert (first.in_force, first.replaced, first.repeated) == (2, 1, 0)
    assert (second.in_force, second.replaced, second.repeated) == (2, 0, 1)
    assert rows(desk, columns="sex") == [(1, 1, "F"), (1, 3, "F"), (2, 1, "M"), (2, 3, "F")]


def test_each_part_is_read_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = part_reader.PartsReader._read_group

    def counted(self, group, folder):
        read.extend(each.landed.part for each in group)
        return real(self, group, folder)

    monkeypatch.setattr(part_reader.PartsReader, "_read_group", counted)
    land(desk, "2026-05.csv", build_eyfsp(child(1)))
    desk.take()
    land(desk, "2026-06.csv", build_eyfsp(child(2)))
    desk.take()
    assert desk.take().unchanged
    assert read == [1, 2]
    assert len(rows(desk)) == 2


@pytest.mark.slow
def test_a_late_part_is_ordered_by_the_date_in_its_name(desk: Desk) -> None:
    land(desk, "2026-06.csv", build_eyfsp(child(1, sex="M"), child(2)))
    desk.take()
    land(desk, "2026-05.csv", build_eyfsp(child(1, sex="F"), child(3)))
    desk.take()
    assert sorted(row[2:] for row in rows(desk, columns="sex")) == [("F",), ("F",), ("M",)]


def test_parts_that_contradict_one_another_in_no_order_are_refused(desk: Desk) -> None:
    land(desk, "one.csv", build_eyfsp(child(1), child(2)))
    land(desk, "other.csv", build_eyfsp(child(2, sex="M"), child(3)))
    with pytest.raises(ExtractStopped, match="parts 1 and 2 contradict each other"):
        desk.take()
    assert deliveries.read_stopped(desk.home.get_extract(*KEY))
    folder = desk.landing / "leeds" / "eyfsp" / COHORT
    (folder / "one.csv").rename(folder / "2026-01.csv")
    (folder / "other.csv").rename(folder / "2026-02.csv")
    assert desk.take().rows_kept == 3


def test_parts_that_each_hold_the_one_before_are_cumulative(desk: Desk) -> None:
    children = [child(number) for number in range(1, 61)]
    land(desk, "2026-05.csv", build_eyfsp(*children[:40]))
    land(desk, "2026-06.csv", build_eyfsp(*children[1:]))
    quality = desk.take()
    assert (quality.parts.how, quality.parts.seen) == ("cumulative", True)
    assert quality.rows_kept == 59
    assert [part.in_force for part in quality.parts.parts] == [39, 20]


def test_a_file_of_the_same_name_replaces_it_if_it_holds_most_of_it_and_is_another_part_if_not(desk: Desk) -> None:
    land(desk, "reviews.csv", build_eyfsp(child(1), child(2)))
    desk.take()
    land(desk, "reviews.csv", build_eyfsp(child(3)))
    assert desk.take().rows_kept == 3
    land(desk, "reviews.csv", build_eyfsp(child(3, sex="M"), child(4)))
    quality = desk.take()
    assert quality.rows_kept == 4
    assert [part.sent_again for part in quality.parts.parts] == [3, 0, 0]


def test_reviews_are_known_by_number_kind_and_date(desk: Desk) -> None:
    one = {"nhs_number": str(make_nhs_number(1)), "local_patient_id": "P1"}
    land(desk, "2026-05.csv", build_reviews(one, one | {"review": "12M", "review_date": "2021-03-01"}), "hv_reviews")
    land(desk, "2026-06.csv", build_reviews(one | {"concern": "Y"}), "hv_reviews")
    quality = desk.take("hv_reviews")
    assert quality.rows_kept == 2
    assert rows(desk, "hv_reviews", "review, concern") == [(1, 2, "12M", None), (2, 1, "2-2.5Y", "Y")]


def test_rules_name_part_and_row_and_what_a_later_part_puts_right_counts_no_more(desk: Desk) -> None:
    land(desk, "2026-05.csv", build_eyfsp(child(1), child(2, com_e01="9"), child(3, com_e01="9")))
    land(desk, "2026-06.csv", build_eyfsp(child(2), child(4, com_e01="9")))
    quality = desk.take()
    (rule,) = [rule for rule in quality.rules if rule.rule == "com_e01-invalid"]
    assert [split_number(number) for number in rule.first_rows] == [(1, 3), (2, 2)]
    assert (quality.rows_kept, quality.rows_rejected, rule.rows) == (2, 2, 2)
    report = desk.home.get_cohort(COHORT).get_reports_folder("leeds") / "eyfsp"
    page = report.with_suffix(".html").read_text(encoding="utf-8")
    assert "3 of part 1; 2 of part 2" in page
    assert "2026-06.csv" in page


def test_one_wrong_part_stops_the_extract_and_the_others_are_read(desk: Desk) -> None:
    land(desk, "2026-05.csv", build_eyfsp(*map(child, range(1, 40))))
    land(desk, "2026-06.csv", build_eyfsp(*(child(number, com_e01="9") for number in range(40, 80))))
    with pytest.raises(ExtractStopped, match=r"leeds/eyfsp/202425, part 2: More than 20% of the rows") as stopped:
        desk.take()
    assert "2026-06" not in str(stopped.value)
    assert "2026-06.csv" in stopped.value.for_sender
    land(desk, "2026-06.csv", build_eyfsp(*map(child, range(40, 80))))
    assert desk.take().rows_kept == 79


def test_an_empty_part_is_a_month_without_news(desk: Desk) -> None:
    """It neither stops the extract nor changes how the others belong together, which are cumulative here."""
    header = f"{build_eyfsp().splitlines()[0]}\n"
    land(desk, "2026-03.csv", header)
    landed = find(desk.landing, "leeds", "eyfsp", COHORT)
    assert landed
    assert list(desk.intake.ingest_all([landed])) == [None]
    assert desk.intake.list_needing_intake(COHORT, ["leeds"]) == []
    found = list_arrivals(desk.landing, desk.home, Cohort(COHORT), ["leeds"], dt.date(2099, 1, 1))
    assert {entry.source: entry.state for entry in found}["eyfsp"] is ArrivalState.MISSING
    land(desk, "2026-04.csv", build_eyfsp(*map(child, range(1, 25))))
    land(desk, "2026-05.csv", build_eyfsp(*map(child, range(2, 26))))
    land(desk, "2026-06.csv", header)
    taken = desk.take()
    assert taken.rows_kept == 24
    assert taken.parts.how == "cumulative"
    assert [(part.rows_read, part.in_force) for part in taken.parts.parts] == [(24, 23), (24, 1), (0, 0)]


def test_deletions_of_a_log_of_changes(desk: Desk, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = Dialect(parts=Parts.CHANGES, deleted={"Status": ("d", "deleted")})
    monkeypatch.setattr(context, "load_council_file", lambda council: CouncilFile(council, {"eyfsp": changes}))

    def log(*entries: tuple[str, dict[str, str]]) -> str:
        header, *lines = build_eyfsp(*(said for _, said in entries)).splitlines()
        marks = ["Status", *(mark for mark, _ in entries)]
        return "\n".join(f"{mark},{line}" for mark, line in zip(marks, [header, *lines], strict=True)) + "\n"

    land(desk, "2026-01.csv", log(("", child(1)), ("", child(2)), ("", child(3))))
    land(
        desk, "2026-02.csv", log(("D", child(2, com_e01="")), ("D", child(9)), ("", child(1, sex="M")), ("", child(1)))
    )
    quality = desk.take()
    second = quality.parts.parts[1]
    assert quality.rows_rejected == 0
    assert (second.deletions, second.of_nothing) == (2, 1)
    assert rows(desk, columns="sex") == [(1, 1, "F"), (1, 3, "F")]
    land(desk, "2026-03.csv", build_eyfsp(child(7)))
    with pytest.raises(ExtractStopped, match="the column that the council file names under 'deleted' is missing"):
        desk.take()


BEFORE, AFTER = "202324", "202526"


def land_several(desk: Desk, name: str, text: str) -> None:
    land(desk, name, text, folder="")


def born(number: int, year: int, **changes: str) -> dict[str, str]:
    cohort = f"{year + 5}{(year + 6) % 100:02d}"
    return child(number, date_of_birth=f"{year}-10-03", academic_year=cohort, **changes)


def take(desk: Desk, cohort: str) -> int | None:
    return desk.intake.ingest(find(desk.landing, "leeds", "eyfsp", cohort)).rows_kept


@pytest.mark.usefixtures("at_usual_moment")
def test_rows_of_a_file_of_several_cohorts_go_to_theirs(desk: Desk) -> None:
    land_several(desk, "2026-05.csv", build_eyfsp(child(1, date_of_birth="", academic_year="")))
    with pytest.raises(ExtractStopped, match="no row gives a cohort"):
        take(desk, COHORT)
    land_several(desk, "2026-05.csv", build_eyfsp(born(1, 2018), born(2, 2019), born(3, 2019), born(4, 2020)))
    assert [take(desk, cohort) for cohort in (COHORT, BEFORE, AFTER)] == [2, 1, 1]
    assert rows(desk, columns="sex") == [(1, 2, "F"), (1, 3, "F")]
    land_several(desk, "2026-06.csv", build_eyfsp(born(2, 2019, sex="M"), born(5, 2019)))
    assert take(desk, COHORT) == 3


@pytest.mark.slow
def test_a_row_without_a_date_goes_by_its_academic_year_or_its_earlier_part_or_is_set_aside(desk: Desk) -> None:
    land_several(desk, "2026-05.csv", build_eyfsp(born(1, 2018), born(2, 2019)))
    take(desk, COHORT)
    silent = {"date_of_birth": "", "academic_year": ""}
    later = build_eyfsp(child(1, **silent, sex="M"), child(3, date_of_birth=""), child(4, **silent), born(5, 2019))
    land_several(desk, "2026-06.csv", later)
    assert take(desk, COHORT) == 3
    take(desk, BEFORE)
    entries = parts.SortedFiles(desk.home, "eyfsp", "leeds").list_entries()
    assert sorted((entry.rows_set_aside, entry.first_rows) for entry in entries.values()) == [(0, ()), (1, (3,))]
    report = (desk.home.get_cohort(COHORT).get_reports_folder("leeds") / "eyfsp.html").read_text(encoding="utf-8")
    assert (
        "1 row of 2026-06.csv gives no cohort, by a date of birth or an academic year, and is in no extract" in report
    )


@pytest.mark.slow
def test_a_corrected_date_of_birth_takes_the_record_out_of_the_other_cohort(desk: Desk) -> None:
    land_several(desk, "2026-05.csv", build_eyfsp(born(1, 2018), born(2, 2018), born(3, 2019)))
    assert [take(desk, cohort) for cohort in (BEFORE, COHORT)] == [2, 1]
    land_several(desk, "2026-06.csv", build_eyfsp(born(1, 2019), born(4, 2019)))
    assert [take(desk, cohort) for cohort in (COHORT, BEFORE)] == [3, 1]
    land_several(desk, "2026-07.csv", build_eyfsp(born(1, 2018)))
    assert [take(desk, cohort) for cohort in (COHORT, BEFORE)] == [2, 2]
    assert [desk.intake.list_needing_intake(cohort, ["leeds"]) for cohort in (COHORT, BEFORE)] == [[], []]


def test_sets_of_csds_tables_are_parts_and_a_folder_of_tables_alone_is_whole(desk: Desk) -> None:
    folder = desk.landing / "leeds" / "hv_reviews" / COHORT
    first, second = (REVIEW | {"local_patient_id": number} for number in ("P1", "P2"))
    write_folder(folder / "2022-05", build_csds_files(build_csds([first])))
    (folder / "2022-06.zip").write_bytes(build_zip(build_csds_files(build_csds([second]))))
    (folder / "2022-07.xlsx").write_bytes(build_workbook(build_csds([first | {"asq3_gross_motor": "10"}])))
    quality = desk.take("hv_reviews")
    assert [part.in_force for part in quality.parts.parts] == [0, 1, 1]
    for path in (folder / "2022-06.zip", folder / "2022-07.xlsx"):
        path.unlink()
    for path in (folder / "2022-05").iterdir():
        path.rename(folder / path.name)
    (folder / "2022-05").rmdir()
    landed = find(desk.landing, "leeds", "hv_reviews", COHORT)
    assert not landed.in_parts


@pytest.mark.slow
def test_the_sensor_sees_parts_and_files_of_several_cohorts(desk: Desk) -> None:
    land(desk, "2026-05.csv", build_eyfsp(child(1)))
    (only,) = iter_looks(desk.landing)
    land(desk, "2026-06.csv", build_eyfsp(child(2)))
    (both,) = iter_looks(desk.landing)
    assert both.identity != only.identity
    assert not both.ready
    folder = desk.landing / "leeds" / "eyfsp"
    for name in ("2026-05.csv.ready", "2026-06.csv.ready"):
        (folder / COHORT / name).touch()
    (marked,) = iter_looks(desk.landing)
    assert marked.ready
    assert not find_still_arriving(desk.landing, COHORT)
    assert find_not_taken(desk.landing, desk.home) == {COHORT: {"leeds"}}
    shutil.rmtree(folder / COHORT)
    land_several(desk, "2026-07.csv", build_eyfsp(born(3, 2019), born(4, 2020)))
    (folder / "2026-07.csv.ready").touch()
    assert {look.landed.cohort for look in iter_looks(desk.landing)} >= {COHORT, AFTER}
    for cohort, left in ((COHORT, {AFTER: {"leeds"}}), (AFTER, {})):
        take(desk, cohort)
        assert find_not_taken(desk.landing, desk.home) == left
