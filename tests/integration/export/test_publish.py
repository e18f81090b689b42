"""Releases put where readers get them: on real servers, killed in the middle, and seen from the reader's side."""

import datetime as dt
import hashlib
import json
import os
import random
import re
import shutil
import signal
import uuid
from pathlib import Path

import fsspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import Home
from assets.release.release import Release
from assets.release.sign_off import withdraw_approved
from ndl_export.api.documents import is_figure_file
from ndl_export.bundle.release_directory import withdraw
from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.facts.synthetic_folder import CSV_FILE, SYNTHETIC_FILES, SYNTHETIC_FOLDER
from ndl_export.files import signing
from ndl_export.files.archive import LARGEST
from ndl_export.files.stores import CROISSANT, Store, StoreError, UnusableAddress, open_store
from ndl_export.publish import one_publisher
from ndl_export.publish.one_publisher import PublishRefused
from ndl_export.synthetic.folder import write_synthetic
from tests.support.export.bundles import KEY, charge, publish
from tests.support.export.publishers import publish_until
from tests.support.export.reader import Seen, look
from tests.support.export.store_servers import BUCKET, S3_KEY, S3_SECRET, build_s3_environment, run_azure_server
from tests.support.export.synthetic import make_synthetic_children
from tests.support.installation.commands import invoke
from tests.support.release.people import approve_withdrawal
from tests.support.waiting import run_processes
from tests.support.warm import WARM

pytestmark = pytest.mark.slow

FIRST, SECOND = "2026.11.0", "2026.12.0"
DAY, REASON = dt.date(2026, 12, 5), "an extract was of another year"


@pytest.fixture
def own(two: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two.parent, tmp_path / "home", symlinks=True)) / "release"


@pytest.fixture
def place() -> str:
    """An empty place in memory."""
    return f"memory://{uuid.uuid4().hex}/readiness"


def both(latest: str) -> Seen:
    every = frozenset({FIRST, SECOND})
    return Seen(every, every, every, frozenset({latest}), latest)


def only(version: str) -> Seen:
    return Seen(*([frozenset({version})] * 4), version)


def test_an_s3_bucket_serves_the_release_as_it_is(in_s3: str, two: Path, tmp_path: Path) -> None:
    before = read_contents(two)
    first = publish(two, SECOND, in_s3)
    assert first.there == first.removed == ()
    assert look(in_s3, tmp_path) == only(SECOND)
    for form in (SECOND, f"{SECOND}.zip", f"{SECOND}.tar"):
        assert verify(f"{in_s3}/{form}").ok
    assert publish(two, SECOND, in_s3).sent == ()
    assert read_contents(two) == before
    bucket = fsspec.filesystem("s3")
    for name, media_type, caching in (
        (f"{SECOND}/site/index.html", "text/html; charset=utf-8", "immutable"),
        (f"{SECOND}/gld_headline.parquet", "application/vnd.apache.parquet", "immutable"),
        (f"{SECOND}/croissant.json", f'application/ld+json; profile="{CROISSANT}"', "immutable"),
        (f"{SECOND}.zip", "application/zip", "immutable"),
        ("site/index.html", "text/html; charset=utf-8", "no-cache"),
        ("feed.xml", "application/atom+xml", "no-cache"),
        ("readiness.duckdb", "application/octet-stream", "no-cache"),
    ):
        headers = bucket.call_s3("head_object", Bucket=BUCKET, Key=f"{in_s3.rpartition('/')[2]}/{name}")
        assert (headers["ContentType"], caching in headers["CacheControl"]) == (media_type, True), name


def test_a_container_of_azure_serves_the_release_as_it_is(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_azure_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        url = f"abfs://{BUCKET}/readiness"
        publish(two, FIRST, url)
        assert look(url, tmp_path) == only(FIRST)
        assert publish(two, FIRST, url).sent == ()
        assert verify(f"{url}/{FIRST}").ok
        settings = fsspec.filesystem("abfs").info(f"{BUCKET}/readiness/site/index.html")["content_settings"]
        assert (settings["content_type"], settings["cache_control"]) == ("text/html; charset=utf-8", "no-cache")
        with pytest.raises(StoreError, match="there is no such bucket or container"):
            publish(two, FIRST, "abfs://nowhere/readiness")


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_killed_at_any_point_a_reader_sees_complete_releases(
    request: pytest.FixtureRequest, kind: str, two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_publisher, "DEAD_AFTER_SECONDS", 0.5)
    url = request.getfixturevalue("in_s3") if kind == "s3" else str(tmp_path / "served")
    publish(two, FIRST, url)
    before, log, chance = look(url, tmp_path), tmp_path / "log", random.Random(kind)
    assert before == only(FIRST)
    content = sum(name.startswith((FIRST, f"api/v1/releases/{FIRST}/")) for name in open_store(url).list_sizes() or {})
    log.touch()
    points = (chance.randint(1, content - 10), content, content + chance.randint(1, 4), content + chance.randint(6, 20))
    for point in points if kind == "s3" else points[::2]:
        steps = max(point - len(log.read_text().splitlines()), 0)
        until = (dict(os.environ), two, SECOND, url, log, steps)
        assert run_processes(WARM.Process(target=publish_until, args=until)) == [-signal.SIGKILL]
        seen = look(url, tmp_path)
        assert seen.catalogue in (before.catalogue, both(SECOND).catalogue)
        assert seen.latest == FIRST
    publish(two, SECOND, url)
    assert look(url, tmp_path) == both(SECOND)
    assert publish(two, SECOND, url).sent == ()
    sent = [name for name in log.read_text().splitlines() if name.startswith(SECOND)]
    assert len(sent) == len(set(sent))
    if kind == "file":
        assert not [name for name in read_contents(tmp_path / "served") if name.startswith(".")]


def test_figures_go_before_what_leads_to_them_and_are_not_read_again(
    place: str, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, read = [], []
    put, read_one = Store.put, Store.read
    monkeypatch.setattr(
        Store, "put", lambda own, name, *more, **options: (sent.append(name), put(own, name, *more, **options))[1]
    )
    publish(two, FIRST, place)
    figures = [number for number, name in enumerate(sent) if is_figure_file(name)]
    leads = {name: sent.index(name) for name in ("catalogue.jsonld", f"api/v1/releases/{FIRST}/index.json")}
    assert len(figures) > 50
    assert max(figures) < min(leads.values())
    assert leads[f"api/v1/releases/{FIRST}/index.json"] < sent.index("api/v1/releases.json")
    assert sent.index("api/v1/index.json") > max(sent.index(f"api/v1/{name}.json") for name in ("tables", "releases"))
    assert not [name for name in sent if name.rpartition("/")[2].startswith(".")]
    monkeypatch.setattr(Store, "read", lambda own, name, *more: (read.append(name), read_one(own, name, *more))[1])
    assert publish(two, FIRST, place).sent == ()
    assert not [name for name in read if is_figure_file(name)]
    lost = sent[figures[5]]
    open_store(place, to_write=True).remove(lost)
    open_store(place, to_write=True).put("api/v1/releases/2020.01.0/gld_headline/E1.json", b"{}", changes=True)
    again = publish(two, FIRST, place)
    assert (again.sent, again.removed) == ((lost,), ("api/v1/releases/2020.01.0/gld_headline/E1.json",))


def test_releases_that_another_home_published_stay(place: str, two: Path, own: Path, tmp_path: Path) -> None:
    """Each home knows one of the releases, and the older one is published last."""
    publish(two, SECOND, place)
    assert look(place, tmp_path) == only(SECOND)
    for each in own.glob(f"{SECOND}*"):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    publish(own, FIRST, place)
    assert look(place, tmp_path) == both(SECOND)


def test_what_is_not_ours_or_was_exchanged_is_refused_and_nothing_is_overwritten(
    place: str, two: Path, tmp_path: Path
) -> None:
    approved = hashlib.sha256((two / FIRST / signing.SUMS_FILE).read_bytes()).hexdigest()
    with pytest.raises(PublishRefused, match="replaced after it was approved"):
        publish(two, SECOND, place, approved=approved)
    assert publish(two, FIRST, place, approved=approved).sent
    store, memory = open_store(place), fsspec.filesystem("memory")
    for name in (f"{FIRST}/README.md", f"{FIRST}/note.txt", f"{FIRST}.zip"):
        before = store.read(name, LARGEST)
        other = b"" if name.endswith(".zip") else (before or b"x")[:-1] + b"x"
        memory.pipe_file(f"{place}/{name}", other)
        with pytest.raises(PublishRefused, match=rf"already with other bytes \({name}\)"):
            publish(two, FIRST, place)
        assert store.read(name, LARGEST) == other
        if before:
            memory.pipe_file(f"{place}/{name}", before)
        else:
            memory.rm_file(f"{place}/{name}")
    (tmp_path / "catalogue.jsonld").write_text("{}")
    with pytest.raises(PublishRefused, match="is not a catalogue of releases that this software made"):
        publish(two, FIRST, str(tmp_path))
    assert read_contents(tmp_path).keys() == {"catalogue.jsonld"}


def test_a_withdrawal_is_carried_over(place: str, own: Path, tmp_path: Path) -> None:
    publish(own, FIRST, place)
    publish(own, SECOND, place)
    withdraw(own, SECOND, REASON, DAY)
    told = publish(own, SECOND, place)
    assert told.withdrawn is not None
    assert not [name for name in told.sent if name.startswith(SECOND)]
    assert look(place, tmp_path) == both(FIRST)
    assert f"was withdrawn on 2026-12-05: {REASON}." in str(verify(f"{place}/{SECOND}.zip"))
    withdraw(own, FIRST, REASON, DAY)
    gone = publish(own, FIRST, place)
    assert gone.removed[0] == "latest.json"
    assert look(place, tmp_path) == Seen(*([frozenset({FIRST, SECOND})] * 3), frozenset(), None)
    assert not [name for name in open_store(place).list_sizes() or {} if name.startswith("site/")]


def run_publish(own: Path, version: str, to: str, *more: str) -> tuple[int, str]:
    ran = invoke("publish", version, "--to", to, "--home", own.parent, *more)
    return ran.exit_code, ran.output


def test_what_is_not_sound_is_refused_before_anything_is_sent(place: str, own: Path, tmp_path: Path) -> None:
    home = Home(own.parent)
    approve_withdrawal(home, SECOND, REASON)
    withdraw_approved(Release(home, SECOND), None, REASON)
    other = tmp_path / "other.pem"
    other.write_bytes(signing.get_public_pem(Ed25519PrivateKey.generate()))

    def refusal(version: str, *more: str, to: str = place) -> str:
        code, said = run_publish(own, version, to, *more, "--yes")
        assert (code, said.count("\n")) == (1, 1)
        return said

    assert "It is not published." in refusal(SECOND)
    assert "there is no release 2026.10.0" in refusal("2026.10.0")
    assert "public_key.pem: this is not the trusted key" in refusal(FIRST, "--signer", str(other))
    assert "publish to another place" in refusal(FIRST, to=str(own))
    (own / f"{FIRST}.tar").write_bytes(b"")
    assert f"{FIRST}.tar is not the archive" in refusal(FIRST)
    (own / FIRST / "README.md").write_text("x")
    assert "README.md: changed" in refusal(FIRST)
    assert open_store(place).list_sizes() == {}


def test_the_command_sends_with_yes_what_it_sums_up_without(two: Path, tmp_path: Path) -> None:
    to = str(tmp_path / "served")
    code, said = run_publish(two, FIRST, to)
    assert (code, said.startswith(f"{FIRST}/  ("), open_store(to).list_sizes()) == (4, True, {})
    assert len(said.splitlines()) < 30
    code, said = run_publish(two, FIRST, to, "--yes")
    assert (code, f"{to}/site/index.html" in said) == (0, True)
    code, said = run_publish(two, FIRST, to, "--yes")
    assert (code, "nothing to send" in said) == (0, True)


def test_nothing_is_published_beside_what_the_ledger_does_not_know(own: Path, place: str) -> None:
    publish(own, FIRST, place)
    ledger = own.parent / "ledger.sqlite"
    ledger.rename(own.parent / "kept")
    code, said = run_publish(own, SECOND, place, "--yes")
    assert (code, f"there is no ledger at {ledger}" in said) == (5, True)
    charge(ledger, SECOND)
    code, said = run_publish(own, SECOND, place)
    assert (code, f"the charge that {own / FIRST} states for pupil" in said) == (5, True)
    (own.parent / "kept").rename(ledger)
    fsspec.filesystem("memory").rm_file(f"{place}/{FIRST}/privacy_statement.json")
    code, said = run_publish(own, SECOND, place, "--yes")
    assert (code, f"{place}/{FIRST}: privacy_statement.json is missing" in said) == (1, True)
    assert open_store(place).read(f"{SECOND}/SHA256SUMS", LARGEST) is None
    publish(own, FIRST, place)
    assert publish(own, SECOND, place).sent


NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "there is no such bucket or folder"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "it does not allow this with the credentials in the environment"),
        (build_s3_environment(1) | {"AWS_MAX_ATTEMPTS": "1"}, "it cannot be reached, or the connection broke off"),
        (NO_CREDENTIALS, "there are no credentials for it in the environment"),
    ],
)
def test_what_a_bucket_refuses_is_said_in_one_sentence(
    in_s3: str, change: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StoreError) as stopped:
        open_store("s3://nowhere/x", to_write=True).list_sizes()
    assert str(stopped.value) == f"s3://nowhere/x: {said}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"s3://{S3_KEY}:{S3_SECRET}@bucket/x", "a URL must not hold credentials"),
        ("abfs://container/x?sig=secret", "a URL must not hold credentials"),
        ("https://example.org/readiness", "is a web address, which can only be read"),
        ("simplecache::s3://bucket/x", "several protocols"),
        ("nosuch://bucket/x", "no kind of store is called nosuch://"),
    ],
)
def test_a_url_that_cannot_be_published_to(url: str, said: str) -> None:
    with pytest.raises(UnusableAddress, match=re.escape(said)) as refused:
        open_store(url, to_write=True)
    assert "secret" not in str(refused.value)


def test_the_command_does_not_repeat_the_credentials_of_a_url(two: Path) -> None:
    code, output = run_publish(two, FIRST, f"s3://{S3_KEY}:{S3_SECRET}@bucket/x", "--yes")
    assert (code, "a URL must not hold credentials" in output, S3_SECRET in output) == (1, True, False)


def test_synthetic_children_go_with_their_release_and_its_withdrawal(own: Path, place: str) -> None:
    """Made after the release was published, they are sent by publishing it again; withdrawn, nothing leads to them."""
    publish(own, SECOND, place)
    write_synthetic(own, make_synthetic_children(own / SECOND), KEY)
    sent = publish(own, SECOND, place).sent
    folder = f"{SYNTHETIC_FOLDER}/{SECOND}"
    assert {name for name in sent if name.startswith(folder)} == {f"{folder}/{name}" for name in SYNTHETIC_FILES}
    store = open_store(place)
    assert folder in (store.read("catalogue.jsonld", LARGEST) or b"").decode()
    assert folder in (store.read("site/downloads.html", LARGEST) or b"").decode()
    assert publish(own, SECOND, place).sent == ()
    publish(own, FIRST, place)
    assert folder in (store.read("catalogue.jsonld", LARGEST) or b"").decode()
    withdraw(own, SECOND, REASON, DAY)
    publish(own, SECOND, place)
    told = json.loads(store.read("catalogue.jsonld", LARGEST) or b"{}")["@graph"][0]["dcat:dataset"]
    assert [each["adms:status"]["@id"].rpartition("/")[2] for each in told if folder in each["@id"]] == ["WITHDRAWN"]
    assert folder not in (store.read("site/downloads.html", LARGEST) or b"").decode()


def test_synthetic_children_that_do_not_verify_are_not_sent(own: Path, place: str) -> None:
    folder = write_synthetic(own, make_synthetic_children(own / SECOND), Ed25519PrivateKey.generate())
    with pytest.raises(PublishRefused, match="not the trusted key"):
        publish(own, SECOND, place)
    shutil.rmtree(folder)
    folder = write_synthetic(own, make_synthetic_children(own / SECOND), KEY)
    (folder / CSV_FILE).write_bytes(b"x")
    with pytest.raises(PublishRefused, match=CSV_FILE):
        publish(own, SECOND, place)
    assert not open_store(place).list_sizes()
