"""The same children in the formats of senders' systems: contract-named text, EYFSP XML and the CSDS tables.

Each writer takes rows under contract names; `children` and `reviews` generate a few hundred of them, with the oddities
of real ones.
"""

from __future__ import annotations

import csv
import io
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import openpyxl

from sources.contracts import CONTRACTS
from sources.reference.code_lists import ASQ_SE2, DOMAINS, snomed_codes
from sources.reference.goals import GOALS
from tests.support.extracts import nhs_number, upn

Row = Mapping[str, str]
Rows = Sequence[Row]
Tables = dict[str, list[dict[str, str]]]

NAMES = ("Thornton Amelia", "O'Brien Zoë", "Núñez-García María José", "Ó Súilleabháin Aoife", "李 明", "St & Co <Li>")
ACTIVITY_TYPES = {"NBV": "08", "6-8W": "09", "12M": "10", "2-2.5Y": "11"}
GENDERS = {"M": "1", "F": "2", "": "9"}
HEADINGS = {
    "CYP001": {
        "LOCAL PATIENT IDENTIFIER (EXTENDED)": "local_patient_id",
        "NHS NUMBER": "nhs_number",
        "NHS NUMBER STATUS INDICATOR CODE": "nhs_number_status",
        "PERSON FAMILY NAME": "surname",
        "PERSON GIVEN NAME": "forename",
        "PERSON BIRTH DATE": "date_of_birth",
        "POSTCODE OF USUAL ADDRESS": "postcode",
    }
}


def children(number: int = 300, seed: int = 3) -> list[dict[str, str]]:
    """Return Profile rows, some without result or postcode, with a placeholder date of birth or a name of several
    words."""
    rng, rows = random.Random(seed), []
    for index in range(number):
        surname, _, forename = rng.choice(NAMES).partition(" ")
        row = {
            "la_code": "383",
            "estab": rng.choice(("2001", "2002")),
            "academic_year": "202425",
            "upn": upn(800_000_000_000 + index),
            "surname": surname,
            "forename": forename,
            "sex": rng.choice(("F", "M", "F", "M", "")),
            "date_of_birth": f"20{rng.choice(('19-09', '20-02', '20-07'))}-{rng.randrange(1, 29):02d}",
            "postcode": rng.choice(("LS1 4AP", "LS2 9JT", "ls29jt", "")),
        }
        not_assessed = rng.random() < 0.05
        row |= {goal: "A" if not_assessed else rng.choice("122") for goal in GOALS}
        if rng.random() < 0.03:
            row["date_of_birth"] = "1900-01-01"
        if rng.random() < 0.03:
            row |= dict.fromkeys(GOALS, "")
        rows.append(row)
    return rows


def reviews(number: int = 300, seed: int = 4) -> list[dict[str, str]]:
    """Return review rows, some without ASQ-3, sex or name, with a domain missing or out of range, or of other kinds."""
    rng, rows = random.Random(seed), []
    for index, child in enumerate(children(number, seed)):
        kind = rng.choice(("2-2.5Y", "2-2.5Y", "2-2.5Y", "12M", "NBV"))
        with_asq3 = kind == "2-2.5Y" and rng.random() < 0.8
        scores = {domain: str(rng.choice((5, 22.5, 40, 60))) if with_asq3 else "" for domain in DOMAINS}
        if with_asq3 and rng.random() < 0.1:
            scores[rng.choice(list(DOMAINS))] = rng.choice(("", "61"))
        rows.append(
            {
                "local_patient_id": f"P{index:05d}",
                "nhs_number": nhs_number(index) or "",
                "nhs_number_status": "01",
                **{name: child[name] for name in ("surname", "forename", "sex", "date_of_birth", "postcode")},
                "review": kind,
                "review_date": "2022-04-02",
                "asq3_months": rng.choice(("24", "27", "30")) if with_asq3 else "",
                **scores,
                ASQ_SE2: "35" if with_asq3 and rng.random() < 0.3 else "",
            }
        )
    return rows


def contract_csv(source: str, rows: Rows) -> str:
    """Return CSV text under contract names."""
    header = [column.name for column in CONTRACTS[source].columns if any(column.name in row for row in rows)]
    return _csv(header, rows)


def eyfsp_xml(rows: Rows, encoding: str = "UTF-8", namespace: str = "", extra: str = "") -> bytes:
    """Return a common transfer file; `extra` is added to every pupil."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    text = "".join(
        [
            f'<?xml version="1.0" encoding="{encoding}"?>\n<CTfile{attribute}>',
            "<Header><DocumentName>Common Transfer File</DocumentName>",
            "<SourceSchool><LEA>383</LEA><AcademicYear>2024</AcademicYear></SourceSchool>",
            "<DestSchool><LEA>999</LEA><Estab>9999</Estab></DestSchool></Header>\n<CTFpupilData>\n",
            *(_pupil(row, extra) for row in rows),
            "</CTFpupilData></CTfile>\n",
        ]
    )
    return text.encode(encoding, "xmlcharrefreplace")


def census_xml(rows: Rows) -> bytes:
    """Return the school census of these children as schools return it: pupils on roll, without results."""
    pupils = "".join(
        f"<PupilOnRoll><PupilIdentifiers><UPN>{row['upn']}</UPN><Surname>{escape(row['surname'])}</Surname>"
        f"<Forename>{escape(row['forename'])}</Forename><DOB>{row['date_of_birth']}</DOB></PupilIdentifiers>"
        "<PupilCharacteristics><Ethnicity>WBRI</Ethnicity><Language>ENG</Language></PupilCharacteristics></PupilOnRoll>"
        for row in rows
    )
    header = "<Header><CollectionDetails><Collection>SC1</Collection><Year>2025</Year></CollectionDetails></Header>"
    return f"<Message>{header}<Pupils><PupilsOnRoll>{pupils}</PupilsOnRoll></Pupils></Message>".encode()


def _pupil(row: Row, extra: str) -> str:
    names = {"Estab": "estab", "UPN": "upn", "Surname": "surname", "Forename": "forename", "Sex": "sex"}
    told = "".join(f"<{tag}>{escape(row[name])}</{tag}>" for tag, name in names.items() if row.get(name))
    birth = f"<DOB>{row['date_of_birth']}</DOB>" if row.get("date_of_birth") else ""
    lines = "<AddressLines><AddressLine1>1 High St</AddressLine1></AddressLines>"
    postcode = f"<Address>{lines}<PostCode>{row['postcode']}</PostCode></Address>" if row.get("postcode") else ""
    results = "".join(assessment(goal, row[goal]) for goal in GOALS if row.get(goal))
    stages = f"<StageAssessments><KeyStage><Stage>EYF</Stage>{results}</KeyStage></StageAssessments>"
    return f"<Pupil>{told}{birth}{postcode}{extra}{stages if results else ''}</Pupil>\n"


def assessment(goal: str, result: str, more: str = "") -> str:
    """Return one result of the year 2025."""
    area, component = goal.upper().split("_")
    return (
        f"<StageAssessment><Locale>ENG</Locale><Year>2025</Year><Subject>{area}</Subject><Method>TA</Method>"
        f"<Component>{component}</Component><ResultStatus>R</ResultStatus><Result>{result}</Result>{more}"
        "</StageAssessment>"
    )


def csds(rows: Rows) -> Tables:
    """Return the tables of these reviews: one referral and one contact each, with other tools and activities."""
    codes = {(measure, months): code for code, (measure, months) in snomed_codes().items()}
    tables: Tables = defaultdict(list)
    for index, row in enumerate(rows):
        patient, referral, contact, activity = row["local_patient_id"], f"R{index}", f"C{index}", f"A{index}"
        person = {heading: row.get(name, "") for heading, name in HEADINGS["CYP001"].items()}
        tables["CYP001"].append(person | {"PERSON STATED GENDER CODE": GENDERS[row["sex"]]})
        tables["CYP101"].append(
            {"SERVICE REQUEST IDENTIFIER": referral, "LOCAL PATIENT IDENTIFIER (EXTENDED)": patient}
        )
        tables["CYP201"].append(
            {"CARE CONTACT IDENTIFIER": contact, "SERVICE REQUEST IDENTIFIER": referral}
            | {"CARE CONTACT DATE": row["review_date"], "ATTENDANCE STATUS": "56"[index % 2]}
        )
        tables["CYP202"].append(
            {"CARE ACTIVITY IDENTIFIER": activity, "CARE CONTACT IDENTIFIER": contact}
            | {"COMMUNITY CARE ACTIVITY TYPE CODE": "02" if row["asq3_months"] else ACTIVITY_TYPES[row["review"]]}
        )
        months = row["asq3_months"]
        scores = {codes[domain, months]: row[domain] for domain in DOMAINS if months and row[domain]}
        social = {codes[ASQ_SE2, "24"]: row[ASQ_SE2]} if row.get(ASQ_SE2) else {}
        tables["CYP612"] += [
            {
                "CARE ACTIVITY IDENTIFIER": activity,
                "CODED ASSESSMENT TOOL TYPE (SNOMED CT)": code,
                "PERSON SCORE": score,
            }
            for code, score in ({"1234567890": "7"} | scores | social).items()
        ]
    return tables


def csds_files(tables: Tables) -> dict[str, str]:
    """Return the name and text of each file."""
    return {f"{table}_2024-25.csv": _csv(list(rows[0]), rows) for table, rows in tables.items()}


def write_folder(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def workbook(tables: Tables) -> bytes:
    """Return a workbook with one sheet per table and every cell as text."""
    book = openpyxl.Workbook()
    book.active.title = "Read me"
    for table, rows in tables.items():
        sheet = book.create_sheet(f"{table} 2024-25")
        for row in (list(rows[0]), *(list(row.values()) for row in rows)):
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _csv(header: Iterable[str], rows: Rows) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(header), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
