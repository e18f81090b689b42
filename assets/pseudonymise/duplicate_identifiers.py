"""Finds rows anywhere in an extract whose UPN, NHS or other number also belongs to another child, using hashes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from privacy import row_keys
from privacy.services import MAX_CHILDREN_A_NUMBER
from sources.contracts import Rule, SourceContract
from sources.contracts.people import NUMBERS, OF_MANY, UPN_OF_TWO
from sources.extract.table import SOURCE_ROW

_TELLING = ("date_of_birth", "surname", "forename")
"""Two rows that differ in all of these belong to different children."""
_CHILD = "hash(date_of_birth, lower(coalesce(forename, surname, postcode)))"
"""SQL that identifies a child, as in the linkage's count of children who share a number."""


def _name_hash_column(name: str) -> str:
    return f"{name}_hash"


def _name_child_column(number: str) -> str:
    """Return the column name for the hash of a number and its child."""
    return f"{number}_child_hash"


HASHES = (*map(_name_hash_column, (*NUMBERS, *_TELLING)), *map(_name_child_column, NUMBERS))


def build_hashes_sql(contract: SourceContract) -> str:
    """Return SQL for the columns that `DuplicateIdentifiers` reads, after a comma; empty if there are no numbers."""
    numbers = [number for number in NUMBERS if number in contract]
    # hashes include the part, so that a part's findings do not depend on the parts that are read with it
    part = row_keys.build_part_sql(SOURCE_ROW)
    # one number may be written with and without spaces or hyphens
    plain = {name: f"translate(lower({name}::VARCHAR), ' -', '')" for name in numbers}
    columns = {_name_hash_column(name): f"hash({sql}, {part})" for name, sql in plain.items()}
    if "upn" in numbers:
        columns |= {_name_hash_column(name): f"hash(lower({name}::VARCHAR), {part})" for name in _TELLING}
    # a row that does not identify a child counts as a separate child
    nobody = "date_of_birth IS NULL OR coalesce(forename, surname, postcode) IS NULL"
    child = f"CASE WHEN {nobody} THEN hash({SOURCE_ROW}) ELSE {_CHILD} END"
    columns |= {_name_child_column(name): f"hash({sql}, {part}, {child})" for name, sql in plain.items()}
    filled = {column: column.removesuffix("_hash").removesuffix("_child") for column in columns}
    return "".join(f", CASE WHEN {filled[to]} IS NULL THEN 0 ELSE {sql} END AS {to}" for to, sql in columns.items())


class DuplicateIdentifiers:
    """Collects hashes from the typed rows of an extract, one chunk at a time.

    Uses 24 bytes of memory for each row and number, and 40 for each distinct UPN.
    """

    def __init__(self) -> None:
        self._first = np.empty((0, len(_TELLING) + 2), np.uint64)
        self._of_two: list[np.ndarray] = []
        self._children: dict[str, list[np.ndarray]] = {}

    @property
    def rows(self) -> dict[Rule, np.ndarray]:
        """Row numbers by broken rule.

        The rules are for rows that share a UPN with a row of different date of birth, surname and forename, and for
        rows whose number belongs to many children.
        """
        of_many = {OF_MANY[number]: _find_rows_of_many(np.concatenate(seen)) for number, seen in self._children.items()}
        of_two = np.unique(np.concatenate([_NO_ROW, *self._of_two]))
        # a number of many children is reported once
        of_two = of_two[~np.isin(of_two, of_many.get(OF_MANY["upn"], _NO_ROW))]
        found = {UPN_OF_TWO: of_two, **of_many}
        return {rule: rows for rule, rows in found.items() if len(rows)}

    def see(self, chunk: pa.Table) -> None:
        for number in NUMBERS:
            if _name_hash_column(number) in chunk.column_names:
                seen = _stack_columns(chunk, _name_hash_column(number), _name_child_column(number), SOURCE_ROW)
                self._children.setdefault(number, []).append(seen[seen[:, 0] != 0])
        if _name_hash_column("upn") in chunk.column_names:
            self._see_upns(_stack_columns(chunk, *map(_name_hash_column, ("upn", *_TELLING)), SOURCE_ROW))

    def _see_upns(self, seen: np.ndarray) -> None:
        seen = np.concatenate([self._first, seen[seen[:, 0] != 0]])
        seen = seen[np.lexsort((seen[:, -1], seen[:, 0]))]  # by UPN, then by row number
        starts = np.flatnonzero(np.diff(seen[:, 0], prepend=np.uint64(0)) != 0)
        first = seen[np.repeat(starts, np.diff(np.append(starts, len(seen))))]
        child, first_child = seen[:, 1:-1], first[:, 1:-1]
        # 0 is a missing value, which differs from nothing
        other = ((child != first_child) & (child != 0) & (first_child != 0)).all(axis=1)
        if other.any():
            self._of_two.append(np.concatenate([seen[other, -1], first[other, -1]]).astype(np.int64))
        self._first = seen[starts]  # rows of later chunks are compared with the first row of each UPN


_NO_ROW = np.empty(0, np.int64)


def _stack_columns(chunk: pa.Table, *names: str) -> np.ndarray:
    return np.column_stack([chunk[name].to_numpy().astype(np.uint64) for name in names])


def _find_rows_of_many(seen: np.ndarray) -> np.ndarray:
    """Return rows whose number belongs to more than `MAX_CHILDREN_A_NUMBER` children.

    `seen` has a column each for number, child and row.
    """
    # the hash of number and child counts each child of a number once, however many rows it has
    _, first = np.unique(seen[:, 1], return_index=True)
    numbers, children = np.unique(seen[first, 0], return_counts=True)
    many = np.isin(seen[:, 0], numbers[children > MAX_CHILDREN_A_NUMBER])
    return np.sort(seen[many, -1].astype(np.int64))
