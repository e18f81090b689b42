"""Commands that keep, back up and remove data: `forget`, `retention`, `shred`, `parts`, `log`, `backup`, `restore`.

Without `--yes` nothing is removed: a command only says what it would remove, and exits with the status for waiting.
"""

import datetime as dt
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from assets.home import processing_log
from assets.home.paths import ExtractStore, Home
from assets.intake.parts import PartStore
from assets.keeping import finding, forgetting, retention, withdrawing
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, show, show_progress, stop
from pipelines.commands.pipeline_options import add_extract_options, add_home_option
from pipelines.reports.document import Report, write_plain, write_text
from privacy.keys import RESTRICTED, KeyRing
from privacy.row_keys import format_row_number, split_number
from sources.extract.landing import list_cohort_files
from sources.reference.cohorts import Cohort


@click.command()
@add_home_option(exists=True)
@options.add_option("--landing")
@options.add_option("--keys")
@options.add_option("--cohort", "; may be left out with --pseudonym")
@options.add_option("--council", "; whose extract")
@options.add_option("--source", "; which extract")
@click.option("--row", "rows", type=options.ROW, multiple=True, help="Data row, from 1; 3:17 for row 17 of part 3.")
@click.option("--pseudonym", help="A child_id, or a token of a row, in place of council, source and row; - reads it.")
@click.option("--this-row-only", is_flag=True, help="Remove only this row, not the rows linked to it.")
@click.option("--objection", is_flag=True, help="Leave the child out of later deliveries as well.")
@options.yes
@options.as_json
def forget(
    home: Home,
    landing: Path | None,
    keys: Path,
    cohort: Cohort | None,
    council: str | None,
    source: str | None,
    rows: tuple[int, ...],
    pseudonym: str | None,
    this_row_only: bool,
    objection: bool,
    yes: bool,
) -> None:
    """Remove a child's rows, and rebuild what depends on them.

    The child's rows are those named, every row linked to them in every service and council, and the child's rows in
    other cohorts. Ledger, stored measurements and releases stay as they are.
    """
    code = cohort.code if cohort else None
    by_row = bool(code and council and source and rows)
    if by_row == bool(pseudonym) or (pseudonym and (council or source or rows or this_row_only)):
        stop("name --cohort, --council, --source and --row, or --pseudonym alone or with --cohort", Ending.USAGE)
    ring = KeyRing.load(keys, RESTRICTED)
    withdrawing.open_home(home, keys)
    if pseudonym:
        typed = sys.stdin.readline().strip() if pseudonym == "-" else pseudonym
        found = finding.find_rows_by_pseudonym(home, typed, code, ring)
    else:
        extract = home.get_extract(str(source), str(code), str(council))
        found = finding.find_rows(extract, rows, ring, linked=not this_row_only)
    if yes:
        with show_progress("Removing rows, and rebuilding what depends on them"):
            found = forgetting.forget(home, found, ring, objection=objection)
    facts = _build_facts(found) | {"done": yes, "objection": objection}
    of_extracts = [(each.council, each.source, each.cohort) for each in found.extracts]
    landed = [file for own in of_extracts if landing and landing.is_dir() for file in list_cohort_files(landing, *own)]
    numbers = {each: ", ".join(map(format_row_number, each.rows)) for each in found.extracts}
    text = write_plain("forgotten.md.j2", numbers=numbers, done=yes, objection=objection, landed=landed, **vars(found))
    answer(facts, lambda: text, waits=not yes)


def _build_facts(found: finding.Forgotten) -> dict[str, Any]:
    """Return the facts, with rows of parts numbered as people number them."""
    facts = asdict(found)
    for extract in facts["extracts"]:
        extract["rows"] = [format_row_number(row) if split_number(row)[0] else row for row in extract["rows"]]
    return facts


@click.command()
@options.add_option("--landing", required=True)
@add_home_option(exists=True)
@options.add_option("--keys")
@options.add_option("--cohort", "; only files of this one")
@options.yes
@options.as_json
def shred(landing: Path, home: Home, keys: Path, cohort: Cohort | None, yes: bool) -> None:
    """Destroy files in landing that were taken in as they are.

    Other files stay. Files are overwritten and removed; on flash storage overwriting proves nothing: only encryption of
    the disk protects a removed file.
    """
    if not landing.is_dir():
        stop(f"landing folder {landing} does not exist")
    with show_progress("Shredding" if yes else "Looking through landing"):
        ring, code = KeyRing.load(keys, RESTRICTED), cohort.code if cohort else None
        withdrawing.open_home(home, keys)
        found = (retention.shred_taken if yes else retention.find_shreddable)(landing, home, ring, code)
    names = [file.landed.name for file in found.ready]
    lines = [f"{'shredded' if yes else 'would be shredded'}: {name}" for name in names]
    lines += [f"kept: {sentence}" for sentence in found.kept]
    lines += [] if names else ["No file in landing was taken in with its present content."]
    facts = {"done": yes, "files": names, "kept": found.kept}
    answer(facts, lambda: "\n".join(lines), waits=bool(names) and not yes)


@click.command("retention")
@add_home_option(exists=True)
@options.add_option("--landing")
@options.add_option("--keys")
@options.yes
@options.as_json
def retention_command(home: Home, landing: Path | None, keys: Path, yes: bool) -> None:
    """Remove data whose retention period is over.

    See privacy/retention.yaml. Files in landing are checked if --landing is given. Ledger, measurements and releases
    stay.
    """
    from pipelines.dagster.instance import expire_all

    with show_progress("Removing expired data" if yes else "Looking for expired data"):
        # keys are needed to recognise files in landing and rows of children; everything else is removed by its age
        ring = KeyRing.load(keys, RESTRICTED) if landing or keys.is_dir() else None
        if yes:
            withdrawing.open_home(home, keys)
        found = expire_all(home, landing, ring, dry_run=not yes)
    lines = [f"{'removed' if yes else 'would be removed'}: {sentence}" for sentence in found]
    lines = lines or ["Nothing is past its retention period."]
    answer({"done": yes, "due": found}, lambda: "\n".join(lines), waits=bool(found) and not yes)


@click.group("parts")
def parts_command() -> None:
    """List the parts that an extract came in, or take one back."""


_extract = add_extract_options("; whose extract", "; which extract")


@parts_command.command("list")
@add_home_option(exists=True)
@_extract
@options.as_json
def list_parts(store: ExtractStore) -> None:
    """List the parts that were read, by number: when, and whether each counts. Numbers of rows are in the report."""
    noted = [part for part in PartStore(store).list_all() if not part.moved]
    facts = [{"part": part.number, "read_at": part.read_at, "withdrawn": part.withdrawn} for part in noted]
    lines = [f"part {part.number}, read on {part.read_at}{', withdrawn' if part.withdrawn else ''}" for part in noted]
    lines = lines or [f"{store.name} does not come in parts"]
    answer(facts, lambda: "\n".join(lines))


@parts_command.command("withdraw")
@add_home_option(exists=True)
@options.add_option("--landing", required=True)
@options.add_option("--keys")
@_extract
@click.option("--part", "number", type=int, required=True, help="Its number, as the report and `list` give it.")
@options.add_option("--reason", "; the sender's report repeats it. Name no child")
@options.yes
@options.as_json
def withdraw_part(store: ExtractStore, landing: Path, keys: Path, number: int, reason: str, yes: bool) -> None:
    """Take back a part that should never have been sent.

    Its rows are removed, and rows that they replaced count again; for a file with several cohorts, in all of them.
    Links and tables are rebuilt. Ledger and releases stay.
    """
    ring = KeyRing.load(keys, RESTRICTED)
    withdrawing.open_home(store.home, keys)
    if not yes:
        parts = withdrawing.list_parts_to_withdraw(store, ring, number, reason)
        named = [f"part {part.number} of {extract.name}" for extract, part in parts]
        lines = [f"Would be withdrawn: {each}" for each in named]
        return answer({"done": False, "parts": named}, lambda: "\n".join(lines), waits=True)
    with show_progress("Taking the part back, and rebuilding what depends on it"):
        done, not_linked = withdrawing.withdraw(landing.resolve(), store, ring, number, reason)
    parts_done = {f"part {part} of {extract.name}": is_in for (extract, part), is_in in done.items()}
    lines = [
        f"Withdrawn: {part}; {'the other parts stay' if is_in else 'no other part is in'}"
        for part, is_in in parts_done.items()
    ]
    lines += [f"! {sentence}" for sentence in not_linked]
    lines += ["Its file is not read again. If it is still in landing, `readiness shred` removes it."]
    facts = {"done": True, "parts": list(parts_done), "not_linked": not_linked}
    answer(facts, lambda: "\n".join(lines))


@click.command("log")
@add_home_option(exists=True)
@click.option("--verify", "check", is_flag=True, help="Check first that no line was changed or removed.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Only from this day on, as 2026-11-01.")
@options.everything
@options.as_html
@options.as_json
def log_command(home: Home, check: bool, since: dt.datetime | None, everything: bool) -> None:
    """Show what was done with personal data, when and by whom.

    A summary by default; --all shows it line by line, and --json has every line.
    """
    found = (processing_log.verify if check else processing_log.read_entries)(home)
    if since:
        found = [entry for entry in found if entry.time >= since.date().isoformat()]
    kinds: dict[tuple[str, str, str], list[processing_log.LogEntry]] = {}
    for entry in found:
        kinds.setdefault((entry.what, entry.cohort, entry.release), []).append(entry)
    text = write_text("processing_log.md.j2", found=found, kinds=kinds, checked=check, everything=everything)
    show(Report("processing log", text, [asdict(entry) for entry in found]))
