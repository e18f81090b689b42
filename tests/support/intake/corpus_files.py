"""Files whose form matters to the whole intake; `test_formats` has those that only concern a reader."""

import datetime as dt
from collections.abc import Callable, Iterator

import openpyxl
import pyarrow as pa
from openpyxl.workbook.workbook import Workbook

from sources.reference.code_lists import DOMAINS
from tests.support.intake.corpus import (
    COHORT,
    FORENAME,
    POSTCODE,
    SURNAME,
    Case,
    Row,
    build_case,
    build_many,
    build_rows,
    build_table,
    format_text,
    move_headings,
    surround,
)
from tests.support.intake.files import build_arrow, build_csv, build_parquet, build_xlsx, build_zip
from tests.support.intake.standards import build_census_xml, build_csds, build_csds_files, build_eyfsp_xml

THREE = build_rows("eyfsp", {}, {}, {})
SOUND = build_table(THREE)
CSV = format_text(THREE)
ALL = (1, 2, 3)


def iter_cases() -> Iterator[Case]:
    for part in (
        _iter_wrong_places,
        _iter_moved,
        _iter_dates,
        _iter_lines,
        _iter_workbooks,
        _iter_xml,
        _iter_csds,
        _iter_parquet,
    ):
        yield from part()
    yield Case("a folder of a Profile", "eyfsp", {f"{COHORT}/a": CSV}, stops="not a file or a folder of CSDS")
    yield build_case("eyfsp", "a refused suffix", CSV, ".gpg", stops="encrypted")


def _iter_wrong_places() -> Iterator[Case]:
    for source, sent, title in (
        ("eyfsp", "school_census", "your school census"),
        ("school_census", "eyfsp", "your EYFS Profile"),
        ("hv_reviews", "parent_experience", "your survey of parents"),
        ("parent_experience", "hv_reviews", "your health-visitor reviews"),
    ):
        yield build_case(source, f"{sent} for {source}", format_text(surround(sent)), stops=f"looks like {title}")
    for name, change, stops in (
        ("another cohort", {"date_of_birth": "2014-11-23"}, "looks like 2019/20: 24 of 24 dates"),
        ("the cohort before", {"date_of_birth": "2018-11-23"}, "looks like 2023/24: 24 of 24 dates"),
        ("another year", {"academic_year": "202324"}, "24 of 24 rows: .*another-academic-year.*First row: 1"),
        ("another council", {"la_code": "344"}, "looks like Wirral’s: 24 of 24 rows"),
        ("no date at all", {"date_of_birth": f"born to {SURNAME}"}, "24 of 24 rows: .*date_of_birth-invalid[^']*$"),
        ("a goal in words", {"com_e01": f"{FORENAME} can"}, "no usable row.*24 of 24 rows: .*com_e01-invalid"),
    ):
        yield build_case("eyfsp", name, format_text([row | change for row in build_many("eyfsp")]), stops=stops)
    foreign = [{"la_code": "999"} | row for row in THREE]
    aside = {row: {"another-council"} for row in ALL}
    yield build_case(
        "eyfsp", "three of another council", format_text(foreign), stops="no usable row.*another-council", aside=aside
    )
    old = [{name.replace("com_e", "com_g"): value for name, value in row.items()} for row in THREE]
    yield build_case("eyfsp", "goals before 2021", format_text(old), stops="pre-2021 early learning goals")


def _iter_moved() -> Iterator[Case]:
    for source, one, other, stops in (
        ("eyfsp", "upn", "surname", "'surname' look like upn"),
        ("eyfsp", "surname", "postcode", "'surname' look like postcode"),
        ("eyfsp", "date_of_birth", "forename", "date_of_birth-invalid.*'forename' look like date_of_birth"),
        ("eyfsp", "sex", "forename", "sex-invalid.*'forename' look like sex"),
        ("school_census", "upn", "nhs_number", "'nhs_number' look like upn.*under 'upn' look like nhs_number"),
        ("hv_reviews", "nhs_number", "local_patient_id", "'local_patient_id' look like nhs_number"),
        ("hv_reviews", "date_of_birth", "postcode", "'postcode' look like date_of_birth"),
        ("early_years_census", "nhs_number", "surname", "'surname' look like nhs_number"),
    ):
        swapped = build_csv(move_headings(build_many(source), **{one: other, other: one}))
        yield build_case(source, f"swapped: {one}, {other}", swapped, stops=stops)
    further = [row | {"nhs_number": "Y", "NHS No": row["nhs_number"]} for row in build_many("hv_reviews")]
    stops = "values under 'NHS No' look like nhs_number"
    yield build_case("hv_reviews", "numbers in a further column", format_text(further), stops=stops)


def _iter_dates() -> Iterator[Case]:
    for form in ("%d/%m/%Y", "%d/%m/%y", "%m/%d/%Y", "%d-%b-%Y", "%d.%m.%Y", "%Y%m%d", "%d %B %Y"):
        written = [
            row | {"date_of_birth": dt.date.fromisoformat(row["date_of_birth"]).strftime(form)}
            for row in build_many("eyfsp")
        ]
        stops = f"24 of 24 rows: .*date_of_birth-invalid.*like {form}; say date_format"
        yield build_case("eyfsp", f"every date {form}", format_text(written), stops=stops)
    serial = [row | {"date_of_birth": "43792"} for row in build_many("school_census")]
    yield build_case(
        "school_census", "every date a day number", format_text(serial), stops="look like excel; say date_format"
    )
    half = build_many("eyfsp")
    for row in half[::3]:
        row["date_of_birth"] = "23/11/2019"
    warned = {row: {"date_of_birth-invalid"} for row in range(1, 25, 3)}
    yield build_case("eyfsp", "a third of the dates", format_text(half), kept=tuple(range(1, 25)), warned=warned)
    reviewed = [row | {"review_date": "01/02/2022"} for row in build_many("hv_reviews")]
    yield build_case(
        "hv_reviews", "review dates, day or month first", format_text(reviewed), stops="look like %d/%m/%Y or %m/%d/%Y"
    )


def _iter_lines() -> Iterator[Case]:
    header, first, second, third = CSV.decode().splitlines(keepends=True)
    for name, content, expected in (
        (
            "a footer with totals",
            CSV.decode() + f"Total,3\nPrinted by {SURNAME}\n",
            {"kept": ALL, "aside": {4: {"malformed-row"}, 5: {"malformed-row"}}},
        ),
        (
            "a mark not closed",
            header + first + second.replace(SURNAME, f'"{SURNAME}') + third,
            {"kept": (1, 3), "aside": {2: {"unbalanced-quote"}}},
        ),
        (
            "the header again",
            header + first + header + first,
            {"kept": (1, 3), "aside": {2: {"repeated-header"}}, "warned": {3: {"repeated-row"}}},
        ),
        ("cut in a row", (header + first + second)[:-40], {"stops": "is cut off in its last row"}),
    ):
        yield build_case("eyfsp", f"lines: {name}", content.encode(), **expected)
    bomb = CSV + b"," * (len(SOUND[0]) - 1) + b"\n" * 4_000_000
    yield build_case("eyfsp", "a zip bomb", build_zip({f"{SURNAME}.csv": bomb}), ".zip", stops="unpacks to far more")


def _iter_workbooks() -> Iterator[Case]:
    column = {name: number for number, name in enumerate(SOUND[0], 1)}

    def name_after_child(book: Workbook) -> None:
        book.worksheets[0].title = f"{FORENAME} {SURNAME}"

    def merge_cells(book: Workbook) -> None:
        at = column["surname"]
        book.worksheets[0].merge_cells(start_row=3, end_row=4, start_column=at, end_column=at)

    def set_1904(book: Workbook) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
        for row in range(2, 5):
            book.worksheets[0].cell(row, column["date_of_birth"]).value = dt.datetime(2019, 11, 23)

    def write_far_below(book: Workbook) -> None:
        book.worksheets[0].cell(900, 1).value = "Total"

    for change, expected in (
        (name_after_child, {}),
        (merge_cells, {"warned": {3: {"surname-blank"}}}),
        (set_1904, {}),
        (write_far_below, {"aside": {899: {"garbled-row"}}}),
    ):
        yield build_case(
            "eyfsp", f"workbook: {change.__name__}", build_xlsx(SOUND, change), ".xlsx", kept=ALL, **expected
        )


def _iter_xml() -> Iterator[Case]:
    sound = build_eyfsp_xml(THREE).replace(b"<LEA>383</LEA>", b"")
    census, not_read = build_census_xml(THREE), "XML file, which is not read for this source"
    twice = sound.replace(b"<Component>E02</Component>", b"<Component>E01</Component>", 1)
    of_three = sound.replace(b"<Result>2</Result>", b"<Result>3</Result>", 1)
    for name, source, content, expected in (
        ("a component twice", "eyfsp", twice, {"kept": (2, 3), "aside": {1: {"com_e02-blank"}}}),
        ("a goal of 3", "eyfsp", of_three, {"kept": (2, 3), "aside": {1: {"com_e01-invalid"}}}),
        ("a return", "school_census", sound, {"stops": "looks like your EYFS Profile"}),
        ("a census", "school_census", census, {"stops": not_read}),
        ("a census for a return", "eyfsp", census, {"stops": "no pupil has a result of an early learning goal"}),
    ):
        yield build_case(source, f"xml: {name}", content, ".xml", **expected)


def _iter_csds() -> Iterator[Case]:
    tables = build_csds(build_rows("hv_reviews", {}, {}, {}))
    files = build_csds_files(tables)
    activity, score, people = "CARE ACTIVITY IDENTIFIER", "PERSON SCORE", "CYP001_2024-25.csv"

    def change_table(table: str, change: Callable[[list[Row]], list[Row]]) -> dict[str, str]:
        return build_csds_files({**tables, table: change([dict(row) for row in tables[table]])})

    high = change_table("CYP612", lambda rows: [row | ({score: "61"} if row[activity] == "A1" else {}) for row in rows])
    without = change_table("CYP202", lambda rows: [rows[0], rows[2]])
    one_more = files | {people: files[people] + f"{SURNAME},one\n"}
    for name, content, expected in (
        ("every score twice", change_table("CYP612", lambda rows: rows * 2), {"kept": ALL}),
        ("scores of 61", high, {"kept": ALL, "warned": {2: {f"{domain}-invalid" for domain in DOMAINS}}}),
        ("no activity", without, {"kept": (1, 2), "aside": {9: {"assessment-without-activity"}}}),
        ("a malformed person", one_more, {"kept": ALL, "aside": {4: {"malformed-row-cyp001"}}}),
        ("a heading twice", files | {people: files[people].replace("GIVEN", "FAMILY")}, {"stops": "twice"}),
        ("another file beside", files | {f"{SURNAME}.csv": f"{SURNAME},{POSTCODE}\n"}, {"kept": ALL}),
        ("an empty table", files | {"CYP202_2024-25.csv": ""}, {"stops": "CYP202.*empty"}),
    ):
        inside = {f"{COHORT}/{file}": text.encode() for file, text in content.items()}
        yield Case(f"csds: {name}", "hv_reviews", inside, **expected)


def _iter_parquet() -> Iterator[Case]:
    for name, column, values, expected in (
        ("lists", "surname", pa.array([[SURNAME]] * 3), {"stops": "lists.*surname"}),
        ("not a number", "com_e01", pa.array([2, float("nan"), 1]), {"kept": (1, 3), "aside": {2: {"com_e01-blank"}}}),
        ("truth values", "com_e01", pa.array([True] * 3), {"stops": "no usable row"}),
    ):
        frame = build_arrow(SOUND).set_column(SOUND[0].index(column), column, values)
        yield build_case("eyfsp", f"parquet: {name}", build_parquet(frame), ".parquet", **expected)
    yield build_case(
        "eyfsp", "parquet: no row", build_parquet(build_arrow(SOUND).slice(3)), ".parquet", stops="no usable row"
    )
