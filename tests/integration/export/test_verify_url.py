"""Bundles behind a URL, and archives made to do harm."""

from __future__ import annotations

import functools
import io
import struct
import tarfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ndl_export.bundle import read as bundle_source
from ndl_export.bundle.make import BUNDLE_FILES, read_contents
from ndl_export.bundle.verify import verify
from ndl_export.files.stores import StoreError
from ndl_export.files.whole_files import format_json
from pipelines.cli import main
from tests.support.daily import examples

pytestmark = pytest.mark.slow

VERSION = "2026.11.0"
FILES = sorted(BUNDLE_FILES)


class Quiet(SimpleHTTPRequestHandler):
    """A web server without listings, as a bucket is to its readers."""

    def log_message(self, *_: object) -> None:
        pass

    def list_directory(self, path: object) -> None:
        self.send_error(403)


@contextmanager
def served(directory: Path, handler: type[SimpleHTTPRequestHandler] = Quiet) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def web(release_dir: Path) -> Iterator[str]:
    with served(release_dir) as address:
        yield address


@pytest.fixture
def place(bundle: Path) -> str:
    """The bundle's folder, in memory, to do harm to."""
    url = f"memory://{uuid.uuid4().hex}/{VERSION}"
    for name, content in read_contents(bundle).items():
        fsspec.filesystem("memory").pipe_file(f"{url}/{name}", content)
    return url


def run_verify(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["verify", *arguments])
    return ran.exit_code, ran.output


def test_folder_and_archives_on_a_web_server_are_sound(web: str) -> None:
    for form in (VERSION, f"{VERSION}/", f"{VERSION}.zip", f"{VERSION}.tar", f"{VERSION}.zip?signed=secret"):
        report = verify(f"{web}/{form}")
        assert report.ok, report
        assert report.version == VERSION
        assert "secret" not in str(report)


def test_a_folder_of_several_cohorts_has_a_plan_for_each(series: Path) -> None:
    with served(series.parent) as address:
        report = verify(f"{address}/{series.name}")
    assert report.ok, report


def test_a_withdrawal_is_told_by_the_directory_of_the_url(place: str) -> None:
    told = {"version": VERSION, "date": "2026-12-05", "reason": "Wrong year"}
    directory = place.rpartition("/")[0]
    fsspec.filesystem("memory").pipe_file(f"{directory}/withdrawn.json", format_json({"withdrawn": [told]}))
    report = verify(place)
    assert report.ok
    assert f"Release {VERSION} was withdrawn on 2026-12-05: Wrong year." in str(report)


@examples(25, [HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(FILES),
    harm=st.sampled_from(["flip", "cut", "append", "empty", "remove", "rename", "add"]),
    place_in=st.floats(0, 1, exclude_max=True),
    bits=st.integers(1, 255),
)
def test_any_harm_to_any_file_behind_a_url_is_caught(
    place: str, file: str, harm: str, place_in: float, bits: int
) -> None:
    memory = fsspec.filesystem("memory")
    path, other = f"{place}/{file}", f"{place}/{file}.bak"
    before = memory.cat_file(path)
    index = int(place_in * len(before))
    harmed = {
        "flip": before[:index] + bytes([before[index] ^ bits]) + before[index + 1 :],
        "cut": before[:index],
        "append": before + bytes([bits]),
        "empty": b"",
    }
    if harm in ("remove", "rename"):
        memory.rm_file(path)
    if harm in ("rename", "add"):
        memory.pipe_file(other, before)
    if harm in harmed:
        memory.pipe_file(path, harmed[harm])
    report = verify(place)
    memory.pipe_file(path, before)
    if memory.exists(other):
        memory.rm_file(other)
    named = {fault.file for fault in report.faults}
    # Without its list of sums, a folder behind a URL is no bundle, and the report names that.
    if file == "SHA256SUMS" and harm in ("remove", "rename"):
        assert "there is no SHA256SUMS there" in str(report)
    else:
        assert named & {file, f"{file}.bak", "SHA256SUMS.sig" if file == "SHA256SUMS" else file}


def test_what_is_not_there_is_named(web: str, tmp_path: Path) -> None:
    for place, status, words in (
        (f"{web}/2026.12.0", 1, "there is no SHA256SUMS there"),
        (f"{web}/2026.12.0.zip", 1, "there is no such file"),
        (str(tmp_path / "nothing"), 1, "does not exist"),
        ("http://127.0.0.1:1/x.zip", 5, "it cannot be reached"),
    ):
        code, output = run_verify(place)
        assert (code, place in output, words in output) == (status, True, True)


class Failing(Quiet):
    """A server that breaks off in the middle of a file, or has a fault, or wants to know who asks."""

    def do_GET(self) -> None:
        status = 200 if "cut" in self.path else int(self.path[1:4])
        self.send_response(status)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x" * (10 if status == 200 else 100))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cut.zip", "the connection broke off"),
        ("503.zip", "it failed with an error of the kind ClientResponseError, HTTP status 503"),
        ("403.zip", "it does not allow this with the credentials in the environment"),
    ],
)
def test_a_server_that_fails_is_no_fault_of_the_bundle(name: str, said: str, tmp_path: Path) -> None:
    with served(tmp_path, Failing) as address:
        assert run_verify(f"{address}/{name}") == (5, f"readiness: {address}/{name}: {said}\n")


def test_missing_and_changed_files_are_named_where_nothing_is_listed(copy: Path) -> None:
    (copy / "methodology.md").unlink()
    (copy / "gld_headline.csv").write_text("x")
    with served(copy) as address:
        assert [fault.file for fault in verify(address).faults] == ["methodology.md", "gld_headline.csv"]


def test_what_is_larger_than_a_bundle_is_not_read(
    web: str, place: str, release_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_source, "LARGEST", 50_000)
    for source in (f"{web}/{VERSION}.zip", f"{web}/{VERSION}"):
        with pytest.raises(StoreError, match="is larger than 50,000 bytes, so it was not read"):
            verify(source)
    for folder in (place, release_dir / VERSION):
        assert "more than 1000 files or 50,000 bytes, which no bundle has" in str(verify(folder))
    assert "it is larger than a bundle can be, 50,000 bytes" in str(verify(release_dir / f"{VERSION}.tar"))


def overlapping_zip() -> bytes:
    """A thousand entries that all give the same megabyte."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("v/0", bytes(2**20))
    whole = stream.getvalue()
    start = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = whole[start:end]
    directory = b"".join(entry.replace(b"v/0", f"v/{number}".encode()) for number in range(10)) * 100
    count = 1000
    return (
        whole[:start] + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    )


def sparse_tar() -> bytes:
    """A file of a terabyte of nothing, in two blocks."""
    entry = tarfile.TarInfo("v/README.md")
    entry.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**40)}
    entry.size = 1
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(b"x"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.zip", overlapping_zip(), "its files claim to be larger than the archive itself"),
        ("x.tar", sparse_tar(), "it holds things that are not plain files"),
    ],
)
def test_an_archive_made_to_fill_the_memory_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    fsspec.filesystem("memory").pipe_file(f"memory://harm/{name}", content)
    for source in (path, f"memory://harm/{name}"):
        assert said in str(verify(source))
