"""`feed.xml`: every release as an entry of an Atom feed (RFC 4287), newest first.

An entry is dated by the month of its version, and by the day of its withdrawal where it is withdrawn.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ndl_export.facts.description import OGL_NAME
from ndl_export.facts.release_facts import TITLE
from ndl_export.metadata.catalogue import Published

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
