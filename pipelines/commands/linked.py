"""Results of the linkage: `readiness link` explains them, `review` has people judge them, `returns` sends them back."""

from pathlib import Path

import click

from assets.home.paths import CohortStore
from assets.keeping.withdrawing import open_home
from assets.linkage import inputs, row_numbers
from assets.returns.agreements import load_all
from assets.returns.review import draw_review, open_sheet, take_review
from pipelines.commands import options
from pipelines.commands.console import answer, show_progress, stop
from pipelines.commands.pipeline_options import add_cohort_options
from pipelines.reports.document import format_text, write_text
from privacy.doors import clock, environment, files
from privacy.doors.shipped import read_yaml
from privacy.keys import EXPLANATION, REVIEW, ROWS, KeyRing
from privacy.linkage.link import FURTHER_THRESHOLD

_REASONS: dict[str, str] = read_yaml(Path(__file__).with_name("link_reasons.yaml"))


agreements_option = click.option(
    "--agreements",
    type=options.FOLDER,
    envvar=environment.AGREEMENTS,
    required=True,
    help="Folder of sharing agreements.",
)


@click.group()
def link() -> None:
    """Ask how the records of a cohort were linked."""


@link.command()
@add_cohort_options()
@click.argument("first", metavar="SOURCE/COUNCIL/ROW")
@click.argument("second", metavar="SOURCE/COUNCIL/ROW")
@options.add_option("--keys")
@options.as_json
def explain(store: CohortStore, first: str, second: str, keys: Path) -> None:
    """Explain why two rows are linked or not: rule, weight by comparison, decision.

    ROW is the data row of the extract's file, 1 for the first. The linkage is run again for it. The answer is about two
    children's records: it stays with those who may read the restricted zone.
    """
    rows = row_numbers.parse_row(first), row_numbers.parse_row(second)
    ring = KeyRing.load(keys, EXPLANATION)
    with show_progress("Linking again"):
        open_home(store.home, keys)
        found = row_numbers.explain_link(store, *rows, ring)
    reason = _REASONS[found["why"]].format(step=f'"{found["step"]}"', further=FURTHER_THRESHOLD)
    text = write_text("explanation.md.j2", **found, reason=reason, probability=_format_probability)
    answer(found, lambda: format_text(text))


def _format_probability(value: float) -> str:
    """Format a probability, never rounded to 0 or 1 unless it is."""
    return f"{value:.2g}" if value < 0.0001 else f"1 - {1 - value:.2g}" if 0.9999 < value < 1 else f"{value:.4f}"


@link.command()
@add_cohort_options()
@click.option(
    "--out", type=options.OUT, required=True, help="Where to write: CSV if the name ends in .csv, else Parquet."
)
@options.add_option("--keys")
@options.as_json
def rows(store: CohortStore, out: Path, keys: Path) -> None:
    """List every linked row of a cohort by its number, for an audit.

    Columns: source, council, source_row, child_id, match_rule, match_probability. The file is for its owner only and
    stays with those who may read the restricted zone. Recorded in the processing log.
    """
    if out.exists():
        stop(f"{out} is there already; it is not replaced")
    ring = KeyRing.load(keys, ROWS)
    with show_progress("Numbering rows"):
        open_home(store.home, keys)
        count = row_numbers.write_linked_rows(store, out, ring)
    text = f"{out}: {count:,} rows; it is for your eyes only; remove it when the audit is done"
    answer({"file": str(out), "rows": count}, lambda: text)


@click.group()
def review() -> None:
    """Have services look for a sample of the pupils who are not linked to them."""


@review.command()
@add_cohort_options()
@agreements_option
@options.add_option("--keys")
def sample(store: CohortStore, agreements: Path, keys: Path) -> None:
    """Draw a sample of pupils without a link, and encrypt a sheet to each sender with its own row numbers.

    Run again for the same links, it keeps the sample and encrypts new sheets.
    """
    known, ring = load_all(agreements), KeyRing.load(keys, REVIEW)
    with show_progress("Linking again"):
        open_home(store.home, keys)
        number, sheets = draw_review(store, known, ring, clock.today())
    lines = sheets or ["No sheet: no agreement lets two services compare a child of this sample."]
    click.echo("\n".join([f"Sample {number} of cohort {store.cohort}.", *lines]))
    click.echo("Send each sheet to its recipient. Then: readiness review take DECISIONS.csv ...")


@review.command("open")
@click.argument("file", type=options.FILE)
@options.own_key
@options.add_option("--signer", "; here the pipeline's", required=True)
@click.option("--out", type=options.OUT, required=True, help="Where to write: a CSV file.")
def open_review_sheet(file: Path, key_file: Path, signer: Path, out: Path) -> None:
    """Open a sheet at a service: decrypt it, check who made it, and write it as CSV to fill in."""
    if out.exists():
        stop(f"{out} is there already; it is not replaced")
    files.write(out, open_sheet(file, key_file, signer))
    click.echo(f"{out}: fill in decision (match, not a match, cannot tell) and reviewer (a code, no name)")


@review.command()
@add_cohort_options()
@click.argument("decisions", type=options.FILE, nargs=-1, required=True)
def take(store: CohortStore, decisions: tuple[Path, ...]) -> None:
    """Take in the decisions of all reviewers, from sheets saved as CSV.

    Name every file: they replace what was taken in before. The tallies enter the next release that is measured, with
    noise, for a separate budget that people sign with it. True tallies are only in the restricted report.
    """
    open_home(store.home)
    # a sample is measured once: its noisy counts would not describe later decisions
    if release := inputs.find_measuring_release(store):
        stop(f"Release {release} has measured this sample. Nothing was taken in: its decisions are final.")
    report = take_review(store, decisions)
    click.echo(f"Taken in. The next release measured from the same links uses them. Restricted report: {report}")
