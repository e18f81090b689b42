"""Answers about a release, with their evidence, as the services give them."""

import csv
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.facts.row_hashes import ROW_HASHES_FILE, build_row_hashes, prove_rows
from ndl_export.files import signing
from ndl_export.tables import TABLES, schema
from ndl_export.tables.model import MEASURES

Quoted = tuple[str, int, str]
"""Table, row and measure."""


def sign_files(
    files: Mapping[str, bytes], key: Ed25519PrivateKey, version: str = "2026.11.0", notice: str = ""
) -> dict[str, bytes]:
    """Return plain CSV files of tables with their row hashes, sums and signature."""
    tables = {name: table for name, table in TABLES.items() if f"{name}_all_rows.csv" in files}
    signed = {**files, ROW_HASHES_FILE: build_row_hashes(files, tables, version, notice)}
    return signed | signing.sign_files(key, signed)


@lru_cache(maxsize=8)
def _read_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode().splitlines()))


def quote_figure(files: Mapping[str, bytes], table: str, row: int, measure: str) -> dict[str, Any]:
    """Return the figure in a row, as an answer states it; its limits rounded as it is."""
    hashes = json.loads(files[ROW_HASHES_FILE])
    described = hashes["tables"][table]
    cells = _read_rows(files[described["file"]])[row - 1]
    value, lower, upper = (cells[measure + part] for part in ("", "_lower_ci", "_upper_ci"))
    flag = cells[f"{measure}_flag"] or None
    decimals = schema.count_decimals(MEASURES[measure], flag)
    return {
        "release": hashes["release"],
        "table": table,
        "row": row,
        "measure": measure,
        **{name: cells[name] for name in ("time_period", "geographic_level", "area_code", "area_name")},
        "filters": {entry.name: cells[entry.name] for entry in TABLES[table].filters},
        "value": float(value) if value else None,
        "lower": round(float(lower), decimals) if lower else None,
        "upper": round(float(upper), decimals) if upper else None,
        "unit": described["measures"][measure]["unit"],
        "flag": flag,
        "flag_meaning": hashes["flags"][flag] if flag else None,
        "series_break": cells["series_break"] == "b",
    }


def build_answer(files: Mapping[str, bytes], quoted: Iterable[Quoted]) -> dict[str, Any]:
    """Return an answer that rests on these figures of a bundle, as it is read from JSON."""
    quoted = list(quoted)
    answer = {
        "answer": "As published.",
        "may_conclude": [],
        "may_not_conclude": [],
        "figures": [quote_figure(files, *each) for each in quoted],
        "citation": "School readiness",
        "licence": "OGL",
        "notice": json.loads(files[ROW_HASHES_FILE])["notice"] or None,
        "evidence": prove_rows(files, [(table, row) for table, row, _ in quoted]),
    }
    return json.loads(json.dumps(answer))  # type: ignore[no-any-return]
