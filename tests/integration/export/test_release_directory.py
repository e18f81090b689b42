"""What stands beside the bundles: catalogue, feed, `latest`, `site`; and releases that are withdrawn."""

import datetime as dt
import json
import shutil
import threading
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ndl_export.bundle.release_directory import WithdrawalRefused, announce_upcoming, refresh, withdraw
from ndl_export.bundle.verify import verify
from ndl_export.facts.directory_files import NOTHING_ANNOUNCED, Announced, Upcoming, list_upcoming
from ndl_export.facts.release_facts import UnreadableWithdrawals, Version
from ndl_export.files.whole_files import write_whole
from ndl_export.tables import TABLES
from tests.support.export.fake_release import fake_facts
from tests.support.export.standard_validators import run_validator
from tests.support.installation.commands import invoke
from tests.support.installation.traces import hash_files

pytestmark = pytest.mark.slow

ADDRESS = fake_facts().address
FIRST, SECOND = "2026.11.0", "2026.12.0"
DAY = dt.date(2026, 12, 5)
REASON = "Sefton's extract was of another year"
ATOM = {"a": "http://www.w3.org/2005/Atom"}


@pytest.fixture(scope="module")
def taken_back(tmp_path_factory: pytest.TempPathFactory, two: Path) -> Path:
    """Two releases, the newer withdrawn; to be read, not written."""
    directory = tmp_path_factory.mktemp("taken_back") / "release"
    shutil.copytree(two, directory, symlinks=True)
    assert withdraw(directory, SECOND, f"  {REASON}\n", DAY) == Version.parse(FIRST)
    return directory


@pytest.fixture
def own(two: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two, tmp_path / "home" / "release", symlinks=True))


def digests(directory: Path) -> dict[str, str]:
    """Of every file of the bundles, folders and archives."""
    return {name: digest for name, digest in hash_files(directory).items() if name.startswith("2")}


def nodes(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    found, series = json.loads((directory / "catalogue.jsonld").read_text())["@graph"]
    return found, series


def entries(directory: Path) -> list[ET.Element]:
    return ET.parse(directory / "feed.xml").getroot().findall("a:entry", ATOM)


def test_every_release_is_a_dataset_of_one_series_in_order(two: Path) -> None:
    found, series = nodes(two)
    first, second = found["dcat:dataset"]
    assert (first["@id"], second["@id"]) == (f"{ADDRESS}/{FIRST}", f"{ADDRESS}/{SECOND}")
    assert {each["dcat:inSeries"]["@id"] for each in (first, second)} == {series["@id"]}
    assert "dcat:prev" not in first
    assert "dcat:next" not in second
    assert (first["dcat:next"]["@id"], second["dcat:prev"]["@id"]) == (second["@id"], first["@id"])
    assert (series["dcat:first"]["@id"], series["dcat:last"]["@id"]) == (first["@id"], second["@id"])
    assert series["dcat:hasCurrentVersion"]["@id"] == second["@id"]
    assert [each["dct:issued"]["@value"] for each in (first, second)] == ["2026-11-03", "2026-12-03"]
    assert [each["dcat:version"] for each in (first, second)] == [FIRST, SECOND]
    assert len(series["dct:temporal"]) == 1


COMING = [Announced("2027.06.0", dt.date(2027, 6, 24)), Announced("2027.12.0", None)]


@pytest.fixture(scope="module")
def announcing(tmp_path_factory: pytest.TempPathFactory, two: Path) -> Path:
    """The same, with two releases announced, of which one is there; to be read, not written."""
    directory = tmp_path_factory.mktemp("announcing") / "release"
    shutil.copytree(two, directory, symlinks=True)
    announce_upcoming(directory, [Announced(SECOND, dt.date(2026, 12, 3)), *COMING], DAY)
    return directory


def test_announced_releases_are_in_catalogue_feed_and_page(announcing: Path) -> None:
    found, series = nodes(announcing)
    assert [each["dcat:version"] for each in found["dcat:dataset"]] == [FIRST, SECOND, "2027.06.0", "2027.12.0"]
    june, december = found["dcat:dataset"][2:]
    assert june["dct:available"] == {"@value": "2027-06-24", "@type": "xsd:date"}
    assert december["dct:available"] == {"@value": "2027-12", "@type": "xsd:gYearMonth"}
    for each in (june, december):
        assert not {"dct:issued", "dct:modified", "dcat:distribution"} & each.keys()
        assert each["adms:status"]["@id"].endswith("/dataset-status/DEVELOP")
    assert series["dcat:last"]["@id"] == f"{ADDRESS}/{SECOND}"
    assert found["dct:modified"]["@value"] == DAY.isoformat()
    days = [DAY.isoformat(), DAY.isoformat(), "2026-12-03", "2026-11-03"]
    assert [each.findtext("a:updated", "", ATOM) for each in entries(announcing)] == [
        f"{day}T00:00:00Z" for day in days
    ]
    for december_or_june, entry in zip(("December 2027", "24 June 2027, 9:30am"), entries(announcing), strict=False):
        assert entry.findtext("a:title", "", ATOM).startswith(f"Announced for {december_or_june}: ")
    page = (announcing / "site" / "about.html").read_text()
    assert all(f"<li>Release {each.version} is announced for " in page for each in COMING)
    assert f"{ADDRESS}/site/about.html#upcoming" in (announcing / SECOND / "code_of_practice.md").read_text()


def test_an_announcement_keeps_its_day_until_it_changes(announcing: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(announcing, tmp_path / "release", symlinks=True))
    later, day = DAY + dt.timedelta(days=30), dt.date(2027, 12, 2)
    announce_upcoming(directory, COMING, later)
    assert list_upcoming(directory, ()) == [
        Upcoming("2027.06.0", "2027-06-24", DAY.isoformat()),
        Upcoming("2027.12.0", "", DAY.isoformat()),
    ]
    announce_upcoming(directory, [COMING[0], Announced("2027.12.0", day)], later)
    assert list_upcoming(directory, ["2027.06.0"]) == [Upcoming("2027.12.0", "2027-12-02", later.isoformat())]
    assert entries(directory)[0].findtext("a:updated", "", ATOM) == f"{later}T00:00:00Z"
    announce_upcoming(directory, [], later)
    assert NOTHING_ANNOUNCED in (directory / "site" / "about.html").read_text()


def test_a_withdrawn_release_keeps_every_byte_is_not_current_and_says_why(two: Path, taken_back: Path) -> None:
    assert digests(taken_back) == digests(two)
    assert len(digests(two)) > 100
    assert (taken_back / "latest").resolve().name == FIRST
    assert f'href="../{FIRST}/' in (taken_back / "site" / "index.html").read_text()
    assert json.loads((taken_back / "withdrawn.json").read_text()) == {
        "withdrawn": [{"version": SECOND, "date": "2026-12-05", "reason": REASON}]
    }
    for form in (SECOND, f"{SECOND}.zip", f"{SECOND}.tar"):
        report = verify(taken_back / form)
        assert report.ok
        assert f"Release {SECOND} was withdrawn on 2026-12-05: {REASON}.\n" in str(report)
    assert "withdrawn" not in str(verify(taken_back / FIRST))
    found, series = nodes(taken_back)
    first, second = found["dcat:dataset"]
    assert [each["adms:status"]["@id"].rpartition("/")[2] for each in (first, second)] == ["COMPLETED", "WITHDRAWN"]
    assert second["dct:modified"]["@value"] == found["dct:modified"]["@value"] == "2026-12-05"
    assert series["dcat:hasCurrentVersion"]["@id"] == first["@id"]
    newest, _ = entries(taken_back)
    assert newest.findtext("a:title", "", ATOM).startswith("Withdrawn: ")
    assert newest.findtext("a:updated", "", ATOM) == "2026-12-05T00:00:00Z"
    assert newest.findtext("a:published", "", ATOM) == "2026-12-03T00:00:00Z"
    for words in (newest.findtext("a:summary", "", ATOM), second["dct:description"]["@value"]):
        assert words.startswith(f"Release {SECOND} was withdrawn on 2026-12-05: {REASON}. ")


def test_where_every_release_is_withdrawn_nothing_is_current(own: Path) -> None:
    withdraw(own, SECOND, REASON, DAY)
    assert withdraw(own, FIRST, REASON, DAY) is None
    assert not (own / "latest").is_symlink()
    assert not (own / "latest.json").exists()
    assert not (own / "site").exists()
    assert len(entries(own)) == 2
    with duckdb.connect(str(own / "readiness.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM latest.gld_headline").fetchall() == [(0,)]


def test_what_cannot_be_withdrawn_is_refused_and_a_spoilt_file_of_withdrawals_is_named(
    own: Path, taken_back: Path
) -> None:
    before = {path.name for path in own.iterdir()}
    for version, reason, words in (
        ("2025.01.0", REASON, "there is no release 2025.01.0"),
        ("latest", REASON, "there is no release latest"),
        (SECOND, " \n", "one line of printable text"),
        (SECOND, "a\x07b", "one line of printable text"),
    ):
        for more in ((), ("--yes",)):
            ran = invoke("withdraw", version, "--reason", reason, "--home", own.parent, *more)
            assert (ran.exit_code, words in ran.output, ran.output.count("\n")) == (1, True, 1)
    assert {path.name for path in own.iterdir()} == before
    for content in (
        "",
        "[]",
        '{"withdrawn": [{"version": "2026.12.0"}]}',
        '{"withdrawn": [{"version": "1", "date": "2026-12-05", "reason": "x"}]}',
    ):
        (own / "withdrawn.json").write_text(content)
        with pytest.raises(UnreadableWithdrawals, match=r"withdrawn\.json must list"):
            refresh(own)
    report = verify(own / SECOND)
    assert report.ok
    assert "withdrawn.json must list" in str(report)
    # One that was cut off is finished by repeating it.
    shutil.copy(taken_back / "withdrawn.json", own)
    with pytest.raises(WithdrawalRefused):
        withdraw(own, SECOND, REASON, DAY)
    assert (own / "latest").resolve().name == FIRST
    assert (own / "feed.xml").read_bytes() == (taken_back / "feed.xml").read_bytes()


def test_the_validators_find_nothing_but_planted_faults(
    two: Path, taken_back: Path, announcing: Path, tmp_path: Path
) -> None:
    broken = json.loads((taken_back / "catalogue.jsonld").read_text())
    del broken["@graph"][0]["dct:publisher"]
    broken["@graph"][0]["dcat:dataset"][0]["dcat:inSeries"] = {"@id": f"{ADDRESS}/nowhere"}
    (tmp_path / "catalogue.jsonld").write_text(json.dumps(broken))
    (tmp_path / "feed.xml").write_text((taken_back / "feed.xml").read_text().replace("</feed>", ""))
    found = run_validator("standards", "standards_faults.py", two, taken_back, announcing, tmp_path)["faults"]
    for each in (two, taken_back, announcing):
        assert found[str(each)] == {"catalogue.jsonld": [], "feed.xml": []}
    spoilt = found[str(tmp_path)]
    assert len(spoilt["feed.xml"]) == 1
    for planted in ("MinCountConstraint", "dcterms:publisher", "ClassConstraint", "dcat:inSeries"):
        assert planted in spoilt["catalogue.jsonld"][0]


def test_the_harvester_of_ckan_makes_a_package_of_every_release(taken_back: Path, announcing: Path) -> None:
    packages = run_validator("ckan", "ckan_harvest.py", taken_back / "catalogue.jsonld")
    assert packages.keys() == {f"{ADDRESS}/{FIRST}", f"{ADDRESS}/{SECOND}"}
    for version in (FIRST, SECOND):
        package = packages[f"{ADDRESS}/{version}"]
        assert (package["version"], package["title"].endswith(f"release {version}")) == (version, True)
        assert len(package["resources"]) == 3 * len(TABLES) + 4
        code = "WITHDRAWN" if version == SECOND else "COMPLETED"
        assert {resource["status"].rpartition("/")[2] for resource in package["resources"]} == {code}
        assert (REASON in package["notes"]) == (version == SECOND)
    with_announced = run_validator("ckan", "ckan_harvest.py", announcing / "catalogue.jsonld")
    addresses = {f"{ADDRESS}/upcoming.json#{each.version}" for each in COMING}
    assert with_announced.keys() == packages.keys() | addresses
    assert [with_announced[each]["resources"] for each in addresses] == [[], []]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, whole = tmp_path / "feed.xml", {b"a" * 300_000, b"b" * 200_000}
    write_whole(path, min(whole))
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for content in whole:
            write_whole(path, content)
    done.set()
    reader.join()
    assert seen <= whole
    assert [each.name for each in tmp_path.iterdir()] == ["feed.xml"]
