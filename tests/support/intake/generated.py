"""Reads generated files without the project's readers."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pandas as pd


def read(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> pd.DataFrame:
    """Return a landed file as text; blanks are empty."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).fillna("")
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return pd.read_csv(io.StringIO(raw.decode(encoding)), sep=delimiter, dtype=str, keep_default_na=False)


def files(landing: Path, source: str) -> dict[str, Path]:
    """Return the file of each council."""
    return {path.parts[-3]: path for path in sorted(landing.glob(f"*/{source}/*"))}
