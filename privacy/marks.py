"""Marks that recognise rows about a child who was removed after an objection, without keeping the child's tokens.

A mark is HMAC-SHA256, truncated to 128 bits, of one or more tokens of the second keying, under a sub-key of
`linker.key`. Each identifier of a child gives one mark, and so do names and date of birth with the postcode or the
council. A row with a different UPN or NHS number belongs to another child, whatever its names.
"""

from collections.abc import Collection
from typing import Any

import duckdb

from privacy import normalise, pseudonyms
from privacy.doors.sql import quote_text
from privacy.keys import LINKED_UNDER, KeyRing

_NAMED = ("t_surname_dob", "t_forename_dob")
KINDS: dict[str, tuple[str, ...]] = {
    "upn": ("t_upn",),
    "nhs": ("t_nhs",),
    "upn_temporary": ("t_upn_temporary",),
    "patient": ("t_patient",),
    "names_dob_postcode": (*_NAMED, "t_dob_postcode"),
    "names_dob_council": _NAMED,
}
"""Tokens from which each kind of mark is made; the last kind also includes the council's name."""
_NUMBERS = ("upn", "nhs")
"""Kinds of number that are unique: each child has only one."""
PLACE = "place"
"""Name of the column with a row's number among the rows that are compared together."""
_DIGITS = 32  # hexadecimal digits of 128 bits
_BLOCK_BYTES = 64  # a block of SHA-256, to which HMAC pads its key


def get_mark_versions(keys: KeyRing) -> dict[str, Any]:
    """Return the versions and key fingerprints that two sets of marks must share to be comparable."""
    return {
        "pseudonyms": pseudonyms.PSEUDONYM_VERSION,
        "normaliser": normalise.NORMALISER_VERSION,
        "keys": {name: keys.fingerprints[name] for name in LINKED_UNDER},
    }


def build_marks_sql(relation: str, columns: Collection[str]) -> str:
    """Return a SELECT with a column of marks for each kind, NULL if tokens are missing.

    `columns` are the columns of the relation, including council; `PLACE` is selected too if it is one of them. Call
    `prepare` on the connection first.
    """
    marks = ", ".join(f"{_build_mark_sql(kind, tokens, columns)} AS {kind}" for kind, tokens in KINDS.items())
    numbered = f"{PLACE}, " if PLACE in columns else ""
    return f"SELECT {numbered}{marks} FROM {relation}, mark_pads"


def prepare(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    """Pass the key of the marks to a connection, as bound values."""
    pass_key(con, keys.derive_subkey("linker", "marks"), "mark_pads")


def pass_key(con: duckdb.DuckDBPyConnection, key: bytes, table: str) -> None:
    """Create a table of one row with HMAC's padded keys, to be joined with the rows that `build_mac_sql` marks."""
    # Bound values keep the key out of query texts and plans.
    block = key.ljust(_BLOCK_BYTES, b"\0")
    pads = [bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C)]  # HMAC's inner and outer pad (FIPS 198-1)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT ?::BLOB AS inner_pad, ?::BLOB AS outer_pad", pads)


def build_mac_sql(message: str) -> str:
    """Return SQL for the HMAC-SHA256 of a text, cut to 128 bits and in hexadecimal."""
    # Written out (RFC 2104), because DuckDB has SHA-256 but no HMAC.
    return f"left(sha256(outer_pad || unhex(sha256(inner_pad || encode({message})))), {_DIGITS})"


def build_matching_sql(marked: str, objections: str) -> str:
    """Return a SELECT of the `PLACE` of rows of `marked` that match any of the `objections` (objection, kind, mark)."""
    known = " UNION ALL ".join(f"SELECT place, {quote_text(kind)} AS kind, {kind} AS mark FROM rows" for kind in KINDS)
    numbers = ", ".join(quote_text(kind) for kind in _NUMBERS)
    return f"""
        WITH rows AS (FROM {marked}), known AS (SELECT * FROM ({known}) WHERE mark IS NOT NULL),
        hits AS (SELECT place, objection, kind FROM known JOIN {objections} USING (kind, mark)),
        others AS (
            SELECT known.place, o.objection FROM known JOIN {objections} AS o ON o.kind = known.kind
             WHERE known.kind IN ({numbers})
             GROUP BY ALL HAVING NOT bool_or(o.mark = known.mark))
        SELECT place FROM hits WHERE kind IN ({numbers})
        UNION SELECT place FROM hits ANTI JOIN others USING (place, objection)
         ORDER BY place
    """


def _build_mark_sql(kind: str, tokens: tuple[str, ...], columns: Collection[str]) -> str:
    if not set(tokens) <= set(columns):
        return "NULL::VARCHAR"
    by_name = {token.name: token for token in pseudonyms.TOKENS}
    # Bands are cleared, because tokens of one domain that must match may carry different bands or none.
    parts = [f"printf('%016x', {pseudonyms.build_bare_sql(by_name[token])})" for token in tokens]
    parts += ["council"] if kind == "names_dob_council" else []
    # The kind is part of the message, so that marks of different kinds never match.
    made = build_mac_sql(f"concat_ws(chr(31), {quote_text(kind)}, {', '.join(parts)})")
    filled = " AND ".join(f"{token} IS NOT NULL" for token in tokens)
    return f"CASE WHEN {filled} THEN {made} END"
