"""The same children in the formats of senders' systems: contract-named text, EYFSP XML and the CSDS tables.

Each writer takes rows under contract names; `children` and `reviews` are some with the oddities of real ones.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from sources.contracts import CONTRACTS
from sources.reference.code_lists import DOMAINS, GOALS, load_snomed_codes
from tests.support.extracts import build_row as sound_row, make_nhs_number, make_upn
from tests.support.intake.files import build_csv, build_sheets

Row = Mapping[str, str]
Rows = Sequence[Row]
Tables = dict[str, list[dict[str, str]]]

NAMES = [
    {"surname": surname, "forename": forename}
    for surname, forename in (
        *(("O'Brien", "Zoë"), ("Núñez-García", "María José"), ("Ó Súilleabháin", "Aoife")),
        *(("李", "明"), ("St & Co", "<Li>")),
    )
]
ACTIVITY_TYPES = {"NBV": "08", "6-8W": "09", "12M": "10", "2-2.5Y": "11"}
GENDERS = {"M": "1", "F": "2", "": "9"}
_OTHER_TOOL, _ASQ_SE2 = {"1234567890": "7"}, {"1054011000000104": "20"}
"""Scores that are not read."""
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


def build_children() -> list[dict[str, str]]:
    """Return Profile rows with the oddities of real ones: names of several words or scripts, and values left out."""
    changes = [
        *NAMES,
        *({name: ""} for name in ("upn", "sex", "postcode", "date_of_birth")),
        *({"estab": "2002"}, {"postcode": "ls29jt"}, {"date_of_birth": "1900-01-01"}),
        *(dict.fromkeys(GOALS, "A"), dict.fromkeys(GOALS, ""), {"com_e01": "1", "exp_e17": "1"}, {"com_e01": "A"}),
    ]
    rows = [sound_row("eyfsp", {"upn": make_upn(800_000_000_000 + n)}, change) for n, change in enumerate(changes)]
    return [{name: row[name] for name in row if name not in ("nhs_number", "urn")} for row in rows]


def build_reviews() -> list[dict[str, str]]:
    """Return rows of reviews, with and without ASQ-3, with a score missing or out of range, or of other kinds."""
    without = dict.fromkeys((*DOMAINS, "asq3_months"), "")
    changes = [
        *NAMES,
        *({"asq3_months": months} for months in ("24", "27", "30")),
        *({domain: score} for domain, score in zip(DOMAINS, ("", "61", "22.5", "0", "60"), strict=True)),
        *(without | {"review": kind} for kind in ("2-2.5Y", "12M", "NBV", "6-8W")),
        *({name: ""} for name in ("sex", "postcode", "nhs_number")),
        {"date_of_birth": "1900-01-01"},
    ]
    numbers = filter(None, map(make_nhs_number, range(99)))
    rows = [
        sound_row("hv_reviews", {"local_patient_id": f"P{n:05d}", "nhs_number": next(numbers)}, change)
        for n, change in enumerate(changes)
    ]
    return [{name: row[name] for name in row if name not in ("concern", "referral")} for row in rows]


def build_contract_csv(source: str, rows: Rows) -> str:
    return _build_csv(
        [column.name for column in CONTRACTS[source].columns if any(column.name in row for row in rows)], rows
    )


def build_eyfsp_xml(rows: Rows, encoding: str = "UTF-8", namespace: str = "") -> bytes:
    attribute = f' xmlns="{namespace}"' if namespace else ""
    text = "".join(
        [
            f'<?xml version="1.0" encoding="{encoding}"?>\n<CTfile{attribute}>',
            "<Header><DocumentName>Common Transfer File</DocumentName>",
            "<SourceSchool><LEA>383</LEA><AcademicYear>2024</AcademicYear></SourceSchool>",
            "<DestSchool><LEA>999</LEA><Estab>9999</Estab></DestSchool></Header>\n<CTFpupilData>\n",
            *(_build_pupil(row) for row in rows),
            "</CTFpupilData></CTfile>\n",
        ]
    )
    return text.encode(encoding, "xmlcharrefreplace")


def build_census_xml(rows: Rows) -> bytes:
    """Return the school census of these children as schools return it: pupils on roll, without results."""
    pupils = "".join(
        f"<PupilOnRoll><PupilIdentifiers><UPN>{row['upn']}</UPN><Surname>{escape(row['surname'])}</Surname>"
        f"<Forename>{escape(row['forename'])}</Forename><DOB>{row['date_of_birth']}</DOB></PupilIdentifiers>"
        "<PupilCharacteristics><Ethnicity>WBRI</Ethnicity><Language>ENG</Language></PupilCharacteristics></PupilOnRoll>"
        for row in rows
    )
    header = "<Header><CollectionDetails><Collection>SC1</Collection><Year>2025</Year></CollectionDetails></Header>"
    return f"<Message>{header}<Pupils><PupilsOnRoll>{pupils}</PupilsOnRoll></Pupils></Message>".encode()


def _build_pupil(row: Row) -> str:
    names = {"Estab": "estab", "UPN": "upn", "Surname": "surname", "Forename": "forename", "Sex": "sex"}
    told = "".join(f"<{tag}>{escape(row[name])}</{tag}>" for tag, name in names.items() if row.get(name))
    birth = f"<DOB>{row['date_of_birth']}</DOB>" if row.get("date_of_birth") else ""
    lines = "<AddressLines><AddressLine1>1 High St</AddressLine1></AddressLines>"
    postcode = f"<Address>{lines}<PostCode>{row['postcode']}</PostCode></Address>" if row.get("postcode") else ""
    results = "".join(build_assessment(goal, row[goal]) for goal in GOALS if row.get(goal))
    stages = f"<StageAssessments><KeyStage><Stage>EYF</Stage>{results}</KeyStage></StageAssessments>"
    return f"<Pupil>{told}{birth}{postcode}{stages if results else ''}</Pupil>\n"


def build_assessment(goal: str, result: str, more: str = "") -> str:
    area, component = goal.upper().split("_")
    return (
        f"<StageAssessment><Locale>ENG</Locale><Year>2025</Year><Subject>{area}</Subject><Method>TA</Method>"
        f"<Component>{component}</Component><ResultStatus>R</ResultStatus><Result>{result}</Result>{more}"
        "</StageAssessment>"
    )


def build_csds(rows: Rows) -> Tables:
    """Return the tables of these reviews: one referral and one contact each, with other tools and activities."""
    codes = {(measure, months): code for code, (measure, months) in load_snomed_codes().items()}
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
        tables["CYP612"] += [
            {
                "CARE ACTIVITY IDENTIFIER": activity,
                "CODED ASSESSMENT TOOL TYPE (SNOMED CT)": code,
                "PERSON SCORE": score,
            }
            for code, score in (_OTHER_TOOL | scores | _ASQ_SE2).items()
        ]
    return tables


def build_csds_files(tables: Tables) -> dict[str, str]:
    return {f"{table}_2024-25.csv": _build_csv(list(rows[0]), rows) for table, rows in tables.items()}


def write_folder(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def build_workbook(tables: Tables) -> bytes:
    sheets = {f"{table} 2024-25": [[*rows[0]], *([*row.values()] for row in rows)] for table, rows in tables.items()}
    return build_sheets({"Read me": []} | sheets)


def _build_csv(header: Sequence[str], rows: Rows) -> str:
    return build_csv([header, *([row.get(name, "") for name in header] for row in rows)]).decode()
