"""Delimited text as councils' systems write it: what is read, what is set aside by row, what stops the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sources.councils.council_file import Dialect
from sources.errors import ExtractStopped
from sources.extract.readers.delimited import BLOCK_BYTES
from tests.support.intake.files import Landing, as_csv, children

SECRET = "Qwyjibo"
PLAIN = as_csv(children(*[{}] * 5)).decode()
HEADER, *LINES = PLAIN.splitlines()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def _text(*lines: str, end: str = "\n") -> str:
    return "".join(line + end for line in lines)


def _line(delimiter: str = ",", **change: str) -> str:
    return as_csv([children(change)[1]], delimiter=delimiter).decode().rstrip("\n")


@pytest.mark.parametrize(
    ("text", "rows", "set_aside"),
    [
        pytest.param(PLAIN, [1, 2, 3, 4, 5], {}, id="plain"),
        pytest.param(PLAIN + "  \n \t", [1, 2, 3, 4, 5], {}, id="blanks at the end"),
        pytest.param("\n" * 20 + PLAIN, [1, 2, 3, 4, 5], {}, id="twenty blank lines first"),
        pytest.param('Run of "pupils\n' + PLAIN, [1, 2, 3, 4, 5], {}, id="a stray mark in a title"),
        pytest.param(_text(HEADER, LINES[0], "," * 26, LINES[1]), [1, 3], {}, id="rows of nothing but delimiters"),
        pytest.param(
            _text(HEADER, LINES[0] + ",more", LINES[1], LINES[2].rpartition(",")[0], LINES[3]),
            [2, 4],
            {"malformed-row": [1, 3]},
            id="more and fewer fields",
        ),
        pytest.param(_text(HEADER + ",", *(line + "," for line in LINES)), [1, 2, 3, 4, 5], {}, id="delimiter at ends"),
        pytest.param(_text(HEADER, *(line + "," for line in LINES)), [1, 2, 3, 4, 5], {}, id="only at ends of rows"),
        pytest.param(_text(HEADER + ",", *LINES), [1, 2, 3, 4, 5], {}, id="only at the end of the header"),
        pytest.param(_text(HEADER, *LINES[:2], end="\r") + _text(*LINES[2:]), [1, 2, 3, 4, 5], {}, id="some returns"),
        pytest.param(_text(HEADER, *LINES, end="\r\r\n"), [1, 2, 3, 4, 5], {}, id="doubled returns"),
    ],
)
def test_rows_and_their_numbers(landing: Landing, text: str, rows: list[int], set_aside: dict[str, list[int]]) -> None:
    landing.put(text)
    read = landing.read()
    assert list(read.rows) == rows
    assert read.set_aside == set_aside
    assert all(row["forename"] == "Amelia" and row["exp_e17"] == "2" for row in read.rows.values())


@pytest.mark.parametrize(
    ("lines", "rows", "set_aside"),
    [
        pytest.param([_line(surname='the "first", of'), LINES[0]], [1, 2], {}, id="marks and delimiters in a field"),
        pytest.param(
            [LINES[0].replace("Thornton", '"Thornton'), *LINES[1:]], [2, 3, 4, 5], {"unbalanced-quote": [1]}, id="open"
        ),
        pytest.param(
            [LINES[0], LINES[1].replace("Thornton", '"Thornton'), LINES[2], _line(surname="a,b"), LINES[3]],
            [1, 3, 4, 5],
            {"unbalanced-quote": [2]},
            id="open until a later quoted field",
        ),
        pytest.param(
            [_line(surname="a\nb"), LINES[1].replace("Thornton", '"Thornton'), _line(surname="c\nd"), LINES[3]],
            [1, 3, 4],
            {"unbalanced-quote": [2]},
            id="open between fields with line breaks",
        ),
        pytest.param([LINES[0].replace("Thornton", '"Thorn"ton'), LINES[1]], [1, 2], {}, id="text behind the mark"),
        pytest.param(
            [LINES[0].replace("Thornton", '"a"b').replace("Amelia", 'A"').replace("LS1", '"LS1'), *LINES[1:4]],
            [2, 3, 4],
            {"unbalanced-quote": [1]},
            id="marks that pair by number but not by place",
        ),
    ],
)
def test_quotation_marks(landing: Landing, lines: list[str], rows: list[int], set_aside: dict[str, list[int]]) -> None:
    landing.put(_text(HEADER, *lines))
    read = landing.read()
    assert list(read.rows) == rows
    assert read.set_aside == set_aside


def test_an_open_quotation_mark_costs_one_line_of_a_large_file(landing: Landing) -> None:
    lines = [_line(surname=f"name {number}") for number in range(3 * BLOCK_BYTES // len(LINES[0]))]
    lines[100] = lines[100].replace("name", '"name')
    landing.put(_text(HEADER, *lines))
    read = landing.read()
    assert read.set_aside == {"unbalanced-quote": [101]}
    assert [int(str(row["surname"]).removeprefix("name ")) + 1 for row in read.rows.values()] == list(read.rows)
    assert len(read.rows) == len(lines) - 1


def test_numbers_hold_across_blocks(landing: Landing) -> None:
    total = 3 * BLOCK_BYTES // len(LINES[0])
    lines = [_line(surname=f"name\n{number}" if number % 1000 == 0 else f"name {number}") for number in range(total)]
    malformed = {7, 9_000, 9_500, total - 2}
    for number in malformed:
        lines[number] = "one,two"
    landing.put(_text(HEADER, *lines))
    read = landing.read()
    assert read.set_aside == {"malformed-row": [number + 1 for number in sorted(malformed)]}
    assert all(str(row["surname"]).split()[1] == str(number - 1) for number, row in read.rows.items())
    assert len(read.rows) == total - len(malformed)


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ({"estab": '="0383"'}, "estab", "0383"),
        ({"surname": '="Smith, of Leeds"'}, "surname", "Smith, of Leeds"),
    ],
)
@pytest.mark.parametrize("quoting", [0, 1])
def test_text_protected_for_excel(
    landing: Landing, change: dict[str, str], column: str, expected: str, quoting: int
) -> None:
    landing.put(as_csv(children({}, change, {}), quoting=quoting))
    assert landing.read().rows[2][column] == expected
    bare = PLAIN.replace("2001", '="0383"')
    landing.put(bare)
    assert landing.read().rows[5]["estab"] == "0383"


def test_a_header_with_line_breaks_and_marks(landing: Landing) -> None:
    header = HEADER.replace("surname", '"sur\nname"').replace("forename", '" forename "')
    landing.put(_text(header, *LINES))
    read = landing.read(Dialect(columns={"surname": "sur name"}))
    assert list(read.rows) == [1, 2, 3, 4, 5]
    assert {(row["surname"], row["forename"]) for row in read.rows.values()} == {("Thornton", "Amelia")}


@pytest.mark.parametrize("delimiter", [";", "#"])
def test_delimiters(landing: Landing, delimiter: str) -> None:
    landing.put(f"sep={delimiter}\n".encode() + as_csv(children({"surname": "a,b;c|d"}, {}), delimiter=delimiter))
    assert landing.read().rows[1]["surname"] == "a,b;c|d"
    landing.put(as_csv(children({"surname": "a,b;c|d"}, {}), delimiter=delimiter))
    assert landing.read(Dialect(delimiter=delimiter)).rows[1]["surname"] == "a,b;c|d"


@pytest.mark.parametrize(
    ("raw", "encoding", "expected"),
    [
        ("Zoë".encode(), "windows-1252", "Zoë"),
        ("Zoë €".encode("windows-1252"), "utf-8", "Zoë €"),
        ("Zoë €".encode("windows-1252"), "iso-8859-1", "Zoë €"),
        ("Zoë".encode() + b" \xeb", "utf-8", "Zoë ë"),
        ("Zoë".encode("cp850"), "cp850", "Zoë"),
        (b"Zo\x81", "windows-1252", "Zo\x81"),
        ("Zoë".encode("windows-1252"), "no-such-encoding", "Zoë"),
        ("Zoë".encode("windows-1252"), "utf-16", "Zoë"),
    ],
)
def test_encodings(landing: Landing, raw: bytes, encoding: str, expected: str) -> None:
    landing.put(PLAIN.encode().replace(b"Amelia", raw))
    assert landing.read(Dialect(encoding=encoding)).rows[3]["forename"] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("\n" * 21 + PLAIN, "none of the first lines is a header line", id="too many lines first"),
        pytest.param(PLAIN.rstrip("\n") + '\n383,"200', "breaks off in its last row", id="cut in a quoted field"),
        pytest.param("x" * (3 << 20), "longer than 1 MiB", id="one long line"),
        pytest.param("%PDF-1.7 ", "it is a PDF", id="pdf"),
        pytest.param('<?xml version="1.0"?><a/>', "not an EYFS Profile return in XML", id="xml"),
        pytest.param("-----BEGIN PGP MESSAGE-----", "encrypted with PGP", id="pgp"),
    ],
)
def test_stops(landing: Landing, text: str, message: str) -> None:
    landing.put(text)
    with pytest.raises(ExtractStopped, match=message) as stopped:
        landing.read()
    assert str(stopped.value).startswith("leeds/eyfsp/202425.csv: ")


def test_a_cut_utf_16_file_is_stopped(landing: Landing) -> None:
    landing.put(PLAIN.encode("utf-16")[:-1])
    with pytest.raises(ExtractStopped, match="breaks off or is damaged"):
        landing.read()


def test_no_message_repeats_the_cells_of_a_file_without_header(landing: Landing) -> None:
    lines = [_line(surname=SECRET, forename="surnam", postcode="upn")] * 9
    landing.put(_text(*lines))
    with pytest.raises(ExtractStopped) as stopped:
        landing.read()
    assert SECRET not in str(stopped.value)
    assert "surnam" not in str(stopped.value).replace("surname", "")
    assert stopped.value.__cause__ is None


def test_a_file_that_may_not_be_read(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    landing.put(PLAIN)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ExtractStopped, match="may not be read; give the intake permission"):
        landing.read()


@pytest.mark.usefixtures("read_here")
def test_a_file_whose_permission_goes_before_it_is_read(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    landing.put(PLAIN)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ExtractStopped, match="may not be read; give the intake permission"):
        landing.read()


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (".xlsm", "without macros"),
        (".7z", "send it unpacked"),
        (".pdf", "send .csv, .xlsx or .parquet"),
    ],
)
def test_endings_that_are_refused(landing: Landing, suffix: str, message: str) -> None:
    landing.put(PLAIN, suffix)
    with pytest.raises(ExtractStopped, match=message):
        landing.read()


def test_a_folder_in_place_of_a_file(landing: Landing) -> None:
    (landing.root / "leeds" / "eyfsp" / "202425.csv").mkdir(parents=True)
    with pytest.raises(ExtractStopped, match="not a file"):
        landing.read()


def test_links_are_followed_within_the_councils_folder_only(landing: Landing, tmp_path: Path) -> None:
    path = landing.put(PLAIN)
    path.rename(path.with_name("export of July.csv"))
    path.symlink_to("export of July.csv")
    assert len(landing.read().rows) == 5
    path.unlink()
    (tmp_path / "elsewhere.csv").write_text(PLAIN)
    path.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(ExtractStopped, match="leaves its council's folder"):
        landing.read()
