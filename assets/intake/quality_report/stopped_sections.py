"""The page of an extract that was stopped: what stopped it, and what stays in place."""

from __future__ import annotations

from typing import Any

from assets.pages.markup import Html, tag
from assets.pages.parts import facts, paragraph, section
from assets.pages.words import moment, rows


def sections(report: dict[str, Any]) -> list[Html]:
    return [
        tag(
            "div",
            tag("strong", "Your file was stopped. Nothing of it was taken."),
            _what_stays(report["last"]),
            class_="outcome stopped",
        ),
        section("read", "What we read", about_file(report, "Stopped on")),
        section(
            "fix",
            "What to fix",
            paragraph(report["sentence"], class_="sentence"),
            paragraph("Put this right and send the whole file again under the same name."),
        ),
    ]


def about_file(report: dict[str, Any], when: str) -> Html:
    return facts(
        (
            ("File", report["file"]),
            ("What it is", f"{report['source_title']}, one row per {report['row_per']}"),
            ("Council", report["council_name"]),
            ("Cohort", f"Children who finish Reception in {report['cohort_label']}"),
            (when, moment(report["taken_at"])),
        ),
        "about-file",
    )


def _what_stays(last: dict[str, Any] | None) -> str:
    if last is None:
        return "There is no earlier extract, so we hold no data of this kind from you for this cohort."
    return (
        f"The extract you sent before stays in place: {last['file']}, taken on {moment(last['taken_at'])}, with"
        f" {rows(last['rows_kept'])}."
    )
