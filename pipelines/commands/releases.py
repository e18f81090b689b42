"""Commands before and after a release is made.

They are `readiness plan`, `budget`, `verify`, `recompute`, `synthesise`, `diff`, `publish` and `withdraw`.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import click

from assets.home.paths import CohortStore, Home
from assets.release import decision_sheet, fix_release, planning, sign_off, synthetic_children, tabulate
from assets.release.published_charges import check_known
from assets.release.release import Release
from assets.release.requests.register import publish_register
from ndl_export.bundle.release_directory import check_withdrawal
from ndl_export.bundle.synthetic import write_unsigned
from ndl_export.bundle.verify import verify as check
from ndl_export.facts import description, directory_files, on_request, release_facts
from ndl_export.facts.synthetic import CSV_FILE, QUALITY_FILE, SMALLEST_GROUP, SYNTHETIC_FOLDER
from ndl_export.files.stores import is_url
from ndl_export.publish import release_diff, upload
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, end, is_json_wanted, show, show_progress, stop
from pipelines.commands.pipeline_options import add_cohort_options, add_home_option, require_ledger, share
from pipelines.commands.sign_off import Signing, add_signing_options, describe_signed
from pipelines.release_calendar import publish_release
from pipelines.reports.budget import report_budget, report_plan
from pipelines.reports.document import format_text, write_plain, write_text
from privacy.keys import RELEASE, KeyRing
from sources.extract.landing import list_councils
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT

_FIGURES_SHOWN = 20
"""Largest number of figures that are listed, unless all are asked for."""


@click.command()
@add_cohort_options()
@options.add_option("--landing")
@share
@options.add_option("--council", "; its tables alone")
@options.everything
@options.as_html
@options.as_json
def plan(store: CohortStore, landing: Path | None, share: float | None, council: str | None, everything: bool) -> None:
    """Show how accurate a release will be, before any budget is spent.

    Uses the policy and public figures: reads no extract. Exit status 3 if the cohort's budget has no room for the
    --share that you ask for.
    """
    # a plan reads no extract: the folders in landing say only who takes part
    councils = list_councils(landing) if landing else sorted(PILOT)
    if council is not None and council not in councils:
        stop(f"no council {council!r} takes part: {', '.join(councils)}")
    with show_progress("Planning"):
        policy, room = store.home.load_policy(), fix_release.compute_remaining_budget(store, share)
        expected = planning.compute_expected_accuracy(councils, policy.scale(room.share))
        found = {"cohort": store.cohort, **expected, "budget": asdict(room)}
    show(report_plan(found, policy.minimum_accuracy, council=council, everything=everything))
    if room.share_was_asked and not room.fits:
        end(Ending.BUDGET)


@click.command()
@add_home_option()
@options.as_html
@options.as_json
def budget(home: Home) -> None:
    """Show how much of the privacy budget is spent and left."""
    require_ledger(home)
    show(report_budget(home))


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
@click.argument("version")
@click.option("--to", "url", required=True, metavar="URL", help="A folder: s3://…, abfs://…, or a path.")
@add_home_option()
@options.add_option("--signer", "; the bundle is checked against it")
@options.yes
@options.as_json
def publish(version: str, url: str, home: Home, signer: Path | None, yes: bool) -> None:
    """Publish a release to the place where readers download it.

    Sends the content first and links to it last. Without --yes it sums up what would be sent. Run it again after an
    interruption or a withdrawal: it sends only what is missing. Credentials come from the environment, as the store's
    library expects.
    """
    with show_progress(f"Publishing {version}" if yes else f"Comparing {version} with {url}"):
        if yes:
            found = publish_release(home, version, url, signer, partial(click.echo, err=True))
        else:
            known = partial(check_known, home)
            found = upload.publish(home.release, version, url, known=known, trusted_key=signer, dry_run=True)
    facts = {
        "version": version,
        "url": found.store.url,
        "sent": {each: found.sizes[each] for each in found.sent},
        "removed": list(found.removed),
        "there": len(found.there),
        "current": str(found.current) if found.current else None,
        "withdrawn": found.withdrawn.sentence if found.withdrawn else None,
        "done": yes,
    }
    text = write_plain(
        "published.md.j2",
        found=found,
        version=version,
        done=yes,
        size=sum(found.sizes[each] for each in found.sent),
        would_be=_iter_sent_lines(found),
        places=_list_places(found, version),
    )
    answer(facts, lambda: text, waits=not yes and bool(found.sent or found.removed))


def _iter_sent_lines(found: upload.Published) -> Iterator[str]:
    """Yield a line for each folder and each file beside the folders that would be sent."""
    sizes: dict[str, list[int]] = {}
    for name in found.sent:
        folder, in_folder, _ = name.partition("/")
        sizes.setdefault(folder + in_folder, []).append(found.sizes[name])
    for name, own in sizes.items():
        number = f"{len(own)} files, " if len(own) > 1 else ""
        yield f"{name}  ({number}{sum(own):,} bytes)"


def _list_places(found: upload.Published, version: str) -> dict[str, str]:
    """Return the addresses of a release, by what is there."""
    address = found.store.format_address
    places = {
        "Bundle": address(f"{version}/"),
        "Archives": f"{address(f'{version}.zip')}, .tar",
        "Analyst database": address(description.DATABASE_FILE),
        "Catalogue, feed": f"{address(directory_files.CATALOGUE_FILE)}, {directory_files.FEED_FILE}",
        "API": address(f"{description.API_FOLDER}/index.json"),
    }
    if found.current:
        places["Release page"] = address(f"{release_facts.SITE_FOLDER}/index.html")
        places["Current release"] = f"{found.current}, as {address(directory_files.LATEST_FILE)} says"
    else:
        places["Current release"] = "none: every release is withdrawn"
    return places


@click.command()
@click.argument("version")
@options.add_option("--reason", "; its readers are told")
@add_home_option()
@options.add_option("--keys")
@add_signing_options(", for use on your own machine; needs --sheet")
@options.yes
@options.as_json
def withdraw(version: str, reason: str, home: Home, keys: Path, signing: Signing, yes: bool) -> None:
    """Mark a release as withdrawn, once it is signed.

    Its bundle stays as it was signed; `latest` leads to the newest one that is not withdrawn. A withdrawal needs as
    many signatures as a publication: with --key or --signature you sign, and nothing is withdrawn; with --yes it is, if
    enough have signed.
    """
    store, release, to_sign = home.get_cohort(""), Release(home, version), dict[str, str]()
    with show_progress(f"Withdrawing {version}"):
        if yes and not signing.is_wanted:
            # only a demonstration's key signs by itself; people sign on their own machines
            own = KeyRing.load(keys, RELEASE) if keys.is_dir() else None
            newest = sign_off.withdraw_approved(release, own, reason)
            # requests that the release answered are open again
            publish_register(home)
        else:
            newest = None if signing.is_wanted else check_withdrawal(home.release, version, reason)
            request = sign_off.build_withdrawal_request(release, reason)
            written = decision_sheet.write_decision_sheet(store, request)
            to_sign = {name: str(each) for name, each in asdict(written).items()}
    if signing.is_wanted:
        by = signing.load(to_sign["sheet_sha256"])
        assert by
        found = sign_off.sign_request(store, request, to_sign["sheet_sha256"], by)
        signed = describe_signed(found, f"the withdrawal of {version}", "Now withdraw it, with --yes.")
        return answer(asdict(found), lambda: signed)
    register = home.release / release_facts.WITHDRAWN_FILE
    text = write_plain("withdrawn.md.j2", version=version, done=yes, newest=newest, register=register, to_sign=to_sign)
    facts = {"done": yes, "version": version, "current": str(newest) if newest else None} | to_sign
    answer(facts, lambda: text, waits=not yes)


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
