"""Canonical JSON bytes of a value, and their SHA-256.

Plans, ledger entries and measurement files are identified by a hash of their content. They share this module so that
"the same content" means the same bytes everywhere.
"""

import hashlib
import json
import re
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def encode_canonical_json(value: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys and no spaces. Raises ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def compute_sha256(content: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def hash_json(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return compute_sha256(encode_canonical_json(value))


def check_name(kind: str, value: str) -> str:
    """Return `value` if it is safe in a path and a message. Raises ValueError for any other."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{kind} {value!r} may hold only letters, digits, '.', '_' and '-'")
    return value
