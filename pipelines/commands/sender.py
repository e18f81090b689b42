"""`readiness pseudonymise`: run by a council or health provider before any data leaves the building.

It reports to the sender on its own extract: counts, rules and row numbers, never a value.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from assets.pseudonymise.findings import RuleCount
from assets.pseudonymise.tokens_file import Pseudonymised, has_quintile
from assets.pseudonymise.tokens_file import pseudonymise as run
from ndl_export.pages.number_format import format_row_ranges
from pipelines.commands import options
from pipelines.commands.console import show_progress, stop, write_page
from pipelines.ending import Ending
from pipelines.reports.document import Grid, Report, Section
from privacy.keys import SENDER, KeyRing
from sources.contracts import CONTRACTS
from sources.councils.council_file import CouncilFile, load_council_file, read_council_file
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, list_parts
from sources.extract.table import FORMULAS_NOT_CHECKED, SheetTaken
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_COHORT = re.compile(r"\d{6}")
_DOCUMENT = "landing/<council>/<source>/<cohort>.csv"
_ROWS_SHOWN = 10
_SEVERITIES = {"reject": "Set aside", "warn": "Kept, to look at"}
_NO_DIRECTORY = "No --postcode-directory was given: the deprivation quintile (imd_quintile) is missing."


@click.command()
@click.argument("extract", type=options.FILE_OR_FOLDER)
@options.add_option("--council", "; by default the extract's folder")
@options.add_option("--council-file", "; in place of the one that is shipped")
@options.add_option("--source", "; by default the extract's folder")
@options.add_option("--cohort", "; by default the extract's name")
@click.option(
    "--postcode-directory",
    type=options.FILE,
    help="Public look-up (CSV: postcode, imd_decile), for the deprivation quintile.",
)
@options.add_option("--keys", required=True, default=None)
@click.option("--out", type=options.FOLDER, required=True, help="Where to write; a folder for each council and source.")
@options.as_html
def pseudonymise(
    extract: Path,
    council: str | None,
    council_file: Path | None,
    source: str | None,
    cohort: Cohort | None,
    postcode_directory: Path | None,
    keys: Path,
    out: Path,
) -> None:
    """Replace identifiers by tokens, before anything is sent.

    Writes <cohort>.tokens.parquet, the one file to send, and beside it a description of that file and the rows set
    aside. Files made from a part of an extract have its name; in a folder of parts, each part is read.
    """
    read = _read_council_file(extract, council, council_file)
    found, done, why = _find_extracts(extract, read.council, source, cohort), [], ""
    ring = KeyRing.load(keys, SENDER)
    # with the linker key a sender could look up its own tokens among those that the pipeline keeps
    if ring.has_key("linker"):
        click.echo(f"warning: {keys} holds linker.key, which a sender must not have; it is not used here", err=True)
    for landed in found:
        try:
            with show_progress(f"Reading {landed.name}"):
                done.append(run(landed, read, council_file, postcode_directory, ring, out))
        except ExtractStopped as stopped:
            why = stopped.for_sender
            break
        click.echo(describe_result(landed, done[-1]))
        if done[-1].stopped:
            why = f"{done[-1].stopped}; no tokens were written"
            break
    if page := write_page(build_report(found, done, why)):
        click.echo(f"Page:        {page}")
    if why:
        stop(why)


def _read_council_file(extract: Path, council: str | None, own: Path | None) -> CouncilFile:
    """Return the sender's own council file, or the one that is shipped for the council."""
    if own is None:
        return load_council_file(council or _find_folder_name(extract, 2) or _ask("council"))
    read = read_council_file(own)
    if council and council != read.council:
        stop(f"{own} is the council file of {read.council}, not of {council}", Ending.USAGE)
    get_place(read.council)
    return read


def _find_extracts(extract: Path, council: str, source: str | None, cohort: Cohort | None) -> list[Landed]:
    """Return the extract, or its parts if it is a part or a folder of parts."""
    source = source or _find_folder_name(extract, 1) or _ask("source")
    named = extract.resolve().parent.name if _is_part(extract) else extract.name.partition(".")[0]
    year = cohort or options.COHORT.convert(named if _COHORT.fullmatch(named) else _ask("cohort"), None, None)
    if _is_part(extract):
        return [Landed(council, source, year.code, extract, part=1)]
    parts = enumerate(list_parts(extract, source), 1)
    return [Landed(council, source, year.code, path, part=number) for number, path in parts] or [
        Landed(council, source, year.code, extract)
    ]


def _is_part(extract: Path) -> bool:
    """Check whether the extract is in a cohort's folder inside a source's folder."""
    parents = extract.resolve().parents
    return len(parents) > 1 and bool(_COHORT.fullmatch(parents[0].name)) and parents[1].name in CONTRACTS


def _find_folder_name(extract: Path, above: int) -> str | None:
    """Return the name of the folder 1 or 2 levels above the extract, if the folders are laid out like landing."""
    parents = (extract.resolve().parent if _is_part(extract) else extract.resolve()).parents
    in_landing = len(parents) > 1 and parents[0].name in CONTRACTS
    return parents[above - 1].name if in_landing else None


def _ask(option: str) -> str:
    stop(f"give --{option}: it can be left out only for a file like {_DOCUMENT}", Ending.USAGE)


def describe_result(landed: Landed, done: Pseudonymised) -> str:
    """Return the result of an extract, or of a part, for a terminal."""
    outputs, lines = done.outputs, list(_describe_whole(landed, done))
    for title, found in _group_by_severity(done):
        lines.append(f"\n{title}:")
        for rule in found:
            shown = ", ".join(map(str, _list_row_numbers(rule, done.staged.sheet)[:_ROWS_SHOWN]))
            more = ", ..." if rule.rows > min(_ROWS_SHOWN, len(rule.first_rows)) else ""
            lines.append(f"  {rule.rows:>7,}  {rule.rule}: {rule.sentence} Rows {shown}{more}")
    lines += [f"\n{_NO_DIRECTORY}"] if _is_quintile_missing(done) else []
    lines.append(f"\nStays here:  {outputs.quarantine}  (rows and rules, by number)")
    if not done.stopped:
        lines.append(f"             {outputs.manifest}  (description of the tokens file)")
        lines.append(f"To send:     {outputs.tokens}")
    return "\n".join(lines)


def build_report(landed: Sequence[Landed], done: Sequence[Pseudonymised], stopped: str) -> Report:
    """Report the results as a page, for an extract or for its parts as far as they were read.

    `stopped` says why no tokens were written for the last one; it is empty if they were.
    """
    # the last extract may have been stopped before it had a result
    first, read = landed[0], list(zip(landed, done, strict=False))
    sent = [f"Send {each.outputs.tokens}: it holds no identifier, and only the pipeline can open it." for each in done]
    no_quintile = [_NO_DIRECTORY] if any(map(_is_quintile_missing, done)) else []
    return Report(
        kind="an extract before it is sent",
        title=f"{CONTRACTS[first.source].title}, {get_place(first.council).la_name}, {Cohort(first.cohort).label}",
        outcome=[f"{stopped}." if stopped else sent[-1], *no_quintile],
        sections=[section for each in read for section in _build_sections(*each)],
        facts={"stopped": stopped, "files": [each.manifest.rows_read for each in done]},
        good=not stopped and not any(each.manifest.rows_rejected for each in done),
        own=True,
    )


def _build_sections(landed: Landed, done: Pseudonymised) -> Iterator[Section]:
    yield Section(landed.path.name, list(_describe_whole(landed, done)))
    for title, found in _group_by_severity(done):
        rows = []
        for rule in found:
            # consecutive rows as a range; only the first rows of each rule are known by number
            left = rule.rows - len(rule.first_rows)
            known = format_row_ranges(_list_row_numbers(rule, done.staged.sheet)) + (
                f" and {left:,} more" if left else ""
            )
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
    yield from (other.for_sender for other in done.staged.other_origins)
    if sheet := done.staged.sheet:
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
    return [sheet.get_row(row) if sheet else row for row in rule.first_rows]
