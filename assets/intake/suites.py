"""The suites of Great Expectations, a file each: `python -m assets.intake.suites` writes them from the contracts.

They are for whoever reads or runs them with Great Expectations; the intake builds the same from the contracts.
"""

from __future__ import annotations

import json
from pathlib import Path

from assets.intake import quality
from sources.contracts import CONTRACTS

FOLDER = Path(__file__).parent / "expectations"


def files() -> dict[str, str]:
    """The text of each file, by its name: `eyfsp.rows.json` over payload, `eyfsp.extract.json` over what is counted."""
    return {
        name: json.dumps(suite, indent=1) + "\n"
        for source in CONTRACTS
        for name, suite in quality.suites(source).items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
