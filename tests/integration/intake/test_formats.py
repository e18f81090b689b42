"""Text, archives and Parquet as councils export them: rows that are read or set aside, and what stops a file."""

import datetime as dt
import decimal
import os
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, assume, given, strategies as st

from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped
from sources.extract.readers.delimited import BLOCK_BYTES
from tests.support.daily import limit_examples, mark_slow_after
from tests.support.intake.desk import EYFSP_HEADER, Desk
from tests.support.intake.files import (
    Landing,
    build_arrow,
    build_children,
    build_csv,
    build_gzip,
    build_parquet,
    build_xlsx,
    build_zip,
    share_strings,
)
from tests.support.intake.forms import FORMS

SECRET = "Qwyjibo"
ROWS = build_children(*[{}] * 3)
CSV = build_csv(ROWS)
HEADER, ROW, *_ = CSV.decode().splitlines(keepends=True)
SURNAME = EYFSP_HEADER.index("surname")
Content = str | bytes
Case = tuple[Content, tuple[int, ...], dict[str, list[int]]]


def _read(content: Content, *kept: int, **aside: list[int]) -> Case:
    """A file, its rows that are kept (all three by default), and those set aside by rule."""
    return content, kept or (1, 2, 3), {rule.replace("_", "-"): rows for rule, rows in aside.items()}


def _changed(before: str, after: str) -> str:
    return HEADER + ROW + ROW.replace(before, after) + ROW


def _header(**changes: str) -> str:
    return ",".join(changes.get(name, name) for name in EYFSP_HEADER) + "\n"


def _line(**change: str) -> str:
    return build_csv([build_children(change)[1]]).decode()


def _named(names: list[str]) -> str:
    return ",".join(names) + "\n" + ROW * 3


def _wider(names: list[str], values: list[str]) -> bytes:
    """The rows with further columns before and behind."""
    return build_csv([[*names[:1], *EYFSP_HEADER, *names[1:]], *([*values[:1], *row, *values[1:]] for row in ROWS[1:])])


READ: dict[str, Case] = {
    "an end-of-file mark": _read(CSV + b"\x1a"),
    "no last line end": _read(CSV[:-1]),
    "titles first": _read(f"EYFSP 2025\nReport for {SECRET}\n\n".encode() + CSV),
    "blank lines and rows of nothing but delimiters": _read(
        HEADER + ROW + "\n" + "," * 26 + "\n" + ROW + " \n" + ROW, 1, 4, 6
    ),
    "more and fewer fields": _read(
        HEADER + ROW[:-1] + ",more\n" + ROW + ROW.rpartition(",")[0] + "\n", 2, malformed_row=[1, 3]
    ),
    "delimiters at all ends": _read(CSV.replace(b"\n", b",\n")),
    "mixed line ends": _read(HEADER[:-1] + "\r\n" + ROW[:-1] + "\r" + ROW + ROW[:-1] + "\r\n"),
    "doubled returns": _read(CSV.replace(b"\n", b"\r\r\n")),
    "zero bytes": _read(CSV.replace(b"Amelia", b"Ame\0lia\0")),
    "a field of 100 kB": _read(_changed("Thornton", "Q" * 100_000)),
    "a mark within a name": _read(_changed("Thornton", 'Thornton "Bo" X')),
    "an open mark": _read(_changed("Thornton", '"Thornton'), 1, 3, unbalanced_quote=[2]),
    "an open mark before a quoted field": _read(
        _changed("Thornton", '"Thornton') + _line(surname="a,b"), 1, 3, 4, unbalanced_quote=[2]
    ),
    "marks that pair by number but not by place": _read(
        HEADER + ROW.replace("Thornton", '"a"b').replace("Amelia", 'A"').replace("LS1", '"LS1') + ROW * 2,
        *(2, 3),
        unbalanced_quote=[1],
    ),
    "headings in capitals": _read(_named([name.upper() for name in EYFSP_HEADER])),
    "headings in words": _read(_named([name.replace("_", " ").title() for name in EYFSP_HEADER])),
    "two byte-order marks": _read("\ufeff\ufeff".encode() + CSV),
    "columns the other way round": _read(build_csv([row[::-1] for row in ROWS])),
    "further columns": _read(_wider(["notes", "SEN note", ""], [SECRET] * 3)),
    "a heading beside one in other letters": _read(_wider(["Surname"], [SECRET])),
    "the header again in the middle": _read(HEADER + ROW + HEADER + ROW, 1, 3, repeated_header=[2]),
    "sep=;": _read(b"sep=;\n" + build_csv(ROWS, delimiter=";")),
    "a gzip of two members": _read(build_gzip(CSV[:1000]) + build_gzip(CSV[1000:])),
    "a zip of a desktop": _read(build_zip({"__MACOSX/._a.csv": "x", "a/": "", "a/.DS_Store": "x", "a/b.TXT": CSV})),
    "a zip with other files": _read(build_zip({"letter.pdf": b"x", "letter.docx": b"x", "a.csv": CSV})),
    "parquet with a blank row": _read(build_parquet([*ROWS, [None] * len(ROWS[0]), ROWS[1]]), 1, 2, 3, 5),
    "parquet with padded and blank headings": _read(
        build_parquet([[*(f" {name.upper()} " for name in ROWS[0]), "", " "], *([*row, "1", "1"] for row in ROWS[1:])])
    ),
}


@pytest.mark.parametrize("name", READ)
def test_rows_are_read_or_set_aside(landing: Landing, name: str) -> None:
    content, kept, aside = READ[name]
    landing.put(content)
    read = landing.read()
    assert (tuple(read.rows), read.set_aside) == (kept, aside)
    assert all(row["exp_e17"] == "2" for row in read.rows.values())


def _at(content: bytes, *places: int, xor: int) -> bytes:
    changed = bytearray(content)
    for place in places:
        changed[place] ^= xor
    return bytes(changed)


ZIP = build_zip({"a.csv": CSV})
DIRECTORY = ZIP.index(b"PK\1\2")
CUT = HEADER[: HEADER.index(",exp_e16")] + f"5{SECRET},2\n"
RENAMED = {name: f"{name} result" for name in ("com_e01", "exp_e16", "exp_e17")}
STOPPED: dict[str, tuple[Content, str]] = {
    "nothing": ("", "the file is empty"),
    "21 lines before the header": (b"\n" * 21 + CSV, "none of the first lines is a header line"),
    "600 columns": (_header()[:-1] + "".join(f",c{n}" for n in range(600)) + "\n" + ROW, "500 columns"),
    "a renamed column": (_header(surname="Surname(s)") + ROW, r"'surname', perhaps renamed to 'Surname\(s\)'"),
    "several renamed": (
        _header(**RENAMED) + ROW,
        "; ".join(f"'{name}', perhaps renamed to '{heading}'" for name, heading in RENAMED.items()),
    ),
    "a missing column": (build_csv([row[:-1] for row in ROWS]), "missing column 'exp_e17'"),
    "a heading twice": (_header(forename="surname") + ROW, "surname occurs twice in the header"),
    "two headings in other letters": (
        _wider(["SURNAME", "Surname"], ["x", "x"]).replace(b",surname,", b",Other,"),
        "'SURNAME' and 'Surname' are both read as surname",
    ),
    "no line end after the header": (HEADER[:-1] + ROW * 2, "no row has as many fields as the header line"),
    "no line end, a name like a heading": (
        _header().replace("surname,", "")[:-1] + "," + ROW.replace("Amelia", f"Surnamey {SECRET}"),
        "header line holds values",
    ),
    "the header runs into a row": (CUT + ROW * 2, "no row has as many fields as the header line"),
    "cut in a row": (CSV[:-40], "is cut off in its last row"),
    "cut in a letter": (CSV + ROW.replace("Amelia", "Zoë").encode()[: ROW.index("Amelia") + 3], "in its last row"),
    "cut in a quoted field": (CSV[:-1] + b'\n383,"200', "is cut off in its last row"),
    "one long line": ("x" * (3 << 20), "longer than 1 MiB"),
    "a PDF": ("%PDF-1.7 ", "it is a PDF"),
    "a web page": (f"<!DOCTYPE html><html><table><tr><td>{SECRET}</td></tr></table></html>", "web page"),
    "XML": ('<?xml version="1.0"?><a/>', "not an EYFS Profile return in XML"),
    "PGP": (f"-----BEGIN PGP MESSAGE-----\n{SECRET}", "encrypted with PGP"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c", "send it unpacked"),
    "a gzip with a wrong sum": (build_gzip(CSV)[:-8] + bytes(8), "damaged"),
    "a gzip with more behind it": (build_gzip(CSV) + SECRET.encode(), "damaged"),
    "a gzip of a gzip": (build_gzip(build_gzip(CSV)), "holds another archive"),
    "a gzip of a 7z archive": (build_gzip(b"7z\xbc\xaf\x27\x1c"), "send it unpacked"),
    "an empty zip": (build_zip({}), "no extract"),
    "a zip without extract": (build_zip({"readme.pdf": b"x"}), "holds no extract"),
    "a zip of two": (
        build_zip({f"{SECRET}.csv": CSV, "b.xlsx": build_xlsx(ROWS)}),
        "several extracts.*: member 1, member 2",
    ),
    "a zip of a gzip": (build_zip({f"{SECRET}.csv.gz": build_gzip(CSV)}), "another archive.*: member 1"),
    "a zip of a hidden gzip": (build_zip({"a.csv": build_gzip(CSV)}), "holds another archive"),
    "a zip of a hidden zip": (build_zip({"a.csv": ZIP}), "holds another archive"),
    "a zip that leads out": (build_zip({"../../../etc/passwd.csv": CSV}), "outside itself"),
    "a zip that leads out on Windows": (build_zip({"a\\..\\..\\a.csv": CSV}), "outside itself"),
    "a zip by another method": (_at(ZIP, 8, DIRECTORY + 10, xor=1), "packed or encrypted in a way"),
    "a zip with a password": (_at(ZIP, 6, DIRECTORY + 8, xor=1), "password"),
    "a zip with a wrong sum": (_at(ZIP, 14, DIRECTORY + 16, xor=255), "damaged"),
    "a zip that names nothing": (ZIP[:DIRECTORY] + ZIP[DIRECTORY:].replace(b"a.csv", b"\0.csv"), "damaged"),
    "parquet, cut short": (build_parquet(ROWS)[:-100], "not a readable Parquet file"),
    "parquet, encrypted": (b"PARE" + bytes(100) + b"PARE", "encrypted"),
    "parquet without columns": (build_parquet(build_arrow(ROWS).select([])), "the file is empty"),
    "parquet, a heading twice": (
        build_parquet(build_arrow([[*row, "1"] for row in ROWS]).rename_columns([*ROWS[0], "sex"])),
        "columns [0-9]+ and [0-9]+ have the same name",
    ),
    "parquet, text that is not UTF-8": (
        build_parquet(ROWS, compression="none").replace(b"Thornton", b"Thornt\xff\xff"),  # Arrow hands it on as text
        r"not single values: column [0-9]+\n",
    ),
}


@pytest.mark.parametrize("name", STOPPED)
def test_what_cannot_be_read_stops_the_file(landing: Landing, name: str) -> None:
    content, message = STOPPED[name]
    landing.put(content)
    with pytest.raises(ExtractStopped) as stopped:
        landing.read()
    plain, own = str(stopped.value), stopped.value.for_sender
    assert re.search(message, f"{plain}\n{own}")
    assert plain.startswith("leeds/eyfsp/202425.csv")
    assert SECRET not in plain + own
    assert stopped.value.__cause__ is None


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize("form", ["gzip", "zip", "a zip that understates its size"])
def test_a_file_that_unpacks_to_far_more_is_stopped(
    landing: Landing, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.extract.readers.content.FREE_BYTES", 1 << 20)
    bomb = CSV + b"\n" * (16 << 20)
    content = build_gzip(bomb) if form == "gzip" else build_zip({"a.csv": bomb})
    if "understates" in form:
        content = content.replace(len(bomb).to_bytes(4, "little"), (1 << 10).to_bytes(4, "little"))
    landing.put(content)
    with pytest.raises(ExtractStopped, match="damaged|far more" if "understates" in form else "unpacks to far more"):
        landing.read()
    monkeypatch.setattr("sources.extract.readers.content.MAX_UNPACKED", 1 << 8)
    landing.put(build_gzip(CSV))
    with pytest.raises(ExtractStopped, match="unpacks to far more"):
        landing.read()


def test_numbers_hold_across_blocks(landing: Landing) -> None:
    """An unclosed quotation mark costs one line of a large file, a malformed row itself."""
    total = 3 * BLOCK_BYTES // len(ROW)
    lines = [_line(surname=f"name\n{number}" if number % 1000 == 0 else f"name {number}") for number in range(total)]
    malformed = {7, 9_000, 9_500, total - 2}
    for number in malformed:
        lines[number] = "one,two\n"
    lines[100] = lines[100].replace("name", '"name')
    landing.put(HEADER + "".join(lines))
    read = landing.read()
    assert read.set_aside == {"malformed-row": [n + 1 for n in sorted(malformed)], "unbalanced-quote": [101]}
    assert all(str(row["surname"]).split()[1] == str(number - 1) for number, row in read.rows.items())
    assert len(read.rows) == total - len(malformed) - 1


@pytest.mark.slow
def test_row_numbers_run_on_across_row_groups(landing: Landing) -> None:
    landing.put(build_parquet(pa.concat_tables([build_arrow(ROWS)] * 40_000), row_group_size=7_001))
    assert list(landing.read().rows) == list(range(1, 120_001))


@pytest.mark.parametrize(
    ("content", "column", "expected"),
    [
        (build_csv(build_children({"estab": '="0383"'})), "estab", "0383"),
        (build_csv(build_children({"surname": '="Smith, of Leeds"'}), quoting=1), "surname", "Smith, of Leeds"),
        (CSV.replace(b"2001", b'="0383"'), "estab", "0383"),
    ],
)
def test_text_protected_for_excel(landing: Landing, content: bytes, column: str, expected: str) -> None:
    landing.put(content)
    assert landing.read().rows[1][column] == expected


@pytest.mark.parametrize(
    ("raw", "encoding", "expected"),
    [
        ("Zoë €".encode("windows-1252"), "utf-8", "Zoë €"),
        ("Zoë".encode() + b" \xeb", "utf-8", "Zoë ë"),
        ("Zoë".encode("cp850"), "cp850", "Zoë"),
        (b"Zo\x81", "windows-1252", "Zo\x81"),
    ],
)
def test_encodings(landing: Landing, raw: bytes, encoding: str, expected: str) -> None:
    landing.put(CSV.replace(b"Amelia", raw))
    assert landing.read(Dialect(encoding=encoding)).rows[3]["forename"] == expected


SUMMER = dt.datetime(2020, 6, 1, tzinfo=dt.UTC)
LONDON = "Europe/London"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([9990001234, 2, 3], pa.uint64()), ["9990001234", "2", "3"]),
        (pa.array([2.0, 24.02, float("nan")]), ["2", "24.02", None]),
        (pa.array([9990001234.0, 1e15, 1e300]), ["9990001234", "1000000000000000", "1e+300"]),
        (pa.array([decimal.Decimal("2.00"), decimal.Decimal("24.02"), None]), ["2", "24.02", None]),
        (pa.array([True, False, None]), ["TRUE", "FALSE", None]),
        (pa.array([dt.datetime(2020, 2, 29, 13, 30)] * 3), ["2020-02-29"] * 3),
        (pa.array([SUMMER] * 3, pa.timestamp("us", tz=LONDON)), ["2020-06-01"] * 3),
        (pa.array([SUMMER - dt.timedelta(hours=1)] * 3, pa.timestamp("ns", tz=LONDON)), ["2020-06-01"] * 3),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
        (pa.array(["a", "b", "Zoë"], pa.string_view()), ["a", "b", "Zoë"]),
        (pa.array([b"a", b"b", "Zoë".encode()], pa.binary()), ["a", "b", "Zoë"]),
        (pa.array([None] * 3, pa.null()), [None] * 3),
    ],
)
def test_parquet_of_any_column_type_is_text(landing: Landing, values: pa.Array, expected: list[str | None]) -> None:
    landing.put(build_parquet(build_arrow(ROWS).set_column(SURNAME, "surname", values)))
    assert [row["surname"] for row in landing.read().rows.values()] == expected


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["a"], [], None]),
        pa.array([{"a": 1}] * 3),
        pa.array([b"\xff\xfe"] * 3),
        pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    ],
)
def test_parquet_values_that_are_not_single_stop_it_where_they_are_read(landing: Landing, values: pa.Array) -> None:
    landing.put(build_parquet(build_arrow(ROWS).append_column("more", values)))
    assert len(landing.read().rows) == 3
    landing.put(build_parquet(build_arrow(ROWS).set_column(SURNAME, "surname", values)))
    with pytest.raises(ExtractStopped, match=r"not single values: column [0-9]+$") as stopped:
        landing.read()
    assert stopped.value.for_sender.endswith("surname")


CHILDREN = build_children(
    {"surname": "Núñez"}, {"surname": "O'Brien", "forename": "Zoë"}, {"postcode": "LS2 9JT", "sex": "M"}, {}
)


@pytest.mark.slow
def test_every_format_gives_the_same_rows_and_tokens(desk: Desk) -> None:
    expected = None
    for name, (suffix, write) in FORMS.items():
        path = desk.land(b"", suffix=suffix)
        path.write_bytes(write(CHILDREN))
        quality = desk.take()
        assert (quality.rows_read, quality.rows_rejected) == (4, 0), name
        taken = desk.list_kept(columns="source_row, sex, term_of_birth, imd_quintile, COLUMNS('^t_'), com_e01")
        expected = expected or taken
        assert taken == expected, name
        path.unlink()
    assert expected
    assert [row[0] for row in expected] == [1, 2, 3, 4]


@pytest.mark.parametrize("refused", ["when it is found", "when it is read"])
@pytest.mark.usefixtures("read_here")
def test_a_file_that_may_not_be_read(landing: Landing, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "no")

    landing.put(CSV)
    monkeypatch.setattr(os, *(("access", lambda *_: False) if "found" in refused else ("open", refuse)))
    with pytest.raises(ExtractStopped, match="may not be read; give the intake permission"):
        landing.read()


@pytest.mark.parametrize(
    ("suffix", "message"),
    mark_slow_after(
        1, [(".xlsm", "without macros"), (".7z", "send it unpacked"), (".pdf", "send .csv, .xlsx or .parquet")]
    ),
)
def test_suffixes_that_are_refused(landing: Landing, suffix: str, message: str) -> None:
    landing.put(CSV, suffix)
    with pytest.raises(ExtractStopped, match=message):
        landing.read()


def test_links_are_followed_within_the_councils_folder_only(landing: Landing, tmp_path: Path) -> None:
    path = landing.put(CSV)
    path.rename(path.with_name("export of July.csv"))
    path.symlink_to("export of July.csv")
    assert len(landing.read().rows) == 3
    path.unlink()
    (tmp_path / "elsewhere.csv").write_bytes(CSV)
    path.symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(ExtractStopped, match="leaves its council's folder"):
        landing.read()


ANY = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=6
)
WESTERN = st.text(alphabet=st.characters(codec="windows-1252", exclude_characters="\0"), max_size=6)
_UTF8_BY_CHANCE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
"""Letters that nobody writes side by side in Windows-1252, and that are one letter of UTF-8."""
_PROTECTED = re.compile(r'="[^"\r\n]+"')
_OTHER_LINE_END = {"\n": "\r", "\r": "\n"}
"""What the csv module leaves unquoted, though it ends a line as well."""
AWKWARD = st.text(alphabet="\",;|\t\n'=aé€ ", max_size=8)
SLOW = limit_examples(150, list(HealthCheck))


def _landing() -> Landing:
    return Landing(Path(tempfile.mkdtemp()))


def _trimmed(text: str) -> str:
    return str(pc.utf8_trim_whitespace(pa.scalar(text)).as_py())


def _as_read(value: str) -> str:
    return _trimmed(value.replace("\r\n", "\n").replace("\r", "\n"))


@pytest.mark.slow
@SLOW
@given(data=st.data())
def test_a_text_file_reads_back_as_it_was_written(data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "windows-1252"]))
    values = AWKWARD | (WESTERN if encoding == "windows-1252" else ANY)
    names = data.draw(st.lists(values, min_size=1, max_size=12))
    form = {
        "delimiter": data.draw(st.sampled_from(",;|\t^~")),
        "quoting": data.draw(st.sampled_from([0, 1])),
        "lineterminator": data.draw(st.sampled_from(["\n", "\r\n", "\r"])),
    }
    unquoted = _OTHER_LINE_END.get(form["lineterminator"], "none such")
    assume(
        not any(unquoted in name or _PROTECTED.fullmatch(name) or _PROTECTED.fullmatch(name[::-1]) for name in names)
    )
    landing = _landing()
    content = build_csv(
        build_children(*({"surname": name, "forename": name[::-1]} for name in names)), encoding, **form
    )
    assume(encoding != "windows-1252" or not _UTF8_BY_CHANCE.search(content))
    landing.put(content)
    read = landing.read()
    assert read.set_aside == {}
    assert [(row["surname"], row["forename"]) for row in read.rows.values()] == [
        (_as_read(name), _as_read(name[::-1])) for name in names
    ]
    assert list(read.rows) == list(range(1, len(names) + 1))


@pytest.mark.slow
@SLOW
@given(names=st.lists(AWKWARD | ANY, min_size=1, max_size=8), shared=st.booleans())
def test_a_workbook_reads_back_as_it_was_written(names: list[str], shared: bool) -> None:
    assume(all(name.isprintable() or name.strip("\n\t").isprintable() for name in names))
    assume(not any(name.startswith("=") or "_x" in name for name in names))
    landing = _landing()
    content = build_xlsx(build_children(*({"surname": name} for name in names)))
    landing.put(share_strings(content) if shared else content, ".xlsx")
    read = landing.read()
    assert [row["surname"] for row in read.rows.values()] == [_trimmed(name) for name in names]
    assert list(read.rows) == list(range(1, len(names) + 1))


@pytest.mark.slow
@SLOW
@given(lines=st.lists(st.text(alphabet='",a\n\r ', max_size=30), max_size=6))
def test_every_line_of_a_file_with_broken_marks_is_accounted_for(lines: list[str]) -> None:
    """A row that is whole and stands after the broken ones is never lost with them."""
    whole = build_csv(build_children({})[1:]).decode()
    landing = _landing()
    landing.put(",".join(EYFSP_HEADER) + "\n" + whole + "".join(line + "\n" for line in lines) + whole * 3)
    read = landing.read()
    assert read.rows[1]["surname"] == "Thornton"
    assert [row["surname"] for row in read.rows.values()].count("Thornton") == 4
