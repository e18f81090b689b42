"""`readiness publish` and `withdraw`: sending a release to where readers download it, and marking it as withdrawn."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from assets.home.paths import Home
from assets.release import decision_sheet, requests_to_sign, sign_off
from assets.release.published_charges import check_known
from assets.release.release import Release
from assets.release.requests.register import publish_register
from ndl_export.bundle.release_directory import check_withdrawal
from ndl_export.facts import description, directory_files, release_facts
from ndl_export.publish import upload
from pipelines.commands import options
from pipelines.commands.console import answer, show_progress
from pipelines.commands.pipeline_options import add_home_option
from pipelines.commands.sign_off import Signing, add_signing_options, describe_signed
from pipelines.release_calendar import publish_release
from pipelines.reports.document import write_plain
from privacy.keys import RELEASE, KeyRing


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


def _iter_sent_lines(found: upload.Upload) -> Iterator[str]:
    """Yield a line for each folder and each file beside the folders that would be sent."""
    sizes: dict[str, list[int]] = {}
    for name in found.sent:
        folder, in_folder, _ = name.partition("/")
        sizes.setdefault(folder + in_folder, []).append(found.sizes[name])
    for name, own in sizes.items():
        number = f"{len(own)} files, " if len(own) > 1 else ""
        yield f"{name}  ({number}{sum(own):,} bytes)"


def _list_places(found: upload.Upload, version: str) -> dict[str, str]:
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
            request = requests_to_sign.build_withdrawal_request(release, reason)
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
