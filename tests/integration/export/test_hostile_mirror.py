"""Whoever runs a mirror or a server of releases is not the publisher: what they change, hide or send without end."""

import gzip
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.answers import published
from ndl_export.answers.published import open_published
from ndl_export.facts import known_publishers
from ndl_export.facts.known_publishers import NOT_CHECKED, UnknownPublisher
from ndl_export.facts.release_facts import Withdrawal, record_withdrawals
from ndl_export.files.signing import PUBLIC_KEY_FILE, compute_fingerprint, get_public_pem, sign_files
from ndl_export.files.stores import StoreError
from tests.support.export.bundles import KEY, sign_again
from tests.support.installation.commands import invoke

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLISHER = compute_fingerprint(get_public_pem(KEY))
CLAIM = ("--area", "Leeds", "--measure", "ready for school", "--value", "99.9%")


@pytest.fixture
def mirror(release_dir: Path, tmp_path: Path) -> Path:
    """Return a copy of a release directory with one release."""
    return Path(shutil.copytree(release_dir, tmp_path / "mirror", symlinks=True))


def raise_leeds(mirror: Path, key: Ed25519PrivateKey) -> None:
    """Say 99.9% for Leeds, with sums and a signature to match."""
    path = mirror / "2026.11.0" / "gld_headline.parquet"
    rows = pq.read_table(path)
    place = rows.column_names.index("gld_children_percent")
    is_leeds = pc.equal(rows["area_name"], "Leeds") if "area_name" in rows.column_names else True
    raised = pc.if_else(is_leeds, 99.9, rows.column(place))
    pq.write_table(rows.set_column(place, rows.field(place), raised.cast(rows.field(place).type)), path)
    if key is not KEY:
        (mirror / "2026.11.0" / PUBLIC_KEY_FILE).write_bytes(get_public_pem(key))
    sign_again(mirror / "2026.11.0", key)


def check(mirror: Path, *more: str) -> tuple[int, str]:
    ran = invoke("check-claim", mirror, *CLAIM, *more)
    return ran.exit_code, ran.output


def test_a_mirror_that_signs_anew_is_refused_by_the_given_key_and_by_the_remembered_one(mirror: Path) -> None:
    code, said = check(mirror)
    assert (code, NOT_CHECKED in said) == (4, True)
    code, said = check(mirror)
    assert (code, f"Signature checked with the key that was remembered for this place: {PUBLISHER}" in said) == (
        4,
        True,
    )
    raise_leeds(mirror, STRANGER)
    for more in ((), ("--signer", PUBLISHER)):
        code, said = check(mirror, *more)
        assert (code, "It may be somebody else's" in said, "upported" in said) == (1, True, False), said


def test_what_nobody_signed_is_refused_and_a_strange_first_key_is_said_not_to_be_checked(mirror: Path) -> None:
    first = mirror.rename(mirror.with_name("first"))
    shutil.copytree(first, mirror, symlinks=True)
    sums, signature = ((mirror / "2026.11.0" / name).read_bytes() for name in ("SHA256SUMS", "SHA256SUMS.sig"))
    raise_leeds(mirror, KEY)
    assert (mirror / "2026.11.0" / "SHA256SUMS").read_bytes() != sums
    (mirror / "2026.11.0" / "SHA256SUMS.sig").write_bytes(signature)
    code, said = check(mirror)
    assert (code, "is not the signature of SHA256SUMS" in said) == (1, True)
    raise_leeds(first, STRANGER)
    code, said = check(first)
    assert (code, f"{NOT_CHECKED}: the key " in said) == (0, True), "nobody can tell, and it says so"
    assert check(first, "--signer", PUBLISHER)[0] == 1


def test_a_key_by_file_or_fingerprint_is_checked_and_from_then_on_expected(mirror: Path) -> None:
    for signer in (str(mirror / "2026.11.0" / PUBLIC_KEY_FILE), PUBLISHER):
        assert "Signature checked with the key that was given" in check(mirror, "--signer", signer)[1]
    assert "Signature checked with the key that was remembered" in check(mirror)[1]
    assert check(mirror, "--signer", "nobody")[0] == 2


def add_file(mirror: Path) -> None:
    (mirror / "2026.11.0" / "on_request.json").write_text("{}")


def rename_release(mirror: Path) -> None:
    (mirror / "2026.11.0").rename(mirror / "2026.11.1")


def remove_file(mirror: Path) -> None:
    (mirror / "2026.11.0" / "gld_headline.parquet").unlink()


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (add_file, "not as in SHA256SUMS: on_request.json"),
        (remove_file, "not as in SHA256SUMS: gld_headline.parquet"),
        (rename_release, "its files are those of another release"),
    ],
)
def test_a_release_has_what_was_signed_under_its_own_name(
    attack: Callable[[Path], None], said: str, mirror: Path
) -> None:
    attack(mirror)
    with pytest.raises(ValueError, match=said), open_published(str(mirror), [PUBLISHER]):
        pass


def test_a_database_that_nobody_signed_is_not_read(mirror: Path) -> None:
    (mirror / "readiness.duckdb").write_bytes(b"not a database")
    with open_published(str(mirror), [PUBLISHER]) as found:
        assert found.current == {"202425": "2026.11.0"}


def test_an_older_state_than_the_one_that_was_read_is_refused(two_releases: Path, tmp_path: Path) -> None:
    known, mirror = tmp_path / "known.json", tmp_path / "mirror"
    mirror.mkdir()
    for version in ("2026.11.0", "2027.02.0"):
        (mirror / version).symlink_to(two_releases / version)
    record_withdrawals(mirror, {}, Withdrawal("2026.11.0", "2027-03-05", "a wrong file"))
    with open_published(str(mirror), known=known):
        pass
    withdrawn = (mirror / "withdrawn.json").rename(tmp_path / "withdrawn.json")
    with pytest.raises(UnknownPublisher, match=r"2026\.11\.0 was there, or withdrawn"):
        open_published(str(mirror), known=known).__enter__()
    withdrawn.rename(mirror / "withdrawn.json")
    (mirror / "2027.02.0").unlink()
    with pytest.raises(UnknownPublisher, match=r"2027\.02\.0 was there, or withdrawn"):
        open_published(str(mirror), [PUBLISHER], known).__enter__()


def test_remembered_keys_that_cannot_be_read_are_not_forgotten(mirror: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    known.write_text("{")
    with pytest.raises(UnknownPublisher, match="mend or remove it"):
        open_published(str(mirror), known=known).__enter__()


def test_tables_that_unpack_to_too_much_are_not_read(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 million rows of one value take a few thousand bytes; here it is the limit that is low."""
    monkeypatch.setattr(known_publishers, "_MOST_ROWS", 100_000)
    path = mirror / "2026.11.0" / "gld_headline.parquet"
    pq.write_table(pa.table({"a": pa.repeat(0, 200_000)}), path)
    sign_again(mirror / "2026.11.0")
    with pytest.raises(ValueError, match="more than 100,000 rows"):
        open_published(str(mirror)).__enter__()


Reply = bytes | Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serve(files: Mapping[str, Reply]) -> Iterator[tuple[str, list[str]]]:
    """Serve content by path; yield the address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            reply = files.get(self.path)
            if callable(reply):
                return reply(self)
            self.send_response(404 if reply is None else 200)
            self.end_headers()
            self.wfile.write(reply or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def list_releases(*versions: str) -> dict[str, Reply]:
    listed = {"releases": [{"release": version} for version in versions]}
    latest = json.dumps({"version": versions[-1]}).encode()
    return {"/latest.json": latest, "/api/v1/releases.json": json.dumps(listed).encode()}


def sign_release(version: str, content: bytes, key: Ed25519PrivateKey = KEY) -> dict[str, bytes]:
    """Return the files of a signed folder with some content, by path."""
    files = {"content": content, PUBLIC_KEY_FILE: get_public_pem(key)}
    return {f"/{version}/{name}": each for name, each in (files | sign_files(key, files)).items()}


def send_gzip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(gzip.compress(b" " * 2**26))


def send_on(address: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.end_headers()

    return reply


def drip(part: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        if part == b"{":
            handler.send_response(200)
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        try:
            while True:
                handler.wfile.write(part)
                time.sleep(0.05)
        except OSError:
            pass

    return reply


def read(address: str) -> None:
    with open_published(address, [PUBLISHER]):
        pass


def test_nothing_is_unpacked_while_it_is_read() -> None:
    with serve({"/latest.json": send_gzip}) as (address, _), pytest.raises(StoreError, match="is sent compressed"):
        read(address)


def test_a_redirect_is_neither_followed_nor_repeated() -> None:
    refused = pytest.raises(StoreError, match="leads to another address, which is not followed")
    with (
        serve({"/secret": b'{"version": "2026.11.0"}'}) as (inside, asked),
        serve({"/latest.json": send_on(f"{inside}/secret")}) as (address, _),
        refused as error,
    ):
        read(address)
    assert (asked, inside in str(error.value)) == ([], False)


def test_versions_are_counted_before_any_is_read() -> None:
    with serve(list_releases(*(f"2026.{month}.{number}" for month in range(10, 13) for number in range(40)))) as (
        address,
        asked,
    ):
        with pytest.raises(ValueError, match="lists more than 100 releases"):
            read(address)
        assert len(asked) == 2


def test_bytes_are_counted_over_all_releases_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "_MOST_BYTES", 2**20)
    versions = [f"2026.11.{number}" for number in range(8)]
    files = list_releases(*versions)
    for version in versions:
        files |= sign_release(version, bytes(2**18))
    with serve(files) as (address, asked), pytest.raises(StoreError, match="more bytes than releases have"):
        read(address)
    assert sum(path.endswith("/content") for path in asked) <= 5


def test_a_release_of_somebody_else_is_not_read_at_all() -> None:
    files = list_releases("2026.11.0") | sign_release("2026.11.0", b"", STRANGER)
    with serve(files) as (address, asked), pytest.raises(UnknownPublisher, match="not with the one that was given"):
        read(address)
    assert "/2026.11.0/content" not in asked


@pytest.mark.parametrize("part", [b"{", b"x"])
def test_an_answer_that_never_ends_ends_in_time(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body or a head, one byte at a time: each byte comes in time, and all of them never do."""
    monkeypatch.setattr(published, "_LONGEST", 0.5)
    with serve({"/latest.json": drip(part)}) as (address, _), pytest.raises(StoreError, match=r"in time|too long"):
        read(address)


@pytest.mark.parametrize("listed", [b"[", b"{}", b'{"version": 3}', b'{"version": "../.."}', b"[[[" * 10**5])
def test_lists_that_are_none_are_refused(listed: bytes) -> None:
    with serve({"/latest.json": listed}) as (address, _), pytest.raises(ValueError, match="cannot be read"):
        read(address)


def test_what_was_read_with_limits_is_the_release(release_dir: Path) -> None:
    names = {
        f"/2026.11.0/{path.relative_to(release_dir / '2026.11.0').as_posix()}": path.read_bytes()
        for path in (release_dir / "2026.11.0").rglob("*")
        if path.is_file()
    }
    with serve(list_releases("2026.11.0") | names) as (address, _), open_published(address, [PUBLISHER]) as found:
        assert found.current == {"202425": "2026.11.0"}
        assert PUBLISHER in found.signature
