"""Commands before and after a release is made.

They are `readiness plan`, `budget`, `verify`, `recompute`, `synthesise`, `diff`, `publish` and `withdraw`.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import click

from assets.home.paths import Home
from assets.release import tabulate
from assets.synthetic_children import make as synthetic_children
from ndl_export.bundle.verify import verify as check
from ndl_export.facts import on_request, release_facts
from ndl_export.facts.synthetic_folder import CSV_FILE, QUALITY_FILE, SYNTHETIC_FOLDER
from ndl_export.files.stores import is_url
from ndl_export.publish import release_diff
from ndl_export.synthetic.children import SMALLEST_GROUP
from ndl_export.synthetic.folder import write_unsigned
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, end, is_json_wanted, show_progress, stop
from pipelines.commands.pipeline_options import add_home_option
from pipelines.reports.document import format_text, write_text
from privacy.keys import RELEASE, KeyRing
from sources.reference.cohorts import Cohort

_FIGURES_SHOWN = 20
"""Largest number of figures that are listed, unless all are asked for."""


@click.command()
@click.argument("bundle")
@options.add_option("--signer")
@options.as_json
def verify(bundle: str, signer: Path | None) -> None:
    """Check a bundle: signature, checksums, schema, consistency.

    BUNDLE is a folder or an archive, by path or URL. Exit status 1 if it is not sound.
    """
    if not is_url(bundle) and not Path(bundle).exists():
        stop(f"{bundle} does not exist: give the folder or the archive of a bundle, or its URL")
    with show_progress(f"Checking {bundle}"):
        report = check(bundle, signer)
    facts = {name: fact for name, fact in asdict(replace(report, files={})).items() if name != "files"}
    answer(facts | {"ok": report.ok}, lambda: str(report))
    if not report.ok:
        end(Ending.INPUT)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options.as_json
def recompute(bundle: Path) -> None:
    """Recompute a bundle's tables from its noisy counts.

    Given the folder of a release's synthetic children, with the release beside it, it recomputes these. Exit status 1
    if they differ from those published, to nine digits.
    """
    synthetic = (bundle / CSV_FILE).is_file()
    with show_progress(f"Computing {bundle} again"):
        if synthetic:
            found = tabulate.Differing(list(synthetic_children.find_differing_files(bundle)), [])
        else:
            found = tabulate.find_differing_tables(bundle)
    facts = {"bundle": str(bundle), "differing": found.figures, "ok": not found.figures}
    same = "every file is what the noisy counts of the release give, to the byte"
    if not synthetic:
        number = len(on_request.merge_tables(on_request.OnRequest.read_bundle(bundle).tables))
        facts |= {"tables": number, "not_to_the_last_bit": found.last_digits}
        why = f"{', '.join(found.last_digits)} not to the last bit: another processor or other versions of libraries"
        exact = f"{tabulate.SAME_DIGITS} digits ({why} made them)" if found.last_digits else "the last bit"
        same = f"{number} tables are what the noisy counts give, to {exact}"
    if is_json_wanted() or not found.figures:
        answer(facts, lambda: f"{bundle}: {same}")
    if found.figures:
        stop(f"{bundle}: the noisy counts do not give {', '.join(found.figures)} as published")


@click.command()
@click.argument("bundle")
@click.option("--out", type=options.FOLDER, help="Where to write, unsigned: a folder that is new or empty.")
@add_home_option(required=False)
@options.add_option("--keys")
@options.add_option("--cohort", "; the newest of the bundle by default")
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Where drawing begins; the same seed gives the same children.",
)
@options.as_json
def synthesise(bundle: str, out: Path | None, home: Home | None, keys: Path, cohort: Cohort | None, seed: int) -> None:
    """Make synthetic children from a bundle's noisy counts.

    One row per child, none of whom exists, as Parquet and CSV, with a statement of what they are and a page on how well
    they match the published figures. It spends no privacy budget. BUNDLE is a folder, or a version in the home folder.
    With --out it reads only the bundle. Without --out, BUNDLE is a version: the children are signed and put beside the
    release, where its page and catalogue lead to them. Signatures are not checked: `verify` does that.
    """
    if not 0 <= seed < 2**32:
        stop(f"the seed {seed} is not between 0 and {2**32 - 1}", Ending.USAGE)
    if out is None and home is None:
        stop("say where to write: --out FOLDER, or --home for the release directory", Ending.USAGE)
    if out is not None and out.is_dir() and any(out.iterdir()):
        stop(f"{out} is not empty: give a folder that is new or empty")
    code = cohort.code if cohort else None
    with show_progress("Drawing synthetic children"):
        if out is not None:
            if not (folder := _find_bundle(bundle, home)).is_dir():
                stop(f"{folder} does not exist: give the folder of a bundle", Ending.USAGE)
            made = synthetic_children.make_synthetic_children(folder, code, seed)
            write_unsigned(out, made)
        else:
            assert home is not None
            made = synthetic_children.publish_synthetic(home, KeyRing.load(keys, RELEASE), bundle, code, seed)
            out = home.release / SYNTHETIC_FOLDER / bundle
    children = made.rows.num_rows
    facts = {"folder": str(out), "seed": seed, "children": children, "outside": list(made.outside)}
    facts |= {name: getattr(made, name) for name in ("cohort", "compared", "within", "changed")}
    facts |= {name: list(map(asdict, getattr(made, name))) for name in ("agreements", "held_out")}
    text = (
        f"{children:,} synthetic children are in {out}. Of {made.compared:,} published percentages of groups of"
        f" {SMALLEST_GROUP} or more, {made.within:,} are matched within their interval; {QUALITY_FILE} says more."
    )
    answer(facts, lambda: text)


@click.command()
@click.argument("before")
@click.argument("now")
@add_home_option(required=False)
@options.everything
@options.as_json
def diff(before: str, now: str, home: Home | None, everything: bool) -> None:
    """Show what changed from one release to another.

    The schema, and figures that moved by more than their noise. BEFORE and NOW are folders of bundles, or versions in
    the home folder. Signatures are not checked: `verify` does that.
    """
    with show_progress("Comparing"):
        found = release_diff.diff(_find_bundle(before, home), _find_bundle(now, home)).build_document()
    text = write_text("differences.md.j2", **found, everything=everything, most=_FIGURES_SHOWN)
    answer(found, lambda: format_text(text, sys.maxsize))


def _find_bundle(named: str, home: Home | None) -> Path:
    """Return the folder of a version in the home folder, or the path itself."""
    try:
        version = str(release_facts.Version.parse(named))
    except release_facts.InvalidVersion:
        return Path(named)
    return home.release / version if home else Path(named)
