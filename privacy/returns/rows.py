"""What returns know about rows: traits and marks made from tokens, and which rows returns may rest on.

A sender can add a row to find out whether another service holds the same child. For the returns of each service, the
cohort is therefore linked again without that service's new rows, in any council: new rows take no partner from another
row, join no two children, and leave none in doubt. A return depends only on rows that are no longer new and on what
others sent. Whatever a new row contains, and whoever else holds it, the return is the same until it is no longer new.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Collection, Mapping

import duckdb
import pyarrow as pa

from privacy.doors.database import in_memory
from privacy.doors.sql import quoted
from privacy.keys import KeyRing
from privacy.linkage.rows import OWN_NUMBERS, ROW, Extract
from privacy.pseudonyms import TOKENS, TokenColumn, bare_sql, without_sole_bearers
from privacy.returns.agreement import Fact, First, NewChildren, Sender
from privacy.returns.facts import ALIKE_TOKENS, FINDABLE_CONDITION
from privacy.row_keys import ROW_KEY


def traits(tokens: Mapping[str, pa.RecordBatchReader], keys: KeyRing) -> pa.Table:
    """Return what returns know about rows, derived from their tokens (by source) but containing none.

    Columns: source, council, row_key; sex, findable and numbered, as read by `find_facts`; the keyed marks `identity`
    and `names`; and, named after ALIKE_TOKENS and OWN_NUMBERS, a number in place of each token. Equal tokens get equal
    numbers, which differ from one process to the next.
    """
    with in_memory() as con:
        prepare_marks(con, keys)
        selects = []
        for source, read in tokens.items():
            con.register(f"tokens_{source}", read)
            selects.append(
                f"SELECT {quoted(source)} AS source, council, {ROW_KEY}, {_traits(read.schema.names)}"
                f" FROM tokens_{source}, identity_pads"
            )
        return con.sql(" UNION ALL ".join(selects), params={"salt": secrets.randbits(63)}).to_arrow_table()


def _traits(columns: Collection[str]) -> str:
    own = [number for number in OWN_NUMBERS if number in columns]
    numbers = [f"{_numbered(number) if number in own else 'NULL::UBIGINT'} AS {number}" for number in OWN_NUMBERS]
    return ", ".join(
        [
            "nullif(sex, '') AS sex",
            f"{FINDABLE_CONDITION} AS findable",
            *(f"{_numbered(token)} AS {token}" for token in ALIKE_TOKENS),
            *numbers,
            f"coalesce({', '.join(own)}, NULL) IS NOT NULL AS numbered",
            f"{identity_sql(columns)} AS identity",
            f"{names_sql(columns)} AS names",
        ]
    )


def _numbered(token: str) -> str:
    return f"CASE WHEN {token} IS NOT NULL THEN hash({token}, $salt) END"


_DIGITS, _BLOCK_BYTES = 32, 64  # 128 bits in hexadecimal; the block size of SHA-256


def prepare_marks(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    """Create `identity_pads`, with the key of the marks as bound values."""
    key = keys.subkey("linker", "identity of a returned row").ljust(_BLOCK_BYTES, b"\0")
    pads = [bytes(byte ^ pad for byte in key) for pad in (0x36, 0x5C)]  # the pads of HMAC
    con.execute("CREATE OR REPLACE TEMP TABLE identity_pads AS SELECT ?::BLOB AS inner_pad, ?::BLOB AS outer_pad", pads)


def identity_sql(columns: Collection[str]) -> str:
    """Return SQL for the mark by which a row is recognised in the sender's next delivery.

    The mark is an HMAC-SHA256, cut to 128 bits, of every token that the linkage compares and of the sex, under a
    sub-key of `linker.key`. Changing one letter or digit changes the mark, so the mark determines what a row could be
    linked to. The relation must have these `columns` and be joined with `identity_pads`.
    """
    texts = ["sex", *(_text(token, columns) for token in TOKENS if token.name != "t_names")]
    filled = ", ".join(f"coalesce({text}, '')" for text in texts)
    return _marked(f"concat_ws(chr(31), {filled})")


def names_sql(columns: Collection[str]) -> str:
    """Return SQL for the mark of a row's token of two names alone, or NULL if it has none.

    That token depends on other rows of the extract, and is lost when a namesake is sent, so it has a separate mark. A
    row that lost it is still recognised; a row with a different one is not.
    """
    (names,) = (token for token in TOKENS if token.name == "t_names")
    return _marked(_text(names, columns))


def _text(token: TokenColumn, columns: Collection[str]) -> str:
    return f"printf('%016x', {bare_sql(token)})" if token.name in columns else "NULL"


def _marked(text: str) -> str:
    return f"left(sha256(outer_pad || unhex(sha256(inner_pad || encode({text})))), {_DIGITS})"


def note_waiting(con: duckdb.DuckDBPyConnection, rules: Mapping[Sender, NewChildren], on: dt.date) -> None:
    """Create `all_records`: `records` plus whether a row is new on a day (`waiting`) and whether it is `left_out`.

    `records` has council, service, first_day, deliveries and at_start, and is dropped. `rules` are those of the senders
    that receive something; rows of other senders never wait. If a rule returns something about new rows, none are left
    out.
    """
    table = [
        {
            **sender._asdict(),
            "since": on - dt.timedelta(days=rule.after_days),
            "least": rule.after_deliveries,
            "at_once": rule.first_delivery is First.AT_ONCE,
            "told_early": Fact.KNOWN_TO in rule.until_then,
        }
        for sender, rule in rules.items()
    ]
    con.register("rules", pa.Table.from_pylist(table, _RULES))
    con.execute(_WAITING)
    con.unregister("rules")


def left_out(con: duckdb.DuckDBPyConnection, service: str) -> pa.Table:
    """Return source, council and row_key of the rows of a service to be left out."""
    rows = f"SELECT {', '.join(ROW)} FROM all_records WHERE left_out AND service = $service"
    return con.sql(rows, params={"service": service}).to_arrow_table()


def tokens_without(sent: Extract, rows: pa.Table) -> pa.Table:
    """Return the tokens of one source as if some `rows` (council, row_key) had never been sent.

    Whether a row has the token of two common names depends on it being the only child with them, so a new namesake
    would take the token from another row. The token is therefore left out of every row.
    """
    with in_memory() as con:
        con.register("sent", sent)
        con.register("rows", rows)
        return without_sole_bearers(con.sql("FROM sent ANTI JOIN rows USING (council, row_key)").to_arrow_table())


_RULES = pa.schema(
    [
        *((name, pa.string()) for name in Sender._fields),
        ("since", pa.date32()),
        ("least", pa.int64()),
        *((name, pa.bool_()) for name in ("at_once", "told_early")),
    ]
)
_WAITING = """
CREATE TEMP TABLE all_records AS
WITH judged AS (
    SELECT records.*, (at_start AND at_once) OR (first_day <= since AND records.deliveries >= least) AS is_old,
           since IS NOT NULL AS ruled, told_early
      FROM records LEFT JOIN rules USING (council, service)
)
SELECT * EXCLUDE (is_old, ruled, told_early), ruled AND NOT coalesce(is_old, false) AS waiting,
       waiting AND NOT told_early AS left_out
  FROM judged;
DROP TABLE records;
"""
