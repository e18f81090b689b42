"""Report to a sender on its own extract before it sends tokens: counts, rules and row numbers, never a value."""

from collections.abc import Iterator, Sequence

from assets.pseudonymise.findings import RuleCount
from assets.pseudonymise.sender import Pseudonymised
from assets.pseudonymise.tokens_file import has_quintile
from ndl_export.pages.number_format import row_ranges
from pipelines.reports.document import Grid, Report, Section
from sources.contracts import CONTRACTS
from sources.extract.landed import Landed
from sources.extract.table import FORMULAS_NOT_CHECKED, SheetTaken
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_ROWS_SHOWN = 10
_SEVERITIES = {"reject": "Set aside", "warn": "Kept, to look at"}
_NO_DIRECTORY = "No --postcode-directory was given: the deprivation quintile (imd_quintile) is missing."


def describe_result(landed: Landed, done: Pseudonymised) -> str:
    """Return the result of an extract, or of a part, for a terminal."""
    outputs, lines = done.outputs, list(_describe_whole(landed, done))
    for title, found in _group_by_severity(done):
        lines.append(f"\n{title}:")
        for rule in found:
            shown = ", ".join(map(str, _list_row_numbers(rule, done.sheet)[:_ROWS_SHOWN]))
            more = ", ..." if rule.rows > min(_ROWS_SHOWN, len(rule.first_rows)) else ""
            lines.append(f"  {rule.rows:>7,}  {rule.rule}: {rule.sentence} Rows {shown}{more}")
    lines += [f"\n{_NO_DIRECTORY}"] if _is_quintile_missing(done) else []
    lines.append(f"\nStays here:  {outputs.quarantine}  (rows and rules, by number)")
    if not done.stopped:
        lines.append(f"             {outputs.manifest}  (description of the tokens file)")
        lines.append(f"To send:     {outputs.tokens}")
    return "\n".join(lines)


def report(landed: Sequence[Landed], done: Sequence[Pseudonymised], stopped: str) -> Report:
    """Report the same as a page, for an extract or its parts as far as they were read.

    `stopped` says why no tokens were written for the last one; it is empty if they were.
    """
    # the last extract may have been stopped before it had a result
    first, read = landed[0], list(zip(landed, done, strict=False))
    sent = [f"Send {of.outputs.tokens}: it holds no identifier, and only the pipeline can open it." for of in done]
    no_quintile = [_NO_DIRECTORY] if any(map(_is_quintile_missing, done)) else []
    return Report(
        kind="an extract before it is sent",
        title=f"{CONTRACTS[first.source].title}, {get_place(first.council).la_name}, {Cohort(first.cohort).label}",
        outcome=[f"{stopped}." if stopped else sent[-1], *no_quintile],
        sections=[section for landed, of in read for section in _build_sections(landed, of)],
        facts={"stopped": stopped, "files": [of.manifest.rows_read for of in done]},
        good=not stopped and not any(of.manifest.rows_rejected for of in done),
        own=True,
    )


def _build_sections(landed: Landed, done: Pseudonymised) -> Iterator[Section]:
    yield Section(landed.path.name, list(_describe_whole(landed, done)))
    for title, found in _group_by_severity(done):
        rows = []
        for rule in found:
            # consecutive rows as a range; the first ones are known
            left = rule.rows - len(rule.first_rows)
            known = row_ranges(_list_row_numbers(rule, done.sheet)) + (f" and {left:,} more" if left else "")
            rows.append((rule.sentence, known, rule.rule, f"{rule.rows:,}"))
        grid = Grid("Most rows first", ("What is wrong", "Rows, by number", "Rule", "How many"), rows, 1)
        yield Section(title, grids=[grid])


def _describe_whole(landed: Landed, done: Pseudonymised) -> Iterator[str]:
    """Yield the counts, and signs that it may be the wrong file or sheet."""
    manifest = done.manifest
    yield (
        f"{landed.name}: {manifest.rows_read:,} rows read, {manifest.rows_kept:,} kept,"
        f" {manifest.rows_rejected:,} set aside"
    )
    yield from (other.for_sender for other in done.other_origins)
    if sheet := done.sheet:
        others = f"; other sheets left aside: {sheet.left_aside}" if sheet.left_aside else ""
        if sheet.number:
            yield f"Read from sheet {sheet.number}, whose row numbers are given{others}"
        if not sheet.formulas_checked:
            yield FORMULAS_NOT_CHECKED


def _group_by_severity(done: Pseudonymised) -> Iterator[tuple[str, list[RuleCount]]]:
    for severity, title in _SEVERITIES.items():
        if found := [rule for rule in done.manifest.rules if rule.severity == severity]:
            yield title, found


def _is_quintile_missing(done: Pseudonymised) -> bool:
    return has_quintile(CONTRACTS[done.manifest.source]) and not done.manifest.postcode_directory_sha256


def _list_row_numbers(rule: RuleCount, sheet: SheetTaken | None) -> list[int]:
    return [sheet.row(row) if sheet else row for row in rule.first_rows]
