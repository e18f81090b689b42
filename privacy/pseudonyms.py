"""Pseudonyms: keyed tokens in the place of identifiers, made in one streaming pass.

A token is HMAC-SHA256 (FIPS 198-1) of normalised components under a sub-key of its own type, cut to 64 bits. In a
table of n rows some two different values of one type share a token with probability below n**2 / 2**65: 1e-7 for
two million rows, and a link never rests on one token.

Every token about a person joins a name with a date of birth or a postcode, or a part of one of these with the other,
or a name with a name. There is no token of a name alone, nor of a date or a postcode alone: ranking such tokens by
frequency gives the names away. The one token of two names without more exists only where one of them is uncommon, so
that it has no frequency to speak of.
Surname and given name share the key of their context, so that names in each other's place can be recognised.

Two keyings. The first, with keys that all senders share, may run at the sender. The second is an HMAC of the first
token under `linker.key`, which no sender holds, so that a sender cannot look its own tokens up in what the pipeline
stores. `tokenise_sql` does both in one pass, or the first alone; `rekey_sql` does the second; the results are the
same bits.

Missing stays missing: a NULL component gives a NULL token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from privacy import normalise
from privacy.keys import LINKED_UNDER, KeyRing

PSEUDONYM_VERSION = "3"

_UNIT_SEPARATOR = 31  # ASCII; no component can hold it, so joined components cannot be confused
_BLOCK_BYTES = 64
_PADS = "hmac_pads"
BAND_BITS = 3
RARE_SURNAME, RARE_PAIR = 2, 3
"""Band of the surname from which two names have tokens: one child in 1,500 or fewer has the surname. And sum of both
names' bands from which they have one without a place or a date: one child in 100,000 or fewer has both. A token of two
names joins children of one surname who were born on different days; where many bear it, enough are joined to tell how
many they are, and so which surname it is."""


@dataclass(frozen=True)
class TokenColumn:
    """One token of a row: `name` (UBIGINT), HMAC of `components` under the sub-key `domain` of `key`.

    `components` are columns of the normalised relation, or a quoted SQL literal `$council`; `inputs` are the
    contract columns that must all be in the source for the token to exist. Columns of the same domain are
    comparable. The last bits of the token, `BAND_BITS` for each of `bands`, say how common its names are.
    """

    name: str
    key: str
    domain: str
    components: tuple[str, ...]
    inputs: tuple[str, ...]
    bands: tuple[str, ...] = ()


def _name_token(part: str, domain: str, context: str, component: str, input_name: str) -> TokenColumn:
    written = "nullif(n_forename_written, n_forename)"
    return TokenColumn(
        name=f"t_{part}_{context}",
        key="linkage",
        domain=f"{domain}|{context}",
        components=(written if part == "forename_written" else f"n_{part}", component),
        inputs=(part.split("_")[0], input_name),
        bands=(f"n_{part}_band",) if part in ("surname", "forename") else (),
    )


_WITH_DOB = {
    "surname": "name",
    "surname_first": "name",
    "surname_last": "name",
    "surname_sound": "sound",
    "surname_start": "start",
    "surname_end": "end",
    "forename": "name",
    "forename_written": "name",
    "forename_first": "name",
    "forename_last": "name",
    "forename_sound": "sound",
    "forename_start": "start",
    "forename_end": "end",
}
_WITH_POSTCODE = {
    part: _WITH_DOB[part]
    for part in ("surname", "surname_start", "surname_end", "forename", "forename_start", "forename_end")
}

_BANDS = ("n_surname_band", "n_forename_band")
_RARE_SURNAME = f"CASE WHEN n_surname_band >= {RARE_SURNAME} THEN n_surname END"
_RARE_SURNAME_ALONE = (
    f"CASE WHEN n_surname_band >= {RARE_SURNAME} AND n_surname_band + n_forename_band >= {RARE_PAIR} THEN n_surname END"
)

TOKENS: tuple[TokenColumn, ...] = (
    TokenColumn("t_upn", "upn", "upn", ("n_upn",), ("upn",)),
    TokenColumn("t_upn_temporary", "upn", "upn-temporary", ("n_upn_temporary", "$council"), ("upn",)),
    TokenColumn("t_nhs", "nhs", "nhs", ("n_nhs",), ("nhs_number",)),
    TokenColumn(
        "t_patient", "nhs", "patient", ("nullif(trim(local_patient_id), '')", "$council"), ("local_patient_id",)
    ),
    TokenColumn("t_dob_postcode", "linkage", "dob|postcode", ("n_dob", "n_postcode"), ("date_of_birth", "postcode")),
    TokenColumn(
        "t_names",
        "linkage",
        "names",
        (_RARE_SURNAME_ALONE, "n_forename"),
        ("surname", "forename"),
        _BANDS,
    ),
    TokenColumn(
        "t_names_outward",
        "linkage",
        "names|outward",
        (_RARE_SURNAME, "n_forename", "n_postcode_outward"),
        ("surname", "forename", "postcode"),
        _BANDS,
    ),
    *(
        TokenColumn(
            f"t_names_{part}",
            "linkage",
            f"names|{part}",
            (_RARE_SURNAME, "n_forename", f"n_dob_{part}"),
            ("surname", "forename", "date_of_birth"),
        )
        for part in ("day", "month")
    ),
    *(
        TokenColumn(
            f"t_{part}_postcode",
            "linkage",
            f"{part}|postcode",
            (f"n_dob_{part}", "n_postcode"),
            ("date_of_birth", "postcode"),
        )
        for part in ("day", "month")
    ),
    TokenColumn(
        "t_dob_outward", "linkage", "dob|outward", ("n_dob_sorted", "n_postcode_outward"), ("date_of_birth", "postcode")
    ),
    *(_name_token(part, kind, "dob", "n_dob_sorted", "date_of_birth") for part, kind in _WITH_DOB.items()),
    *(_name_token(part, kind, "postcode", "n_postcode", "postcode") for part, kind in _WITH_POSTCODE.items()),
)
"""Every token, in column order. `forename_written` is set only where it differs from the canonical form, first and
last words only for names of several words, tokens of two names only where the surname is not a common one: most rows
carry 18 to 21 tokens. Name tokens take the date of birth with day and month sorted, so that a swap costs nothing;
`t_dob_postcode` takes it plain.
"""
BANDED_DOMAINS = frozenset(token.domain for token in TOKENS if token.bands)
"""Domains whose tokens are compared without their last bits: see `bare_sql`."""
TOKEN_COLUMNS = tuple(token.name for token in TOKENS)
SCOPED_INPUTS = ("local_patient_id",)
"""Contract identifiers, beyond those the normaliser reads, that tokens are made of."""
SOURCE_COLUMNS = frozenset((*normalise.INPUTS, *SCOPED_INPUTS))
"""Every contract column that `tokenise_sql` can read; pass the ones a source has."""


def prepare(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    """Make a connection ready for `tokenise_sql`, and for `rekey_sql` where the ring holds `linker.key`.

    The connection must be in memory, without a temporary directory: it sees identifiers. Keys go in as bound values
    of a one-row table, never as SQL text, so no message, plan or profile shows them.
    """
    normalise.install(con)
    con.execute(
        "SET disabled_optimizers = 'build_side_probe_side,join_order'"
    ).fetchall()  # the small table is the build side
    domains = {("first", token.domain): keys.subkey(token.key, f"token/{token.domain}") for token in TOKENS}
    if keys.holds("linker"):
        domains |= {("second", token.domain): keys.subkey("linker", f"token/{token.domain}") for token in TOKENS}
    pads: dict[str, bytes] = {}
    for (keying, domain), key in domains.items():
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        pads[_pad(keying, domain, "inner")] = bytes(byte ^ 0x36 for byte in padded)
        pads[_pad(keying, domain, "outer")] = bytes(byte ^ 0x5C for byte in padded)
    columns = ", ".join(f"?::BLOB AS {name}" for name in pads)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {_PADS} AS SELECT {columns}", list(pads.values())).fetchall()


def token_columns(source_columns: set[str]) -> list[TokenColumn]:
    """The tokens that can be made from a source with these contract columns."""
    return [token for token in TOKENS if source_columns.issuperset(token.inputs)]


def tokenise_sql(
    relation: str, columns: set[str], council: str, passthrough: list[str], *, second_keying: bool = True
) -> str:
    """A SELECT of the `passthrough` columns of `relation` and a UBIGINT column per token; streaming.

    `columns` are the contract columns that `relation` has, VARCHAR, and DATE for date_of_birth. `council` scopes
    the identifiers that mean something only within one sender. With `second_keying=False` the result is what a
    sender hands over; `rekey_sql` turns it into what the pipeline makes itself. Needs `prepare` on the connection.
    """
    tokens = token_columns(columns)
    if not tokens:
        return f"SELECT {', '.join(passthrough)} FROM {relation}"
    messages = ", ".join(f"{_message(token, council)} AS {token.name}" for token in tokens)
    if any(token.bands for token in tokens):
        messages += f", {', '.join(_BANDS)}"
    plain = f"SELECT {', '.join(passthrough)}, {messages} FROM ({normalise.normalise_sql(relation, columns)})"
    first = _keyed("first", tokens, plain, passthrough, "encode({})", _named_bands)
    return rekey_sql(f"({first})", [token.name for token in tokens], passthrough) if second_keying else first


def rekey_sql(relation: str, columns: list[str], passthrough: list[str]) -> str:
    """A SELECT of `passthrough` and the token `columns` of `relation` under the second keying; streaming.

    Needs `prepare` with a ring that holds `linker.key`; without it the binder does not find the pads.
    """
    tokens = [token for token in TOKENS if token.name in columns]
    return _keyed(
        "second", tokens, f"SELECT * FROM {relation}", passthrough, "unhex(printf('%016x', {}))", _carried_bands
    )


def manifest(keys: KeyRing) -> dict[str, str]:
    """What a tokenised file must say about itself; files that differ in any of these cannot be linked."""
    return {
        "pseudonym_version": PSEUDONYM_VERSION,
        "normaliser_version": normalise.NORMALISER_VERSION,
        **{f"{name}_key_fingerprint": print_ for name, print_ in keys.fingerprints.items() if name in LINKED_UNDER},
    }


def _message(token: TokenColumn, council: str) -> str:
    literal = "'" + council.replace("'", "''") + "'"
    parts = [literal if component == "$council" else f"({component})::VARCHAR" for component in token.components]
    return f" || chr({_UNIT_SEPARATOR}) || ".join(parts)


def _keyed(
    keying: str,
    tokens: list[TokenColumn],
    query: str,
    passthrough: list[str],
    as_bytes: str,
    bands: Callable[[TokenColumn], str],
) -> str:
    """HMAC-SHA256(sub-key, bytes of the column) cut to its first 64 bits, for each token column of `query`."""
    columns = list(passthrough)
    for token in tokens:
        inner, outer = _pad(keying, token.domain, "inner"), _pad(keying, token.domain, "outer")
        hashed = as_bytes.format(bare_sql(token) if keying == "second" else token.name)
        digest = f"sha256({outer} || unhex(sha256({inner} || {hashed})))"
        made = f"('0x' || left({digest}, 16))::UBIGINT"
        if token.bands:
            made = f"({made} & {_without_bands(token)}::UBIGINT) | {bands(token)}"
        columns.append(f"{made} AS {token.name}")
    return f"SELECT {', '.join(columns)} FROM ({query}), {_PADS}"


def _named_bands(token: TokenColumn) -> str:
    """The bands of the token's names as a number, from the normalised columns."""
    return "(" + " * 8 + ".join(f"{band}::UBIGINT" for band in token.bands) + ")"


def _carried_bands(token: TokenColumn) -> str:
    """The bands of the token's names as a number, from the token of the first keying."""
    return f"({token.name} & {2 ** (BAND_BITS * len(token.bands)) - 1}::UBIGINT)"


def _without_bands(token: TokenColumn) -> int:
    return 2**64 - 2 ** (BAND_BITS * len(token.bands))


def bare_sql(token: TokenColumn) -> str:
    """A token as it is compared with others of its domain: without bands. Zero bits stand in their place."""
    if token.domain not in BANDED_DOMAINS:
        return token.name
    widest = max((t for t in TOKENS if t.domain == token.domain), key=lambda t: len(t.bands))
    return f"{token.name} & {_without_bands(widest)}::UBIGINT"


def band_sql(name: str, columns: set[str]) -> str:
    """The band (UTINYINT) of a row's `surname` or `forename`, from whichever of its tokens is there, else NULL."""
    column = f"n_{name}_band"
    found = [
        f"({token.name} >> {BAND_BITS * (len(token.bands) - 1 - token.bands.index(column))}) & {2**BAND_BITS - 1}"
        for token in TOKENS
        if column in token.bands and token.name in columns
    ]
    return f"coalesce({', '.join(found)}, NULL)::UTINYINT" if found else "NULL::UTINYINT"


def _pad(keying: str, domain: str, side: str) -> str:
    return f"{keying}_{domain.replace('|', '_').replace('-', '_')}_{side}"
