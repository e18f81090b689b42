"""`readiness pseudonymise`: run by a council or health provider before any data leaves the building.

It reports to the sender on its own extract: counts, rules and row numbers, never a value.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from assets.pseudonymise.tokens_file import Pseudonymised, has_quintile, pseudonymise as run
from pipelines.commands import options
from pipelines.commands.console import Ending, show_progress, stop, write_page
from pipelines.reports.document import Report, write_plain, write_text
from privacy.keys import SENDER, KeyRing
from sources.contracts import CONTRACTS
from sources.councils.council_file import CouncilFile, load_council_file, read_council_file
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, list_parts
from sources.extract.table import FORMULAS_NOT_CHECKED
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_COHORT = re.compile(r"\d{6}")
_DOCUMENT = "landing/<council>/<source>/<cohort>.csv"
_ROWS_SHOWN = 10
_SEVERITIES = {"reject": "Set aside", "warn": "Kept, to look at"}
_SAID = {
    "no_directory": "No --postcode-directory was given: the deprivation quintile (imd_quintile) is missing.",
    "formulas_not_checked": FORMULAS_NOT_CHECKED,
}


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
    found, done, why = _find_extracts(extract, read.council, source, cohort), list[dict[str, Any]](), ""
    ring = KeyRing.load(keys, SENDER)
    # with the linker key a sender could look up its own tokens among those that the pipeline keeps
    if ring.has_key("linker"):
        click.echo(f"warning: {keys} holds linker.key, which a sender must not have; it is not used here", err=True)
    for landed in found:
        try:
            with show_progress(f"Reading {landed.name}"):
                made = run(landed, read, council_file, postcode_directory, ring, out)
        except ExtractStopped as stopped:
            why = stopped.for_sender
            break
        done.append(_summarise(landed, made))
        click.echo(write_plain("pseudonymised.md.j2", each=done[-1], most=_ROWS_SHOWN, **_SAID))
        if made.stopped:
            why = f"{made.stopped}; no tokens were written"
            break
    if page := write_page(_build_report(found[0], done, why)):
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


def _build_report(landed: Landed, done: Sequence[dict[str, Any]], why: str) -> Report:
    """Report on an extract, or on its parts as far as they were read; `why` says why the last gave no tokens."""
    title = f"{CONTRACTS[landed.source].heading}, {get_place(landed.council).la_name}, {Cohort(landed.cohort).label}"
    return Report(
        "an extract before it is sent",
        write_text("extract.md.j2", title=title, stopped=why, done=done, **_SAID),
        facts={"stopped": why, "files": [each["manifest"].rows_read for each in done]},
        good=not why and not any(each["manifest"].rows_rejected for each in done),
        own=True,
    )


def _summarise(landed: Landed, done: Pseudonymised) -> dict[str, Any]:
    """Return what a report says about an extract or a part; each broken rule comes with its row numbers."""
    sheet = done.staged.sheet
    rules = {
        title: [
            (rule, [sheet.get_row(row) if sheet else row for row in rule.first_rows])
            for rule in done.manifest.rules
            if rule.severity == severity
        ]
        for severity, title in _SEVERITIES.items()
    }
    return {
        "landed": landed,
        "by_severity": {title: found for title, found in rules.items() if found},
        "lacks_quintile": has_quintile(CONTRACTS[landed.source]) and not done.manifest.postcode_directory_sha256,
    } | vars(done)
