"""What parts cost beside whole files: `python -m bench.parts [--scale 0.3]`, in seconds of intake.

The same synthetic extracts of eight councils are taken in whole; as twelve monthly parts of each; and as eleven, with
the twelfth added afterwards. Each row of an extract is in one part. Extracts that are no plain text are left out of the
parts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.take_in import Intake
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.extract.landed import find, taking_part
from sources.synthetic import generate

COHORT, MONTHS = "202425", 12


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=float, default=0.3)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys = KeyRing.create(root / "keys")
        generate(root / "whole", COHORT, scale=options.parse_args().scale, contract_names=True)
        _split(root / "whole", root / "parts")
        _seconds("warming up", root / "whole", Home(root / "warm"), keys)
        _seconds("whole files", root / "whole", Home(root / "home-whole"), keys)
        _seconds("twelve parts each", root / "parts", Home(root / "home-parts"), keys)
        last = [path for path in (root / "parts").glob("*/*/*/*") if path.stem.endswith(str(MONTHS))]
        for path in last:
            path.rename(path.with_name(f".{path.name}"))
        _seconds("eleven parts each", root / "parts", Home(root / "home-eleven"), keys)
        for path in last:
            path.with_name(f".{path.name}").rename(path)
        _seconds("and the twelfth", root / "parts", Home(root / "home-eleven"), keys)


def _split(whole: Path, parts: Path) -> None:
    """Every text extract as parts; the rest as it is."""
    rng = np.random.default_rng(1)
    parts.mkdir()
    (parts / "reference").symlink_to(whole / "reference")
    for path in sorted(whole.glob(f"*/*/{COHORT}.csv")):
        header, *rows = path.read_bytes().splitlines(keepends=True)
        month = rng.integers(1, MONTHS + 1, len(rows))
        folder = parts / path.parts[-3] / path.parts[-2] / COHORT
        folder.mkdir(parents=True)
        for number in range(1, MONTHS + 1):
            own = [row for row, of in zip(rows, month, strict=True) if of == number]
            (folder / f"2025-{number:02d}.csv").write_bytes(b"".join([header, *own]))


def _seconds(what: str, landing: Path, home: Home, keys: KeyRing) -> None:
    started, kept = time.monotonic(), 0
    intake = Intake(landing, home, keys)
    for source in CONTRACTS:
        found = [find(landing, council, source, COHORT) for council in taking_part(landing)]
        for outcome in intake.take_in_all(filter(None, found)):
            kept += outcome.rows_kept if isinstance(outcome, ExtractQuality) else 0
    print(f"{what:20}{time.monotonic() - started:8.1f} s{kept:10,} rows", flush=True)


if __name__ == "__main__":
    main()
