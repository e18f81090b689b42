"""`readiness council`: check a council file against samples, and draft one from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import duckdb

from pipelines.commands import options
from pipelines.commands.console import Ending, answer, end, show_progress, stop, stop_for_problems
from privacy import normalise
from privacy.doors.database import open_in_memory
from privacy.normalise import VALID
from sources.councils.council_file import InvalidCouncilFile, read_council_file
from sources.extract.landing import Landed
from sources.onboarding.check import LEGEND, check_sample, render_check
from sources.onboarding.sample import build_council_file, build_landed_sample, draft_source
from sources.reference.cohorts import Cohort

_SAMPLES = click.option(
    "--sample",
    "samples",
    multiple=True,
    metavar="[SOURCE=]EXTRACT",
    help="An extract or its first rows; once for each source.",
)
_SOURCE = options.add_option("--source", "; for a --sample that does not name its own")


@click.group()
def council() -> None:
    """Onboard a council: draft and check its council file."""


@council.command()
@click.argument("file", type=options.FILE)
@_SAMPLES
@_SOURCE
@options.add_option("--cohort", "; by default from the samples' names or birth dates")
@options.as_json
def check(file: Path, samples: Sequence[str], source: str | None, cohort: Cohort | None) -> None:
    """Check council file FILE, and show how samples would be read.

    Exit status 1 if something must change, or a line marked TODO is left.
    """
    try:
        found = read_council_file(file)
    except InvalidCouncilFile as invalid:
        stop_for_problems(file, invalid.problems, facts=list(map(vars, invalid.problems)))
    # with `utf-8-sig`, because editors on Windows may begin a file with a byte order mark
    todo = [n for n, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1) if "# TODO" in line]
    with show_progress("Reading samples"):
        con, landed = _open_database(), _list_samples(found.council, samples, source, cohort)
        checked = [check_sample(con, each, found.get_dialect(each.source), VALID) for each in landed]
    facts = {"problems": [], "todo": todo, "samples": checked}
    first = f"{file}: a sound council file of {found.council}"
    if todo:
        on = f"line{'s' if len(todo) > 1 else ''} {', '.join(map(str, todo))}"
        first = f"{file}: {len(todo)} to decide, marked TODO on {on}"
    answer(
        facts,
        lambda: "\n".join([first, *(f"\n{render_check(each)}" for each in checked), *([LEGEND] if checked else [])]),
    )
    if todo or any(each["stops"] for each in checked):
        end(Ending.INPUT)


@council.command()
@click.argument("name", type=options.COUNCIL, metavar="COUNCIL")
@_SAMPLES
@_SOURCE
@click.option("--out", type=options.OUT, help="Where to write, if not to the terminal; nothing is replaced.")
def new(name: str, samples: Sequence[str], source: str | None, out: Path | None) -> None:
    """Draft the council file of COUNCIL from samples.

    COUNCIL is a name, or a DfE or ONS code. Nothing is overwritten.
    """
    if not samples:
        stop("give a sample: --sample eyfsp=EXTRACT, once for each source that the council sends")
    if out and out.name != f"{name}.yaml":
        stop(f"the file must be called {name}.yaml, not {out.name}")
    if out and not out.parent.is_dir():
        stop(f"{out.parent} is not a folder")
    if out and out.exists():
        stop(f"{out} is there already; a council file is never overwritten")
    con = _open_database()
    with show_progress("Reading samples"):
        samples_landed = _list_samples(name, samples, source, None)
        drafts = {landed.source: draft_source(con, landed, VALID) for landed in samples_landed}
    for each, draft in drafts.items():
        if draft is None:
            click.echo(f"{each}: the sample is in contract form; no council file is needed for it", err=True)
    if any(drafts.values()):
        text = build_council_file(name, filter(None, drafts.values()))
        if out:
            out.write_text(text, encoding="utf-8")
            click.echo(f"{out} is written; {text.count('# TODO')} lines marked TODO wait for a decision", err=True)
        else:
            click.echo(text, nl=False)


def _open_database() -> duckdb.DuckDBPyConnection:
    """Return an in-memory database with the normaliser's macros."""
    con = open_in_memory()
    normalise.install(con)
    return con


def _list_samples(council_name: str, samples: Sequence[str], source: str | None, cohort: Cohort | None) -> list[Landed]:
    found: list[Any] = []
    for sample in samples:
        before, sign, after = sample.partition("=")
        # a path may itself contain an equals sign
        has_own = sign and "/" not in before and not Path(sample).exists()
        own, path = (options.SOURCE.convert(before, None, None), after) if has_own else (source, sample)
        if not Path(path).is_file():
            stop(f"{path} does not exist")
        found.append(build_landed_sample(Path(path), council_name, own, cohort.code if cohort else None))
    repeated = {landed.source for landed in found if [other.source for other in found].count(landed.source) > 1}
    if repeated:
        stop(f"two samples of {', '.join(sorted(repeated))}; give one of each source")
    return found
