"""Loads pseudonymised extracts into two tables of the linking connection, `rows` and `patterns`.

`rows`: row, source, council, row_key, pattern; one per input row. `patterns`: pattern, service, tie, sex, has_dob,
has_postcode, has_surname, has_forename, crowded, surname_band, forename_band, token columns. Rows of one service with
identical content form one pattern: those with complete demographics in any council, and those with enough for one child
(`ENOUGH`) within one source and council. A row therefore never competes with its own copy. A row with less than
`ENOUGH` is a pattern by itself. `tie` is a 64-bit hash of the pattern's content, and for such a row also of its number
among identical rows. It decides between equal weights, so the order in which rows are read never matters.

`find_entities` adds the units of each service: patterns that are one child by identifier or by identical content
(`docs/linkage.md`). They are connected components, so the result does not depend on the order of comparison.
"""

from collections.abc import Mapping
from typing import TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.sql import quote_text
from privacy.linkage.assignment import label_components
from privacy.pseudonyms import TOKEN_COLUMNS, TOKENS, build_band_sql, build_bare_sql
from privacy.services import MAX_CHILDREN_A_NUMBER, SERVICE_NAMES, SERVICES

ROW = ("source", "council", "row_key")
"""Columns that identify a row."""
OWN_NUMBERS = ("t_upn", "t_nhs")
SCOPED_NUMBERS = ("t_upn_temporary", "t_patient")
_NUMBERS = (*OWN_NUMBERS, *SCOPED_NUMBERS)
CROWD_CHILDREN = 10
"""If more children of a service than this were born in one month and have one postcode (counted by forename and date
of birth), the postcode belongs to a crowd: a hostel, a hospital, or the council itself. They are counted by month
because no token holds a postcode alone; England has about forty people per postcode in use. The first children, in
token order, are not part of the crowd: all of them up to this number, one fewer for each further child, and none from
twice this number. Adding or removing a record therefore moves at most two others in or out."""

COMPLETE = "t_surname_dob IS NOT NULL AND t_forename_dob IS NOT NULL AND t_dob_postcode IS NOT NULL"
"""SQL condition: the row has names, date of birth and postcode."""
# Otherwise a row sent twice ties with its copy and neither is linked, as with 12 of 14 children whose forename is an
# initial.
ENOUGH = (
    "t_dob_postcode IS NOT NULL"
    " OR t_surname_dob IS NOT NULL AND t_forename_dob IS NOT NULL"
    " OR t_surname_postcode IS NOT NULL AND t_forename_postcode IS NOT NULL"
)
"""SQL condition: identical rows of one source and council that meet it are copies of one record. A surname with a
date alone is not enough: in a council of 8,000 children, 20 are born a day."""

_COMPARED = (
    "t_surname_dob", "t_forename_dob", "t_surname_sound_dob", "t_forename_sound_dob", "t_dob_postcode",
    "t_surname_postcode", "t_forename_postcode",
)  # fmt: skip
"""A row without any of these has nothing to compare."""
EVIDENCE = tuple(token for token in TOKEN_COLUMNS if token not in _NUMBERS)
"""One of these tokens in common is enough if a UPN or an NHS number agrees. Two children given the same identifier
share a date of birth in one case in 366, and a postcode or both names less often."""
_EXCHANGED = " OR ".join(
    f"a.t_{name}_{context} = b.t_{other}_{context}"
    for context, forenames in (("dob", ("forename", "forename_written")), ("postcode", ("forename",)))
    for forename in forenames
    for name, other in (("surname", forename), (forename, "surname"))
)
"""SQL condition: the two names are swapped."""
_FORENAME_AND_DOB = ("t_forename_dob", "t_forename_sound_dob", "t_forename_start_dob")

SAME_RECORD = (
    "a.t_forename_dob = b.t_forename_dob AND a.t_surname_dob = b.t_surname_dob AND a.t_dob_postcode = b.t_dob_postcode"
    " AND a.t_forename_written_dob IS NOT DISTINCT FROM b.t_forename_written_dob AND a.sex IS NOT DISTINCT FROM b.sex"
)
"""SQL condition: two records, `a` and `b`, with the same content about a child."""

Extract: TypeAlias = "pa.Table | pa.RecordBatchReader"
"""The rows of one source."""


def load(con: duckdb.DuckDBPyConnection, extracts: Mapping[str, Extract]) -> pa.Table:
    """Create `rows` and `patterns` from extracts by source name, and return the table of patterns.

    A pattern's number is its position in that table. Each extract has council, row_key, sex and any of the token
    columns. Raises ValueError if a source is unknown or there is no extract.
    """
    unknown = set(extracts) - set(SERVICES)
    if unknown:
        raise ValueError(f"not a linked source: {', '.join(sorted(unknown))}")
    if not extracts:
        raise ValueError("no extract to link")
    con.execute(
        "CREATE TABLE rows (row BIGINT, source VARCHAR, council VARCHAR, row_key UBIGINT, pattern BIGINT)"
    ).fetchall()
    services: list[pa.Table] = []
    # One service at a time: this and joins by number save a fifth of the memory and processor time of linking England.
    for service in SERVICE_NAMES:
        of_service = {source: extract for source, extract in extracts.items() if SERVICES[source] == service}
        if of_service:
            services.append(_load_service(con, service, of_service, sum(each.num_rows for each in services)))
    patterns = pa.concat_tables(services).combine_chunks()
    con.register("patterns", patterns)
    return patterns


def _load_service(
    con: duckdb.DuckDBPyConnection, service: str, extracts: Mapping[str, Extract], first: int
) -> pa.Table:
    """Add the rows of one service, the only one held in memory, and return its patterns, numbered from `first`."""
    read = {source: each if isinstance(each, pa.Table) else each.read_all() for source, each in extracts.items()}
    named = (rows.append_column("source", pa.repeat(source, rows.num_rows)) for source, rows in read.items())
    sent = pa.concat_tables(named, promote_options="permissive")
    del read
    con.register("as_sent", sent.append_column("place", pa.array(np.arange(sent.num_rows))))
    _create_view(con, set(sent.column_names))
    con.execute(_CREATE_CONTENTS.format(service=quote_text(service))).fetchall()
    patterns = con.sql(_PATTERNS.format(service=quote_text(service))).to_arrow_table()
    patterns = patterns.add_column(0, "pattern", pa.array(np.arange(first, first + patterns.num_rows)))
    con.register("firsts", patterns.select(["tie", "pattern"]))
    (rows,) = con.execute("SELECT count(*) FROM rows").fetchall()[0]
    con.execute(
        f"""
        INSERT INTO rows
        SELECT {rows} + place, source, council, row_key, pattern
          FROM sent JOIN contents USING (place) JOIN firsts USING (tie)
        """
    ).fetchall()
    con.unregister("firsts")
    con.execute("DROP TABLE contents").fetchall()
    for relation in ("as_sent", *(f"default_{number}" for number in _NUMBERS)):
        con.unregister(relation)
    return patterns


def _build_any_present_sql(word: str) -> str:
    return "coalesce(" + ", ".join(t for t in TOKEN_COLUMNS if word in f"{t}_") + ") IS NOT NULL"


_CREATE_CONTENTS = f"""
CREATE TABLE contents AS
WITH marked AS (SELECT place, source, council, row_key, {COMPLETE} AS complete, {ENOUGH} AS enough,
                       hash({{service}}, sex, {", ".join(TOKEN_COLUMNS)}) AS content FROM sent),
alone AS (SELECT place, hash(content, row_number() OVER (PARTITION BY content ORDER BY source, council, row_key)) AS tie
            FROM marked WHERE NOT complete AND NOT enough)
SELECT place, CASE WHEN complete THEN content WHEN enough THEN hash(content, source, council) ELSE tie END AS tie
  FROM marked LEFT JOIN alone USING (place)
"""
"""SQL: the position of each row in `sent`, and its tie."""
_PATTERNS = f"""
WITH many AS (SELECT t_month_postcode FROM sent GROUP BY ALL HAVING count(*) > {CROWD_CHILDREN}),
numbered AS (
    SELECT place, t_month_postcode, dense_rank() OVER (
               PARTITION BY t_month_postcode ORDER BY coalesce(t_forename_dob, t_surname_dob, t_dob_postcode)) AS child
      FROM sent SEMI JOIN many USING (t_month_postcode)),
crowded AS (
    SELECT place FROM numbered
   QUALIFY child > {2 * CROWD_CHILDREN} - max(child) OVER (PARTITION BY t_month_postcode))
SELECT tie, {{service}} AS service, sex, {_build_any_present_sql("_dob_")} AS has_dob,
       {_build_any_present_sql("_postcode_")} AS has_postcode,
       {_build_any_present_sql("_surname_")} OR t_names IS NOT NULL AS has_surname,
       {_build_any_present_sql("_forename_")} OR t_names IS NOT NULL AS has_forename,
       place IN (FROM crowded) AS crowded, surname_band, forename_band, {", ".join(TOKEN_COLUMNS)}
  FROM sent JOIN (SELECT tie, min(place) AS place FROM contents GROUP BY tie) USING (place)
"""
"""SQL: the patterns of a service, taken from the first row of each tie; `crowded` follows from `CROWD_CHILDREN`."""


def select_first_rows_sql(condition: str) -> str:
    """Return SQL: the first row (`ROW`) of each unit for which a condition holds; it will identify the child."""
    columns = ", ".join(f"arg_min({column}, row) AS {column}" for column in ROW)
    return f"SELECT unit, {columns} FROM rows JOIN units USING (pattern) WHERE {condition} GROUP BY unit"


def _create_view(con: duckdb.DuckDBPyConnection, present: set[str]) -> None:
    """Create the view `sent` of `as_sent`: tokens lose their bands, and identifiers of many children are NULL."""
    sex = "nullif(sex, '')" if "sex" in present else "NULL"
    columns = (
        f"place, source, council, row_key::UBIGINT AS row_key, {sex}::VARCHAR AS sex, {build_compared_sql(present)}"
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW bare AS SELECT {columns} FROM as_sent").fetchall()
    defaults = [number for number in _NUMBERS if number in present and _find_defaults(con, number)]
    known = ", ".join(f"CASE WHEN {each} NOT IN (FROM default_{each}) THEN {each} END AS {each}" for each in defaults)
    replaced = f"REPLACE ({known})" if known else ""
    con.execute(f"CREATE OR REPLACE TEMP VIEW sent AS SELECT * {replaced} FROM bare").fetchall()


def build_compared_sql(present: set[str]) -> str:
    """Return SQL for the bands of the two names and every token without its band; NULL for tokens not in `present`."""
    bands = [f"{build_band_sql(name, present)} AS {name}_band" for name in ("surname", "forename")]
    tokens = [
        f"{build_bare_sql(token) if token.name in present else 'NULL::UBIGINT'} AS {token.name}" for token in TOKENS
    ]
    return ", ".join(bands + tokens)


def _find_defaults(con: duckdb.DuckDBPyConnection, number: str) -> int:
    """Create `default_<number>`, the values shared by many unrelated children; return how many there are."""
    # Only values on many rows have their children counted. A row without names or date counts as another child.
    found = con.sql(
        f"""
        WITH many AS MATERIALIZED (
            SELECT {number} FROM bare WHERE {number} IS NOT NULL GROUP BY {number}
            HAVING count(*) > {MAX_CHILDREN_A_NUMBER})
        SELECT {number} FROM bare WHERE {number} IN (FROM many) GROUP BY {number}
        HAVING count(DISTINCT coalesce(t_forename_dob, t_surname_dob, t_dob_postcode, place::UBIGINT))
               > {MAX_CHILDREN_A_NUMBER}
        """
    ).to_arrow_table()
    con.register(f"default_{number}", found)
    return int(found.num_rows)


def find_entities(con: duckdb.DuckDBPyConnection) -> None:
    """Create `units` (pattern, unit): the entities of each service, numbered from 0."""
    con.execute("CREATE TABLE edges (a BIGINT, b BIGINT)").fetchall()
    nothing = " OR ".join(f"coalesce({', '.join(f'{side}.{t}' for t in _COMPARED)}) IS NULL" for side in "ab")
    for number in OWN_NUMBERS:
        _add_edges(con, number, f"({_build_any_equal_sql(EVIDENCE)} OR {_EXCHANGED} OR {nothing})")
    forename_missing = "(a.t_forename_dob IS NULL OR b.t_forename_dob IS NULL) AND a.t_surname_dob = b.t_surname_dob"
    for number in SCOPED_NUMBERS:
        _add_edges(con, number, f"({_build_any_equal_sql(_FORENAME_AND_DOB)} OR {forename_missing})")
    _add_edges(con, "t_forename_dob", SAME_RECORD)
    _connect(con)
    # This looks at whole units, so the edges so far are connected first.
    _join_by_upn(con)
    _connect(con)
    con.execute("DROP TABLE edges").fetchall()


def _connect(con: duckdb.DuckDBPyConnection) -> None:
    """Create `units`: the connected components of `edges`."""
    (count,) = con.execute("SELECT count(*) FROM patterns").fetchall()[0]
    edges = con.sql("FROM edges").to_arrow_table()
    units = label_components(edges["a"].to_numpy(), edges["b"].to_numpy(), count)
    con.register("labels", pa.table({"pattern": pa.array(range(count), pa.int64()), "unit": units}))
    con.execute("CREATE OR REPLACE TABLE units AS FROM labels").fetchall()
    con.unregister("labels")


def _join_by_upn(con: duckdb.DuckDBPyConnection) -> None:
    """Add an edge between two units that share a permanent UPN and no other token.

    One unit must occur only in the Profile and the other only in the school census. No edge is added if their sexes
    differ, or if one has both names and either the date or the postcode of a unit with another UPN.

    Usually this is one child with a wrong date in one file and a different address in the other. Two children with one
    UPN usually leave a trace: both are in both files, or one has the other's UPN in one file and its own in the other.
    """
    # This joins 2 of 429 pairs of children who were given one UPN.
    namesakes = " UNION ALL ".join(
        f"""
        SELECT here.unit FROM concerned AS here JOIN patterns a USING (pattern)
          JOIN patterns b ON a.t_surname_{context} = b.t_surname_{context}
           AND a.t_forename_{context} = b.t_forename_{context}
          JOIN units AS there ON there.pattern = b.pattern
         WHERE b.service = 'education' AND b.t_upn IS NOT NULL AND there.unit <> here.unit
        """
        for context in ("dob", "postcode")
    )
    con.execute(
        f"""
        INSERT INTO edges
        WITH of_upn AS (
            SELECT min(unit) AS a, max(unit) AS b FROM patterns JOIN units USING (pattern)
             WHERE service = 'education' AND t_upn IS NOT NULL GROUP BY t_upn HAVING count(DISTINCT unit) = 2),
        concerned AS MATERIALIZED (
            SELECT pattern, unit FROM units WHERE unit IN (SELECT unnest([a, b]) FROM of_upn)),
        distinct_units AS MATERIALIZED (
            SELECT unit, min(pattern) AS pattern, list(DISTINCT source) AS sources,
                   list(DISTINCT sex) FILTER (sex IS NOT NULL) AS sexes
              FROM concerned JOIN patterns USING (pattern) JOIN rows USING (pattern)
             WHERE unit NOT IN ({namesakes}) GROUP BY unit)
        SELECT one.pattern, other.pattern
          FROM of_upn JOIN distinct_units AS one ON one.unit = a JOIN distinct_units AS other ON other.unit = b
         WHERE NOT list_has_any(one.sources, other.sources) AND coalesce(list_has_any(one.sexes, other.sexes), true)
        """
    ).fetchall()


def _add_edges(con: duckdb.DuckDBPyConnection, token: str, agreement: str) -> None:
    con.execute(
        f"""
        INSERT INTO edges
        SELECT a.pattern, b.pattern FROM patterns a JOIN patterns b
            ON a.service = b.service AND a.{token} = b.{token} AND a.pattern < b.pattern AND {agreement}
        """
    ).fetchall()


def _build_any_equal_sql(tokens: tuple[str, ...]) -> str:
    return "(" + " OR ".join(f"a.{token} = b.{token}" for token in tokens) + ")"
