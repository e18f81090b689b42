"""Bundles that were tampered with, damaged or badly made are found out, in a folder, an archive or behind a URL."""

import io
import struct
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import fsspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, strategies as st

from ndl_export.bundle.verify import verify
from ndl_export.facts import bundle_reader
from ndl_export.facts.bundle_reader import read_contents
from ndl_export.files import signing, stores, whole_files
from tests.support import serve
from tests.support.daily import limit_examples
from tests.support.export.bundles import KEY, sign_again
from tests.support.export.fake_release import BUNDLE_FILES
from tests.support.installation.commands import invoke

pytestmark = pytest.mark.slow

VERSION = "2026.11.0"


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "publisher.pem"
    path.write_bytes(signing.get_public_pem(KEY))
    return path


def flipped(content: bytes, place: float, bits: int) -> bytes:
    """Return the content with one byte changed, at that share of its length."""
    index = min(int(place * len(content)), len(content) - 1)
    return content[:index] + bytes([content[index] ^ bits]) + content[index + 1 :]


def test_folder_and_archive_of_a_release_are_sound_and_the_key_is_named(
    release_dir: Path, bundle: Path, trusted: Path
) -> None:
    for place in ("2026.11.0", "latest", "2026.11.0.zip", "2026.11.0.tar"):
        report = verify(release_dir / place, trusted)
        assert report.ok, report
        assert report.pinned
        assert report.version == "2026.11.0"
        assert "only the bundle's own" not in str(report)
    report = verify(bundle)
    assert (report.ok, report.pinned) == (True, False)
    assert "only the bundle's own" in str(report)
    assert report.fingerprint is not None
    assert report.fingerprint in str(report)
    with pytest.raises(signing.UnusableKey):
        verify(bundle, bundle / "README.md")


def test_a_bundle_signed_by_someone_else_is_only_caught_by_the_publishers_key(copy: Path, trusted: Path) -> None:
    other = Ed25519PrivateKey.generate()
    (copy / "public_key.pem").write_bytes(signing.get_public_pem(other))
    sign_again(copy, other)
    assert verify(copy).ok
    assert [str(fault) for fault in verify(copy, trusted).faults] == ["public_key.pem: this is not the trusted key"]


@limit_examples(60, [HealthCheck.function_scoped_fixture])
@example(place=0.0, bits=1)
@example(place=1.0, bits=1)
@given(place=st.one_of(st.floats(0, 1, exclude_max=True), st.floats(0.996, 1)), bits=st.integers(1, 255))
def test_any_changed_byte_of_the_archive_is_caught(archive: Path, place: float, bits: int) -> None:
    """The directory of a ZIP file is within its last 0.4%."""
    whole = archive.read_bytes()
    archive.write_bytes(flipped(whole, place, bits))
    assert not verify(archive).ok
    archive.write_bytes(whole)


@pytest.fixture(params=["2026.11.0.zip", "2026.11.0.tar"])
def archive(release_dir: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / request.param
    path.write_bytes((release_dir / path.name).read_bytes())
    return path


def test_links_and_folders_inside_a_bundle_are_refused(copy: Path) -> None:
    (copy / "README.md").rename(copy.parent / "README.md")
    (copy / "README.md").symlink_to(copy.parent / "README.md")
    (copy / "inside").mkdir()
    (copy / "site" / "inside").mkdir()
    assert "not plain files: README.md, inside, site/inside" in str(verify(copy))


@pytest.mark.parametrize("harm", [lambda whole: whole + b"x", lambda whole: whole[:-1], lambda whole: b"PK"])
def test_an_archive_with_bytes_added_or_cut_off_is_caught(archive: Path, harm: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(harm(archive.read_bytes()))
    assert not verify(archive).ok


OTHER_FIGURES = "does not hold the same figures as"


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("joined_dots.csv", b",none,", b",b,", f"{OTHER_FIGURES} joined_dots.parquet"),
        ("joined_dots_all_rows.csv", b",Leeds,", b",Leeds City,", f"{OTHER_FIGURES} joined_dots.parquet"),
        ("ees_bulk_upload.zip", b",Leeds,", b",Leads,", f"{OTHER_FIGURES} the tables"),
        ("school_readiness_tables.ods", b"<text:p>Leeds<", b"<text:p>Leads<", ""),
        ("school_readiness_tables.ods", None, b"PK", "cannot be read"),
        ("site/gap-by-area.csv", b",%,", b",points,", f"{OTHER_FIGURES} the tables"),
        ("row_hashes.json", b'"rows": ', b'"rows": 1', "does not hold the hashes of the tables' rows"),
        ("opendp_registry.yaml", b"tier: 3", b"tier: 1", "does not say the same as privacy_statement.json"),
        ("privacy_statement.json", None, b"{}\n", "not of the expected shape"),
        ("privacy_statement.json", None, b"nothing", "does not say what the release is"),
        ("privacy_statement.md", None, b"\n", "it is empty"),
        ("datapackage.json", None, b"[]\n", "does not say what the release is"),
        ("joined_dots.parquet", None, b"PAR1", "cannot be read"),
        ("joined_dots.meta.csv", None, b"col_name\n", "does not describe joined_dots.csv"),
    ],
)
def test_signed_content_that_is_wrong_is_reported(
    copy: Path, file: str, old: bytes | None, new: bytes, fault: str
) -> None:
    """Replaces a part of a file, or all of it, and signs the bundle with the publisher's own key."""
    path = copy / file
    path.write_bytes(path.read_bytes().replace(old, new, 1) if old else new)
    sign_again(copy)
    (found,) = verify(copy).faults
    assert fault in found.what
    assert old is None or found.file == file


FILES = sorted(BUNDLE_FILES)


class Unlisted(SimpleHTTPRequestHandler):
    """A web server without listings, as a bucket is to its readers."""

    def list_directory(self, path: object) -> None:
        self.send_error(403)


@pytest.fixture(scope="module")
def web(release_dir: Path) -> Iterator[str]:
    with serve(Unlisted, directory=str(release_dir)) as address:
        yield address


@pytest.fixture
def place(bundle: Path) -> str:
    """The bundle's folder, in memory, to do harm to."""
    url = f"memory://{uuid.uuid4().hex}/{VERSION}"
    for name, content in read_contents(bundle).items():
        fsspec.filesystem("memory").pipe_file(f"{url}/{name}", content)
    return url


def run_verify(*arguments: str) -> tuple[int, str]:
    ran = invoke("verify", *arguments)
    return ran.exit_code, ran.output


def test_folder_and_archives_on_a_web_server_are_sound(web: str, series: Path) -> None:
    """Also a folder of several cohorts, which has a plan for each."""
    for form in (VERSION, f"{VERSION}/", f"{VERSION}.zip", f"{VERSION}.tar", f"{VERSION}.zip?signed=secret"):
        report = verify(f"{web}/{form}")
        assert report.ok, report
        assert report.version == VERSION
        assert "secret" not in str(report)
    with serve(Unlisted, directory=str(series.parent)) as address:
        report = verify(f"{address}/{series.name}")
    assert report.ok, report


@pytest.mark.parametrize("name", [b"../withdrawn.json", b"site/../../x", b"README.md"])
def test_sums_that_lead_out_of_the_folder_or_come_twice_are_not_followed(copy: Path, name: bytes) -> None:
    """Behind a server without listings, the sums say which files to read."""
    sums = copy / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes() + b"0" * 64 + b"  " + name + b"\n")
    with serve(Unlisted, directory=str(copy.parent)) as address:
        assert "SHA256SUMS cannot be read: a line is not" in str(verify(f"{address}/{copy.name}"))


def test_a_withdrawal_is_told_by_the_directory_of_the_url(place: str) -> None:
    told = {"version": VERSION, "date": "2026-12-05", "reason": "Wrong year"}
    directory = place.rpartition("/")[0]
    fsspec.filesystem("memory").pipe_file(f"{directory}/withdrawn.json", whole_files.format_json({"withdrawn": [told]}))
    report = verify(place)
    assert report.ok
    assert f"Release {VERSION} was withdrawn on 2026-12-05: Wrong year." in str(report)


@limit_examples(25, [HealthCheck.function_scoped_fixture])
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


class Failing(Unlisted):
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
    with serve(Failing, directory=str(tmp_path)) as address:
        assert run_verify(f"{address}/{name}") == (5, f"readiness: {address}/{name}: {said}\n")


def test_what_is_larger_than_a_bundle_is_not_read(
    web: str, place: str, release_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_reader, "LARGEST", 50_000)
    for source in (f"{web}/{VERSION}.zip", f"{web}/{VERSION}"):
        with pytest.raises(stores.StoreError, match="is larger than 50,000 bytes, so it was not read"):
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
