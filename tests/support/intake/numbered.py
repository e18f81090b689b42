"""Content of an extract in all zones, joined by row number; only for tests, which have every key."""

import pyarrow as pa
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.intake.deliveries import derive_row_keys
from assets.linkage.tokens import open_tokens
from privacy.keys import KeyRing
from privacy.row_keys import ROW_KEY
from privacy.services import SERVICES
from tests.support.extracts import COHORT


def read_numbered(home: Home, keys: KeyRing, source: str, council: str, cohort: str = COHORT) -> pa.Table:
    """Return payload and tokens with `source_row`, sorted by row number."""
    rows = pq.read_table(home.get_extract(source, cohort, council).pseudonymised, partitioning=None)
    if source in SERVICES:
        tokens = open_tokens(home.get_extract(source, cohort, council), keys).read()
        assert tokens[ROW_KEY].equals(rows[ROW_KEY])
        for name in tokens.column_names:
            if name not in rows.column_names:
                rows = rows.append_column(name, tokens[name])
    return _sort_by_number(rows, home, keys, source, council, cohort).drop_columns([ROW_KEY])


def read_row_keys(home: Home, keys: KeyRing, source: str, council: str, cohort: str = COHORT) -> pa.Table:
    """Return `source_row` and `row_key` of the kept rows."""
    rows = pq.read_table(home.get_extract(source, cohort, council).pseudonymised, columns=[ROW_KEY], partitioning=None)
    return _sort_by_number(rows, home, keys, source, council, cohort)


def read_numbered_quarantine(home: Home, keys: KeyRing, source: str, council: str, cohort: str = COHORT) -> pa.Table:
    """Return the quarantine, sorted by row number."""
    found = pq.read_table(home.get_extract(source, cohort, council).quarantine, partitioning=None)
    return _sort_by_number(found, home, keys, source, council, cohort).drop_columns([ROW_KEY])


def _sort_by_number(rows: pa.Table, home: Home, keys: KeyRing, source: str, council: str, cohort: str) -> pa.Table:
    numbers = derive_row_keys(home.get_extract(source, cohort, council), keys).find_rows(rows[ROW_KEY].to_numpy())
    return rows.add_column(0, "source_row", pa.array(numbers)).sort_by("source_row")
