"""Lays out the extracts of a landing folder as councils may send them: monthly parts, or files of several cohorts.

Extracts that are not plain text stay whole. So do parents' answers in files of several cohorts, because they do not
record theirs.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

MONTHS = 12
_NO_COHORT = "parent_experience"


def split_by_month(whole: Path, cohort: str, landing: Path) -> list[Path]:
    """Split each extract's rows at random over twelve files; return those of the last month."""
    _lay_out(whole, landing, dict.fromkeys(whole.glob(f"*/*/{cohort}.csv"), _write_months))
    return sorted(landing.glob(f"*/*/{cohort}/{_name_month(MONTHS)}"))


def merge_cohorts(wholes: Sequence[Path], cohort: str, landing: Path) -> None:
    """Merge each council and source's extracts from all folders, one cohort each, into one file.

    `cohort` is that of the first folder.
    """

    def join_files(path: Path, folder: Path) -> None:
        name = path.relative_to(wholes[0]).parent
        lines = [next((whole / name).glob("*.csv")).read_bytes().splitlines(keepends=True) for whole in wholes]
        (folder / "all.csv").write_bytes(b"".join([lines[0][0], *(line for each in lines for line in each[1:])]))

    whole = wholes[0].glob(f"*/*/{cohort}.csv")
    _lay_out(wholes[0], landing, {path: join_files for path in whole if path.parent.name != _NO_COHORT})


def _lay_out(whole: Path, landing: Path, how: dict[Path, Callable[[Path, Path], None]]) -> None:
    landing.mkdir()
    (landing / "reference").symlink_to(whole / "reference")
    for path in sorted(path for path in whole.glob("*/*/*") if path.is_file() and "reference" not in path.parts):
        folder = landing / path.relative_to(whole).parent
        folder.mkdir(parents=True)
        if path in how:
            how[path](path, folder)
        else:
            shutil.copy(path, folder)


def _write_months(path: Path, folder: Path) -> None:
    header, *rows = path.read_bytes().splitlines(keepends=True)
    month = np.random.default_rng(1).integers(1, MONTHS + 1, len(rows))
    place = folder / path.stem
    place.mkdir()
    for number in range(1, MONTHS + 1):
        own = [row for row, of in zip(rows, month, strict=True) if of == number]
        (place / _name_month(number)).write_bytes(b"".join([header, *own]))


def _name_month(number: int) -> str:
    return f"2025-{number:02d}.csv"
