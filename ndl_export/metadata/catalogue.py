"""What leads from release to release: `catalogue.jsonld` for harvesters (DCAT-AP 3.0), `feed.xml` for readers (Atom).

In the catalogue each release is the dataset of its own record (`dcat.jsonld`), in one series in order of version, with
its status from the tables of the EU Publications Office. CKAN's harvester makes a package of each `dcat:Dataset` and
reads the status of distributions alone, so theirs is stated as well, and the description of a withdrawn release begins
with the reason. In the feed (RFC 4287), newest first, a release is dated by the month of its version, and by the day of
its withdrawal where it is withdrawn.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ndl_export.facts.description import OGL_ADDRESS, OGL_NAME
from ndl_export.facts.release_facts import TITLE, Version
from ndl_export.facts.withdrawals import Withdrawal
from ndl_export.metadata.dcat import AUTHORITY, CONTEXT, concept, date, text

_STATUS = {False: ("COMPLETED", "completed"), True: ("WITHDRAWN", "withdrawn")}
"""Code and label, by whether a release is withdrawn; the same for datasets and distributions."""
_OF_THE_NEWEST = ("dct:publisher", "dcat:contactPoint", "dct:accrualPeriodicity", "dct:spatial")
"""What the series says as its newest release does."""


@dataclass(frozen=True)
class Published:
    """A release in its directory: version, the record in its bundle (`dcat.jsonld`), and its withdrawal, if any."""

    version: str
    record: dict[str, Any]
    withdrawal: Withdrawal | None

    @property
    def address(self) -> str:
        """Where its folder is served: its name in the catalogue and in the feed."""
        found: str = self.record["@id"]
        return found

    @property
    def issued(self) -> str:
        """First day of the month of publication."""
        return Version.parse(self.version).first_day

    @property
    def changed(self) -> str:
        """Day of publication, or of withdrawal where it is later."""
        return max(self.issued, self.withdrawal.date) if self.withdrawal else self.issued

    @property
    def notes(self) -> str:
        """What is new against the release before it, with a full stop; empty where its record does not say."""
        said = self.record.get("adms:versionNotes")
        return f"{said['@value']}." if said else ""

    @property
    def directory(self) -> str:
        """Where the release directory is served, as the release says."""
        return self.address.rpartition("/")[0]


def catalogue(releases: Sequence[Published]) -> dict[str, Any]:
    """The catalogue, JSON-ready; `releases` oldest first, at least one."""
    newest = releases[-1]
    address = f"{newest.directory}/catalogue.jsonld"
    series = f"{address}#series"
    return {
        "@context": CONTEXT,
        "@graph": [
            {
                "@id": address,
                "@type": "dcat:Catalog",
                "dct:title": text(f"{TITLE}: all releases"),
                "dct:description": text("Every release that was published, newest last; none is ever taken away."),
                "dct:publisher": newest.record["dct:publisher"],
                "dct:language": newest.record["dct:language"],
                "dct:issued": date(releases[0].issued),
                "dct:modified": date(_changed(releases)),
                "dct:license": {"@id": OGL_ADDRESS, "@type": "dct:LicenseDocument", "dct:title": text(OGL_NAME)},
                "foaf:homepage": {"@id": newest.directory, "@type": "foaf:Document"},
                "dcat:themeTaxonomy": {
                    "@id": f"{AUTHORITY}/data-theme",
                    "@type": "skos:ConceptScheme",
                    "dct:title": text("Data theme"),
                },
                "dcat:dataset": [_dataset(releases, position, series) for position in range(len(releases))],
            },
            _series(releases, series),
        ],
    }


def _series(releases: Sequence[Published], name: str) -> dict[str, Any]:
    first, newest = releases[0], releases[-1]
    periods = [each.record["dct:temporal"] for each in releases]
    valid = [each for each in releases if each.withdrawal is None]
    described = {
        "@id": name,
        "@type": "dcat:DatasetSeries",
        "dct:title": text(TITLE),
        "dct:description": text(
            "Differentially private statistics on school readiness, from linked early-years records. A newer release"
            " replaces the one of the same cohort before it, which stays as it was published."
        ),
        "dct:issued": date(first.issued),
        "dct:modified": date(_changed(releases)),
        "dct:temporal": list({str(period): period for period in periods}.values()),
        "dcat:first": {"@id": first.address},
        "dcat:last": {"@id": newest.address},
    }
    described |= {name: newest.record[name] for name in _OF_THE_NEWEST}
    return described | ({"dcat:hasCurrentVersion": {"@id": valid[-1].address}} if valid else {})


def _dataset(releases: Sequence[Published], position: int, series: str) -> dict[str, Any]:
    """The record of the release at that position, with its place in the series and its status."""
    release = releases[position]
    code, label = _STATUS[release.withdrawal is not None]
    record = {name: value for name, value in release.record.items() if name != "@context"}
    record |= {
        "dct:title": text(f"{TITLE}, release {release.version}"),
        "dct:modified": date(release.changed),
        "dcat:inSeries": {"@id": series},
        "adms:status": concept(f"dataset-status/{code}", label),
        "dcat:distribution": [
            entry | {"adms:status": concept(f"distribution-status/{code}", label)}
            for entry in record["dcat:distribution"]
        ],
    }
    if release.withdrawal:
        for told in record.keys() & {"dct:description", "adms:versionNotes"}:
            record[told] = text(f"{release.withdrawal.sentence} {record[told]['@value']}")
    if position > 0:
        record["dcat:prev"] = {"@id": releases[position - 1].address}
    if position + 1 < len(releases):
        record["dcat:next"] = {"@id": releases[position + 1].address}
    return record


def _changed(releases: Sequence[Published]) -> str:
    return max(each.changed for each in releases)


_NAMESPACE = "http://www.w3.org/2005/Atom"


def feed(releases: Sequence[Published]) -> bytes:
    """The feed as UTF-8; `releases` oldest first, at least one."""
    newest = releases[-1]
    root = ET.Element("feed", {"xmlns": _NAMESPACE, "xml:lang": "en"})
    address = f"{newest.directory}/feed.xml"
    _add(root, "id", address)
    _add(root, "title", f"{TITLE}: releases")
    _add(root, "updated", _moment(max(each.changed for each in releases)))
    _add(root, "rights", OGL_NAME)
    _link(root, "self", "application/atom+xml", address)
    _link(root, "alternate", "text/html", newest.directory)
    _author(root, newest)
    for release in reversed(releases):
        _entry(ET.SubElement(root, "entry"), release)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _entry(entry: ET.Element, release: Published) -> None:
    withdrawn = release.withdrawal
    _add(entry, "id", release.address)
    _add(entry, "title", f"{'Withdrawn: ' if withdrawn else ''}{TITLE}, release {release.version}")
    _add(entry, "updated", _moment(release.changed))
    _add(entry, "published", _moment(release.issued))
    _author(entry, release)
    _link(entry, "alternate", "text/html", f"{release.address}/site/index.html")
    _link(entry, "enclosure", "application/zip", f"{release.address}.zip")
    if withdrawn:
        ET.SubElement(entry, "category", {"term": "withdrawn"})
    if summary := " ".join(part for part in (withdrawn.sentence if withdrawn else "", release.notes) if part):
        _add(entry, "summary", summary)


def _author(parent: ET.Element, release: Published) -> None:
    author = ET.SubElement(parent, "author")
    _add(author, "name", release.record["dct:publisher"]["foaf:name"]["@value"])
    _add(author, "email", release.record["dcat:contactPoint"]["vcard:hasEmail"]["@id"].removeprefix("mailto:"))


def _link(parent: ET.Element, relation: str, media_type: str, address: str) -> None:
    ET.SubElement(parent, "link", {"rel": relation, "type": media_type, "href": address})


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _moment(day: str) -> str:
    return f"{day}T00:00:00Z"
