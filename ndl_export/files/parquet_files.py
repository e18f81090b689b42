"""Parquet files of a release: typed, described, and the same bytes for the same content.

Fixed writer settings; no time, path or machine goes in. The Parquet file's key-value metadata hold title, description
and the description of every column, for readers that do not know Arrow's own schema metadata.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ndl_export.files.canonical_json import canonical_json
from ndl_export.tables import Table
from ndl_export.tables.schema import arrow_schema, columns

ROW_GROUP_ROWS = 131_072
ROW_ORDER = (
    b"By time period; within it by area: all councils together, regions, devolved areas, councils by name; within it by"
    b" levels as in the data dictionary"
)


def write_parquet(data: pa.Table, table: Table, version: str, path: Path) -> None:
    """Write the rows of `data`, which are in their final order, to `path`."""
    descriptions = {column.name: column.description for column in columns(table)}
    schema = arrow_schema(table)
    metadata = schema.metadata | {
        b"release_version": version.encode(),
        b"columns": canonical_json(descriptions),
        b"row_order": ROW_ORDER,
    }
    pq.write_table(
        data.cast(schema).replace_schema_metadata(metadata).combine_chunks(),
        path,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=9,
        row_group_size=ROW_GROUP_ROWS,
        write_statistics=True,
    )
