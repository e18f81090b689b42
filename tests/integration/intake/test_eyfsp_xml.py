"""The Profile return as XML: every accepted shape gives the same rows; nothing in a file harms or shows."""

import io
from typing import Any

import pytest

from sources.errors import ExtractStopped
from sources.extract.readers.content import Content, Format
from sources.extract.readers.eyfsp_xml import open_eyfsp_xml
from sources.reference.code_lists import GOALS
from tests.support.daily import mark_slow_after
from tests.support.intake.desk import Desk
from tests.support.intake.standards import build_assessment, build_children, build_contract_csv, build_eyfsp_xml

SECRET = "Qwyjibo"
CHILD = {"upn": "A1", "surname": SECRET, "forename": "Amelia", "sex": "F"} | {
    "date_of_birth": "2020-02-29",
    "postcode": "LS1 4AP",
    **dict.fromkeys(GOALS, "2"),
}


def read(content: bytes | str) -> list[dict[str, Any]]:
    raw = content.encode() if isinstance(content, str) else content
    table = open_eyfsp_xml(Content("leeds/eyfsp/202425.xml", Format.XML, lambda: io.BytesIO(raw)))
    return [row for batch in table.read(table.header) for row in batch.to_pylist()]


def stopped(content: bytes | str) -> str:
    with pytest.raises(ExtractStopped) as error:
        read(content)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    assert SECRET not in str(error.value)
    assert str(error.value).startswith("leeds/eyfsp/202425.xml: ")
    return str(error.value)


def pupil(inside: str, around: str = "") -> dict[str, Any]:
    """What is read of a pupil; another of the return has a result."""
    row, _ = read(f"<CTfile>{around}<CTFpupilData><Pupil>{inside}</Pupil>{assessed()}</CTFpupilData></CTfile>")
    return {name: value for name, value in row.items() if value is not None and name != "source_row"}


def assessed() -> str:
    """A pupil with a result: a file without any is no return."""
    return f"<Pupil>{staged(build_assessment('com_e01', '1'))}</Pupil>"


def staged(*assessments: str, stage: str = "EYF") -> str:
    return f"<StageAssessments><KeyStage><Stage>{stage}</Stage>{''.join(assessments)}</KeyStage></StageAssessments>"


@pytest.mark.parametrize(
    ("encoding", "namespace"),
    mark_slow_after(
        2,
        [("UTF-8", "http://example.org/ctf"), ("UTF-16", ""), ("UTF-8", ""), ("ISO-8859-1", ""), ("windows-1252", "")],
    ),
)
def test_the_same_children_as_text_and_as_xml(desk: Desk, encoding: str, namespace: str) -> None:
    rows = build_children()
    path = desk.land(build_contract_csv("eyfsp", rows))
    desk.take()
    expected, set_aside = desk.list_kept(columns="*"), desk.list_quarantined()
    path.unlink()
    desk.land(build_eyfsp_xml(rows, encoding, namespace), suffix=".xml")
    quality = desk.take()
    assert desk.list_kept(columns="*") == expected
    assert desk.list_quarantined() == set_aside
    assert quality.rows_read == len(rows)


TWO = build_assessment("com_e01", "2")
COUNTS_TWO = {"com_e01": "2", "academic_year": "202425"}
OTHER_ORDER = "<StageAssessment><Result>A</Result><Component>E17</Component><Subject>EXP</Subject></StageAssessment>"
SHAPES: list[tuple[str, dict[str, str]]] = [
    ("<UPN>A1</UPN><Surname>O&apos;Brien</Surname>", {"upn": "A1", "surname": "O'Brien"}),
    ("<PupilIdentifiers><UPN>A1</UPN><Gender>M</Gender></PupilIdentifiers>", {"upn": "A1", "sex": "M"}),
    ("<upn> A1 </upn><SURNAME>Li<!-- of --></SURNAME>", {"upn": "A1", "surname": "Li"}),
    ("<c:UPN xmlns:c='x'>A1</c:UPN>", {"upn": "A1"}),
    ("<Surname><![CDATA[St & Co]]></Surname>", {"surname": "St & Co"}),
    ("<BirthDate>2020-02-29</BirthDate>", {"date_of_birth": "2020-02-29"}),
    ("<Address><AddressAsText><PCode>LS1</PCode></AddressAsText></Address>", {"postcode": "LS1"}),
    ("<Contacts><Contact><Surname>X</Surname><PostCode>L1</PostCode></Contact></Contacts>", {}),
    ("<SchoolHistory><School><LEA>340</LEA><URN>9</URN></School></SchoolHistory>", {}),
    ("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='file:///etc/passwd'/>", {}),
    *(
        (staged(TWO.replace(">E01<", f">{component}<")), COUNTS_TWO)
        for component in ("E01", "e01", "COM_E01", "COME01", "COM E01")
    ),
    (staged(build_assessment("com_e01", "1"), TWO), COUNTS_TWO),
    (
        staged(
            build_assessment("com_e01", "2", "<ResultDate>2025-06-20</ResultDate>"),
            build_assessment("com_e01", "1", "<ResultDate>2025-05-01</ResultDate>"),
        ),
        COUNTS_TWO,
    ),
    (staged(TWO, build_assessment("com_e01", "1").replace("2025", "2024")), COUNTS_TWO),
    (staged(TWO, build_assessment("com_e01", "1").replace(">R<", ">T<")), COUNTS_TWO),
    (staged(TWO.replace("COM", "MAT")), {}),
    (staged(build_assessment("com_e02", "1"), stage="KS1") + staged(TWO), COUNTS_TWO),
    (
        "<StageAssessments><KeyStage><StageAssessment>"
        + OTHER_ORDER
        + "</StageAssessment><Stage>EYF</Stage></KeyStage>"
        "</StageAssessments><UPN>A1</UPN>",
        {"exp_e17": "A", "upn": "A1"},
    ),
]


@pytest.mark.parametrize(("inside", "expected"), SHAPES)
def test_a_pupil_is_read_in_every_known_shape(inside: str, expected: dict[str, str]) -> None:
    assert pupil(inside) == expected


SCHOOL = "<SourceSchool><LEA>383</LEA><Estab>2001</Estab><AcademicYear>2024</AcademicYear></SourceSchool>"
COLLECTION = "<CollectionDetails><Collection>EYFSP</Collection><Year>2025</Year></CollectionDetails>"


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        (
            f"<Header>{SCHOOL}<DestSchool><LEA>999</LEA></DestSchool></Header>",
            {"la_code": "383", "estab": "2001", "academic_year": "202425"},
        ),
        (
            f"<Header>{COLLECTION}<Source><LEA>383</LEA></Source></Header>",
            {"la_code": "383", "academic_year": "202425"},
        ),
        ("<LA>383</LA><URN>100001</URN>", {"la_code": "383", "urn": "100001"}),
    ],
)
def test_place_and_year_come_from_the_header_or_the_school(around: str, expected: dict[str, str]) -> None:
    assert pupil("", around) == expected


def test_each_school_says_its_own_place() -> None:
    schools = "".join(f"<School><Estab>{n}</Estab><Pupils>{assessed()}<Pupil/></Pupils></School>" for n in (2001, 2002))
    rows = read(f"<Message><Header><Source><LEA>383</LEA></Source></Header>{schools}</Message>")
    assert [(row["la_code"], row["estab"], row["source_row"]) for row in rows] == [
        ("383", "2001", 1),
        ("383", "2001", 2),
        ("383", "2002", 3),
        ("383", "2002", 4),
    ]


def test_utf_8_that_says_it_is_utf_16_is_read() -> None:
    text = build_eyfsp_xml([CHILD]).decode().replace("UTF-8", "utf-16")
    assert read(text)[0]["surname"] == SECRET


def test_more_pupils_than_a_batch() -> None:
    rows = read(f"<Pupils>{'<Pupil><UPN>A1</UPN></Pupil>' * 9_999}{assessed()}</Pupils>")
    assert [row["source_row"] for row in rows] == list(range(1, 10_001))


DOCTYPE = f'<!DOCTYPE a [<!ENTITY x "{SECRET}"><!ENTITY y SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is cut off or damaged; send it again: line 1"),
        (build_eyfsp_xml([CHILD])[:-300], "is cut off or damaged; send it again: line"),
        ("<Pupils>\n<Pupil>" + SECRET, "is cut off or damaged; send it again: line 2"),
        (
            f"<Pupils>\n<Pupil>{SECRET}</Pupils>",
            "not well-formed XML, or not in the encoding that it declares; send it",
        ),
        (b"<?xml version='1.0' encoding='UTF-8'?><Pupils>\xe9</Pupils>", "send it again: line 1"),
        (b"<?xml version='1.0' encoding='EBCDIC-X'?><Pupils/>", "send it again: line 1"),
        (f"{DOCTYPE}<Pupils><Pupil><UPN>&x;&y;</UPN></Pupil></Pupils>", "document type declaration"),
        ('<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><Pupils/>', "document type declaration"),
        ("<a>" * 100, "more than 64 deep"),
        (f"<Pupil><UPN>{SECRET * 5000}</UPN></Pupil>", "a value is longer than 8 kB"),
        (f"<Pupil><!--{SECRET * 2_000_000}--></Pupil>", "a tag or comment is longer than 8 MB"),
        (f"<a>{SECRET}</a>", "it has no Pupil element"),
        (f"<Pupils><Pupil><Surname>{SECRET}</Surname></Pupil></Pupils>", "no pupil has a result of an early learning"),
        (
            build_eyfsp_xml([CHILD]).replace(b"<Stage>EYF", b"<Stage>KS1"),
            "no pupil has a result of an early learning goal",
        ),
        (build_eyfsp_xml([CHILD]).replace(b"<Component>E01", b"<Component>G01"), "pre-2021 early learning goals"),
    ],
)
def test_what_cannot_be_read_is_stopped_in_words(content: bytes | str, message: str) -> None:
    assert message in stopped(content)
