"""The page of an extract that was taken, section by section: plain words first, then the detail."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from assets.intake.quality_report import value_sections
from assets.intake.quality_report.charts import bar
from assets.intake.quality_report.parts import column_name, key, rows_and_share
from assets.intake.quality_report.stopped_sections import about_file
from assets.pages.markup import Html, joined, tag
from assets.pages.parts import bullets, contents_list, details, facts, paragraph, section, table
from assets.pages.words import listed, moment, percent, rows, signed_points
from sources.contracts import Severity
from sources.reference.profile_results import SOURCE as PUBLISHED_BY

FIRST_TO_FIX = 10
"""Rules named at the top of the page; all of them are in the tables below."""
WHAT_HAPPENED = {Severity.STOP: "File stopped", Severity.REJECT: "Set aside", Severity.WARN: "Kept, please check"}
_CONTENTS = {
    "read": "What we read",
    "fix": "What to fix, most important first",
    "look": "Worth a look",
    "aside": "What we set aside",
    "kept": "What we kept with a warning",
    "complete": "How complete the columns are",
    "figures": "Your figures and published ones",
    "values": "What the values are",
    "checks": "Checks of the file as a whole",
    "about": "How to read this report",
}


def sections(report: dict[str, Any]) -> Iterator[Html]:
    yield _outcome(report)
    yield contents_list(_CONTENTS)
    contents = {
        "read": _read(report),
        "fix": _to_fix(report),
        "look": _worth_a_look(report),
        "aside": _broken(report, Severity.REJECT),
        "kept": _broken(report, Severity.WARN),
        "complete": _completeness(report),
        "figures": _figures(report),
        "values": value_sections.values(report),
        "checks": _checks(report),
        "about": _about(report),
    }
    for anchor, title in _CONTENTS.items():
        yield section(anchor, title, *contents[anchor])


def to_fix(findings: list[dict[str, Any]], failed: list[dict[str, Any]], by_source: bool = False) -> list[Html]:
    """The first things to fix as a numbered list, each with how many rows and where to look."""
    if not findings and not failed:
        return [paragraph("Nothing. Every row passed every rule.")]
    listed_first = findings[:FIRST_TO_FIX]
    items = [_rule_to_fix(finding, by_source) for finding in listed_first]
    items += [_check_to_fix(check, by_source) for check in failed]
    left = len(findings) - len(listed_first)
    more = (
        f"{left} further rule{' is' if left == 1 else 's are'} less important:"
        f" see {'the reports of the extracts' if by_source else 'the tables below'}."
    )
    return [tag("ol", *items, class_="fix"), *([paragraph(more)] if left else [])]


def _rule_to_fix(finding: dict[str, Any], by_source: bool) -> Html:
    severity = Severity(finding["severity"])
    return tag(
        "li",
        f"{finding['source_title']}: " if by_source else "",
        tag("strong", rows_and_share(finding)),
        f": {finding['sentence']} ",
        tag("span", f"{WHAT_HAPPENED[severity]}.", class_=f"severity {severity}"),
        tag("span", f"{'Row' if finding['rows'] == 1 else 'Rows'} {_shortened(finding)}", class_="where"),
    )


def _check_to_fix(check: dict[str, Any], by_source: bool) -> Html:
    number = f" ({rows(check['rows'])})" if check["rows"] else ""
    source = f"{check['source_title']}: " if by_source else ""
    return tag("li", f"{source}The whole file: {_check_sentence(check)}{number}.")


def _check_sentence(check: dict[str, Any]) -> str:
    """What is wrong, without a full stop; a column is named by its heading, with the contract's name beside it."""
    sentence = str(check["sentence"]).removesuffix(".")
    ours, theirs = check["column"], check["heading"]
    return sentence.replace(ours, f"{theirs} ({ours})", 1) if ours and ours != theirs else sentence


def _shortened(finding: dict[str, Any], longest: int = 60) -> str:
    numbers = _row_numbers(finding)
    return numbers if len(numbers) <= longest else numbers[: numbers.rindex(",", 0, longest)] + " and more"


def outcome_sentence(report: dict[str, Any]) -> str:
    """What became of the rows, in one or two sentences."""
    read, rejected, warned = report["rows_read"], report["rows_rejected"], report["rows_warned"]
    kept = (
        f"We read {rows(read)} and kept all of them."
        if not rejected
        else f"We read {rows(read)}, kept {report['rows_kept']:,} and set {rejected:,} aside."
    )
    return f"{kept} {_warned(warned)}" if warned else kept


def _warned(number: int) -> str:
    return f"{rows(number)} of those we kept {'has' if number == 1 else 'have'} a warning."


def _outcome(report: dict[str, Any]) -> Html:
    in_part = bool(report["rows_rejected"])
    headline = "Your file was taken, with some rows set aside." if in_part else "Your file was taken."
    last = report["last"]
    before = (
        f" It replaces {last['file']} of {last['cohort_label']}, taken on {moment(last['taken_at'])}."
        if last
        else " It is the first of its kind from you."
    )
    return tag(
        "div",
        tag("strong", headline),
        outcome_sentence(report) + before,
        class_="outcome part" if in_part else "outcome",
    )


def _read(report: dict[str, Any]) -> list[Html]:
    tallies = (
        ("Rows read", "rows_read"),
        ("Rows kept", "rows_kept"),
        ("Rows set aside", "rows_rejected"),
        ("Kept with a warning", "rows_warned"),
    )
    return [
        facts(((name, f"{report[field]:,}") for name, field in tallies), "tallies"),
        about_file(report, "Taken on"),
    ]


def _to_fix(report: dict[str, Any]) -> list[Html]:
    return to_fix(report["findings"], report["failed_checks"])


def _worth_a_look(report: dict[str, Any]) -> list[Html]:
    found = report["worth_a_look"]
    return [
        paragraph("These may be right. Please check that you expect them.")
        if found
        else paragraph("Nothing stood out."),
        *([bullets(found)] if found else []),
        details("When a difference is worth a look", paragraph(report["rule_for_a_look"])),
    ]


def _broken(report: dict[str, Any], severity: Severity) -> list[Html]:
    rejecting = severity is Severity.REJECT
    findings = [finding for finding in report["findings"] if (finding["severity"] != Severity.WARN) is rejecting]
    if not findings:
        return [paragraph("No row was set aside." if rejecting else "No row has a warning.")]
    intro = (
        "Rows set aside are in none of the figures. A row that breaks several rules stands under each of them."
        if rejecting
        else "These rows are in. Where the value itself is wrong, it counts as missing."
    )
    body = [
        (
            joined((finding["sentence"], tag("code", f" {finding['rule']}"))),
            joined((_columns(finding), tag("span", f"Rows {_row_numbers(finding)}", class_="about"))),
            f"{finding['rows']:,}",
            percent(finding["share"]),
        )
        for finding in findings
    ]
    caption = f"Rules that {'set rows aside' if rejecting else 'gave a warning'}: rows, and share of the rows read"
    header = ("Rule", "Columns and first rows", "Rows", "Share")
    return [paragraph(intro), table(caption, header, body, numbers=2, class_="rules")]


def _columns(finding: dict[str, Any]) -> str:
    headings = [column["heading"] for column in finding["columns"]]
    return listed(headings) if len(headings) <= 4 else f"{headings[0]} to {headings[-1]} ({len(headings)} columns)"


def _row_numbers(finding: dict[str, Any]) -> str:
    more = f" and {rows(finding['more_rows'])} more" if finding["more_rows"] else ""
    return finding["row_numbers"] + more


def _completeness(report: dict[str, Any]) -> list[Html]:
    entries, has_last = report["completeness"], bool(report["last"])
    body = [
        (
            joined((column_name(entry), bar(entry["share"], entry["last_share"]))),
            f"{entry['filled']:,}",
            percent(entry["share"]),
            *([percent(entry["last_share"])] if has_last else []),
        )
        for entry in entries
    ]
    header = ("Column", "Rows", "Filled", *(["Last delivery"] if has_last else []))
    found = [
        paragraph(
            "How many of the rows we kept have a usable value. A column that is not in the file counts as empty."
        ),
        key(has_last, False),
        table("Columns we keep", header, body, numbers=len(header) - 1, class_="bars"),
    ]
    return [*found, *_identifiers(report)]


def _identifiers(report: dict[str, Any]) -> list[Html]:
    if not report["identifiers"]:
        return []
    body = [
        (column_name(entry), *("" if entry[k] is None else f"{entry[k]:,}" for k in ("blank_rows", "invalid_rows")))
        for entry in report["identifiers"]
    ]
    return [
        paragraph(
            "Columns that say who a child is are replaced by tokens while the file is read. We know only which of the"
            " rows we read broke a rule. A dash means that there is no such rule."
        ),
        table("Columns that identify a child", ("Column", "Rows blank", "Rows not usable"), body, numbers=2),
    ]


def _figures(report: dict[str, Any]) -> list[Html]:
    found = _number_of_children(report["number_of_children"])
    has_last = any(figure["last_share"] is not None for figure in report["figures"])
    for topic, group in groupby(report["figures"], key=lambda figure: figure["topic"]):
        figures = list(group)
        published = next((figure for figure in figures if figure["published_share"] is not None), None)
        found += [tag("h3", topic), key(has_last, published is not None), _figure_table(figures, has_last, published)]
    return found or [paragraph("There are no published figures to lay beside this source.")]


def _number_of_children(size: dict[str, Any] | None) -> list[Html]:
    if size is None:
        return []
    return [
        paragraph(
            f"We kept {rows(size['rows'])}. The published number of children in {size['area']} in {size['cohort']} is"
            f" {size['published']:,}: your file has {percent(size['share'])} of it."
        )
    ]


def _figure_table(figures: list[dict[str, Any]], has_last: bool, published: dict[str, Any] | None) -> Html:
    body = [
        (
            joined((figure["label"], bar(figure["share"], figure["last_share"], figure["published_share"]))),
            percent(figure["share"]),
            *([percent(figure["last_share"])] if has_last else []),
            *(_published_cells(figure) if published else []),
        )
        for figure in figures
    ]
    header = ["Group", "This file"]
    header += ["Last delivery"] if has_last else []
    header += ["Published", "Points"] if published else []
    source = f"; published: {published['published_area']}, {published['published_cohort']}" if published else ""
    return table(f"{figures[0]['topic']}{source}", header, body, numbers=len(header) - 1, class_="bars")


def _published_cells(figure: dict[str, Any]) -> tuple[str, str]:
    if figure["share"] is None or figure["published_share"] is None:
        return percent(figure["published_share"]), ""
    apart = signed_points(figure["share"] - figure["published_share"])
    return percent(figure["published_share"]), tag("strong", apart) if figure["departs"] else apart


def _checks(report: dict[str, Any]) -> list[Html]:
    failed, passed = report["failed_checks"], report["passed_checks"]
    number = sum(entry["times"] for entry in passed)
    found = [paragraph(f"{number} of {number + len(failed)} checks of the rows we kept were passed.")]
    if failed:
        found += [tag("h3", "Not passed"), bullets(f"{_check_sentence(check)}." for check in failed)]
    body = [(entry["check"], f"{entry['times']:,}") for entry in passed]
    return [*found, table("Checks passed", ("Check", "Columns or rules"), body, numbers=1)]


def _about(report: dict[str, Any]) -> list[Html]:
    return [
        bullets(
            (
                "Row 1 is the first row below the heading line. In a spreadsheet it is line 2.",
                "The first hundred rows of each rule are listed, consecutive ones as a range.",
                "A rule about a column uses your own heading where your council file gives one; the name of the same"
                " column in the agreed form stands beside it in small type.",
                "Shares of values are of the rows that have a value. Shares by sex, term of birth, ethnic group and"
                " so on are of the rows where it is known.",
                f"Published figures: {PUBLISHED_BY}.",
            )
        )
    ]
