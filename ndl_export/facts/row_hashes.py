"""Proof that a row is in a signed release: `row_hashes.json`, the evidence for rows, and the check of an answer.

The lines of each `<table>_all_rows.csv`, without its header, are the leaves of a Merkle tree as in RFC 6962. Its root
is in `row_hashes.json`, whose SHA-256 is in the signed `SHA256SUMS`: a line and some ten hashes prove a row without the
table. The file also states what an answer could quote wrongly: release, notice, units, filters and meanings of flags.
The check itself is in `check_answer`, which needs only Python's standard library, because bundles have a copy of it.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ndl_export.facts.check_answer import find_problems
from ndl_export.files import signing, whole_files
from ndl_export.tables import Measure, Table, csv_files, schema

ROW_HASHES_FILE = "row_hashes.json"
CHECK_FILE = "check_answer.py"
_ALGORITHM = (
    "Merkle tree of RFC 6962 over the lines after the header, as UTF-8 without the line feed: a leaf is"
    " SHA-256(0x00 + line), a node SHA-256(0x01 + left + right); header is the SHA-256 of the header line"
)


def build_row_hashes(files: Mapping[str, bytes], tables: Mapping[str, Table], version: str, notice: str) -> bytes:
    """Return `row_hashes.json` for a bundle whose `files` (content by name) have the plain CSV file of each table."""
    return whole_files.format_json(
        {
            "algorithm": _ALGORITHM,
            "release": version,
            "notice": notice,
            "flags": schema.FLAG_MEANINGS,
            "tables": {
                name: _describe_table(table, f"{name}{csv_files.ALL_ROWS}", files[f"{name}{csv_files.ALL_ROWS}"])
                for name, table in tables.items()
            },
        }
    )


def _describe_table(table: Table, file: str, content: bytes) -> dict[str, Any]:
    header, lines = _split_lines(content)
    return {
        "file": file,
        "rows": len(lines),
        "root": _build_levels(lines)[-1][0].hex(),
        "header": hashlib.sha256(header).hexdigest(),
        "filters": [entry.name for entry in table.filters],
        "measures": {measure.name: _describe_measure(measure) for measure in table.measures},
    }


def _describe_measure(measure: Measure) -> dict[str, Any]:
    by_flag = {flag: schema.count_decimals(measure, flag) for flag in schema.Flag}
    fewer = {flag: decimals for flag, decimals in by_flag.items() if decimals != measure.decimals}
    stated = {"unit": measure.unit or measure.unit_in_words, "decimals": measure.decimals}
    return stated | ({"decimals_by_flag": fewer} if fewer else {})


def prove_rows(bundle: Path | Mapping[str, bytes], rows: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """Return the evidence for rows of a bundle, JSON-ready.

    `bundle` is its folder or the content of its files by name. `rows` are pairs of a table's name and a row number; the
    first row after the header is 1. Raises ValueError for a row that does not exist, and OSError or KeyError if the
    bundle has no `row_hashes.json`.
    """
    read = (lambda name: (bundle / name).read_bytes()) if isinstance(bundle, Path) else bundle.__getitem__
    hashes = json.loads(read(ROW_HASHES_FILE))
    numbers: dict[str, list[int]] = {}
    for table, number in dict.fromkeys(rows):
        if not 0 < number <= hashes["tables"].get(table, {"rows": 0})["rows"]:
            raise ValueError(f"release {hashes['release']} has no row {number} of a table {table}")
        numbers.setdefault(table, []).append(number)
    return {
        "release": hashes["release"],
        "sums": read(signing.SUMS_FILE).decode(),
        "signature": base64.b64encode(read(signing.SIGNATURE_FILE)).decode(),
        "row_hashes": read(ROW_HASHES_FILE).decode(),
        "rows": [
            row
            for table, wanted in numbers.items()
            for row in _prove_lines(table, read(hashes["tables"][table]["file"]), wanted)
        ],
    }


def _prove_lines(table: str, content: bytes, numbers: Iterable[int]) -> list[dict[str, Any]]:
    header, lines = _split_lines(content)
    levels = _build_levels(lines)
    return [
        {
            "table": table,
            "row": number,
            "line": lines[number - 1].decode(),
            "header": header.decode(),
            "path": _build_path(levels, number - 1),
        }
        for number in numbers
    ]


def check_answer(answer: dict[str, Any], public_key_pem: bytes | None) -> list[str]:
    """Return the problems of an answer, and of its signature if the key (PEM) is given. Raises `UnusableKey`."""
    if public_key_pem is None:
        return find_problems(answer, None)
    signing.load_public_key(public_key_pem)  # for its error: an unusable key is not a problem of the answer
    return find_problems(answer, partial(signing.is_signed, public_key_pem))


def read_check_script() -> bytes:
    """Return the script that checks an answer, as every bundle contains it."""
    return Path(__file__).with_name(CHECK_FILE).read_bytes()


def _split_lines(content: bytes) -> tuple[bytes, list[bytes]]:
    """Return the header and the lines of a CSV file. Only a line feed ends a line, and no cell has one."""
    header, *lines = content.removesuffix(b"\n").split(b"\n")
    return header, lines


def _build_levels(lines: Iterable[bytes]) -> list[list[bytes]]:
    """Return the hashes of the tree, from the leaves to the root; an unpaired last hash moves up unchanged."""
    levels = [[hashlib.sha256(b"\x00" + line).digest() for line in lines]]
    if not levels[0]:
        return [[hashlib.sha256().digest()]]  # RFC 6962: the root of an empty tree
    while len(below := levels[-1]) > 1:
        levels.append([_join(below[at : at + 2]) for at in range(0, len(below), 2)])
    return levels


def _join(pair: list[bytes]) -> bytes:
    return hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) == 2 else pair[0]


def _build_path(levels: list[list[bytes]], index: int) -> list[tuple[str, str]]:
    """Return the side and the hexadecimal hash of each sibling on the way from a leaf to the root."""
    path = []
    for level in levels[:-1]:
        if (sibling := index ^ 1) < len(level):
            path.append(("left" if index % 2 else "right", level[sibling].hex()))
        index //= 2
    return path
