"""What the synthetic children of a release have for the rows of a requested table, where somebody made them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.release.requests.request import Request
from ndl_export.facts.released import DATAPACKAGE_FILE
from ndl_export.facts.synthetic import PARQUET_FILE, QUALITY_PAGE
from ndl_export.tables.definition import TOTAL
from ndl_export.tables.model import RateBlock, Selection
from ndl_export.tables.pupil import FAMILY

Facts = dict[str, Any]


def synthetic_figures(request: Request, cohort: str, folder: Path) -> Facts | None:
    """The percentage of each row at full detail for all councils together, or of a table of counts the row as a
    percentage of the one with its last column at the total, with how far off such percentages were where it was tried;
    None where the folder has no rows of that cohort. `statement` is its place in the release directory."""
    file = folder / PARQUET_FILE
    if request.family != FAMILY.name or not file.is_file():
        return None
    children = pq.read_table(file)
    children = children.filter(pc.equal(children["cohort"], cohort))
    if not children.num_rows:
        return None
    held_out = json.loads((folder / DATAPACKAGE_FILE).read_bytes())["held_out"]
    statement = PurePosixPath(folder.parent.name, folder.name, QUALITY_PAGE)
    return {"statement": str(statement), "held_out": held_out, "rows": _rows(request, children)}


def _rows(request: Request, children: pa.Table) -> list[Facts]:
    (block,) = request.table.blocks
    is_in = {
        axis.attribute: {s.label: _within(children, axis.attribute, s) for s in axis.selections} for axis in block.axes
    }
    rows = []
    for chosen in product(*(axis.selections for axis in block.axes)):
        labels = tuple(level.label for level in chosen)
        if TOTAL in labels:
            continue
        sides = [is_in[axis.attribute][label] for axis, label in zip(block.axes, labels, strict=True)]
        row = np.logical_and.reduce(sides)
        if isinstance(block, RateBlock):
            whole, part = row, row & _within(children, block.numerator[0], Selection("", block.numerator[1]))
        else:
            whole, part = np.logical_and.reduce([*sides[:-1], np.ones(len(row), dtype=bool)]), row
        of = int(whole.sum())
        rows.append({"levels": list(labels), "of": of, "percent": round(100 * int(part.sum()) / of, 2) if of else None})
    return rows


def _within(children: pa.Table, attribute: str, level: Selection) -> Any:
    if level.categories is None:
        return np.ones(children.num_rows, dtype=bool)
    return np.asarray(pc.is_in(children[attribute], value_set=pa.array(level.categories)))
