"""By what a row is known again in a sender's next delivery: a keyed mark of everything that identifies its child.

HMAC-SHA256, cut to 128 bits, of every token that the linkage compares and of the sex, under a sub-key of `linker.key`
of its own. Whoever changes one letter, one digit or one number of a row has made another mark: what a row could link to
is settled by the mark. The token of two names alone depends on other rows of the extract, and goes where a namesake is
sent. It has a mark of its own (`names_sql`): a row that lost it is still known, and one that got another is not.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from privacy.keys import KeyRing
from privacy.pseudonyms import TOKENS, TokenColumn, bare_sql

_DIGITS, _BLOCK_BYTES = 32, 64


def prepare(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    """Give a connection the key, as bound values, in the table `identity_pads`."""
    key = keys.subkey("linker", "identity of a returned row").ljust(_BLOCK_BYTES, b"\0")
    pads = [bytes(byte ^ pad for byte in key) for pad in (0x36, 0x5C)]
    con.execute("CREATE OR REPLACE TEMP TABLE identity_pads AS SELECT ?::BLOB AS inner_pad, ?::BLOB AS outer_pad", pads)


def identity_sql(columns: Collection[str]) -> str:
    """SQL of the mark of a row of a relation with these `columns`, joined with `identity_pads`."""
    texts = ["sex", *(_text(token, columns) for token in TOKENS if token.name != "t_names")]
    filled = ", ".join(f"coalesce({text}, '')" for text in texts)
    return _marked(f"concat_ws(chr(31), {filled})")


def names_sql(columns: Collection[str]) -> str:
    """SQL of the mark of a row's token of two names alone, NULL without it."""
    (names,) = (token for token in TOKENS if token.name == "t_names")
    return _marked(_text(names, columns))


def _text(token: TokenColumn, columns: Collection[str]) -> str:
    return f"printf('%016x', {bare_sql(token)})" if token.name in columns else "NULL"


def _marked(text: str) -> str:
    return f"left(sha256(outer_pad || unhex(sha256(inner_pad || encode({text})))), {_DIGITS})"
