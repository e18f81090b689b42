"""The files of a bundle, as its README and its page of downloads list them; `bundle_files.csv` is the list.

In it, `<table>`, `<plan>` and `<further-plan>` each stand for several names, and `shelf` is a section of the page of
downloads.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from ndl_export.facts.noisy_counts import list_plan_files
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE, ON_REQUEST_FILE
from ndl_export.facts.release_facts import ReleaseFacts

with (Path(__file__).parent / "bundle_files.csv").open(encoding="utf-8", newline="") as _lines:
    _ROWS = [(row["shelf"], row["names"].split(), row["about"]) for row in csv.DictReader(_lines)]
_FOR_REQUESTS = {ON_REQUEST_FILE, FURTHER_COUNTS_FILE}
FIXED_NAMES = (
    frozenset(name for _, names, _ in _ROWS for name in names if "<" not in name and "/" not in name) - _FOR_REQUESTS
)
"""Files outside `site` that every bundle has, under the same name."""


@dataclass(frozen=True)
class FileKind:
    """Files that the README describes in one row; `names` are as written there, `files` are the release's own names."""

    shelf: str
    names: tuple[str, ...]
    about: str
    files: tuple[str, ...]


def list_file_kinds(facts: ReleaseFacts) -> list[FileKind]:
    """Return the kinds of files that a release has, in the order of the README; the last one is the README itself."""
    on_request = facts.on_request
    cohort = "_<cohort>" if len(facts.cohorts) > 1 else ""
    further = [*on_request.plan_files.values()]
    written = {"<plan>": [f"noise_plan_<family>{cohort}.json"], "<further-plan>": further}
    meant = {"<plan>": [*list_plan_files(facts.cohorts).values()], "<further-plan>": further}
    review = " or for a clerical review of links" if on_request.is_reviewed else ""
    return [
        FileKind(
            shelf,
            tuple(each for name in names for each in written.get(name, [name])),
            about.format(review=review),
            tuple(
                sorted(
                    name.replace("<table>", table)
                    for each in names
                    for name in meant.get(each, [each])
                    for table in (facts.tables if "<table>" in name else [""])
                )
            ),
        )
        for shelf, names, about in _ROWS
        if names[0] not in _FOR_REQUESTS or names[0] in on_request.files
    ]
