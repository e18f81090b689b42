"""Tells whether the returns of a cohort would come out as they are, so that a night without a change costs nothing.

A record beside the returns holds a fingerprint of their inputs, a hash of every file, and the first day on which they
change although no input does: a row is no longer new, or a review has become due. It holds no rows.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from assets.home.paths import CohortStore
from assets.linkage.inputs import hash_file
from privacy.doors import files


@dataclass(frozen=True)
class ReturnsRecord:
    """Inputs of a cohort's returns on a day, and the sentence shown for each return while nothing changes.

    `inputs` is a SHA-256, `files` has that of each file, and `sentences` are by council and source.
    """

    inputs: str
    made_on: dt.date
    until: dt.date | None
    files: dict[str, str]
    sentences: list[tuple[str, str, str]]


_RECORD = TypeAdapter(ReturnsRecord)


def read_if_current(store: CohortStore, inputs: str, on: dt.date) -> ReturnsRecord | None:
    """Return the record if returns made on a day from these inputs would be those that are there."""
    try:
        record = _RECORD.validate_json(store.returns_record.read_bytes())
    # Whatever the record has become, the returns can be made again.
    except (OSError, ValidationError):
        return None
    is_in_time = record.made_on <= on and (record.until is None or on < record.until)
    return record if is_in_time and record.inputs == inputs and record.files == _hash_files(store) else None


def write(
    store: CohortStore, inputs: str, on: dt.date, until: dt.date | None, sentences: list[tuple[str, str, str]]
) -> None:
    """Record the returns that are there. They stay current until a day, or always if it is None."""
    record = ReturnsRecord(inputs, on, until, _hash_files(store), sentences)
    files.write_json(store.returns_record, _RECORD.dump_python(record, mode="json"))


def _hash_files(store: CohortStore) -> dict[str, str]:
    paths: list[Path] = [path for path in (*store.all_returns, store.row_history) if path.is_file()]
    return {str(path.relative_to(store.home.returns)): hash_file(path) for path in paths}
