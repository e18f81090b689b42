"""Homes made by earlier versions: before a linkage, and a release, had one record each, and before tokens lay apart.

What up to seven files said is put into the records, once, by whoever first reads such a home; what it reads is removed
when the new record is durable. Rows are never put apart after the fact: they are taken in again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet

from assets.home.paths import Home
from privacy.doors.files import make_folder, write_json
from privacy.doors.locks import locked
from privacy.row_keys import ROW_KEY


def convert_linkage(home: Home, cohort: str) -> None:
    """Put `taking_part`, `sent` and `made_from` of a cohort into its linkage record."""
    folder = home.linked(cohort)
    taking_part, sent, extracts = (folder / f"{name}.json" for name in ("taking_part", "sent", "made_from"))

    def content() -> dict[str, Any]:
        by_source: dict[str, list[str]] = _read(sent, {})
        anyone = sorted({council for councils in by_source.values() for council in councils})
        return {"taking_part": _read(taking_part, anyone), "sent": by_source, "extracts": _read(extracts, {})}

    _convert(home.linkage_record(cohort), (taking_part, sent, extracts), content)


class TokensBesidePayload(Exception):
    """Extracts that an earlier version took in; the message says what to do."""


def check_apart(home: Home, cohort: str, extracts: Iterable[Path]) -> None:
    """Raises `TokensBesidePayload` where a pseudonymised extract is of a version that kept tokens beside payload."""
    older = [path for path in extracts if ROW_KEY not in pyarrow.parquet.read_schema(path).names]
    if older:
        named = f"{older[0].stem}/{older[0].parent.parent.name.removeprefix('source=')}"
        raise TokensBesidePayload(
            f"cohort {cohort}: {named}{' and others were' if len(older) > 1 else ' was'} taken in by an earlier"
            " version, which kept tokens beside payload: add the keys of this one (`readiness keys complete`) and run"
            " the intake again; where a file is no longer in landing, ask for it again"
        )


def convert_release(home: Home, version: str) -> None:
    """Put the `series` of a release, and the `share`, `missing` and `measured_from` of each cohort, into its record."""
    file = f"release={version}.json"
    series = home.restricted / "series" / file
    kinds = ("share", "missing", "measured_from")
    of_cohorts = [path for kind in kinds for path in home.restricted.glob(f"{kind}/cohort=*/{file}")]

    def content() -> dict[str, Any]:
        own = sorted({path.parent.name.removeprefix("cohort=") for path in of_cohorts})
        return {
            cohort: {"measured_in": origin} | (_of_cohort(cohort) if origin == version else {})
            for cohort, origin in _read(series, dict.fromkeys(own, version)).items()
        }

    def _of_cohort(cohort: str) -> dict[str, Any]:
        paths = {kind: home.restricted / kind / f"cohort={cohort}" / file for kind in kinds}
        return {kind: json.loads(path.read_bytes()) for kind, path in paths.items() if path.exists()}

    _convert(home.release_record(version), (series, *of_cohorts), content)


def _convert(record: Path, older: Collection[Path], content: Callable[[], Any]) -> None:
    if not any(path.exists() for path in older):
        return
    make_folder(record.parent)
    with locked(record.parent):
        if not record.exists():
            write_json(record, content())
        for path in older:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty yet
                path.parent.rmdir()
                path.parent.parent.rmdir()


def _read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else otherwise
