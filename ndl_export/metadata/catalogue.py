"""Files that list all releases: `catalogue.jsonld` for harvesters (DCAT-AP 3.0) and `feed.xml` for readers (Atom).

In the catalogue, each release is the dataset of its own record (`dcat.jsonld`). All are in one series in version order,
with a status from the tables of the EU Publications Office; the description of a withdrawn one begins with the reason.
CKAN's harvester makes a package of each `dcat:Dataset`. The feed (RFC 4287) lists the newest release first, dated by
its publication or, if withdrawn, by its withdrawal. Both files list announced releases separately. Synthetic children
of a release are a separate dataset in the catalogue and have the status of the release. The catalogue links to the
requests for tables, and the feed lists the answered ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndl_export.facts.description import OGL_ADDRESS, OGL_NAME
from ndl_export.facts.directory_files import REGISTER_FILE, UPCOMING_FILE, Register, Upcoming, Withdrawal
from ndl_export.facts.release_facts import TITLE, Version
from ndl_export.facts.synthetic import CSV_FILE, PARQUET_FILE, QUALITY_PAGE
from ndl_export.metadata.portals import DCAT_CONTEXT
from ndl_export.pages import kit
from ndl_export.pages.number_format import join_parts

_AUTHORITY = "http://publications.europa.eu/resource/authority"
_STATUS = {False: ("COMPLETED", "completed"), True: ("WITHDRAWN", "withdrawn")}
"""Code and label of the status, by whether a release is withdrawn; for datasets and distributions."""
_DEVELOPED = "dataset-status/DEVELOP"
"""Status of an announced release."""
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
    series = f"{address}#series"
    return {
        "@context": DCAT_CONTEXT,
        "@graph": [
            {
                "@id": address,
                "@type": "dcat:Catalog",
                "dct:title": _build_text(f"{TITLE}: all releases"),
                "dct:description": _build_text(
                    join_parts(newest.notice, "Every release that was published, newest last; none is ever taken away.")
                ),
                "dct:publisher": newest.record["dct:publisher"],
                "dct:language": newest.record["dct:language"],
                "dct:issued": _build_date(releases[0].issued),
                "dct:modified": _build_date(_find_last_change(releases, upcoming)),
                "dct:license": {"@id": OGL_ADDRESS, "@type": "dct:LicenseDocument", "dct:title": _build_text(OGL_NAME)},
                "foaf:homepage": {"@id": newest.directory, "@type": "foaf:Document"},
                **(_build_request_links(releases) if register else {}),
                "dcat:themeTaxonomy": {
                    "@id": f"{_AUTHORITY}/data-theme",
                    "@type": "skos:ConceptScheme",
                    "dct:title": _build_text("Data theme"),
                },
                "dcat:dataset": [
                    *(_build_dataset(releases, position, series) for position in range(len(releases))),
                    *(_build_synthetic_dataset(each, each.synthetic) for each in releases if each.synthetic),
                    *(_build_announced_dataset(newest, each, series) for each in upcoming),
                ],
            },
            _build_series(releases, series),
        ],
    }


def _build_request_links(releases: Sequence[Published]) -> dict[str, Any]:
    """Return the links to the register of requests: for programs, and for people if it has a page."""
    directory = releases[-1].directory
    found: dict[str, Any] = {"dct:relation": {"@id": f"{directory}/{REGISTER_FILE}"}}
    # If every release is withdrawn, the directory has no `site`.
    if all(each.withdrawal for each in releases):
        return found
    page = {
        "@id": f"{directory}/site/requests.html",
        "@type": "foaf:Document",
        "dct:title": _build_text("Requests for tables"),
    }
    return found | {"foaf:page": page}


def _build_series(releases: Sequence[Published], name: str) -> dict[str, Any]:
    first, newest = releases[0], releases[-1]
    periods = [each.record["dct:temporal"] for each in releases]
    valid = [each for each in releases if each.withdrawal is None]
    described = {
        "@id": name,
        "@type": "dcat:DatasetSeries",
        "dct:title": _build_text(TITLE),
        "dct:description": _build_text(
            join_parts(
                newest.notice,
                "Differentially private statistics on school readiness, from linked early-years records. A newer"
                " release replaces the one of the same cohort before it, which stays as it was published.",
            )
        ),
        "dct:issued": _build_date(first.issued),
        "dct:modified": _build_date(_find_last_change(releases)),
        # Releases can cover the same period, and dictionaries cannot be members of a set.
        "dct:temporal": list({str(period): period for period in periods}.values()),
        "dcat:first": {"@id": first.address},
        "dcat:last": {"@id": newest.address},
    }
    described |= {name: newest.record[name] for name in _OF_THE_NEWEST}
    return described | ({"dcat:hasCurrentVersion": {"@id": valid[-1].address}} if valid else {})


def _build_dataset(releases: Sequence[Published], position: int, series: str) -> dict[str, Any]:
    """Return the record of the release at `position`, with its links in the series and its status."""
    release = releases[position]
    code, label = _STATUS[release.withdrawal is not None]
    record = {name: value for name, value in release.record.items() if name != "@context"}
    record |= {
        "dct:title": _build_text(f"{TITLE}, release {release.version}"),
        "dct:modified": _build_date(release.changed),
        "dcat:inSeries": {"@id": series},
        "adms:status": _build_concept(f"dataset-status/{code}", label),
        # CKAN's harvester reads the status of distributions only, so each has one.
        "dcat:distribution": [
            entry | {"adms:status": _build_concept(f"distribution-status/{code}", label)}
            for entry in record["dcat:distribution"]
        ],
    }
    # It reads the description of a dataset, but not its status.
    if release.withdrawal:
        for name in ("dct:description", "adms:versionNotes"):
            record[name] = _build_text(f"{release.withdrawal.sentence} {record[name]['@value']}")
    if position > 0:
        record["dcat:prev"] = {"@id": releases[position - 1].address}
    if position + 1 < len(releases):
        record["dcat:next"] = {"@id": releases[position + 1].address}
    return record


_AS_THE_RELEASE = (
    *("dct:publisher", "dcat:contactPoint", "dct:accessRights", "dct:language", "dct:spatial", "dct:temporal"),
    "dcat:theme",
)
"""Properties that synthetic children take from their release."""


def _build_synthetic_dataset(release: Published, package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the synthetic children of a release as a dataset in no series, with the status of the release."""
    code, label = _STATUS[release.withdrawal is not None]
    withdrawn = release.withdrawal.sentence if release.withdrawal else ""
    address, rows = package["homepage"], (CSV_FILE, PARQUET_FILE)
    described = {
        "@id": address,
        "@type": "dcat:Dataset",
        "dct:title": _build_text(package["title"]),
        "dct:description": _build_text(" ".join(filter(None, (withdrawn, package["description"])))),
        "dct:identifier": address,
        "dct:issued": _build_date(release.issued),
        "dct:modified": _build_date(release.changed),
        "dct:source": {"@id": release.address},
        "dcat:version": release.version,
        "dcat:keyword": [_build_text(word) for word in package["keywords"]],
        "dcat:landingPage": {"@id": f"{address}/{QUALITY_PAGE}", "@type": "foaf:Document"},
        "adms:status": _build_concept(f"dataset-status/{code}", label),
        "dcat:distribution": [
            _build_rows_distribution(release, address, each)
            | {"adms:status": _build_concept(f"distribution-status/{code}", label)}
            for each in package["resources"]
            if each["path"] in rows
        ],
    }
    return described | {name: release.record[name] for name in _AS_THE_RELEASE}


def _build_rows_distribution(release: Published, address: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file of synthetic rows, described like the release's distributions of the same format."""
    same_format = next(
        entry
        for entry in release.record["dcat:distribution"]
        if entry["dct:format"]["@id"].rpartition("/")[2] == resource["format"].upper()
    )
    file = f"{address}/{resource['path']}"
    own = {
        "@id": f"{address}#{resource['path']}",
        "dct:title": _build_text(resource["title"]),
        "dct:description": _build_text(join_parts(release.notice, resource["title"])),
        "dcat:accessURL": {"@id": file, "@type": "rdfs:Resource"},
        "dcat:downloadURL": {"@id": file, "@type": "rdfs:Resource"},
        "dcat:byteSize": {"@value": str(resource["bytes"]), "@type": "xsd:nonNegativeInteger"},
        "spdx:checksum": same_format["spdx:checksum"]
        | {
            "spdx:checksumValue": {
                "@value": resource["hash"].removeprefix("sha256:"),
                "@type": "xsd:hexBinary",
            }
        },
    }
    return same_format | own


def _build_announced_dataset(newest: Published, coming: Upcoming, series: str) -> dict[str, Any]:
    """Return an announced release: it has the status of one in development, and no distribution.

    `dct:available` is its day or month. It has no date of issue or modification.
    """
    month = {"@value": Version.parse(coming.version).published_in, "@type": "xsd:gYearMonth"}
    when = {"@value": coming.date, "@type": "xsd:date"} if coming.date else month
    described = {
        "@id": newest.get_announcement(coming),
        "@type": "dcat:Dataset",
        "dct:title": _build_text(f"{TITLE}, release {coming.version}"),
        "dct:description": _build_text(join_parts(newest.notice, coming.sentence)),
        "dct:identifier": newest.get_announcement(coming),
        "dct:available": when,
        "dcat:version": coming.version,
        "dcat:inSeries": {"@id": series},
        "dcat:landingPage": {"@id": newest.directory, "@type": "foaf:Document"},
        "adms:status": _build_concept(_DEVELOPED, "under development"),
    }
    return described | {name: newest.record[name] for name in _OF_THE_NEWEST}


def is_announced(dataset: Mapping[str, Any]) -> bool:
    """Return whether a dataset of a catalogue is a release that is only announced."""
    # The catalogue may come from a place that others write to, so its form is not taken for granted.
    status = dataset.get("adms:status")
    return isinstance(status, dict) and str(status.get("@id", "")).endswith(f"/{_DEVELOPED}")


def _find_last_change(releases: Sequence[Published], upcoming: Sequence[Upcoming] = ()) -> str:
    return max([*(each.changed for each in releases), *(each.announced_on for each in upcoming)])


def _build_concept(path: str, label: str) -> dict[str, Any]:
    """Return a term of the Publications Office, given its path below the authority tables."""
    return {"@id": f"{_AUTHORITY}/{path}", "@type": "skos:Concept", "skos:prefLabel": _build_text(label)}


def _build_text(words: str) -> dict[str, str]:
    """Return a literal in English."""
    return {"@value": words, "@language": "en"}


def _build_date(day: str) -> dict[str, str]:
    """Return a date literal; `day` is written 2026-11-01."""
    return {"@value": day, "@type": "xsd:date"}


def build_feed(
    releases: Sequence[Published], upcoming: Sequence[Upcoming] = (), register: Register | None = None
) -> bytes:
    """Return the Atom feed as UTF-8.

    `releases` are oldest first, at least one; `upcoming` are the announced ones. An answered request in `register` has
    an entry after the release that answered it.
    """
    return kit.render(
        Path(__file__).parent / "templates",
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
