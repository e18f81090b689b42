"""What returns know of rows by their tokens, without a token: read where no payload is, and handed on by row key.

A token becomes a number that is the same in rows with the same token, and another one in every process.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping

import pyarrow as pa

from privacy.doors.database import in_memory
from privacy.doors.sql import quoted
from privacy.keys import KeyRing
from privacy.linkage.rows import OWN_NUMBERS
from privacy.returns import identity
from privacy.returns.facts import ALIKE_TOKENS, FINDABLE_CONDITION
from privacy.row_keys import ROW_KEY


def traits(tokens: Mapping[str, pa.RecordBatchReader], keys: KeyRing) -> pa.Table:
    """source, council, row_key; sex, findable and numbered as `facts_of` has them; the keyed marks `identity` and
    `names`; and under the names of ALIKE_TOKENS and OWN_NUMBERS, numbers in the place of tokens. Reads `tokens`, by
    source, to the end."""
    with in_memory() as con:
        identity.prepare(con, keys)
        selects = []
        for source, read in tokens.items():
            con.register(f"tokens_{source}", read)
            selects.append(
                f"SELECT {quoted(source)} AS source, council, {ROW_KEY}, {_traits(read.schema.names)}"
                f" FROM tokens_{source}, identity_pads"
            )
        return con.sql(" UNION ALL ".join(selects), params={"salt": secrets.randbits(63)}).to_arrow_table()


def _traits(columns: Collection[str]) -> str:
    held = [number for number in OWN_NUMBERS if number in columns]
    numbers = [f"{_numbered(number) if number in held else 'NULL::UBIGINT'} AS {number}" for number in OWN_NUMBERS]
    return ", ".join(
        [
            "nullif(sex, '') AS sex",
            f"{FINDABLE_CONDITION} AS findable",
            *(f"{_numbered(token)} AS {token}" for token in ALIKE_TOKENS),
            *numbers,
            f"coalesce({', '.join(held)}, NULL) IS NOT NULL AS numbered",
            f"{identity.identity_sql(columns)} AS identity",
            f"{identity.names_sql(columns)} AS names",
        ]
    )


def _numbered(token: str) -> str:
    return f"CASE WHEN {token} IS NOT NULL THEN hash({token}, $salt) END"
