"""Append-only log with one JSON object per line, each with the hash of the previous line.

A second file stores the hash of the last line, so changed, inserted and removed lines are detected, even at the end. A
line is durable before `append` returns.
"""

import getpass
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privacy.doors import files
from privacy.doors.locks import hold_lock
from privacy.release.canonical import hash_json

_NO_HASH = "0" * 64  # stands for the hash before the first line
_USUAL_LINES_BYTES, _LONGEST_LINE_BYTES = 1 << 13, 1 << 20
"""Bytes at the end of the log that usually contain the last line, and the maximum length of a line."""


class LogBroken(Exception):
    """Raised if a line of the log was changed, removed or cannot be read; the message names it."""


def append(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Append a line. Raises `LogBroken` if the log changed since its last line was written."""
    files.make_folder(path.parent)
    with hold_lock(path) as log:
        lines = _read_whole_lines(log)
        last = _parse_line(path, lines.split(b"\n")[-2], "the last line") if lines else None
        _check_end(path, last)
        entry = {
            "seq": last["seq"] + 1 if last else 1,
            **content,
            "previous_hash": last["entry_hash"] if last else _NO_HASH,
        }
        entry["entry_hash"] = _hash(entry)
        # Written before its head: a crash in between leaves one line more than the head says, which `_check_end`
        # accepts.
        files.append(log, json.dumps(entry).encode() + b"\n")
        head = {"seq": entry["seq"], "entry_hash": entry["entry_hash"]}
        files.write(_get_head_path(path), json.dumps(head).encode())
    return entry


def list_files(path: Path) -> list[Path]:
    """Return the files of a log that exist; the head first, so that a copy may have one line more than its head."""
    return [each for each in (_get_head_path(path), path) if each.exists()]


def get_account_name() -> str:
    """Return the name of the current operating-system account, or its number if it has no name."""
    try:
        return getpass.getuser()
    # For an account without a name, Python raises KeyError before version 3.13 and OSError from then on.
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def read_unchecked_entries(path: Path) -> list[dict[str, Any]]:
    """Return every line, oldest first, without checking the chain. Raises `LogBroken` if a line cannot be parsed."""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return [_parse_line(path, line, f"line {number}") for number, line in enumerate(lines[:-1], 1)]


def read_last_entry(path: Path) -> dict[str, Any] | None:
    """Return the last complete line, or None for an empty log. Raises `LogBroken` if it cannot be parsed."""
    if not path.exists():
        return None
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _LONGEST_LINE_BYTES))
        lines = log.read().split(b"\n")
    return _parse_line(path, lines[-2], "the last line") if len(lines) > 1 else None


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return every line, oldest first, after checking the whole chain. Raises `LogBroken`."""
    found, previous = read_unchecked_entries(path), _NO_HASH
    for number, entry in enumerate(found, 1):
        if (entry["seq"], entry["previous_hash"]) != (number, previous):
            raise LogBroken(f"{path}: something was removed or put in before line {number}")
        if _hash(entry) != entry["entry_hash"]:
            raise LogBroken(f"{path}: line {number} was changed")
        previous = entry["entry_hash"]
    _check_end(path, found[-1] if found else None)
    return found


def _hash(entry: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the entry's canonical JSON, without the hash itself."""
    return hash_json({key: value for key, value in entry.items() if key != "entry_hash"})


def _read_whole_lines(log: int) -> bytes:
    """Return the end of the log, at least its last line, after removing an incomplete line left by a crash."""
    size = os.fstat(log).st_size
    # Only the end is read, so a line costs the same however long the log is.
    for length in (_USUAL_LINES_BYTES, _LONGEST_LINE_BYTES):
        tail = os.pread(log, length, max(0, size - length))
        lines = tail[: tail.rfind(b"\n") + 1]
        # Two line ends show that the whole last line is in this part of the file.
        if lines.count(b"\n") > 1 or length >= size:
            break
    if len(lines) < len(tail):
        # An incomplete line was never acknowledged: `append` returns only after the sync.
        os.ftruncate(log, size - len(tail) + len(lines))
    return lines


def _check_end(path: Path, last: Mapping[str, Any] | None) -> None:
    """Raise `LogBroken` unless the log ends where its head says, or one line later, as after a crash in between."""
    head = _get_head_path(path)
    known = json.loads(head.read_text(encoding="utf-8")) if head.exists() else {"seq": 0, "entry_hash": _NO_HASH}
    ends = (last["seq"], last["entry_hash"]) if last else (0, _NO_HASH)
    one_more = last is not None and last["previous_hash"] == known["entry_hash"]
    if ends != (known["seq"], known["entry_hash"]) and not one_more:
        raise LogBroken(f"{path}: lines at the end were removed; restore the log from a backup")


def _get_head_path(path: Path) -> Path:
    return path.with_suffix(".head.json")


def _parse_line(path: Path, line: bytes, where: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(line)
        if not isinstance(content, dict) or not {"seq", "previous_hash", "entry_hash"} <= set(content):
            raise ValueError
        return content
    except ValueError:
        raise LogBroken(f"{path}: {where} is not one of the log's; restore it from a backup") from None
