"""`readiness request`: tables on request, from the file to fill in to the release that has the table."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.release.fix_release import ReleaseOptions
from assets.release.requests import register as book
from assets.release.requests.check import Answer, can_be_had, check_requests
from assets.release.requests.register import Registered, find_base_release, read_registered_requests
from assets.release.requests.request import TEMPLATE, read_requests
from ndl_export.facts.synthetic import QUALITY_FILE
from ndl_export.pages.number_format import format_count
from ndl_export.tables.pupil import FAMILY
from pipelines.commands import options
from pipelines.commands.console import answer, end, show, show_progress, stop
from pipelines.commands.pipeline_options import add_home_option, as_installation, require_ledger
from pipelines.commands.runs import VERSION, release, report_release
from pipelines.ending import Ending
from pipelines.reports.budget import explain_budget_units
from pipelines.reports.document import Grid, Report, Section
from pipelines.run import choose_request_release, run_cohort
from privacy.doors import files
from sources.reference.cohorts import Cohort

Facts = dict[str, Any]
_MOST_ROWS = 12


@click.group()
def request() -> None:
    """Tables on request: draft one, and see how to answer it."""


@request.command()
@click.option("--out", type=options.OUT, help="Where to write; a file that is new.")
def new(out: Path | None) -> None:
    """Print a request to fill in."""
    content = TEMPLATE.read_bytes()
    if out is None:
        click.echo(content.decode(), nl=False)
        return
    if out.exists():
        stop(f"{out} is there already: give a new file")
    files.write(out, content)
    click.echo(f"{out} is a request to fill in. Then: readiness request check {out} --home HOME")


@request.command()
@click.argument("file", nargs=-1, required=True, type=click.Path(path_type=Path))
@add_home_option()
@click.option(
    "--release",
    "version",
    type=VERSION,
    help="Version such as 2026.11.0; by default the newest release that has the cohorts.",
)
@options.as_html
@options.as_json
def check(file: tuple[Path, ...], home: Home, version: str | None) -> None:
    """Show how a request could be answered, before any budget is spent.

    What is published already, what is free, what measuring the table would cost and whether that fits, and what would
    cost less. Uses public facts: reads no confidential table. For several files, also what they cost together. Exit
    status 1 if a file is not a request, 3 if one does not fit the cohort's budget.
    """
    requests = read_requests(file)
    require_ledger(home)
    with show_progress("Checking"):
        found = _report_answers(check_requests(home, requests, version))
    show(found)
    if not found.good:
        end(Ending.BUDGET)


def _report_answers(found: Facts) -> Report:
    """Report the answers of `check_requests`: a sentence each, then in full."""
    requests = found["requests"]
    return Report(
        kind="request",
        title=f"Answer to {format_count(len(requests), 'request')} for tables beside release {found['release']}",
        outcome=[
            f"{request['name']}, {Cohort(own['cohort']).label}: {_describe_answer(request, own)}."
            for request in requests
            for own in request["cohorts"]
        ]
        + ["Nothing was spent and nothing was promised: people decide (docs/tables-on-request.md)."],
        sections=[
            *(_build_section(request, own, found["delta"]) for request in requests for own in request["cohorts"]),
            *(_build_total_section(each) for each in found["together"]),
            explain_budget_units(found["delta"]),
        ],
        facts=found,
        good=can_be_had(found),
        public=True,
    )


def _describe_answer(request: Facts, own: Facts) -> str:
    measured, left = own["measured"], f"rho {own['left_rho']:.5f} is left for a {request['unit']}"
    match own["answer"]:
        case Answer.PUBLISHED:
            return f"it is published already, in {', '.join(own['published']['tables'])}"
        case Answer.FREE:
            return "it can be made from what was measured, and costs nothing"
        case Answer.FITS:
            return f"it costs rho {measured['rho']:.5f}, and fits: {left}"
        case Answer.DOES_NOT_FIT:
            return f"it costs rho {measured['rho']:.5f}, and does not fit: {left}"
    return f"no budget of a cohort pays for this accuracy: {left}"


def _build_section(request: Facts, own: Facts, delta: float) -> Section:
    return Section(
        f"{request['name']}, {Cohort(own['cohort']).label}: {request['title']}",
        [
            _describe_wanted_accuracy(request),
            _describe_published(own["published"]),
            _describe_free(request, own),
            *_describe_charged(request, own, delta),
        ],
        [each for each in (_build_synthetic_grid(own), _build_alternatives_grid(own)) if each.rows],
    )


def _describe_wanted_accuracy(request: Facts) -> str:
    wanted = request["accuracy"]
    where = "in every area" if request["geography"] == "councils" else "for all councils together"
    return (
        f"Asked for: {format_count(request['rows_of_an_area'], 'row')} {where}; at full detail, with no column at its"
        " total,"
        f" {wanted['share_of_rates']:.0%} of percentages with a 95% interval within {wanted['half_width_points']:g}"
        " points either way."
    )


def _describe_published(there: Facts) -> str:
    if not there["figures"]:
        return f"Of its {format_count(there['of'], 'figure')} at full detail the release publishes none."
    return (
        f"Of its {format_count(there['of'], 'figure')} at full detail the release publishes {there['figures']:,}, in"
        f" {', '.join(there['tables'])}."
    )


def _describe_free(request: Facts, own: Facts) -> str:
    if own["known"]:
        return f"Free, from what was measured before: {_describe_accuracy(own['known'])}."
    unknown = "Free: what was measured before does not combine these columns."
    if own["synthetic"]:
        tested, how_far_off = own["synthetic"]["held_out"], ""
        if tested:  # the worst of the sets of columns that were tested
            median, ninetieth = (max(each[what] for each in tested) for what in ("median", "ninetieth"))
            how_far_off = (
                ": where columns were kept apart to try it, half of such percentages were off by up to"
                f" {median:.1f} points, and one in ten by {ninetieth:.1f} or more"
            )
        return (
            f"{unknown} Synthetic children of the release have the percentages below, for all councils together. They"
            f" are a guess, not a finding{how_far_off}; {QUALITY_FILE} beside them says more."
        )
    if request["family"] != FAMILY.name:
        return unknown
    return (
        f"{unknown} Synthetic children of the release show what such a table looks like, but are not a finding:"
        " readiness synthesise (docs/synthetic-children.md)."
    )


def _describe_charged(request: Facts, own: Facts, delta: float) -> Iterator[str]:
    measured, all_left = own["measured"], own["with_all_that_is_left"]
    if measured:
        yield (
            f"Measured: rho {measured['rho']:.5f} (epsilon {measured['epsilon']:.2f} at delta {delta:g}) for"
            f" {_describe_accuracy(measured)}. The privacy loss of a {request['unit']} goes from epsilon"
            f" {measured['epsilon_before']:.2f} to {measured['epsilon_after']:.2f}."
        )
    if all_left:
        yield f"With all that is left, rho {own['left_rho']:.5f}: {_describe_accuracy(all_left)}."


def _describe_accuracy(accuracy: Facts) -> str:
    flagged = f"{accuracy['flagged_unreliable']:,} unreliable (u) and {accuracy['withheld']:,} withheld"
    return (
        f"{accuracy['share_within']:.0%} of {format_count(accuracy['percentages'], 'percentage')} within"
        f" {accuracy['within_points']:g} points, half of them within {accuracy['median_half_width']:.1f}; of all"
        f" {format_count(accuracy['rows'], 'row')}, {flagged}"
    )


def _build_synthetic_grid(own: Facts) -> Grid:
    found = own["synthetic"] or {"rows": []}
    rows = [
        (" / ".join(row["levels"]), f"{row['of']:,}", "-" if row["percent"] is None else f"{row['percent']:.1f}")
        for row in found["rows"]
    ]
    more = f" (the first {_MOST_ROWS} of {len(rows)}; --json has all)" if len(rows) > _MOST_ROWS else ""
    return Grid(f"Synthetic children{more}", ("row", "of", "%"), rows[:_MOST_ROWS], numbers=2)


def _build_alternatives_grid(own: Facts) -> Grid:
    rows = [
        (
            f"{each['instead'][0].upper()}{each['instead'][1:]}",
            f"{each['rho']:.5f}" if each["rho"] else "free",
            f"{each['share_within']:.0%} of {each['percentages']:,}",
            f"{each['median_half_width']:.1f}",
        )
        for each in own["alternatives"]
    ]
    header = ("instead", "rho", "within", "median ±")
    return Grid("What would cost less, the cheapest first", header, rows, numbers=3)


def _build_total_section(own: Facts) -> Section:
    costs = (
        f"rho {rho:.5f} for a {unit}, where one by one they would cost {own['apart_rho'].get(unit, 0):.5f} and"
        f" {own['left_rho'][unit]:.5f} is left"
        for unit, rho in own["rho"].items()
    )
    names, fits = ", ".join(own["requests"]), "They fit." if own["fits"] else "They do not fit."
    cost = "; ".join(costs)
    sentence = f"Measured at once, {names} cost {cost}. {fits}" if cost else "Nothing would have to be measured."
    return Section(f"All together, {Cohort(own['cohort']).label}", [sentence])


@request.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@add_home_option()
@options.as_json
def register(files: tuple[Path, ...], home: Home) -> None:
    """Add requests to the public register, as they were asked.

    It spends nothing. Check a request first: what it would cost depends on what is measured, not on who asks.
    """
    found = [book.register(home, each, dt.date.today()) for each in read_requests(files)]
    book.publish_register(home)
    answer(
        [{"name": each.name, "asked_on": each.asked_on} for each in found],
        lambda: "\n".join(f"{each.name}: registered on {each.asked_on}" for each in found),
    )


@request.command("list")
@add_home_option()
@options.as_json
def list_requests(home: Home) -> None:
    """List the requests, and what became of each."""
    found = list(read_registered_requests(home).values())
    answer(
        [
            {"name": each.name, "asked_on": each.asked_on, "asked_by": each.request.asked_by, "state": each.state}
            for each in found
        ],
        lambda: "\n".join(map(_format_line, found)) or "No table was requested.",
    )


def _format_line(each: Registered) -> str:
    return f"{each.name}: {each.request.title}\n  asked by {each.request.asked_by} on {each.asked_on}; {each.state}"


@request.command()
@click.argument("name")
@add_home_option()
@click.option("--reason", required=True, help="Why; published in the register.")
def refuse(name: str, home: Home, reason: str) -> None:
    """Note in the public register that a request will not be answered, and why."""
    try:
        book.refuse(home, name, reason, dt.date.today())
    except ValueError as error:
        stop(f"--reason: {error}", Ending.USAGE)
    book.publish_register(home)
    click.echo(f"{name}: refused")


@request.command()
@click.argument("names", nargs=-1, required=True)
@options.add_option("--landing", required=True)
@add_home_option()
@options.add_option("--keys")
@release
@as_installation
def fulfil(names: tuple[str, ...], folders: Installation, version: str | None) -> None:
    """Measure the requested tables, and publish them with all that was published before.

    The requests are planned together. Nothing is charged until the people named in the policy have signed the
    measurement (readiness approve), and nothing is published until they have signed the bundle. Run it again after
    each.

    \b
    Exit status:
      0  the release with the tables is complete
      1  an input is missing or wrong
      3  the budget does not allow it
      4  it waits for people (readiness approve)
      5  a fault of the machine
    """
    folders.load_keys()  # a wrong set stops the command before anything is looked up
    base, cohorts = find_base_release(folders.home, names)
    newest, *others = cohorts
    # the release whose noisy counts are used has already settled which councils are missing
    options = ReleaseOptions(allow_missing=True, others=others, reuse=True, requests=names)
    release = version or choose_request_release(folders.home, base, names)
    report_release(folders, run_cohort(folders, Cohort(newest), release, options, click.echo))
