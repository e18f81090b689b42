"""Faults in the content of a release that the checks must find, one planted at a time."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ndl_export.bundle import checks
from sources.reference.places import PILOT, load_places
from tests.support.export.fake_release import COHORT, fake_privacy_record, fake_tables

LAYOUTS = checks.build_table_layouts(PILOT, (COHORT,))
VERSION = "2026.11.0"


def first(data: pa.Table, column: str, value: Any, *, where: pa.Array | None = None) -> pa.Table:
    """`data` with one cell replaced: of the first row, or of the first row of `where`."""
    row = 0 if where is None else pc.index(where.combine_chunks(), True).as_py()
    cells = data[column].to_pylist()
    cells[row] = value
    position = data.column_names.index(column)
    return data.set_column(position, data.schema.field(column), pa.array(cells, data.schema.field(column).type))


def nudge(data: pa.Table, column: str, *, where: pa.Array | None = None) -> pa.Table:
    """`data` with one estimate moved by 0.01 towards the count shown, so that only sums tell."""
    row = 0 if where is None else pc.index(where.combine_chunks(), True).as_py()
    estimate, shown = data[column][row].as_py(), data[column.removesuffix("_estimate")][row].as_py()
    return first(data, column, estimate + (0.01 if shown > estimate else -0.01), where=where)


def retyped(data: pa.Table, column: str, kind: pa.DataType) -> pa.Table:
    position = data.column_names.index(column)
    return data.set_column(position, data.schema.field(column).with_type(kind), data[column].cast(kind))


def test_well_formed_tables_of_the_pilot_and_of_england_have_no_fault(tables: dict[str, pa.Table]) -> None:
    assert checks.find_table_faults(tables, LAYOUTS) == []
    everywhere = tuple(load_places())
    assert checks.find_table_faults(fake_tables(everywhere), checks.build_table_layouts(everywhere, (COHORT,))) == []


PLANTED: dict[str, tuple[str, Callable[[pa.Table], pa.Table]]] = {
    "flags that are not legal": ("gld_headline", lambda t: first(t, "children_count_flag", "q")),
    "flag z where": ("gld_headline", lambda t: first(t, "children_count_flag", "z")),
    "figures missing": ("gld_headline", lambda t: first(t, "children_count", None)),
    "shown where the flag": ("gld_headline", lambda t: first(t, "gld_children_percent_flag", "withheld")),
    "intervals missing": ("gld_headline", lambda t: first(t, "children_count_lower_ci", None)),
    "wrong way round": ("gld_headline", lambda t: first(t, "children_count_lower_ci", 1e9)),
    "figures outside their interval": ("gld_headline", lambda t: first(t, "gld_children_percent", 101.0)),
    "below 0": ("gld_headline", lambda t: first(t, "children_count", -1)),
    "not finite": ("gld_headline", lambda t: first(t, "children_count_upper_ci", float("inf"))),
    "values that are not finite": ("gld_headline", lambda t: first(t, "gld_children_percent_lower_ci", float("nan"))),
    "above 100": ("gld_headline", lambda t: first(t, "gld_children_percent_upper_ci", 100.5)),
    "counts withheld": (
        "gld_headline",
        lambda t: first(first(t, "children_count_flag", "withheld"), "children_count", None),
    ),
    "not their estimate rounded": ("joined_dots", lambda t: first(t, "children_count_estimate", 5.0)),
    "differs from the same number elsewhere": ("funded_entitlement", lambda t: nudge(t, "children_count_estimate")),
    "is not the sum over": (
        "funded_entitlement",
        lambda t: nudge(t, "children_count_estimate", where=pc.equal(t["two_year_old_entitlement"], "Taken")),
    ),
    "is not the sum of its councils": ("parent_experience", lambda t: nudge(t, "response_count_estimate")),
    "series_break is not": ("joined_dots", lambda t: first(t, "series_break", "b")),
    "columns differ": ("asq3_outcomes", lambda t: t.drop_columns(["breakdown"])),
    "rows are missing": ("asq3_outcomes", lambda t: t.slice(1)),
    "models without an interval": ("joined_dots", lambda t: first(t, "gld_children_percent_model_upper_ci", None)),
    "models outside their interval": ("joined_dots", lambda t: first(t, "gld_children_percent_model", -1.0)),
    "models outside the range": ("joined_dots", lambda t: first(t, "gld_children_percent_model_lower_ci", -1.0)),
    "should be": ("asq3_outcomes", lambda t: retyped(t, "asq3_domain", pa.large_string())),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_is_named(what: str, tables: dict[str, pa.Table]) -> None:
    name, plant = PLANTED[what]
    faults = checks.find_table_faults(tables | {name: plant(tables[name])}, LAYOUTS)
    assert any(what in fault for _, fault in faults), faults


def test_missing_and_unknown_tables_are_named(tables: dict[str, pa.Table]) -> None:
    others = {name: data for name, data in tables.items() if name != "joined_dots"}
    faults = checks.find_table_faults(others | {"dots": tables["joined_dots"]}, LAYOUTS)
    assert faults == [("dots", "there is no such table"), ("joined_dots", "the table is missing")]


def test_shared_totals_of_different_attributes_must_agree(tables: dict[str, pa.Table]) -> None:
    """Moves children from one service that saw them to none: every sum of the table still holds."""
    data = tables["joined_dots"]
    children = {"Neither": 0.3, "Health visitor only": -0.3}
    councils = {"Pilot councils": 8, "English devolved area": 6, "Local authority": 1}
    column = "children_count_as_linked_estimate"
    moved = data[column].to_pylist()
    for index, row in enumerate(data.to_pylist()):
        if row["seen_by"] in children and row["concern_by"] in ("Total", "None"):
            moved[index] += children[row["seen_by"]] * councils[row["geographic_level"]]
    position = data.column_names.index(column)
    changed = data.set_column(position, data.schema.field(position), pa.array(moved))
    changed_tables = {name: data for name, data in tables.items() if name != "seen_by_group"} | {"joined_dots": changed}
    faults = {what for _, what in checks.find_disagreements(changed_tables, LAYOUTS)}
    assert faults == {
        *(
            f"{COHORT}: it does not hold that {review}: children without a linked review are those seen by a setting"
            " only or by neither service"
            for review in ("ASQ-3 at 2 to 2.5 years", "Two to two-and-a-half year review")
        )
    }


def spoil(record: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    spoilt = deepcopy(record)
    inner = spoilt
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return spoilt


def test_a_good_privacy_record_has_no_fault() -> None:
    assert checks.find_privacy_faults(fake_privacy_record(VERSION), VERSION, (COHORT,)) == []


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("release",), "2026.10.0", "about release"),
        (("cohorts", 0, "cohort"), "202526", "about cohort"),
        (("trust_model",), "", "trust_model is empty"),
        (("cohorts", 0, "measured_in"), "", "measured_in is empty"),
        (("cohorts", 0, "privacy_parameters", "epsilon"), 3.6, "not the largest of its cohorts"),
        (("families", 0, "cohort"), "202324", "which it is not about"),
        (("families", 0, "family"), "pupils", "lists the families"),
        (("families", 0, "rho"), 0.2, "adds up"),
        (("families", 2, "charged_to"), "child", "of response alone"),
        (("cohorts", 0, "accounts", 1, "privacy_parameters", "rho"), 0.16, "not to that of a response"),
        (("cohorts", 0, "joint_parameters", "rho"), 0.3, "not the sum of its accounts"),
        (("families", 0, "epsilon"), 2.0, "less than Gaussian noise"),
        (("families", 0, "epsilon"), 9.0, "more than rho"),
        (("families", 0, "delta"), 0.1, "out of range"),
        (("families", 0, "noise_source"), "numpy", "not from OpenDP"),
        (("families", 0, "ledger_entry"), "", "ledger_entry is empty"),
        (("privacy_parameters",), {}, "not of the expected shape"),
    ],
)
def test_a_bad_privacy_record_is_named(path: tuple[Any, ...], value: Any, what: str) -> None:
    faults = checks.find_privacy_faults(spoil(fake_privacy_record(VERSION), path, value), VERSION, (COHORT,))
    assert any(what in fault for fault in faults), faults
