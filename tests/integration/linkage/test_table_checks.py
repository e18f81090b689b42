"""What the check of a confidential table finds, and that a table of nobody passes it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.linkage.children import TableCheck, check_table
from ndl_export.tables import FAMILIES
from privacy.release.child_table import UNIT_COLUMN


def table(path: Path, family: str, units: list[str], **columns: list[str | None]) -> TableCheck:
    """The check of a table in which every unit is of the first category of every attribute, but for `columns`."""
    every = {each.name: [each.categories[0]] * len(units) for each in FAMILIES[family].attributes}
    schema = pa.schema([(name, pa.string()) for name in (UNIT_COLUMN, *every)])
    pq.write_table(pa.table({UNIT_COLUMN: units} | every | columns, schema=schema), path / "table.parquet")
    return check_table(path / "table.parquet", family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("units", [[], ["a", "b"]])
def test_units_in_order_pass_and_so_does_a_table_of_nobody(tmp_path: Path, family: str, units: list[str]) -> None:
    assert table(tmp_path, family, units) == TableCheck(0, 0)


def test_a_value_outside_its_domain_one_that_is_missing_and_a_unit_twice_do_not(tmp_path: Path) -> None:
    assert table(tmp_path, "pupil", ["a", "b", "c"], gld=["Yes", "Maybe", None]) == TableCheck(2, 0)
    found = table(tmp_path, "pupil", ["a", "b", "a"])
    assert (found, found.ok) == (TableCheck(0, 1), False)
