"""The page of a council: all its extracts of a cohort at a glance, and what to fix across them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assets.intake.quality_report.extract import STOPPED, TAKEN
from assets.intake.quality_report.extract_sections import outcome_sentence, to_fix
from assets.pages.markup import Html, joined, tag
from assets.pages.parts import bullets, facts, paragraph, section, table
from assets.pages.words import listed, moment, percent


def sections(report: dict[str, Any]) -> Iterator[Html]:
    extracts = report["extracts"]
    yield _outcome(report)
    yield section("read", "What we read", *_read(report))
    yield section("fix", "What to fix, most important first", *_to_fix(report))
    yield section("look", "Worth a look", *_worth_a_look(report))
    yield section("extracts", "Extract by extract", *(part for line in extracts for part in _extract(line)))


def _outcome(report: dict[str, Any]) -> Html:
    stopped = [line["source_title"] for line in report["extracts"] if line["outcome"] == STOPPED]
    taken, missing = len(report["extracts"]) - len(stopped), report["not_received"]
    wanted = len(report["extracts"]) + len(missing)
    words = [f" Stopped: {listed(stopped)}."] if stopped else []
    words += [f" Not received: {listed(missing)}."] if missing else []
    kind = "stopped" if stopped else "part" if missing or _set_aside(report) else ""
    return tag(
        "div", tag("strong", f"{taken} of {wanted} extracts are taken."), *words, class_=f"outcome {kind}".strip()
    )


def _set_aside(report: dict[str, Any]) -> bool:
    return any(line["outcome"] != TAKEN for line in report["extracts"])


def _read(report: dict[str, Any]) -> list[Html]:
    taken = [line for line in report["extracts"] if line["outcome"] != STOPPED]
    names = {"Rows read": "rows_read", "Rows kept": "rows_kept", "Rows set aside": "rows_rejected"}
    totals = ((name, f"{sum(line[field] for line in taken):,}") for name, field in names.items())
    body = [
        (
            joined((line["source_title"], tag("span", line["outcome"].capitalize(), class_="about"))),
            *(f"{line[field]:,}" if field in line else "" for field in (*names.values(), "rows_warned")),
        )
        for line in report["extracts"]
    ]
    body += [
        (joined((title, tag("span", "Not received", class_="about"))), "", "", "", "")
        for title in report["not_received"]
    ]
    header = ("Extract", "Read", "Kept", "Set aside", "With a warning")
    return [facts(totals, "tallies"), table("Extracts of this cohort", header, body, numbers=4)]


def _to_fix(report: dict[str, Any]) -> list[Html]:
    stopped = [line for line in report["extracts"] if line["outcome"] == STOPPED]
    found = [paragraph(f"{line['source_title']}: {line['sentence']}", class_="sentence") for line in stopped]
    if stopped and not report["findings"]:
        return found
    return [*found, *to_fix(report["findings"], report["failed_checks"], by_source=True)]


def _worth_a_look(report: dict[str, Any]) -> list[Html]:
    found = report["worth_a_look"]
    if not found:
        return [paragraph("Nothing stood out.")]
    return [
        paragraph("These may be right. Please check that you expect them."),
        bullets(f"{entry['source_title']}: {entry['sentence']}" for entry in found),
    ]


def _extract(line: dict[str, Any]) -> Iterator[Html]:
    yield tag("h3", line["source_title"])
    yield paragraph(f"{line['file']}, {moment(line['taken_at'])}.")
    if line["outcome"] == STOPPED:
        stays = line["last"]
        yield paragraph("Stopped. " + (f"{stays['file']} stays in place." if stays else "There is no earlier extract."))
        return
    thinnest = line["thinnest"]
    emptiest = (
        f" The emptiest column is {thinnest['heading']}: {percent(thinnest['share'])} filled." if thinnest else ""
    )
    yield paragraph(outcome_sentence(line) + emptiest)
