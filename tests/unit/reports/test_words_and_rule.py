"""Words of a report, and the rule of when a difference is worth a look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.intake.quality_report.compare import POINTS, Share, has_changed, is_departure
from ndl_export.pages.number_format import format_row_ranges

counts = st.integers(1, 10_000).flatmap(lambda of: st.builds(Share, st.integers(0, of), st.just(of)))


@given(st.sets(st.integers(1, 500)))
def test_row_ranges_name_these_rows_and_no_others(numbers: set[int]) -> None:
    named: set[int] = set()
    for part in filter(None, format_row_ranges(numbers).split(", ")):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == numbers


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        (Share(60, 100), Share(50, 100), False),
        (Share(600, 1000), Share(500, 1000), True),
        (Share(5400, 10_000), Share(5000, 10_000), False),
        (Share(10, 10), Share(0, 0), False),
        (Share(0, 1000), Share(1000, 1000), True),
    ],
)
def test_a_change_must_be_large_and_no_chance(now: Share, last: Share, expected: bool) -> None:
    assert has_changed(now, last) is expected


@given(counts, counts)
def test_a_change_is_the_same_both_ways_and_never_small(now: Share, last: Share) -> None:
    assert has_changed(now, last) == has_changed(last, now)
    if has_changed(now, last):
        assert abs(now.rows / now.of - last.rows / last.of) > POINTS


@pytest.mark.parametrize(
    ("now", "published", "expected"),
    [
        (Share(600, 1000), 0.64, False),
        (Share(590, 1000), 0.66, True),
        (Share(59, 100), 0.66, False),
        (Share(0, 0), 0.5, False),
    ],
)
def test_departing_from_a_published_share(now: Share, published: float, expected: bool) -> None:
    assert is_departure(now, published) is expected
