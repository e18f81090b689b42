"""The error raised for an extract that cannot be accepted, and rules about the form of a file.

A reader sets aside the rows that break such a rule, or stops the whole extract. Rules about values are in the source
contracts.
"""

import traceback
from dataclasses import dataclass
from pathlib import Path

from sources.contracts.model import Rule, reject, stop

MALFORMED = reject("malformed-row", "The row does not have as many fields as the header.")
UNBALANCED_QUOTE = reject(
    "unbalanced-quote", "A quotation mark opens a field of this line and is not closed; this line alone is left out."
)
GARBLED_ROW = reject(
    "garbled-row",
    "Most identifiers and other values of the row are blank or wrong: its values are in the wrong columns, or it is a"
    " total or a note.",
)
REPEATED_HEADER = reject("repeated-header", "The row repeats the header line, as when files were joined.")

EMPTY = stop("empty-file", "The file is empty; it needs at least its header line.")
NOT_ALLOWED = stop("not-allowed", "The file may not be read; give the intake permission to read it.")
NOT_A_FILE = stop(
    "not-a-file", "This is not a file or a folder of CSDS tables, nor one of parts; put the extract itself there."
)
NOT_REGULAR = stop("not-regular", "There is a pipe, a device or a folder in place of a file; put a file there.")
LINK = stop("link-out-of-landing", "The file is a link that leaves its council's folder; put the file itself there.")
DAMAGED = stop("damaged-file", "The file is cut off or damaged; send it again.")
CUT_ROW = stop(
    "cut-last-row", "The file is cut off in its last row; send it again, whole, with a line end after the last row."
)
READER_STOPPED = stop(
    "reader-stopped",
    "The file could not be read; save the extract again as .csv and send that. Its reader was stopped.",
)
LONG_ROW = stop("row-too-long", "A row is longer than 1 MiB; it is not a row of an extract.")
TOO_MANY_COLUMNS = stop("too-many-columns", "The file has more than 500 columns.")
LONG_HEADING = stop("heading-too-long", "A heading is longer than 1,000 characters; no extract has such a heading.")
TOO_MANY_ROWS = stop("too-many-rows", "The file has more rows than an extract of all England; it is not an extract.")
TOO_MANY_UNUSABLE = stop(
    "too-many-unusable-rows", "A million rows of the file cannot be read; it is damaged or no extract; send it again."
)
LONG_VALUE = stop("value-too-long", "A value is longer than 1 MiB; no extract has such a value.")
NO_HEADER = stop(
    "no-header-line",
    "Missing column names: none of the first lines is a header line with names that the contract or the council file"
    " knows. Send the file with its header line, or map its names in the council file.",
)
VALUES_IN_HEADER = stop(
    "values-in-header",
    "The header line holds values too, as when the line end after it is missing; send the file again.",
)
CUT_HEADER = stop(
    "cut-header", "The file is cut off in its header line; send it again, whole, with a line end after each line."
)
HEADER_WIDTH = stop(
    "header-width",
    "No row has as many fields as the header line, as when the line end after it is missing or a name holds the"
    " delimiter; send the file again.",
)
UNPACKS_TOO_LARGE = stop(
    "unpacks-too-large", "The packed file unpacks to far more than an extract holds; send it unpacked."
)
TABLES_TOO_LARGE = stop(
    "tables-too-large", "The tables hold far more than the reviews of one council; send those of the cohort alone."
)
OTHER_FORMAT = stop("other-format", "This kind of file is not read; send .csv, .xlsx or .parquet.")
OLD_WORKBOOK = stop("old-workbook", "This is a workbook of Excel 95 or older; open it in Excel and save it as .xlsx.")
MACRO_WORKBOOK = stop("macro-workbook", "This is a workbook with macros; save it as .xlsx, without macros.")
WORKBOOK_TOO_LARGE = stop("workbook-too-large", "The workbook is larger than any of its kind; save it as .xlsx.")
PASSWORD = stop("password", "The file is protected by a password; send it without one, by a secure channel.")
WEB_PAGE = stop("web-page", "This is a web page under another name; open it in Excel and save it as .xlsx.")
XML_WORKBOOK = stop("xml-workbook", "This is an Excel workbook in the XML form of 2003; save it as .xlsx.")
XML = stop("xml", "This is an XML file, which is not read for this source; send .csv, .xlsx or .parquet.")
OTHER_ARCHIVE = stop("other-archive", "The file is packed or encrypted in a way that is not read; send it unpacked.")
NESTED_ARCHIVE = stop("nested-archive", "The archive holds another archive; pack the extract alone, once.")
NO_MEMBER = stop("archive-without-extract", "The archive holds no extract (text, workbook, .parquet or .xml).")
SEVERAL_MEMBERS = stop("archive-of-several", "The archive holds several extracts; send only one.")
UNSAFE_MEMBER = stop("unsafe-member", "The archive names a file outside itself; pack the extract again.")
MOVED_COLUMNS = stop(
    "moved-columns",
    "Values are under the wrong headings; put each column under its own heading, or map it in the council file.",
)
TOO_MANY_SHEETS = stop("too-many-sheets", "The workbook has more than 100 sheets; send the sheet of the extract alone.")
FORMULA = stop("formula", "A cell that is read holds a formula; save the sheet as values.")
NO_SHEET = stop("no-sheet", "The workbook has no visible sheet with the extract's column names near its top.")
NO_SUCH_SHEET = stop(
    "no-such-sheet",
    "The workbook has no visible sheet of the name that the council file gives; name the sheet so, or change 'sheet'.",
)
SEVERAL_SHEETS = stop(
    "several-sheets",
    "Several sheets hold the extract's columns; send only one, or name the right one in the council file ('sheet').",
)
DOCUMENT_TYPE = stop("document-type", "The file holds a document type declaration, as no extract does; save it again.")
NOT_WELL_FORMED = stop(
    "not-well-formed", "The file is not well-formed XML, or not in the encoding that it declares; send it again."
)
NOT_A_RETURN = stop("not-a-return", "This is not an EYFS Profile return in XML.")
NOT_PARQUET = stop("not-parquet", "This is not a readable Parquet file; send it again.")
ENCRYPTED_PARQUET = stop(
    "encrypted-parquet", "The Parquet file is encrypted; send it without encryption, by a secure channel."
)
NOT_TEXT = stop("column-not-text", "A column that is read holds lists, structures or bytes, not single values.")

FILE_RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
"""All rules above, in order."""


@dataclass(frozen=True)
class HeadingsMissing:
    """Missing headings, each with the heading that may be its new name (or ""), and the file's unused headings. Only
    the sender may see these."""

    missing: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]


class ExtractStopped(Exception):
    """The extract is not accepted. The message names the file's location, the rule and what to change.

    The message repeats nothing that the sender wrote: columns, sheets and archive members are numbered. `for_sender`
    is the same message with the sender's own headings; it and `headings` stay in the restricted zone. None of them
    contains a value.
    """

    def __init__(self, message: str, for_sender: str = "", headings: HeadingsMissing | None = None) -> None:
        super().__init__(message)
        self.for_sender = for_sender or message
        self.headings = headings


def wrap_error(name: str, error: Exception) -> ExtractStopped:
    """Return `error` as an `ExtractStopped`; messages call the extract `name`.

    For any other error, only its type and location are given: its message may quote a value.
    """
    if isinstance(error, ExtractStopped):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return ExtractStopped(f"{name}: the file could not be read ({type(error).__name__} at {place}); please report this")


def build_error(name: str, rule: Rule, detail: str = "", for_sender: str = "") -> ExtractStopped:
    """Return the error that stops an extract.

    `name` is the file's name in messages. `detail` says what to look for, by number; `for_sender` says the same with
    the sender's own headings. Neither contains a value.
    """
    sentence = rule.sentence if rule.sentence[:2].isupper() else rule.sentence[0].lower() + rule.sentence[1:]
    plain, own = (f": {what}" if what else "" for what in (detail, for_sender or detail))
    message = f"{name}: {sentence.removesuffix('.')}"
    return ExtractStopped(message + plain, message + own)
