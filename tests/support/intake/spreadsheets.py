"""Writes .xls, .xlsb and .ods files cell by cell, because none of the installed libraries writes all three formats.

A cell is a text, number, boolean, date, None (empty), `Error` or `Formula`.
"""

import datetime as dt
import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from tests.support.intake.files import build_sheets, build_zip

Cells = Sequence[Sequence[object]]
Sheets = Mapping[str, Cells]
_GENERAL, _DATE, _DATE_FORMAT = 0, 1, 14
_ERRORS = {"#REF!": 0x17, "#N/A": 0x2A}
_EPOCH = dt.date(1899, 12, 30)


@dataclass(frozen=True)
class Error:
    shown: str


@dataclass(frozen=True)
class Formula:
    """A formula, with its last result, a number."""

    value: float


def build_xls(sheets: Sheets, hidden: Sequence[str] = (), begin: bytes = b"") -> bytes:
    """Return a workbook of Excel 97 to 2003; `begin` has records to insert after its first one."""
    bodies = [_build_xls_sheet(rows) for rows in sheets.values()]
    parts = [_build_xls_record(0x0809, struct.pack("<HHHHII", 0x0600, 5, 0, 0, 0, 0)), begin]
    parts += [_build_xls_record(0x00E0, struct.pack("<HH16x", 0, number)) for number in (_GENERAL, _DATE_FORMAT)]
    after = [_build_xls_record(0x000A, b"")]
    names = [(called, called.encode("utf-16-le")) for called in sheets]
    at = sum(map(len, (*parts, *after))) + sum(12 + len(name) for _, name in names)
    listed = []
    for (called, name), body in zip(names, bodies, strict=True):
        state = 1 if called in hidden else 0
        listed.append(_build_xls_record(0x0085, struct.pack("<IBBBB", at, state, 0, len(name) // 2, 1) + name))
        at += len(body)
    return build_compound_file({"Workbook": b"".join((*parts, *listed, *after, *bodies))})


def _build_xls_sheet(rows: Cells) -> bytes:
    cells = [_build_xls_record(0x0809, struct.pack("<HHHHII", 0x0600, 0x10, 0, 0, 0, 0))]
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            at = struct.pack("<HHH", row, column, _DATE if isinstance(value, dt.date) else 0)
            match value:
                case None:
                    continue
                case str():
                    text = value.encode("utf-16-le")
                    cells.append(_build_xls_record(0x0204, at + struct.pack("<HB", len(text) // 2, 1) + text))
                case bool():
                    cells.append(_build_xls_record(0x0205, at + bytes([value, 0])))
                case Error(shown):
                    cells.append(_build_xls_record(0x0205, at + bytes([_ERRORS[shown], 1])))
                case Formula(number):
                    cells.append(_build_xls_record(0x0006, at + struct.pack("<dHIH", number, 0, 0, 0)))
                case int() if abs(value) < 1 << 29:
                    cells.append(_build_xls_record(0x027E, at + struct.pack("<I", (value << 2 | 2) & 0xFFFFFFFF)))
                case _:
                    cells.append(_build_xls_record(0x0203, at + struct.pack("<d", _number(value))))
    return b"".join((*cells, _build_xls_record(0x000A, b"")))


def _build_xls_record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def build_compound_file(streams: Mapping[str, bytes]) -> bytes:
    """Return a compound file with a few streams, each in separate sectors of 512 bytes."""
    end, free, fat_mark = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
    table: list[int] = []
    starts, content = [], b""
    for data in streams.values():
        sectors = max(len(data) + 511, 4096) // 512
        starts.append(len(table))
        table += [*range(len(table) + 1, len(table) + sectors), end]
        content += data.ljust(sectors * 512, b"\0")
    entries = [_build_entry("Root Entry", 5, 1, end, 0, free)]
    for number, (name, data) in enumerate(streams.items(), 1):
        right = number + 1 if number < len(streams) else free
        entries.append(_build_entry(name, 2, free, starts[number - 1], max(len(data), 4096), right))
    directory_sectors = -(-len(entries) // 4)
    directory = len(table)
    table += [*range(directory + 1, directory + directory_sectors), end]
    first_fat = len(table)
    fat_sectors = 1
    while fat_sectors * 128 < first_fat + fat_sectors:
        fat_sectors += 1
    table += [fat_mark] * fat_sectors
    table += [free] * (fat_sectors * 128 - len(table))
    fat = [first_fat + index for index in range(fat_sectors)]
    assert len(fat) <= 109
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, fat_sectors, directory, 0, 4096, end, 0, end, 0)
    header += struct.pack("<109I", *(fat + [free] * (109 - len(fat))))
    return (
        header
        + content
        + b"".join(entries).ljust(directory_sectors * 512, b"\0")
        + struct.pack(f"<{len(table)}I", *table)
    )


def _build_entry(name: str, kind: int, child: int, first: int, size: int, right: int) -> bytes:
    written = name.encode("utf-16-le")
    head = written.ljust(64, b"\0") + struct.pack("<HBBIII", len(written) + 2, kind, 1, 0xFFFFFFFF, right, child)
    return head + bytes(36) + struct.pack("<III", first, size, 0)


_RELATIONS = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
_RELATION = (
    '<Relationship Id="{}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}" Target="{}"/>'
)


def build_xlsb(sheets: Sheets, hidden: Sequence[str] = ()) -> bytes:
    listed = b"".join(
        _build_xlsb_record(
            156, struct.pack("<II", called in hidden, number) + _encode_wide(f"rId{number}") + _encode_wide(called)
        )
        for number, called in enumerate(sheets, 1)
    )
    workbook = (
        _build_xlsb_record(131)
        + _build_xlsb_record(153, struct.pack("<II", 0, 0) + _encode_wide(""))
        + _build_xlsb_record(143)
        + listed
        + _build_xlsb_record(144)
        + _build_xlsb_record(132)
    )
    styles = _build_xlsb_record(278) + _build_xlsb_record(617, struct.pack("<I", 2))
    styles += b"".join(_build_xlsb_record(47, struct.pack("<HH12x", 0, number)) for number in (_GENERAL, _DATE_FORMAT))
    styles += _build_xlsb_record(618) + _build_xlsb_record(279)
    relations = [
        _RELATION.format(f"rId{n}", "worksheet", f"worksheets/sheet{n}.bin") for n in range(1, len(sheets) + 1)
    ]
    relations += [_RELATION.format("rIdF", "styles", "styles.bin")]
    types = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    return build_zip(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": _RELATIONS.format(_RELATION.format("rId1", "officeDocument", "xl/workbook.bin")),
            "xl/workbook.bin": workbook,
            "xl/_rels/workbook.bin.rels": _RELATIONS.format("".join(relations)),
            "xl/styles.bin": styles,
        }
        | {f"xl/worksheets/sheet{n}.bin": _build_xlsb_sheet(rows) for n, rows in enumerate(sheets.values(), 1)}
    )


def _build_xlsb_sheet(rows: Cells) -> bytes:
    size = struct.pack("<IIII", 0, max(len(rows), 1) - 1, 0, max(map(len, rows), default=1) - 1)
    cells = [_build_xlsb_record(129), _build_xlsb_record(148, size), _build_xlsb_record(145)]
    for row, values in enumerate(rows):
        cells.append(_build_xlsb_record(0, struct.pack("<I", row) + bytes(13)))
        for column, value in enumerate(values):
            at = struct.pack("<II", column, _DATE if isinstance(value, dt.date) else _GENERAL)
            match value:
                case None:
                    continue
                case str():
                    cells.append(_build_xlsb_record(6, at + _encode_wide(value)))
                case bool():
                    cells.append(_build_xlsb_record(4, at + bytes([value])))
                case Error(shown):
                    cells.append(_build_xlsb_record(3, at + bytes([_ERRORS[shown]])))
                case Formula(number):
                    cells.append(_build_xlsb_record(9, at + struct.pack("<dHII", number, 0, 0, 0)))
                case int() if abs(value) < 1 << 29:
                    cells.append(_build_xlsb_record(2, at + struct.pack("<I", (value << 2 | 2) & 0xFFFFFFFF)))
                case _:
                    cells.append(_build_xlsb_record(5, at + struct.pack("<d", _number(value))))
    return b"".join((*cells, _build_xlsb_record(146), _build_xlsb_record(130)))


def _build_xlsb_record(kind: int, data: bytes = b"") -> bytes:
    """Return a record of a binary part, with its kind and size encoded in seven bits per byte."""

    def encode_sevens(number: int) -> bytes:
        low, rest = number & 0x7F, number >> 7
        return bytes([low | 0x80]) + encode_sevens(rest) if rest else bytes([low])

    return encode_sevens(kind) + encode_sevens(len(data)) + data


def _encode_wide(text: str) -> bytes:
    written = text.encode("utf-16-le")
    return struct.pack("<I", len(written) // 2) + written


_SPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in (("office", "office"), ("table", "table"), ("text", "text"), ("style", "style"))
)
_HIDDEN = (
    '<style:style style:name="h" style:family="table"><style:table-properties table:display="false"/></style:style>'
)


_MANIFEST = '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'


def build_ods(
    sheets: Sheets,
    hidden: Sequence[str] = (),
    change: Callable[[str], str] = lambda text: text,
    more: Mapping[str, bytes | str] | None = None,
) -> bytes:
    """Return an OpenDocument spreadsheet, with changes to its content and further members."""
    tables = "".join(
        f"<table:table table:name={quoteattr(called)} table:style-name='{'h' if called in hidden else 'v'}'>"
        + "".join(f"<table:table-row>{''.join(map(_build_ods_cell, row))}</table:table-row>" for row in rows)
        + '<table:table-row table:number-rows-repeated="1000"><table:table-cell table:number-columns-repeated="1024"/>'
        "</table:table-row></table:table>"
        for called, rows in sheets.items()
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_SPACES}><office:automatic-styles>{_HIDDEN}'
        f"</office:automatic-styles><office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
        "</office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", kind, zipfile.ZIP_STORED)
        for name, member in (
            {"content.xml": change(content), "META-INF/manifest.xml": _MANIFEST} | dict(more or {})
        ).items():
            archive.writestr(name, member)
    return file.getvalue()


def _build_ods_cell(value: object) -> str:
    def build_cell(kind: str, shown: str, **said: object) -> str:
        attributes = "".join(f' office:{name.replace("_", "-")}="{text}"' for name, text in said.items())
        spaced = escape(shown).replace("  ", ' <text:s text:c="1"/>')
        paragraphs = "".join(f"<text:p>{line}</text:p>" for line in spaced.split("\n"))
        return f'<table:table-cell office:value-type="{kind}"{attributes}>{paragraphs}</table:table-cell>'

    match value:
        case None:
            return "<table:table-cell/>"
        case str():
            return build_cell("string", value)
        case bool():
            return build_cell("boolean", str(value).upper(), boolean_value=str(value).lower())
        case Error(shown):
            return build_cell("string", shown, string_value="")
        case Formula(number):
            return build_cell("float", "", value=number).replace(" office", ' table:formula="of:=1+1" office', 1)
        case dt.datetime():
            return build_cell("date", "", date_value=value.isoformat())
        case dt.date():
            return build_cell("date", value.strftime("%d/%m/%y"), date_value=value.isoformat())
    return build_cell("float", "as shown", value=repr(value))


def _number(value: object) -> float:
    if isinstance(value, dt.datetime):
        return (value - dt.datetime(1899, 12, 30)) / dt.timedelta(days=1)
    if isinstance(value, dt.date):
        return float((value - _EPOCH).days)
    assert isinstance(value, (int, float))
    return float(value)


WRITERS: dict[str, Callable[..., bytes]] = {
    ".xlsx": build_sheets,
    ".xls": build_xls,
    ".xlsb": build_xlsb,
    ".ods": build_ods,
}
