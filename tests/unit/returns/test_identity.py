"""By what a row is known again: everything that the linkage compares of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from privacy.doors.database import in_memory
from privacy.keys import KeyRing
from privacy.pseudonyms import BAND_BITS, TOKENS
from privacy.returns import rows


@pytest.mark.parametrize("changed", ["sex", *(token.name for token in TOKENS)])
def test_a_row_with_another_token_has_another_mark(tmp_path: Path, changed: str) -> None:
    """Before, `t_names` was in none where another token of a name was: whoever wrote a tokens file could change it."""
    row = {token.name: number << 3 * BAND_BITS for number, token in enumerate(TOKENS, 1)}
    texts = pa.array(["F", "M" if changed == "sex" else "F"])
    tokens = {name: pa.array([value, value << (name == changed)], pa.uint64()) for name, value in row.items()}
    with in_memory() as con:
        rows.prepare_marks(con, KeyRing.create(tmp_path / "keys"))
        con.register("sent", pa.table({"sex": texts, **tokens}))
        marks = f"{rows.identity_sql(row)}, {rows.names_sql(row)}"
        before, after = con.sql(f"SELECT {marks} FROM sent, identity_pads").fetchall()
    assert before != after
    assert (before[0] == after[0]) == (changed == "t_names")
