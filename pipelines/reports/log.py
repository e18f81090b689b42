"""`readiness log`: what was done with personal data, summarised and line by line."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from assets.home.processing_log import LogEntry
from pipelines.reports.document import Grid, Report, Section, format_minute


def report(found: Sequence[LogEntry], *, checked: bool, everything: bool) -> Report:
    """Report what was done with each cohort's data, by which people and when; with `everything` each line too.

    `checked` means that all lines were verified: none was changed or removed.
    """
    outcome = ["Nothing was recorded."]
    if found:
        people, (first, last) = ", ".join(sorted({entry.who for entry in found})), (found[0], found[-1])
        outcome = [
            f"{len(found):,} lines, from {format_minute(first.time)} to {format_minute(last.time)} UTC, by {people}."
        ]
    outcome += ["None was changed or removed."] if checked else []
    header = ("what was done", "of", "by", "first", "last", "lines")
    sections = [Section("What was done", grids=[Grid("", header, list(_summarise_by_kind(found)), numbers=1)])]
    if everything:
        lines = Grid("", ("when (UTC)", "what", "of what", "by"), list(map(_format_line, found)))
        sections.append(Section("Line by line", grids=[lines]))
    return Report(
        kind="processing log",
        title="What was done with personal data",
        outcome=outcome,
        sections=sections if found else [],
        facts=[asdict(entry) for entry in found],
    )


def _summarise_by_kind(found: Sequence[LogEntry]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kind of processing of a cohort or of its release, in order of first occurrence."""
    kinds: dict[tuple[str, str], list[LogEntry]] = {}
    for entry in found:
        kinds.setdefault((entry.what, _format_subject(entry)), []).append(entry)
    for (what, subject), lines in kinds.items():
        by = ", ".join(sorted({entry.who for entry in lines}))
        yield what, subject, by, lines[0].time[:10], lines[-1].time[:10], f"{len(lines):,}"


def _format_subject(entry: LogEntry) -> str:
    return ", ".join(filter(None, (entry.cohort, f"release {entry.release}" if entry.release else "")))


def _format_line(entry: LogEntry) -> tuple[str, str, str, str]:
    extract = "/".join(filter(None, (entry.council, entry.source)))
    file = f"file {entry.file_mac[:8]}" if entry.file_mac else ""
    details = ", ".join(filter(None, (_format_subject(entry), extract, entry.note, file)))
    run = f", run {entry.run_id[:8]}" if entry.run_id else ""
    return format_minute(entry.time), entry.what, details, f"{entry.who}{run} ({entry.software})"
