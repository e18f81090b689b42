"""What is in, due and late for cohorts from birth to Reception."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality, FromParts, PartRows
from assets.intake.quality_report.profile import ColumnProfile, Profile, list_months
from assets.linkage import arrivals
from sources.contracts import CONTRACTS, RecordAtAge
from sources.reference.code_lists import REVIEW_CODES
from sources.reference.cohorts import Cohort, list_open_cohorts

COHORT = Cohort("203031")  # born from September 2025 to August 2026
REVIEWS = {record.code: record for record in CONTRACTS["hv_reviews"].expected if isinstance(record, RecordAtAge)}
CENSUSES = CONTRACTS["early_years_census"].expected


def _taken(source: str, on: str, profile: Profile | None = None) -> ExtractQuality:
    about = ("halton", source, COHORT.code, "file.csv", "sender's mac", "mac")
    return ExtractQuality(*about, {}, f"{on}T02:00:00+00:00", {}, 0, 0, 0, (), (), profile or Profile(0, {}, {}))


def _reviewed(on: str, months: str, *codes: str, rows: int = 1) -> ExtractQuality:
    """Return an intake result of reviews with these codes in these months, so many a month."""
    kinds = {code: int(code in codes) for code in REVIEW_CODES}
    dates = {key: rows * (key in months.split()) for month in list_months(COHORT) if (key := f"{month:%Y-%m}")}
    columns = {name: ColumnProfile(len(codes), own) for name, own in (("review", kinds), ("review_date", dates))}
    return _taken("hv_reviews", on, Profile(len(codes), columns, {}))


def _with_parts(quality: ExtractQuality, *read_on: str) -> ExtractQuality:
    parts = tuple(
        PartRows(
            number=number,
            file="",
            sender_mac="",
            file_mac=f"mac {number}",
            read_at=f"{on}T02:00:00+00:00",
            sent_last=1,
            rows_read=1,
            rejected=0,
            deletions=0,
            sent_again=0,
        )
        for number, on in enumerate(read_on, 1)
    )
    return replace(quality, parts=FromParts("incremental", True, "names", parts))


def test_each_record_is_due_at_its_age_or_on_its_day() -> None:
    expected = {
        record.title: tuple(day.isoformat() for day in record.find_window(COHORT))
        for contract in CONTRACTS.values()
        for record in contract.expected
    }
    assert expected["New birth visit"] == ("2025-12-15", "2026-12-14")
    assert expected["Twelve month review"] == ("2026-12-01", "2027-11-30")
    assert expected["Two to two-and-a-half year review"] == ("2028-06-01", "2029-05-31")
    assert [expected[record.title][0] for record in CENSUSES] == ["2028-03-15", "2029-03-15", "2030-03-15"]


def test_a_cohort_is_open_from_the_first_birth_to_the_end_of_reception() -> None:
    assert [cohort.code for cohort in list_open_cohorts(dt.date(2026, 8, 31))] == [
        *("202526", "202627", "202728", "202829", "202930", "203031")
    ]
    assert list_open_cohorts(dt.date(2026, 9, 1))[0].code == "202627"
    assert list_open_cohorts(dt.date(2026, 9, 1))[-1].code == "203132"


@pytest.mark.parametrize(
    ("on", "quality", "expected"),
    [
        # the oldest child is 14 days old in September 2025; its visit is due with the submissions until December
        ("2025-12-14", None, (arrivals.Progress.NOT_DUE, "2025-12-15")),
        ("2025-12-15", None, (arrivals.Progress.LATE, "2025-12-15")),
        ("2026-01-10", _reviewed("2026-01-05", "2025-09", "NBV"), (arrivals.Progress.CURRENT, "2026-01-05")),
        ("2026-01-31", _reviewed("2026-01-05", "2025-09", "NBV"), (arrivals.Progress.LATE, "2026-01-31")),
        # a file of only other reviews, and a date after the delivery
        ("2026-01-10", _reviewed("2026-01-05", "2025-09", "12M"), (arrivals.Progress.LATE, "2025-12-15")),
        ("2026-01-31", _reviewed("2026-01-05", "2025-09 2026-07", "NBV"), (arrivals.Progress.LATE, "2026-01-31")),
        ("2027-01-10", _reviewed("2026-10-05", "2026-08", "NBV"), (arrivals.Progress.IN, "2026-10-05")),
    ],
)
def test_a_monthly_record_is_late_from_the_first_month_missing(
    on: str, quality: ExtractQuality | None, expected: tuple[arrivals.Progress, str]
) -> None:
    progress, since = arrivals.judge(REVIEWS["NBV"], quality, COHORT, dt.date.fromisoformat(on))
    assert (progress, since.isoformat()) == expected


@given(st.dates(dt.date(2025, 9, 1), dt.date(2029, 8, 31)), st.sampled_from(list(REVIEWS.values())))
def test_a_sender_who_sends_every_month_is_never_late(on: dt.date, record: RecordAtAge) -> None:
    until = f"{on - dt.timedelta(75):%Y-%m}"  # two months to send, and a fortnight for its month to end
    months = " ".join(f"{month:%Y-%m}" for month in list_months(COHORT) if f"{month:%Y-%m}" <= until)
    quality = _reviewed(on.isoformat(), months, record.code)
    assert arrivals.judge(record, quality, COHORT, on)[0] is not arrivals.Progress.LATE
    assert arrivals.judge(record, None, COHORT, on)[0] in (arrivals.Progress.NOT_DUE, arrivals.Progress.LATE)


def test_a_visit_that_may_be_kept_with_the_mother_is_in_only_if_it_was_sent() -> None:
    on = dt.date(2026, 1, 10)
    others, all_of_them = (_reviewed("2026-01-05", "2025-09", *codes) for codes in (("NBV",), ("ANV", "NBV")))
    assert arrivals.judge(REVIEWS["ANV"], others, COHORT, on)[0] is arrivals.Progress.NOT_SENT
    assert arrivals.judge(REVIEWS["ANV"], all_of_them, COHORT, on)[0] is arrivals.Progress.CURRENT
    assert "ANV" not in arrivals.list_complete_reviews(COHORT, all_of_them, {}, dt.date(2028, 1, 1))


def test_a_delivery_has_the_censuses_before_it() -> None:
    quality = _taken("early_years_census", "2029-02-20")
    today = dt.date(2029, 3, 16)
    assert [arrivals.judge(census, quality, COHORT, today)[0] for census in CENSUSES] == [
        *(arrivals.Progress.IN, arrivals.Progress.IN, arrivals.Progress.NOT_DUE)
    ]
    earlier = _with_parts(quality, "2028-02-20")
    assert arrivals.judge(CENSUSES[1], earlier, COHORT, today) == (arrivals.Progress.LATE, dt.date(2029, 3, 15))


def test_a_service_has_sent_everything_if_a_kind_of_record_is_in_and_its_months_go_on() -> None:
    whole = " ".join(f"{month:%Y-%m}" for month in list_months(COHORT))

    def is_in(quality: ExtractQuality, on: str) -> bool:
        return arrivals.is_in_full("health", COHORT, {"hv_reviews": quality}, dt.date.fromisoformat(on))

    assert arrivals.list_able_services(COHORT, dt.date(2026, 12, 13)) == []
    assert arrivals.list_able_services(COHORT, dt.date(2026, 12, 14)) == ["health"]
    assert is_in(_reviewed("2027-01-05", "2026-10", "NBV"), "2027-01-10")
    assert not is_in(_reviewed("2027-01-05", "2026-06", "NBV"), "2027-05-01")  # the months end before the last was due
    assert not is_in(_reviewed("2027-01-05", "2026-12", "2-2.5Y"), "2027-01-10")  # the youngest have no such review yet
    assert is_in(_reviewed("2029-06-05", whole, "2-2.5Y"), "2029-06-10")
    assert not arrivals.is_in_full("settings", COHORT, {}, dt.date(2029, 6, 1))
    assert arrivals.list_able_services(COHORT, dt.date(2029, 6, 1)) == ["settings", "health"]


DUE_AT_TWELVE_MONTHS = [f"{month:%Y-%m}" for month in list_months(COHORT) if "2026-09" <= f"{month:%Y-%m}" <= "2027-08"]


MONTHS = [f"{month:%Y-%m}" for month in list_months(COHORT) if f"{month:%Y-%m}" <= "2027-09"]


@given(st.sets(st.sampled_from(DUE_AT_TWELVE_MONTHS)), st.sampled_from([1, 5, 400]))
def test_a_review_is_complete_only_if_some_are_recorded_in_every_month_in_which_it_was_due(
    lost: set[str], rows: int
) -> None:
    """With half a delivery, many a child would be said to lack a review that was made.

    A month without any is judged by its own kind, whatever other reviews it has and however small the council is.
    """
    sent = _reviewed("2027-11-21", " ".join(MONTHS), "NBV", "12M")
    reviews = {("NBV", month): rows for month in MONTHS} | {("12M", month): rows for month in {*MONTHS} - lost}
    found = arrivals.list_complete_reviews(COHORT, sent, reviews, dt.date(2027, 12, 1))
    assert ("12M" in found) == (not lost)
    assert "NBV" in found  # a review with all its months is not withheld for another's
    assert "2-2.5Y" not in found  # not due yet
    assert "6-8W" not in found  # none was ever sent


@pytest.mark.parametrize(("later", "complete"), [(10, ["12M"]), (11, [])])
def test_a_review_lacks_a_month_with_less_than_a_tenth_of_a_later_one(later: int, complete: list[str]) -> None:
    sent = _reviewed("2027-11-21", " ".join(MONTHS), "12M")
    reviews = {("12M", month): later for month in MONTHS} | {("12M", "2027-05"): 1}
    assert arrivals.list_complete_reviews(COHORT, sent, reviews, dt.date(2027, 12, 1)) == complete


@pytest.mark.parametrize(
    ("early", "complete"),
    [
        ([1, 12, 30, 35, 59, 55], True),
        ([0, 12, 30, 35, 59, 55], False),
        ([12, 30, 0, 35, 59, 55], False),
        ([40, 3] * 3, False),
    ],
    ids=["the number grows", "the first month is lost", "a month is lost", "most of a month is lost"],
)
def test_months_before_the_first_due_one_count_if_the_review_is_made_by_then(early: list[int], complete: bool) -> None:
    """Two-year reviews are made from the age of two, and due by two and a half: a third of them in these months."""
    on, due = (
        dt.date(2029, 6, 1),
        [f"{month:%Y-%m}" for month in list_months(COHORT) if "2028-03" <= f"{month:%Y-%m}" <= "2029-02"],
    )
    before = [f"{month:%Y-%m}" for month in list_months(COHORT) if "2027-09" <= f"{month:%Y-%m}" <= "2028-02"]
    months = " ".join(f"{month:%Y-%m}" for month in list_months(COHORT))
    sent = _reviewed("2029-05-21", months, "2-2.5Y")
    reviews = {("2-2.5Y", month): rows for month, rows in zip(before, early, strict=True)}
    reviews |= {("2-2.5Y", month): 60 for month in due}
    assert arrivals.list_complete_reviews(COHORT, sent, reviews, on) == (["2-2.5Y"] if complete else [])


def test_a_review_stays_complete_when_later_months_are_not_in() -> None:
    """In months in which it was no longer due, a small council may have no review at all."""
    sent, on = _reviewed("2027-12-21", " ".join(MONTHS), "12M"), dt.date(2029, 6, 1)
    assert not arrivals.is_in_full("health", COHORT, {"hv_reviews": sent}, on)
    assert arrivals.list_complete_reviews(COHORT, sent, {("12M", month): 3 for month in MONTHS}, on) == ["12M"]


def test_a_review_whose_last_months_are_not_in_is_not_complete() -> None:
    for last, complete in (("2027-08", ["12M"]), ("2027-06", [])):
        months = [f"{month:%Y-%m}" for month in list_months(COHORT) if f"{month:%Y-%m}" <= last]
        sent, reviews = _reviewed("2027-11-21", " ".join(months), "12M"), {("12M", month): 1 for month in MONTHS}
        assert arrivals.list_complete_reviews(COHORT, sent, reviews, dt.date(2027, 12, 1)) == complete


def test_contact_is_no_later_than_the_census_that_was_read() -> None:
    census = _taken("early_years_census", "2029-02-20")
    by_name = _with_parts(census, *["2029-02-20"] * 3)
    named = ("2028-01.csv", "January 2030.csv", "part 2.csv")
    parts = tuple(replace(part, file=name) for part, name in zip(by_name.parts.parts, named, strict=True))
    by_name = replace(by_name, parts=replace(by_name.parts, parts=parts))
    found = arrivals.list_census_months({("halton", "early_years_census"): by_name}, COHORT)
    # Two years' censuses that were read on one day are of the days in their names, but not of a day to come.
    assert found["census_month"].to_pylist() == ["2028-01", "2029-01", "2029-01"]
    months = {
        (row["source"], row["part"]): row["census_month"]
        for row in arrivals.list_census_months(
            {
                ("halton", "early_years_census"): _with_parts(census, "2028-02-20", "2029-02-20"),
                ("halton", "school_census"): _taken("school_census", "2031-02-20"),
                ("halton", "eyfsp"): _taken("eyfsp", "2031-05-20"),  # before it can be complete
                ("halton", "hv_reviews"): _taken("hv_reviews", "2031-05-20"),
            },
            COHORT,
        ).to_pylist()
    }
    assert months == {
        ("early_years_census", 1): "2028-01",
        ("early_years_census", 2): "2029-01",
        ("school_census", 0): "2031-01",
    }


def test_a_source_that_nobody_collects_is_not_expected(tmp_path: Path) -> None:
    (tmp_path / "landing" / "halton" / "hv_reviews").mkdir(parents=True)
    entries = arrivals.build_timeline(tmp_path / "landing", Home(tmp_path / "home"), dt.date(2027, 1, 1))
    assert {entry.source for entry in entries} == {"hv_reviews"}
    assert len(entries) == 6 * len(REVIEWS)
    (tmp_path / "landing" / "halton" / "eyfsp").mkdir()
    more = arrivals.build_timeline(tmp_path / "landing", Home(tmp_path / "home"), dt.date(2027, 1, 1))
    assert len(more) == 6 * (len(REVIEWS) + 1)
