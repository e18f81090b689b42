"""Pseudonymisation: replaces identifiers with keyed tokens in one streaming pass (`docs/linkage.md`).

A token is HMAC-SHA256 (FIPS 198-1) of normalised components under a sub-key for its type, truncated to 64 bits. It is
computed over whole columns by a library in Rust (polars-hash). The probability that any two different values of one
type share a token in a table of n rows is below n**2 / 2**65, or 1e-7 for two million rows; a link never depends on a
single token.

No token is made of a single name, date or postcode: ranking such tokens by frequency would reveal the names. Surname
and given name share a key in each context, so that swapped names can be recognised. A NULL component gives a NULL
token.

There are two keyings. The first, with keys that all senders share, may run at the sender. The second is an HMAC of the
first token under `linker.key`, which no sender has. `tokenise` does both or only the first; `rekey` does the second,
with identical results.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import duckdb
import numpy as np
import pyarrow as pa

from privacy import normalise
from privacy.doors.database import fetch_rows
from privacy.doors.sql import quote_text
from privacy.keys import LINKED_UNDER, KeyRing

PSEUDONYM_VERSION = "6"

_UNIT_SEPARATOR, _MISSING = 31, 30  # ASCII; no component can contain them, so joined components are unambiguous
BAND_BITS = 3  # for bands 0 to 5
_HEX_DIGITS, _BYTES = 16, 8
"""Length of a token of 64 bits."""
RARE_SURNAME, RARE_PAIR = 2, 3
"""Lowest band of a surname for tokens of two names with little else (at most one child in 1,500 has such a surname),
and lowest sum of both names' bands for a token without place or date (at most one child in 100,000 has both). A token
of two names matches children of one surname who were born on different days; for a common surname there would be enough
of them to count its bearers, and so to recognise it."""


@dataclass(frozen=True)
class TokenColumn:
    """A token column `name` (UBIGINT): the HMAC of `components` under the sub-key `domain` of `key`.

    `components` are SQL over the normalised relation, including `council`, `cohort` and `only_bearer`. The token exists
    only if the source has all contract columns in `inputs`. Columns of the same domain are comparable. The last bits of
    the token, `BAND_BITS` for each of `bands`, state how common its names are.
    """

    name: str
    key: str
    domain: str
    components: tuple[str, ...]
    inputs: tuple[str, ...]
    bands: tuple[str, ...] = ()


_MADE_OF = {
    "forename_written": "nullif(n_forename_written, n_forename)",
    "surname_front": "front(n_surname)",
    "surname_rest": "rest(n_surname)",
    "forename_front": "front(n_forename_written)",
    "forename_rest": "rest(n_forename_written)",
}
"""Parts of names that are not columns of the normaliser."""


def _iter_name_tokens(
    forms: Mapping[str, tuple[str, ...]], context: str, component: str, of: str
) -> Iterator[TokenColumn]:
    """Yield a token column for each form of each name with `component`, which comes from the contract column `of`."""
    for name, form in ((name, form) for name, forms_of in forms.items() for form in forms_of):
        part = f"{name}_{form}" if form else name
        yield TokenColumn(
            name=f"t_{part}_{context}",
            key="linkage",
            domain=f"{'name' if form in _WHOLE_WORDS else form}|{context}",
            components=(_MADE_OF.get(part, f"n_{part}"), component),
            inputs=(name, of),
            bands=() if form else (f"n_{name}_band",),
        )


_WITH_DOB = {
    "surname": ("", "first", "last", "sound", "start", "end"),
    "forename": ("", "written", "first", "last", "sound", "start", "end"),
}
_WITH_POSTCODE = dict.fromkeys(("surname", "forename"), ("", "start", "end", "front", "rest"))
"""Forms of a name that make a token with the date of birth, and with the postcode."""
_WHOLE_WORDS = ("", "written", "first", "last")
"""Forms that can be compared with each other; other forms can only be compared with the same form."""

_BANDS = ("n_surname_band", "n_forename_band")
_NEIGHBOURS, _SECTOR = "left(n_postcode_full, -1)", "left(n_postcode_full, -2)"
"""Taken only from a complete postcode: they would leave almost nothing of an outward part."""


def _narrow_where_common(component: str, place: str) -> str:
    """Return `component`, or the narrower `place` if the surname is common."""
    return f"CASE WHEN n_surname_band >= {RARE_SURNAME} THEN {component} ELSE {place} END"


_SEPARATED = f" || chr({_UNIT_SEPARATOR}) || "
_RARE = f"n_surname_band >= {RARE_SURNAME} AND n_surname_band + n_forename_band >= {RARE_PAIR}"
_OF_EXTRACT = _SEPARATED.join(("n_surname", "council", "cohort"))
_SURNAME_ALONE = f"CASE WHEN {_RARE} THEN n_surname WHEN only_bearer THEN {_OF_EXTRACT} END"
_UNLESS_RARE = f"CASE WHEN NOT ({_RARE}) THEN n_surname END"
_ONLY_BEARER = """
    coalesce(min(n_dob_sorted) OVER namesakes = max(n_dob_sorted) OVER namesakes, true)
    AND (count(n_dob_sorted) OVER namesakes = count(*) OVER namesakes
         OR coalesce(min(n_postcode) OVER namesakes = max(n_postcode) OVER namesakes, true))
"""
"""Condition on the rows of an extract with the same two names: their known dates of birth are equal and, if one is
missing, so are their known postcodes. A token of the names then matches only one date and one address."""

TOKENS: tuple[TokenColumn, ...] = (
    TokenColumn("t_upn", "upn", "upn", ("n_upn",), ("upn",)),
    # Temporary UPNs and patient numbers are unique only within a council, so these tokens include it.
    TokenColumn("t_upn_temporary", "upn", "upn-temporary", ("n_upn_temporary", "council"), ("upn",)),
    TokenColumn("t_nhs", "nhs", "nhs", ("n_nhs",), ("nhs_number",)),
    TokenColumn(
        "t_patient", "nhs", "patient", ("nullif(trim(local_patient_id), '')", "council"), ("local_patient_id",)
    ),
    TokenColumn("t_dob_postcode", "linkage", "dob|postcode", ("n_dob", "n_postcode"), ("date_of_birth", "postcode")),
    TokenColumn(
        "t_names",
        "linkage",
        "names",
        (_SURNAME_ALONE, "n_forename"),
        ("surname", "forename"),
        _BANDS,
    ),
    TokenColumn(
        "t_names_outward",
        "linkage",
        "names|outward",
        ("n_surname", "n_forename", _narrow_where_common("n_postcode_outward", _NEIGHBOURS)),
        ("surname", "forename", "postcode"),
        _BANDS,
    ),
    *(
        TokenColumn(
            f"t_names_{part}",
            "linkage",
            f"names|{part}",
            ("n_surname", "n_forename", f"n_dob_{part}", _narrow_where_common("''", _SECTOR)),
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
    *_iter_name_tokens(_WITH_DOB, "dob", "n_dob_sorted", "date_of_birth"),
    *_iter_name_tokens(_WITH_POSTCODE, "postcode", "n_postcode", "postcode"),
)
"""Every token, in column order. Most rows have about 26 tokens: `forename_written` is set only if it differs from the
canonical form, first and last words only for names of several words, the token of two names alone only if they are rare
or only one child has them. Name tokens use the date of birth with day and month sorted, so that swapping them makes no
difference; `t_dob_postcode` uses it unsorted.
"""
BANDED_DOMAINS = frozenset(token.domain for token in TOKENS if token.bands)
"""Domains whose tokens are compared without their band bits: see `build_bare_sql`."""
TOKEN_COLUMNS = tuple(token.name for token in TOKENS)

MARKS: tuple[TokenColumn, ...] = (
    TokenColumn("record", "linkage", "record", (), ()),
    *(TokenColumn(name, "linkage", name, (), ()) for name in ("record_born", "record_surname", "record_forename")),
    TokenColumn("content", "linkage", "content", (), ()),
    TokenColumn("sole_names", "linkage", "names", (), (), _BANDS),
    TokenColumn("sole_born", "linkage", "sole|dob", (), ()),
    TokenColumn("sole_home", "linkage", "sole|postcode", (), ()),
)
"""Marks of a row, made like tokens, used to combine the parts of an extract (`list_row_marks`). They are not passed to
the linkage: `record` and `content` include council and source, so they match nothing outside one extract and its parts.
`record_born` and similar marks show whether rows with one UPN, which may belong to two children, agree. Others exist
only for common names: `sole_names` is the `t_names` of a child who is the only one in the extract with both names, and
`sole_born` and `sole_home` show, across all parts, whether that is so."""
MARK_COLUMNS = tuple(mark.name for mark in MARKS)


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Prepare a connection for `tokenise`: one in memory that never spills, because it reads identifiers."""
    normalise.install(con)
    # Joins stay in the order in which the SQL writes them, with the small table as the build side.
    con.execute("SET GLOBAL disabled_optimizers = 'build_side_probe_side,join_order'").fetchall()


def list_token_columns(source_columns: set[str]) -> list[TokenColumn]:
    """Return the tokens that can be made from a source with these contract columns."""
    return [token for token in TOKENS if source_columns.issuperset(token.inputs)]


def list_row_marks(
    source: str, record: Sequence[Sequence[str]], every: Sequence[str], columns: set[str]
) -> list[TokenColumn]:
    """Return the marks of the rows of a source.

    `record` lists sets of columns, of which the first complete one identifies the record. `every` are all columns of a
    row; `columns` as in `tokenise`.
    """
    of_source = [quote_text(source), "council"]
    # The number of the set is part of the mark, so that equal values of different columns are different records.
    compared = {name: f"({_NUMBERS.get(name) or f'upper(trim({name}::VARCHAR))'})::VARCHAR" for name in chain(*record)}
    sets = (
        f"({_SEPARATED.join([str(number), *(compared[name] for name in names)])})"
        for number, names in enumerate(record)
    )
    # A missing value is a character that no value contains: a NULL component would make the whole mark NULL.
    content = [f"coalesce({name}::VARCHAR, chr({_MISSING}))" for name in every]
    components = {
        "record": (*of_source, f"coalesce({', '.join(sets)})"),
        "content": (*of_source, *content),
    }
    if "upn" in columns:
        parts = {"born": "n_dob_sorted", "surname": "n_surname", "forename": "n_forename"}
        components |= {f"record_{name}": (*components["record"], part) for name, part in parts.items()}
    if {"surname", "forename", "date_of_birth", "postcode"} <= columns:
        names = (_UNLESS_RARE, "n_forename")
        components |= {
            "sole_names": (_UNLESS_RARE.replace("THEN n_surname", f"THEN {_OF_EXTRACT}"), "n_forename"),
            "sole_born": (*names, "n_dob_sorted"),
            "sole_home": (*names, "n_postcode"),
        }
    return [replace(mark, components=components[mark.name]) for mark in MARKS if mark.name in components]


_NUMBERS = {
    "upn": "coalesce(n_upn, n_upn_temporary)",
    "nhs_number": "n_nhs",
    "surname": "n_surname",
    "forename": "n_forename",
    "date_of_birth": "n_dob",
}
"""SQL of columns that are compared in normalised form."""


def clear_sole_bearers(table: pa.Table) -> pa.Table:
    """Clear `t_names` in the rows of an extract unless its names are rare by the public lists, as in rows of a part."""
    if "t_names" not in table.column_names:
        return table
    values, missing = split_values_and_mask(_combine_chunks(table["t_names"]))
    surname, forename = (values >> np.uint64(BAND_BITS)) & _BAND, values & _BAND
    rare = (surname >= RARE_SURNAME) & (surname + forename >= RARE_PAIR)
    kept = pa.array(values, pa.uint64(), mask=missing | ~rare)
    return table.set_column(table.column_names.index("t_names"), "t_names", kept)


_BAND = np.uint64(2**BAND_BITS - 1)


def tokenise(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    columns: set[str],
    passthrough: list[str],
    keys: KeyRing,
    *,
    marks: Sequence[TokenColumn] = (),
    second_keying: bool = True,
    whole: bool = True,
) -> pa.Table:
    """Return the `passthrough` columns of `relation` and a UInt64 column per token, with the rows in any order.

    `columns` are the contract columns of `relation`, VARCHAR, and DATE for date_of_birth; its columns `council` and
    `cohort` identify the extract of a row. With `whole=False` the relation is one part of an extract, which cannot show
    whether a name occurs only once in the whole, so no token depends on that. `marks` are added to the tokens
    (`list_row_marks`). With `second_keying=False` the result is what a sender sends, and `rekey` turns it into the
    pipeline's own result. Call `prepare` on the connection first.
    """
    tokens = [*list_token_columns(columns), *marks]
    rows = fetch_rows(con, _build_messages_sql(relation, columns, tokens, passthrough, whole))
    kept = rows.select(passthrough)
    messages = {token.name: _combine_chunks(rows[token.name]) for token in tokens}
    subkeys = {token.name: keys.derive_subkey(token.key, f"token/{token.domain}") for token in tokens}
    hashed = compute_hmac_64(messages, subkeys)
    for token in tokens:
        packed = np.zeros(1, np.uint64)
        for band in token.bands:
            packed = (packed << np.uint64(BAND_BITS)) | split_values_and_mask(_combine_chunks(rows[band]))[0]
        kept = kept.append_column(token.name, _set_bands(hashed[token.name], token, packed))
    return rekey(kept, [token.name for token in tokens], keys) if second_keying else kept


def rekey(table: pa.Table, columns: list[str], keys: KeyRing) -> pa.Table:
    """Return `table` with its token `columns` under the second keying. Raises `KeyProblem` without `linker.key`."""
    tokens = {token.name: token for token in (*TOKENS, *MARKS) if token.name in columns}
    first = {name: _combine_chunks(table[name]) for name in tokens}
    # Hashed without bands, which are copied: tokens of one domain carry different bands and must still match.
    bare = {name: encode_as_bytes(_clear_bands(first[name], token)) for name, token in tokens.items()}
    subkeys = {name: keys.derive_subkey("linker", f"token/{token.domain}") for name, token in tokens.items()}
    hashed = compute_hmac_64(bare, subkeys)
    for name, token in tokens.items():
        carried = split_values_and_mask(first[name])[0] & ~_get_band_mask(token)
        table = table.set_column(table.column_names.index(name), name, _set_bands(hashed[name], token, carried))
    return table


def build_manifest(keys: KeyRing) -> dict[str, str]:
    """Return the metadata of a tokenised file; files with different metadata cannot be linked."""
    return {
        "pseudonym_version": PSEUDONYM_VERSION,
        "normaliser_version": normalise.NORMALISER_VERSION,
        **{f"{name}_key_fingerprint": print_ for name, print_ in keys.fingerprints.items() if name in LINKED_UNDER},
    }


def _build_messages_sql(
    relation: str, columns: set[str], tokens: list[TokenColumn], passthrough: list[str], whole: bool
) -> str:
    """Return a SELECT of `passthrough`, the message of each token (VARCHAR) and the bands of the two names."""
    messages = [
        f"{_SEPARATED.join(f'({component})::VARCHAR' for component in token.components)} AS {token.name}"
        for token in tokens
    ]
    bands = sorted({band for token in tokens for band in token.bands})
    named = f"SELECT *, {_ONLY_BEARER if whole else 'false'} AS only_bearer"
    namesakes = "WINDOW namesakes AS (PARTITION BY council, cohort, n_surname, n_forename)"
    normal = f"{named} FROM ({normalise.normalise_sql(relation, columns)}) {namesakes if whole else ''}"
    return f"SELECT {', '.join([*passthrough, *messages, *bands])} FROM ({normal})"


def _combine_chunks(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _set_bands(hashed: pa.Array, token: TokenColumn, bands: np.ndarray) -> pa.Array:
    """Replace the last bits of each 64-bit hash with the bands of the names."""
    if not token.bands:
        return hashed
    values, missing = split_values_and_mask(hashed)
    return pa.array((values & _get_band_mask(token)) | bands, pa.uint64(), mask=missing)


def _clear_bands(tokens: pa.Array, token: TokenColumn) -> pa.Array:
    """Clear the band bits of tokens, as `build_bare_sql` does in SQL."""
    if token.domain not in BANDED_DOMAINS:
        return tokens
    values, missing = split_values_and_mask(tokens)
    return pa.array(values & _get_band_mask(_find_widest_token(token)), pa.uint64(), mask=missing)


def _get_band_mask(token: TokenColumn) -> np.uint64:
    return np.uint64(2**64 - 2 ** (BAND_BITS * len(token.bands)))


def _find_widest_token(token: TokenColumn) -> TokenColumn:
    """Return the token of the same domain that has the most bands."""
    return max((t for t in TOKENS if t.domain == token.domain), key=lambda t: len(t.bands))


def build_bare_sql(token: TokenColumn) -> str:
    """Return SQL of a token with its band bits set to zero, as compared with others of its domain."""
    if token.domain not in BANDED_DOMAINS:
        return token.name
    return f"{token.name} & {_get_band_mask(_find_widest_token(token))}::UBIGINT"


def build_band_sql(name: str, columns: set[str]) -> str:
    """Return SQL of the band (UTINYINT) of a row's `surname` or `forename`, from any token that has one, or NULL."""
    column = f"n_{name}_band"
    found = [
        f"({token.name} >> {BAND_BITS * (len(token.bands) - 1 - token.bands.index(column))}) & {2**BAND_BITS - 1}"
        for token in TOKENS
        if column in token.bands and token.name in columns
    ]
    return f"coalesce({', '.join(found)}, NULL)::UTINYINT" if found else "NULL::UTINYINT"


def compute_hmac_64(messages: Mapping[str, pa.Array], keys: Mapping[str, bytes]) -> dict[str, pa.Array]:
    """Return the first 64 bits (UInt64Array, big-endian) of the HMAC of each message, NULL for NULL.

    `messages` are string or binary arrays of equal length by name, `keys` the sub-key of each. The library takes keys
    as text, so a column's key is the 64 hexadecimal digits of its 32-byte sub-key: one block of SHA-256. Keys are
    passed as arguments, so no query text, plan or message contains one.
    """
    try:
        import polars as pl  # imported here because it takes a tenth of a second
        import polars_hash
    except ImportError:  # the tool for councils saves their 210 MB, and takes 2 seconds per million tokens
        return {name: _compute_hmac_in_python(column, keys[name].hex().encode()) for name, column in messages.items()}
    frame = pl.DataFrame({name: pl.Series(pl.from_arrow(column)) for name, column in messages.items()})
    hashed = frame.select(
        polars_hash.col(name)
        .chash.hmac_sha256(key=keys[name].hex())
        .str.head(_HEX_DIGITS)
        .str.decode("hex")
        .bin.reinterpret(dtype=pl.UInt64, endianness="big")
        .alias(name)
        for name in messages
    )
    return {column.name: column.to_arrow() for column in hashed}


def _compute_hmac_in_python(messages: pa.Array, key: bytes) -> pa.Array:
    digests = (
        None if message is None else hmac.digest(key, message, "sha256")[:_BYTES]
        for message in messages.cast(pa.binary()).to_pylist()
    )
    return pa.array([None if digest is None else int.from_bytes(digest) for digest in digests], pa.uint64())


def encode_as_bytes(numbers: pa.Array) -> pa.Array:
    """Return each 64-bit number as eight bytes, big-endian; NULL for NULL."""
    values, missing = split_values_and_mask(numbers)
    offsets = np.arange(0, _BYTES * (len(values) + 1), _BYTES, dtype=np.int32)
    present = pa.array(~missing).buffers()[1] if missing.any() else None
    buffers = [present, pa.py_buffer(offsets), pa.py_buffer(values.astype(">u8").tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def split_values_and_mask(numbers: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the values as uint64, 0 for NULL, and a mask of NULLs."""
    missing = numbers.is_null().to_numpy(zero_copy_only=False)
    return numbers.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64), missing
