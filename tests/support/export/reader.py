"""A reader of the place where releases are published, who checks that everything is complete."""

import hashlib
import json
import posixpath
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb

from ndl_export.bundle.verify import find_integrity_faults
from ndl_export.facts.bundle_reader import fetch_folder
from ndl_export.files.archive import LARGEST, unpack
from ndl_export.files.stores import open_store
from tests.support.export.fake_release import fake_facts

ATOM = {"a": "http://www.w3.org/2005/Atom"}
ADDRESS = fake_facts().address


@dataclass(frozen=True)
class Seen:
    """Versions by the file that links to them; `latest` is None if there is no such file."""

    catalogue: frozenset[str]
    feed: frozenset[str]
    database: frozenset[str]
    pages: frozenset[str]
    latest: str | None


def look(url: str, scratch: Path) -> Seen:
    """Follow every link to a release, and fail if its target is missing or invalid."""
    store = open_store(url)
    sizes = store.list_sizes() or {}

    def read(name: str) -> bytes:
        return store.read(name, LARGEST) or b""

    catalogue = json.loads(read("catalogue.jsonld") or b'{"@graph": [{"dcat:dataset": []}]}')["@graph"][0]
    datasets = {each["dcat:version"]: each for each in catalogue["dcat:dataset"]}
    for version, dataset in datasets.items():
        files = fetch_folder(store, f"{version}/")
        assert find_integrity_faults(files, None) == []
        for suffix in ("zip", "tar"):
            assert unpack(read(f"{version}.{suffix}")) == (version, files)
        for each in dataset["dcat:distribution"]:
            assert each["dcat:downloadURL"]["@id"].removeprefix(f"{ADDRESS}/") in sizes
    entries = ET.fromstring(feed).findall("a:entry", ATOM) if (feed := read("feed.xml")) else []
    fed = {each.findtext("a:id", "", ATOM).rpartition("/")[2] for each in entries}
    latest = json.loads(read("latest.json") or b"{}")
    if latest:
        assert hashlib.sha256(read(f"{latest['folder']}SHA256SUMS")).hexdigest() == latest["sha256sums"]
        assert {latest["zip"], latest["tar"], latest["page"]} <= sizes.keys()
    _check_api(read, sizes, set(datasets))
    pages = {
        version
        for name in sizes
        if re.fullmatch(r"site/\w.*\.html", name)
        for version in _follow_links(name, read, sizes)
    }
    seen = Seen(
        *map(frozenset, (datasets, fed, _query_databases(read("readiness.duckdb"), scratch), pages)),
        latest.get("version"),
    )
    assert seen.feed | seen.database | seen.pages | ({seen.latest} if seen.latest else set()) <= seen.catalogue
    return seen


def _check_api(read, sizes, versions) -> None:
    """Fail if the API names a release that is not published, or a file that is missing or not as its list says."""
    if not (index := read("api/v1/index.json")):
        return
    assert {f"api/v1/{link}" for link in json.loads(index)["links"].values() if ".." not in link} <= sizes.keys()
    named = [each["release"] for each in json.loads(read("api/v1/releases.json"))["releases"]]
    assert set(named) <= versions
    for folder in (f"api/v1/releases/{version}" for version in named):
        listed = json.loads(read(f"{folder}/index.json"))
        files = sorted(unquote(file) for table in listed["files"] for file in table["areas"].values())
        total = hashlib.sha256()
        for file in files:
            total.update(file.encode() + b"\0" + hashlib.sha256(read(f"{folder}/{file}")).digest())
        assert total.hexdigest() == listed["sha256"]


def _follow_links(name, read, sizes) -> set[str]:
    """Return the one version that a page of `site/` links to; fail if the target of any link is missing."""
    links = re.findall(r'href="(?!#|mailto:|data:|https?:)([^"#?]+)', read(name).decode())
    paths = {posixpath.normpath(posixpath.join("site", link)) for link in links}
    assert paths <= sizes.keys(), paths - sizes.keys()
    versions = {path.partition("/")[0] for path in paths if "/" in path} - {"site"}
    assert len(versions) == 1
    return versions


def _query_databases(content: bytes, scratch: Path) -> set[str]:
    if not content:
        return set()
    path = scratch / "seen.duckdb"
    path.write_bytes(content)
    with duckdb.connect(str(path), read_only=True) as connection:
        return {version for (version,) in connection.execute("SELECT release_version FROM releases.release").fetchall()}
