"""Files that list all releases: `catalogue.jsonld` for harvesters (DCAT-AP 3.0) and `feed.xml` for readers (Atom).

In the catalogue, each release is the dataset of its own record (`dcat.jsonld`), in one series, with a status from the
tables of the EU Publications Office. The feed (RFC 4287) lists the newest release first, dated by its publication or,
if withdrawn, by its withdrawal. Both list announced releases and requests for tables separately.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndl_export.facts.description import API_FOLDER, OGL_ADDRESS, OGL_NAME
from ndl_export.facts.directory_files import DEVELOPED, REGISTER_FILE, UPCOMING_FILE, Register, Upcoming
from ndl_export.facts.release_facts import TITLE, Withdrawal
from ndl_export.facts.synthetic import CSV_FILE, PARQUET_FILE, QUALITY_PAGE
from ndl_export.metadata.portals import DCAT_CONTEXT, read_record
from ndl_export.pages import kit

_TEMPLATES = Path(__file__).parent / "templates"
_OF_THE_NEWEST = ("dct:publisher", "dcat:contactPoint", "dct:accrualPeriodicity", "dct:spatial")
"""Properties that the series takes from its newest release."""


@dataclass(frozen=True)
class Published:
    """A release in its directory.

    `record` is the one in its bundle (`dcat.jsonld`), and `notice`, which may be empty, begins everything about it.
    """

    version: str
    record: dict[str, Any]
    withdrawal: Withdrawal | None
    notice: str = ""
    synthetic: Mapping[str, Any] | None = None
    """The descriptor of the synthetic children beside it, their `datapackage.json`."""

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
        return f"{self.directory}/{UPCOMING_FILE}#{coming.version}"


def build_catalogue(
    releases: Sequence[Published], upcoming: Sequence[Upcoming] = (), register: Register | None = None
) -> dict[str, Any]:
    """Return the catalogue, JSON-ready.

    `releases` are oldest first, at least one; `upcoming` are the announced ones; `register` is the register of
    requests, if any.
    """
    newest = releases[-1]
    address = f"{newest.directory}/catalogue.jsonld"
    periods = [each.record["dct:temporal"] for each in releases]
    rendered = kit.render(
        _TEMPLATES,
        "catalogue.yaml.j2",
        address=address,
        series=f"{address}#series",
        title=TITLE,
        licence=OGL_NAME,
        licence_address=OGL_ADDRESS,
        releases=releases,
        newest=newest,
        current=next((each for each in reversed(releases) if each.withdrawal is None), None),
        of_newest=newest.select(_OF_THE_NEWEST),
        # Releases can cover the same period, and dictionaries cannot be members of a set.
        periods=list({str(period): period for period in periods}.values()),
        upcoming=upcoming,
        changed=_find_last_change(releases, upcoming),
        changed_series=_find_last_change(releases),
        developed=DEVELOPED,
        register=register,
        register_file=REGISTER_FILE,
        api=API_FOLDER,
        quality_page=QUALITY_PAGE,
        synthetic_rows=(CSV_FILE, PARQUET_FILE),
    )
    found = read_record(rendered)
    datasets = found["catalogue"]["dcat:dataset"]
    # The stored records are merged here, because reading them again as YAML takes seconds for ten releases.
    for position, release in enumerate(releases):
        status = {"adms:status": datasets[position].pop("dcat:distribution")}
        files = [entry | status for entry in release.record["dcat:distribution"]]
        record = {name: value for name, value in release.record.items() if name != "@context"}
        datasets[position] = record | datasets[position] | {"dcat:distribution": files}
    return {"@context": DCAT_CONTEXT, "@graph": [found["catalogue"], found["series"]]}


def _find_last_change(releases: Sequence[Published], upcoming: Sequence[Upcoming] = ()) -> str:
    return max([*(each.changed for each in releases), *(each.announced_on for each in upcoming)])


def build_feed(
    releases: Sequence[Published], upcoming: Sequence[Upcoming] = (), register: Register | None = None
) -> bytes:
    """Return the Atom feed as UTF-8.

    `releases` are oldest first, at least one; `upcoming` are the announced ones. An answered request in `register` has
    an entry after the release that answered it.
    """
    return kit.render(
        _TEMPLATES,
        "feed.xml.j2",
        title=TITLE,
        rights=OGL_NAME,
        newest=releases[-1],
        releases=releases[::-1],
        upcoming=upcoming[::-1],
        changed=_find_last_change(releases, upcoming),
        requests=register.requests if register else (),
        register_file=REGISTER_FILE,
    ).encode()
