"""The marker of synthetic extracts: the SHA-256 of every file that `readiness synth` wrote into a landing folder.

A file that is not listed, or that was changed since, is taken for a real extract.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sources.extract.landed import REFERENCE, content_sha256

FILE = "synthetic.json"


def marked(landing: Path) -> frozenset[str]:
    """The hashes that the marker lists; none where it is missing or cannot be read."""
    try:
        return frozenset(json.loads((landing / REFERENCE / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return frozenset()


def mark(landing: Path, files: Iterable[Path]) -> None:
    """Add files to the marker. For a generator of synthetic extracts alone."""
    path = landing / REFERENCE / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = sorted({*marked(landing), *(content_sha256(file) for file in files)})
    path.write_text(json.dumps(hashes, indent=0), encoding="utf-8")
