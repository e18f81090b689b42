"""Measures the size of a home folder."""

from __future__ import annotations

from pathlib import Path


def stored(home: Path) -> dict[str, float]:
    """Return the GiB in each folder of a home."""
    return {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1024**3
        for folder in sorted(home.iterdir())
        if folder.is_dir()
    }
