"""Rows that say too little to be linked by what they say: even an exact copy of one would not be linked to it.

A row is weighed against itself as any pair is. Own numbers are left out: a number links within a service, or where the
other service holds it too. What a copy agrees on depends only on which tokens a row has and how common its names are,
so one row is weighed for each set of tokens and bands of names that occurs.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from privacy.linkage.candidates import score_pairs
from privacy.linkage.link import THRESHOLD, Scored, bits_of
from privacy.linkage.rows import OWN_NUMBERS
from privacy.pseudonyms import TOKEN_COLUMNS

_PARTS = {
    "has_surname": "surname",
    "has_forename": "forename",
    "has_dob": "date of birth",
    "has_postcode": "postcode",
}
_SAID = ", ".join(
    [*(f"({token} IS NULL)::UTINYINT" for token in (*TOKEN_COLUMNS, "sex")), "surname_band", "forename_band"]
)
_HAS_NUMBER = " OR ".join(f"{number} IS NOT NULL" for number in OWN_NUMBERS)
_LACKS = ", ".join(f"CASE WHEN NOT {flag} THEN '{name}' END" for flag, name in _PARTS.items())


class Comparable:
    """A watcher of `link`, which looks once. `rows` are counted by source; `unlinkable` has those that say too little
    by source and by what they lack."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.unlinkable: list[dict[str, Any]] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if self.rows:
            return
        self.rows = dict(con.execute("SELECT source, count(*) FROM rows GROUP BY source ORDER BY source").fetchall())
        con.execute(
            f"CREATE TEMP TABLE kinds AS SELECT min(pattern) AS kind, [{_SAID}] AS said FROM patterns GROUP BY said"
        )
        kinds = [kind for (kind,) in con.execute("SELECT kind FROM kinds").fetchall()]
        con.register("too_little", pa.table({"kind": _too_little(con, kinds, max(step.sides))}))
        counted = con.sql(
            f"""
            SELECT source, array_to_string([{_LACKS}], ', ') AS lacks, count(*) AS rows,
                   count(*) FILTER ({_HAS_NUMBER}) AS rows_with_own_number
              FROM rows JOIN patterns USING (pattern) JOIN kinds ON said = [{_SAID}] JOIN too_little USING (kind)
             GROUP BY source, lacks ORDER BY source, rows DESC, lacks
            """
        )
        self.unlinkable = counted.to_arrow_table().to_pylist()
        con.execute("DROP TABLE kinds").fetchall()
        con.unregister("too_little")


def _too_little(con: duckdb.DuckDBPyConnection, kinds: list[int], children: int) -> pa.Array:
    """Patterns of `kinds` that would not be linked to a copy."""
    copies = score_pairs(con, [(kind, kind) for kind in kinds], children)
    weight = pc.subtract(copies["weight"], copies["mw_nhs_number"])
    linked = pc.and_(copies["alike"], pc.greater_equal(weight, bits_of(THRESHOLD)))
    return copies.filter(pc.invert(linked))["left"].combine_chunks()
