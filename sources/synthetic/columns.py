"""Rows of one source under the contract's column names, as Arrow columns in contract form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sources.synthetic.drawing import AnyArray, Floats, Ints, Texts


@dataclass(frozen=True)
class Rows:
    """Rows of one source from every council, in order of council and place in the file.

    `council` indexes `Margins.councils`; `person` indexes `People`, and is None where the source is of no child.
    """

    council: Ints
    person: Ints | None
    table: pa.Table


def coded(index: AnyArray, values: Sequence[str]) -> pa.DictionaryArray:
    """A column of codes: `index` into `values`; an empty value is blank."""
    dictionary = pa.array([value or None for value in values], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), dictionary)


def text(values: Texts) -> pa.Array:
    """A column of text; empty is blank."""
    column = pa.array(values, pa.string())
    return pc.if_else(pc.equal(column, ""), None, column)


def dates(values: npt.NDArray[np.datetime64]) -> pa.Array:
    """A column of dates; not-a-time is blank."""
    return pa.array(values.astype("datetime64[D]"), pa.date32())


def decimals(values: Floats) -> pa.DictionaryArray:
    """A column of numbers as text, without needless zeros; NaN is blank."""
    distinct, index = np.unique(values, return_inverse=True)
    return coded(index, ["" if np.isnan(value) else f"{value:.10g}" for value in distinct])


def in_file_order(council: Ints, key: AnyArray, late: AnyArray) -> Ints:
    """Order of rows: by council, those sent again after the others, then by `key`."""
    return np.lexsort((key, late, council))


def filed(council: Ints, person: Ints, table: pa.Table, key: AnyArray, again: Ints) -> Rows:
    """The rows of `table` in file order, after them those of its rows that are sent `again` (indices)."""
    sent = np.concatenate([np.arange(len(person)), again])
    late = np.arange(len(sent)) >= len(person)
    sent = sent[in_file_order(council[sent], key[sent], late)]
    return Rows(council[sent], person[sent], table.take(pa.array(sent)))
