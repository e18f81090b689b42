"""Comparison of a release with earlier ones: figures that moved, and figures that further counts made more precise."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, strategies as st
from scipy.stats import norm

from ndl_export.analyst_db.changes import TableChanges, compare, render_changelog_page
from ndl_export.facts.on_request import OnRequest, RequestMeasurement
from ndl_export.facts.release_facts import Earlier, PublishedRelease, build_release, read_previous_releases
from ndl_export.tables import TABLES
from tests.support.daily import limit_examples
from tests.support.export.fake_release import COHORT, fake_facts, fake_privacy_record, fake_tables
from tests.support.export.requested import BASE, SUPPLEMENT

pytestmark = pytest.mark.slow

PERCENT = "gld_children_percent"


def previous_of(tables: Mapping[str, pa.Table], *further: RequestMeasurement, **facts: Any) -> PublishedRelease:
    """Return a release before the others, with counts drawn for it and `further` ones."""
    counts: dict[RequestMeasurement, Any] = dict.fromkeys(further)
    first = replace(
        build_release(fake_facts(BASE), tables),
        privacy_record=fake_privacy_record(BASE, earlier={"202324": "2025.11.0"}),
        on_request=OnRequest((), counts),
        read=lambda file, _: tables.get(file.removesuffix(".parquet")),
    )
    return replace(first, **facts)


def drawn(data: pa.Table, estimate: np.ndarray, sigma: float) -> pa.Table:
    """Return the headline table with counts of children that have noise of this size."""
    values = {"_estimate": estimate, "_lower_ci": estimate - 1.96 * sigma, "_upper_ci": estimate + 1.96 * sigma}
    for suffix, cells in values.items():
        name = "children_count" + suffix
        data = data.set_column(data.column_names.index(name), data.field(name), pa.array(cells))
    return data


def with_values(data: pa.Table, row: int, **values: float | None) -> pa.Table:
    for name, value in values.items():
        cells = data[name].to_pylist()
        cells[row] = value
        data = data.set_column(data.column_names.index(name), data.field(name), pa.array(cells, data[name].type))
    return data


@limit_examples(30)
@given(p=st.floats(20, 80), c=st.floats(20, 80), width=st.floats(0.5, 15))
def test_a_percentage_has_moved_where_the_interval_of_its_change_leaves_out_zero(
    tables: dict[str, pa.Table], p: float, c: float, width: float
) -> None:
    """Unequal sides: for a rise, the new value's lower side and the old one's upper side count. Four figures of the row
    are compared, so it must leave out zero as wide as a list of four asks for, and is shown as wide as at the place
    where Holm's steps end."""
    ours = tables["gld_headline"].slice(0, 1)
    sides = {"_lower_ci": -width, "_upper_ci": 2 * width}
    before, now = (
        with_values(ours, 0, **{PERCENT: value}, **{PERCENT + side: value + reach for side, reach in sides.items()})
        for value in (p, c)
    )
    found = compare({"gld_headline": now}, previous_of({"gld_headline": before}))["gld_headline"]
    moved, change = found.moved, c - p
    in_errors = math.hypot(width, 2 * width) / norm.isf(0.025)
    reach, as_shown = (in_errors * norm.isf(0.05 / claims) for claims in (2 * found.compared, 2 * found.compared - 1))
    if abs(abs(change) - reach) > 1e-4:
        assert [line[1] for line in moved] == ([PERCENT] if abs(change) > reach else [])
    for line in moved:
        nearer_to_zero = float(line[-2] if change > 0 else line[-1])
        assert abs(float(line[-3]) - nearer_to_zero) == pytest.approx(as_shown, abs=0.11)


def test_noise_alone_lists_nothing_in_nineteen_releases_of_twenty(tables: dict[str, pa.Table]) -> None:
    """Counts with Gaussian noise of a known size, drawn twice: 5 in 100 of them were listed."""
    rng, sigma, releases = np.random.default_rng(4), 6.0, 40
    data = tables["gld_headline"]
    truth = np.maximum(data["children_count_estimate"].to_numpy(), 0.0) + 100.0

    def again(further: float = 0.0) -> pa.Table:
        moved = np.where(np.arange(len(truth)) == 3, further, 0.0)
        return drawn(data, truth + rng.normal(0, sigma, len(truth)) + moved, sigma)

    found = [
        compare({"gld_headline": again()}, previous_of({"gld_headline": again()}))["gld_headline"]
        for _ in range(releases)
    ]
    assert sum(any(line[1] == "children_count" for line in one.moved) for one in found) <= 6
    (listed,) = compare({"gld_headline": again(100.0)}, previous_of({"gld_headline": again()}))["gld_headline"].moved
    assert listed[1] == "children_count"


def test_rows_that_came_and_went_are_counted(tables: dict[str, pa.Table]) -> None:
    councils = tuple(council for council in fake_facts().councils if council != "leeds")
    fewer = fake_tables(councils)
    compared = compare(tables, previous_of(fewer, councils=councils))
    without = compare(fewer, previous_of(tables))
    for name in TABLES:
        added = pc.sum(pc.equal(tables[name]["la_name"], "Leeds")).as_py()
        assert (compared[name].added, compared[name].left_out) == (added, 0)
        assert (without[name].added, without[name].left_out) == (0, added)
    earlier = Earlier(BASE, {COHORT: previous_of(fewer, councils=councils)})
    page = render_changelog_page(fake_facts(), earlier, {COHORT: compared})
    assert "- Councils: new: Leeds." in page
    assert "- Sources not sent: as before." in page


@pytest.mark.parametrize(
    ("others", "replaced", "compared"),
    [
        ({"2026.10.0": ["202324"]}, None, {}),
        ({"2026.10.0": ["202324", "202425"]}, None, {"202425": "2026.10.0"}),
        ({"2026.10.0": ["202425"]}, "2026.10.0", {"202425": "2026.10.0"}),
        ({"2026.09.0": ["202425"], "2026.10.0": ["202324"]}, "2026.09.0", {"202425": "2026.09.0"}),
        ({"2026.10.9": ["202425"], "2026.10.10": ["202425"]}, "2026.10.10", {"202425": "2026.10.10"}),
        ({"2026.10.0": ["202425"], "2026.12.0": ["202425"]}, "2026.10.0", {"202425": "2026.10.0"}),
    ],
)
def test_a_cohort_is_compared_with_the_newest_older_release_and_one_that_is_covered_is_replaced(
    others: dict[str, list[str]], replaced: str | None, compared: dict[str, str], bundle: Path, tmp_path: Path
) -> None:
    for version, cohorts in others.items():
        folder = Path(shutil.copytree(bundle, tmp_path / version))
        package = json.loads((folder / "datapackage.json").read_text())
        package |= {"cohorts": cohorts, "version": folder.name}
        (folder / "datapackage.json").write_text(json.dumps(package))
    earlier = read_previous_releases(tmp_path, fake_facts())
    assert (earlier.replaced, {cohort: each.version for cohort, each in earlier.of.items()}) == (replaced, compared)


FURTHER = RequestMeasurement(COHORT, "pupil", SUPPLEMENT)


def test_cohorts_are_sharpened_by_further_counts_beside_the_same_ones(tables: dict[str, pa.Table]) -> None:
    other = RequestMeasurement(COHORT, "parents", "2027.01.0")
    alone, further, only_other = previous_of(tables), previous_of(tables, FURTHER), previous_of(tables, other)
    anew = previous_of(tables, FURTHER, privacy_record=fake_privacy_record("2026.12.0"))
    assert alone.find_sharpened(further) == {COHORT}
    assert alone.find_sharpened(alone) == frozenset()
    assert alone.find_sharpened(anew) == frozenset()
    assert further.find_sharpened(further) == frozenset()
    assert further.find_sharpened(previous_of(tables, FURTHER, other)) == {COHORT}
    assert further.find_sharpened(alone) == {COHORT}  # the sharper one is the older one
    assert further.find_sharpened(only_other) == frozenset()


def test_further_counts_explain_the_changes(tables: dict[str, pa.Table]) -> None:
    """Of counts with Gaussian noise of a known size, and their average with a second draw by inverse variance: the
    children are the same, so none has moved, however small the change that the further counts allow."""
    rng, first, second = np.random.default_rng(11), 6.0, 8.0
    data = tables["gld_headline"]
    truth = np.maximum(data["children_count_estimate"].to_numpy(), 0.0) + 100.0
    one, other = (truth + rng.normal(0, sigma, len(truth)) for sigma in (first, second))
    both = (one / first**2 + other / second**2) / (first**-2 + second**-2)
    sigma = (first**-2 + second**-2) ** -0.5
    before, now = drawn(data, one, first), drawn(data, both, sigma)
    for older, newer, ratio in ((before, now, sigma / first), (now, before, first / sigma)):
        found = compare({"gld_headline": newer}, previous_of({"gld_headline": older}), TABLES, {COHORT})["gld_headline"]
        assert not found.moved
        assert found.changed == np.count_nonzero(np.round(one) != np.round(both))
        assert found.width_ratio is not None
        widths = {1.0: found.compared - len(truth), ratio: len(truth)}
        assert found.width_ratio == pytest.approx(max(widths, key=lambda each: widths[each]), rel=1e-9)
    apart = compare({"gld_headline": now}, previous_of({"gld_headline": before}))["gld_headline"]
    assert not apart.moved
    assert (apart.changed, apart.width_ratio) == (0, None)


def test_a_change_that_is_not_printed_is_not_listed(tables: dict[str, pa.Table]) -> None:
    """An interval of next to no width, and a change smaller than the last decimal."""
    ours = tables["gld_headline"].slice(0, 1)
    before, now = (
        with_values(ours, 0, **{PERCENT: value, f"{PERCENT}_lower_ci": value, f"{PERCENT}_upper_ci": value})
        for value in (50.0, 50.0 + 1e-9)
    )
    assert not compare({"gld_headline": now}, previous_of({"gld_headline": before}))["gld_headline"].moved


@pytest.mark.parametrize(
    ("ratio", "says"),
    [(0.97, "intervals are narrower than before"), (1.0, "In no table"), (0.9999, "In no table"), (1.02, "are wider")],
)
def test_intervals_are_called_narrower_only_where_their_widths_changed(
    tables: dict[str, pa.Table], ratio: float, says: str
) -> None:
    found = {"gld_headline": TableChanges(10, (), 0, 0, 3, ratio), "asq3_outcomes": TableChanges(10, (), 0, 0, 0, 1.0)}
    facts = replace(fake_facts(BASE), on_request=OnRequest((), {FURTHER: None}))  # type: ignore[dict-item]
    earlier = Earlier(BASE, {COHORT: previous_of(tables)})
    page = render_changelog_page(facts, earlier, {COHORT: found})
    assert "### Figures shown differently" in page
    assert says in page
    assert ("narrower than before." in page) == (ratio == 0.97)
