"""Whether a bundle that was tampered with, damaged or badly made is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from ndl_export.bundle.make import read_contents
from ndl_export.bundle.verify import verify
from ndl_export.files import signing
from ndl_export.files.signing import build_sums
from tests.support.daily import examples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory, signing_key: Ed25519PrivateKey) -> Path:
    path = tmp_path_factory.mktemp("keys") / "publisher.pem"
    path.write_bytes(signing.get_public_pem(signing_key))
    return path


def flipped(content: bytes, place: float, bits: int) -> bytes:
    """Return the content with one byte changed, at that share of its length."""
    index = min(int(place * len(content)), len(content) - 1)
    return content[:index] + bytes([content[index] ^ bits]) + content[index + 1 :]


def resign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Make sums and signature fit whatever the folder holds now."""
    covered = build_sums(read_contents(folder))
    (folder / "SHA256SUMS").write_bytes(covered)
    (folder / "SHA256SUMS.sig").write_bytes(signing.sign(key, covered))


def test_folder_and_archive_of_a_release_are_sound(release_dir: Path, trusted: Path) -> None:
    for place in ("2026.11.0", "latest", "2026.11.0.zip", "2026.11.0.tar"):
        report = verify(release_dir / place, trusted)
        assert report.ok, report
        assert report.pinned
        assert report.version == "2026.11.0"
        assert "only the bundle's own" not in str(report)


def test_without_the_publishers_key_the_report_says_so(bundle: Path) -> None:
    report = verify(bundle)
    assert report.ok
    assert not report.pinned
    assert "only the bundle's own" in str(report)
    assert report.fingerprint is not None
    assert report.fingerprint in str(report)


def test_a_bundle_signed_by_someone_else_is_only_caught_by_the_publishers_key(copy: Path, trusted: Path) -> None:
    other = Ed25519PrivateKey.generate()
    (copy / "public_key.pem").write_bytes(signing.get_public_pem(other))
    resign(copy, other)
    assert verify(copy).ok
    assert [str(fault) for fault in verify(copy, trusted).faults] == ["public_key.pem: this is not the trusted key"]


@examples(60, [HealthCheck.function_scoped_fixture])
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


def test_a_trusted_key_that_is_no_key_is_refused(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("no key")
    with pytest.raises(signing.UnusableKey):
        verify(bundle, path)


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
        ("privacy_statement.json", None, b"{}\n", "not of the expected shape"),
        ("privacy_statement.json", None, b"nothing", "does not say what the release is"),
        ("privacy_statement.md", None, b"\n", "it is empty"),
        ("datapackage.json", None, b"[]\n", "does not say what the release is"),
        ("joined_dots.parquet", None, b"PAR1", "cannot be read"),
        ("joined_dots.meta.csv", None, b"col_name\n", "does not describe joined_dots.csv"),
    ],
)
def test_signed_content_that_is_wrong_is_reported(
    copy: Path, signing_key: Ed25519PrivateKey, file: str, old: bytes | None, new: bytes, fault: str
) -> None:
    """Replaces a part of a file, or all of it, and signs the bundle with the publisher's own key."""
    path = copy / file
    path.write_bytes(path.read_bytes().replace(old, new, 1) if old else new)
    resign(copy, signing_key)
    (found,) = verify(copy).faults
    assert fault in found.what
    assert old is None or found.file == file
