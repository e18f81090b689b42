"""Files beside the bundles of a release directory: `latest`, `latest.json`, `site`, `api`, the catalogue and the feed.

They depend only on the bundles, their synthetic children, `withdrawn.json`, `upcoming.json` and `requests.json`. Each
is replaced in one step, after the bundle is in its place. The first three lead to the current release, the newest
version that is not withdrawn; if every release is withdrawn, none of them exists. `api`, the catalogue and the feed
have every release, and mark withdrawn ones. The files of a withdrawn release stay as they were signed.
"""

import datetime as dt
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndl_export.analyst_db.build import update_database
from ndl_export.api.documents import hash_sums_file, publish_api
from ndl_export.facts import description, directory_files, release_facts, synthetic_folder
from ndl_export.facts.directory_files import CATALOGUE_FILE, FEED_FILE, LATEST_FILE, Register, Upcoming
from ndl_export.facts.release_facts import (
    SITE_FOLDER,
    Version,
    Withdrawal,
    list_not_withdrawn,
    list_versions,
    load_withdrawals,
)
from ndl_export.files.whole_files import format_json, lock_folder, point, write_whole
from ndl_export.metadata.records import DCAT_CONTEXT, render_record
from ndl_export.pages import kit
from ndl_export.site.pages import publish_site
from privacy.doors.typed import is_line

LATEST = "latest"


def find_current_version(release_dir: Path) -> Version | None:
    """Return the newest version that is not withdrawn, or None. Raises `UnreadableWithdrawals`."""
    return max(list_not_withdrawn(release_dir), default=None)


def announce_upcoming(release_dir: Path, entries: Sequence[directory_files.Announced], today: dt.date) -> None:
    """Replace the announcements that readers see. Raises `UnreadableWithdrawals`."""
    _refresh_after(release_dir, lambda: directory_files.announce(release_dir, entries, today))


def replace_register(
    release_dir: Path, entries: Sequence[directory_files.AskedTable], budgets: Sequence[directory_files.Budget]
) -> None:
    """Replace the published register of requests. Raises `UnreadableWithdrawals`."""
    _refresh_after(release_dir, lambda: directory_files.write_register(release_dir, entries, budgets))


def _refresh_after(release_dir: Path, write: Callable[[], bool]) -> None:
    """Write a file of the release directory, and update the others if it changed."""
    release_dir.mkdir(parents=True, exist_ok=True)
    with lock_folder(release_dir):
        # Before the first release there is no catalogue, feed or page to update.
        if write() and list_versions(release_dir):
            refresh(release_dir)


def refresh(release_dir: Path) -> None:
    """Update everything beside the bundles, of which there is at least one.

    Raises `UnreadableWithdrawals` and `UnreadableRegister`.
    """
    newest, there = find_current_version(release_dir), [str(version) for version in list_versions(release_dir)]
    announced, register = directory_files.list_upcoming(release_dir, there), directory_files.read_register(release_dir)
    if newest is None:
        for name in (LATEST, LATEST_FILE):
            (release_dir / name).unlink(missing_ok=True)
        shutil.rmtree(release_dir / SITE_FOLDER, ignore_errors=True)
    else:
        point(release_dir / LATEST, str(newest))
        publish_site(release_dir, str(newest), announced, register, load_withdrawals(release_dir))
    update_database(release_dir)
    publish_api(release_dir)
    releases, coming = _read_published(release_dir), announced or ()
    write_whole(release_dir / CATALOGUE_FILE, format_json(_build_catalogue(releases, coming, register)))
    write_whole(release_dir / FEED_FILE, _build_feed(releases, coming, register))
    if newest is not None:
        issued = {each.version: each.issued for each in releases}[str(newest)]
        # Paths are relative to the release directory.
        latest = {
            "version": str(newest),
            "published": issued,
            "folder": f"{newest}/",
            "zip": f"{newest}.zip",
            "tar": f"{newest}.tar",
            "page": f"{newest}/{SITE_FOLDER}/index.html",
            "sha256sums": hash_sums_file(release_dir, str(newest)),
        }
        write_whole(release_dir / LATEST_FILE, format_json(latest))


class BundleRefused(Exception):
    """A bundle or synthetic children were not written; the message says why and what to do."""


class WithdrawalRefused(Exception):
    """Nothing was withdrawn; the message says why."""


def check_withdrawal(release_dir: Path, version: str, reason: str) -> Version | None:
    """Return the version that a withdrawal would make current, if any. Raises as `withdraw`."""
    check_reason(release_dir, version, reason)
    known = load_withdrawals(release_dir)
    if version in known:
        raise _build_repeat_error(known[version])
    return max((other for other in list_not_withdrawn(release_dir) if str(other) != version), default=None)


def withdraw(release_dir: Path, version: str, reason: str, day: dt.date) -> Version | None:
    """Withdraw the release as of `day`, and return the version that is then current, or None if none is left.

    Raises `WithdrawalRefused`, and `UnreadableWithdrawals` if the list of earlier withdrawals cannot be read.
    """
    shown = check_reason(release_dir, version, reason)
    with lock_folder(release_dir):
        known = load_withdrawals(release_dir)
        if version not in known:
            release_facts.record_withdrawals(release_dir, known, Withdrawal(version, day.isoformat(), shown))
        refresh(release_dir)  # also after an interrupted withdrawal, when the command is repeated
    if version in known:
        raise _build_repeat_error(known[version])
    return find_current_version(release_dir)


def check_reason(release_dir: Path, version: str, reason: str) -> str:
    """Return the reason as readers see it. Raises `WithdrawalRefused` if there is no such release."""
    if problem := release_facts.explain_absence(release_dir, version):
        raise WithdrawalRefused(problem)
    shown = " ".join(reason.split())
    if not is_line(shown):
        raise WithdrawalRefused("readers see the reason for a withdrawal: write it as one line of printable text")
    return shown


def _build_repeat_error(earlier: Withdrawal) -> WithdrawalRefused:
    return WithdrawalRefused(f"release {earlier.version} is withdrawn already, since {earlier.date}")


_OF_THE_NEWEST = ("dct:publisher", "dcat:contactPoint", "dct:accrualPeriodicity", "dct:spatial")
"""Properties that the series takes from its newest release."""


@dataclass(frozen=True)
class _Published:
    """A release in its directory, with the record in its bundle (`dcat.jsonld`) and the notice, which may be empty."""

    version: str
    record: dict[str, Any]
    withdrawal: Withdrawal | None
    notice: str
    synthetic: Mapping[str, Any] | None
    """The `datapackage.json` of the release's synthetic children, if there are any."""

    @property
    def address(self) -> str:
        """URL of its folder: its identifier in the catalogue and the feed."""
        found: str = self.record["@id"]
        return found

    @property
    def issued(self) -> str:
        """Day of publication."""
        found: str = self.record["dct:issued"]["@value"]
        return found

    @property
    def changed(self) -> str:
        """Day of publication, or of withdrawal if that is later."""
        return max(self.issued, self.withdrawal.date) if self.withdrawal else self.issued

    @property
    def notes(self) -> str:
        """The comparison with the release before it, with a full stop."""
        return f"{self.record['adms:versionNotes']['@value']}."

    @property
    def directory(self) -> str:
        """URL of the release directory, as stated by the release."""
        return self.address.rpartition("/")[0]

    @property
    def author(self) -> tuple[str, str]:
        """Name and e-mail address of the publisher."""
        contact = self.record["dcat:contactPoint"]["vcard:hasEmail"]["@id"].removeprefix("mailto:")
        return self.record["dct:publisher"]["foaf:name"]["@value"], contact

    def select(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the properties of the record with these names."""
        return {name: self.record[name] for name in names}

    def find_distribution(self, kind: str) -> dict[str, Any]:
        """Return the first distribution in a format, such as `csv`."""
        found: list[dict[str, Any]] = self.record["dcat:distribution"]
        return next(each for each in found if each["dct:format"]["@id"].rpartition("/")[2] == kind.upper())

    def get_announcement(self, coming: Upcoming) -> str:
        """Return the identifier of an announcement; the release itself will have a different address."""
        return f"{self.directory}/{directory_files.UPCOMING_FILE}#{coming.version}"


def _read_published(release_dir: Path) -> list[_Published]:
    """Return every release with its catalogue record, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn, found = load_withdrawals(release_dir), []
    for version in map(str, list_versions(release_dir)):
        bundle = release_dir / version
        record = json.loads((bundle / "dcat.jsonld").read_bytes())
        notice = json.loads((bundle / release_facts.DATAPACKAGE_FILE).read_bytes()).get("notice", "")
        package = release_dir / synthetic_folder.SYNTHETIC_FOLDER / version / release_facts.DATAPACKAGE_FILE
        descriptor = json.loads(package.read_bytes()) if package.is_file() else None
        found.append(_Published(version, record, withdrawn.get(version), notice, descriptor))
    return found


def _build_catalogue(
    releases: Sequence[_Published], upcoming: Sequence[Upcoming], register: Register | None
) -> dict[str, Any]:
    """Return the catalogue (DCAT-AP 3.0) of releases, oldest first and at least one, JSON-ready.

    Each release is a dataset, described by its own record (`dcat.jsonld`), and all are in one series. Statuses are from
    the tables of the EU Publications Office. Announced releases and requests for tables are listed separately.
    """
    newest = releases[-1]
    address = f"{newest.directory}/catalogue.jsonld"
    periods = [each.record["dct:temporal"] for each in releases]
    found = render_record(
        "catalogue",
        address=address,
        series=f"{address}#series",
        releases=releases,
        newest=newest,
        current=next((each for each in reversed(releases) if each.withdrawal is None), None),
        of_newest=newest.select(_OF_THE_NEWEST),
        # Releases can cover the same period, and dictionaries cannot be members of a set.
        periods=list({str(period): period for period in periods}.values()),
        upcoming=upcoming,
        changed=_find_last_change(releases, upcoming),
        changed_series=_find_last_change(releases),
        register=register,
        directory_files=directory_files,
        synthetic=synthetic_folder,
        api=description.API_FOLDER,
    )
    datasets = found["catalogue"]["dcat:dataset"]
    # The stored records are merged here, because reading them again as YAML takes seconds for ten releases.
    for position, release in enumerate(releases):
        status = {"adms:status": datasets[position].pop("dcat:distribution")}
        files = [entry | status for entry in release.record["dcat:distribution"]]
        record = {name: value for name, value in release.record.items() if name != "@context"}
        datasets[position] = record | datasets[position] | {"dcat:distribution": files}
    return {"@context": DCAT_CONTEXT, "@graph": [found["catalogue"], found["series"]]}


def _find_last_change(releases: Sequence[_Published], upcoming: Sequence[Upcoming] = ()) -> str:
    return max([*(each.changed for each in releases), *(each.announced_on for each in upcoming)])


def _build_feed(releases: Sequence[_Published], upcoming: Sequence[Upcoming], register: Register | None) -> bytes:
    """Return the Atom feed (RFC 4287) of releases, oldest first and at least one, as UTF-8.

    It lists the newest release first, dated by its publication or, if withdrawn, by its withdrawal. An answered request
    has an entry after the release that answered it.
    """
    return kit.render(
        Path(__file__).parent / "templates",
        "feed.xml.j2",
        title=release_facts.TITLE,
        rights=description.OGL_NAME,
        newest=releases[-1],
        releases=releases[::-1],
        upcoming=upcoming[::-1],
        changed=_find_last_change(releases, upcoming),
        requests=register.requests if register else (),
        directory_files=directory_files,
    ).encode()
