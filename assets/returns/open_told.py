"""At a service: who was told about its rows, as two tables (CSV)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from privacy.doors import files
from privacy.returns.seal import TOLD_FORMAT, ReturnProblem, check_recipient, unseal_document


def open_told(file: Path, key: Path, signer: Path, out: Path) -> tuple[Path, Path]:
    """Write receivers and rows into `out`; raises `ReturnProblem`, before it writes."""
    document, own = unseal_document(TOLD_FORMAT, file, key, signer)
    found: dict[str, Any] = json.loads(document)
    check_recipient(file, found["recipient"], own)
    name = f"{found['council']}-{found['service']}-{found['cohort']}"
    numbers = {each["receiver"]: each["children_about"] for each in found["receivers"]}
    receivers = [(who, ", ".join(facts), numbers.get(who, 0)) for who, facts in sorted(found["may_tell"].items())]
    rows = [(each["source"], each["row"], each["receiver"], ", ".join(each["told"])) for each in found["rows"]]
    tables: dict[Path, tuple[Sequence[str], Sequence[Sequence[Any]]]] = {
        out / f"{name}-told-whom.csv": (("Receiver", "What it may be told", "Children, about"), receivers),
        out / f"{name}-told-rows.csv": (("Source", "Row", "Receiver", "What it was told"), rows),
    }
    try:
        for path, (headings, lines) in tables.items():
            files.write(path, _csv(headings, lines))
    except OSError as error:
        raise ReturnProblem(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None
    first, second = tables
    return first, second


def _csv(headings: Sequence[str], lines: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([headings, *lines])
    return text.getvalue().encode("utf-8-sig")
