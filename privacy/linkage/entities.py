"""Within a service: which patterns are one child by its own numbers, or by being the same in every respect.

Three kinds of edges, in any council of one service:
- the same UPN or NHS number, on records that agree somewhere or have nothing to compare;
- the same number of one sender (temporary UPN, local patient number) and a name with the date of birth;
- the same surname, forename as written, date of birth, postcode and sex: the child sent twice, or in two settings.
The connected components are the entities. No row is compared with others in turn: a component is a set, not a path.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from privacy.linkage.rows import OWN_NUMBERS, SCOPED_NUMBERS

_EVIDENCE = (
    "t_surname_dob", "t_forename_dob", "t_surname_sound_dob", "t_forename_sound_dob", "t_dob_postcode",
    "t_surname_postcode", "t_forename_postcode",
)  # fmt: skip
_FORENAME_AND_DOB = ("t_forename_dob", "t_forename_sound_dob", "t_forename_start_dob")


def find_entities(con: duckdb.DuckDBPyConnection) -> None:
    """Create `units` (pattern, unit): the entities of each service, numbered from 0."""
    con.execute("CREATE TABLE edges (a BIGINT, b BIGINT)").fetchall()
    nothing = " OR ".join(f"coalesce({', '.join(f'{side}.{t}' for t in _EVIDENCE)}) IS NULL" for side in "ab")
    for number in OWN_NUMBERS:
        _add_edges(con, number, f"({_any_equal(_EVIDENCE)} OR {nothing})")
    forename_missing = "(a.t_forename_dob IS NULL OR b.t_forename_dob IS NULL) AND a.t_surname_dob = b.t_surname_dob"
    for number in SCOPED_NUMBERS:
        _add_edges(con, number, f"({_any_equal(_FORENAME_AND_DOB)} OR {forename_missing})")
    _add_edges(
        con,
        "t_forename_dob",
        "a.t_surname_dob = b.t_surname_dob AND a.t_dob_postcode = b.t_dob_postcode"
        " AND a.t_forename_written_dob IS NOT DISTINCT FROM b.t_forename_written_dob"
        " AND a.sex IS NOT DISTINCT FROM b.sex",
    )
    (count,) = con.execute("SELECT count(*) FROM patterns").fetchall()[0]
    units = components(con.sql("FROM edges").to_arrow_table(), count)
    con.register("labels", pa.table({"pattern": pa.array(range(count), pa.int64()), "unit": units}))
    con.execute("CREATE TABLE units AS FROM labels").fetchall()
    con.execute("DROP TABLE edges").fetchall()


def components(edges: pa.Table, count: int) -> np.ndarray:
    """The component, 0.., of each of `count` nodes under `edges` (two integer columns)."""
    a, b = (edges.column(side).to_numpy() for side in (0, 1))
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _add_edges(con: duckdb.DuckDBPyConnection, token: str, agreement: str) -> None:
    con.execute(
        f"""
        INSERT INTO edges
        SELECT a.pattern, b.pattern FROM patterns a JOIN patterns b
            ON a.service = b.service AND a.{token} = b.{token} AND a.pattern < b.pattern AND {agreement}
        """
    ).fetchall()


def _any_equal(tokens: tuple[str, ...]) -> str:
    return "(" + " OR ".join(f"a.{token} = b.{token}" for token in tokens) + ")"
