"""Packed files: what is in them is read, and nothing that is not asked for."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from sources.contracts import CONTRACTS
from sources.councils.council_file import CONTRACT_DIALECT
from sources.errors import ExtractStopped
from sources.extract.match import known_keys
from sources.extract.readers.content import content_of, list_members
from sources.extract.readers.delimited import open_delimited
from tests.support.intake.files import Landing, as_csv, as_gzip, as_xlsx, children, zipped

ROWS = children(*[{}] * 3)
CSV = as_csv(ROWS)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def _stated_as(method: int) -> bytes:
    content = bytearray(zipped({"a.csv": CSV}))
    for signature, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(signature) + offset] = method
    return bytes(content)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"__MACOSX/._a.csv": b"x", "folder/": b"", "folder/.DS_Store": b"x", "Thumbs.db": b"x"},
        {"letter.pdf": b"x", "letter.docx": b"x"},
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "folder/Extract of July.TXT"])
def test_the_one_extract_in_a_zip_is_read(landing: Landing, others: dict[str, bytes], name: str) -> None:
    landing.put(zipped({**others, name: CSV}), ".zip")
    assert list(landing.read().rows) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"a.csv": CSV, "b.xlsx": as_xlsx(ROWS)}), "leave the one that counts: member 1, member 2"),
        (zipped({"a.csv.gz": as_gzip(CSV)}), "holds another archive"),
        (zipped({"a.csv": as_gzip(CSV)}), "holds another archive"),
        (zipped({"a\\..\\..\\a.csv": CSV}), "outside itself"),
        (_stated_as(9), "packed or encrypted in a way"),
        (zipped({"a.csv": b""}), "the file is empty"),
        (zipped({"a.csv": b"%PDF"}), "it is a PDF"),
    ],
)
def test_other_zips_are_stopped(landing: Landing, content: bytes, message: str) -> None:
    landing.put(content, ".zip")
    with pytest.raises(ExtractStopped, match=message) as stopped:
        landing.read()
    assert str(stopped.value).startswith("leeds/eyfsp/202425.zip")


def test_a_zip_whose_check_sum_is_wrong_is_stopped(landing: Landing) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.csv", CSV)
    landing.put(file.getvalue().replace(b"Amelia", b"Amalia", 1), ".zip")
    with pytest.raises(ExtractStopped, match="damaged"):
        landing.read()


def test_a_gzip_of_several_members_is_one_file(landing: Landing) -> None:
    middle = len(CSV) // 2
    landing.put(as_gzip(CSV[:middle]) + as_gzip(CSV[middle:]), ".csv.gz")
    assert list(landing.read().rows) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_gzip(CSV)[: len(as_gzip(CSV)) // 2], "damaged"),
        (b"\x1f\x8b\x08", "damaged"),
        (as_gzip(b""), "the file is empty"),
        (as_gzip(zipped({"a.csv": CSV})), "holds another archive"),
        (as_gzip(b"7z\xbc\xaf\x27\x1c"), "send it unpacked"),
    ],
)
def test_other_gzips_are_stopped(landing: Landing, content: bytes, message: str) -> None:
    landing.put(content, ".csv.gz")
    with pytest.raises(ExtractStopped, match=message):
        landing.read()


def _understated(content: bytes, size: int) -> bytes:
    """A zip whose directory says that its one member unpacks to 1 KiB."""
    old, new = size.to_bytes(4, "little"), (1 << 10).to_bytes(4, "little")
    return content.replace(old, new)


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize("suffix", [".csv.gz", ".zip"])
def test_a_file_that_unpacks_to_far_more_is_stopped(
    landing: Landing, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.extract.readers.content.FREE_BYTES", 1 << 20)
    bomb = CSV + b"\n" * (16 << 20)
    landing.put(gzip.compress(bomb) if suffix == ".csv.gz" else zipped({"a.csv": bomb}), suffix)
    with pytest.raises(ExtractStopped, match="unpacks to far more"):
        landing.read()


@pytest.mark.usefixtures("read_here")
def test_what_a_zip_says_of_sizes_is_not_believed(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.extract.readers.content.FREE_BYTES", 1 << 20)
    bomb = CSV + b"\n" * (16 << 20)
    landing.put(_understated(zipped({"a.csv": bomb}), len(bomb)), ".zip")
    with pytest.raises(ExtractStopped):
        landing.read()


@pytest.mark.usefixtures("read_here")
def test_a_file_far_beyond_any_extract_is_stopped(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.extract.readers.content.MAX_UNPACKED", 1 << 8)
    landing.put(as_gzip(CSV), ".csv.gz")
    with pytest.raises(ExtractStopped, match="unpacks to far more"):
        landing.read()


def test_members_of_an_archive_open_as_tables(landing: Landing) -> None:
    path = landing.put(zipped({"b.csv": as_csv(ROWS, "utf-16"), "a.txt": CSV, "notes.pdf": b"x"}), ".zip")
    found = list_members(content_of("an archive", path))
    assert [content.name for content in found] == ["an archive, member 2", "an archive, member 1"]
    assert [content.called for content in found] == ["a.txt", "b.csv"]
    known = known_keys(CONTRACTS["eyfsp"], CONTRACT_DIALECT)
    for content in found:
        table = open_delimited(content, known, CONTRACT_DIALECT)
        assert [batch.to_pydict() for batch in table.read(["sex"])] == [{"sex": ["F"] * 3, "source_row": [1, 2, 3]}]
