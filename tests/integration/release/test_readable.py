"""A figure is shown where the noisy counts support it, whatever share was expected."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.release.planning import compute_expected_accuracy, plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.schema import ColumnRole, get_column_name
from privacy.release.child_table import UNIT_COLUMN, count_cells
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from sources.reference.places import PILOT
from tests.support.release.usable import make_up

COUNCILS = tuple(sorted(PILOT))
ASIAN = "Asian / Asian British"


def replaced(table: pa.Table, column: str, values: list[str] | list[int]) -> pa.Table:
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values))


def unusual_children() -> pa.Table:
    """Sefton, of whose children some 60 were expected to be Asian, has 300."""
    table = make_up("pupil", COUNCILS, 1)
    ethnic = np.array(table["ethnic_group"].to_pylist(), dtype=object)
    sefton = np.flatnonzero(pc.equal(table["council"], "sefton").to_numpy(zero_copy_only=False))
    ethnic[sefton] = np.where(ethnic[sefton] == ASIAN, "White", ethnic[sefton])
    ethnic[sefton[:300]] = ASIAN
    return replaced(table, "ethnic_group", list(ethnic))


def unusual_responses() -> pa.Table:
    """A quarter of 2,400 parents have no funded place."""
    table = make_up("parents", COUNCILS, 1)
    table = replaced(table.take(np.resize(np.arange(len(table)), 2400)), UNIT_COLUMN, list(range(2400)))
    return replaced(table, "fsm_or_funded", ["No" if row % 4 == 0 else "Yes" for row in range(2400)])


@cache
def released() -> dict[str, pa.Table]:
    policy = load_policy()
    plans = {family: plan_family(family, COUNCILS, policy) for family in FAMILIES}
    made = {"pupil": unusual_children(), "health": make_up("health", COUNCILS, 1), "parents": unusual_responses()}
    drawn = {
        family: measure(plan, count_cells(made[family], plan), OpenDPNoise(compute_charge(plan)))
        for family, plan in plans.items()
    }
    measured = [MeasuredCohort("202425", "2026.11.0", plans, drawn)]
    return tabulate(MeasuredRelease(measured, COUNCILS, policy.reliability, {}))


def delivered(family: str) -> int:
    """Rates of a family that can be used."""
    flags = [
        released()[table.name][get_column_name(measure, ColumnRole.FLAG)]
        for table in FAMILIES[family].tables
        for measure in table.measures
        if not measure.is_count
    ]
    return sum(column.null_count for column in flags)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_delivered_lies_within_what_was_promised(family: str) -> None:
    """Though the shares are none that anybody expected."""
    tables = {table.name for table in FAMILIES[family].tables}
    expected = compute_expected_accuracy(COUNCILS, load_policy())["by_table"]
    promised = [row["usable"] for row in expected if row["table"] in tables]
    least, most = (sum(ends) for ends in zip(*promised, strict=True))
    assert least <= delivered(family) <= most


def where(table: str, **levels: str) -> list[dict[str, Any]]:
    data = released()[table]
    for name, level in levels.items():
        data = data.filter(pc.equal(data[name], level))
    return data.to_pylist()


def test_a_group_larger_than_expected_has_its_figure_and_one_too_small_a_row_that_says_so() -> None:
    (sefton,) = where("gld_headline", la_name="Sefton", breakdown=ASIAN, sex="Total")
    assert sefton["gld_children_percent_flag"] is None
    assert sefton["gld_children_percent_upper_ci"] - sefton["gld_children_percent_lower_ci"] < 2 * 4
    withheld = [row for row in where("gld_headline") if row["gld_children_percent_flag"] == "withheld"]
    assert 0 < len(withheld) < 0.1 * released()["gld_headline"].num_rows
    for row in withheld:
        assert row["gld_children_percent"] is None
        assert row["gld_children_percent_lower_ci"] is not None
        assert row["children_count"] is not None


def test_a_row_that_no_plausible_cohort_could_fill_is_left_out() -> None:
    """The same with any data: it follows from public sizes, and 206 of 660 rows of the table were empty."""
    black = "Black / African / Caribbean / Black British"
    assert not where("gld_headline", la_name="Halton", breakdown=black)
    assert where("gld_headline", la_name="Leeds", breakdown=black, sex="Total")


def test_every_rate_between_5_and_15_points_is_shown_flagged_in_whole_points() -> None:
    """In every table, by the interval that is shown; 1,443 of 2,093 such rates were withheld."""
    seen = 0
    for name, data in released().items():
        for published in (each for each in TABLES[name].measures if each.unit):
            columns = [published.name + end for end in ("", "_lower_ci", "_upper_ci", "_flag")]
            for figure, lower, upper, flag in zip(*(data[each].to_pylist() for each in columns), strict=True):
                half_width = None if lower is None else (upper - lower) / 2
                if flag == "u":
                    assert half_width is not None
                    assert 5 - 1e-6 < half_width <= 15 + 1e-6
                    assert figure == round(figure)
                    seen += 1
                elif flag is None:
                    assert half_width is not None
                    assert half_width <= 5 + 1e-6
    assert seen > 300
