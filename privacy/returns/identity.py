"""By what a row is known again in a sender's next delivery: a keyed mark of everything that identifies its child.

HMAC-SHA256, cut to 128 bits, of every token that the linkage compares and of the sex, under a sub-key of `linker.key`
of its own. Whoever changes one letter, one digit or one number of a row has made another mark: what a row could link to
is settled by the mark. The token of two names alone depends on other rows of the extract, so it counts only in a row
that has no other token of a name.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from privacy.keys import KeyRing
from privacy.pseudonyms import TOKENS, bare_sql

_DIGITS, _BLOCK_BYTES = 32, 64
_NAMED = ("t_surname_dob", "t_forename_dob", "t_surname_postcode", "t_forename_postcode")


def prepare(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    """Give a connection the key, as bound values, in the table `identity_pads`."""
    key = keys.subkey("linker", "identity of a returned row").ljust(_BLOCK_BYTES, b"\0")
    pads = [bytes(byte ^ pad for byte in key) for pad in (0x36, 0x5C)]
    con.execute("CREATE OR REPLACE TEMP TABLE identity_pads AS SELECT ?::BLOB AS inner_pad, ?::BLOB AS outer_pad", pads)


def identity_sql(columns: Collection[str]) -> str:
    """SQL of the mark of a row of a relation with these `columns`, joined with `identity_pads`."""
    named = f"coalesce({', '.join(name for name in _NAMED if name in columns)}, NULL) IS NULL"
    parts = ["coalesce(sex, '')"]
    for token in TOKENS:
        text = f"printf('%016x', {bare_sql(token)})" if token.name in columns else "NULL"
        alone = f"CASE WHEN {named} THEN {text} END" if token.name == "t_names" else text
        parts.append(f"coalesce({alone}, '')")
    message = f"encode(concat_ws(chr(31), {', '.join(parts)}))"
    return f"left(sha256(outer_pad || unhex(sha256(inner_pad || {message}))), {_DIGITS})"
