"""Independent generator of whole extracts, with the truth to compare with published tables and links.

It has its own copy of contract columns, codes and the definition of a good level of development, and uses neither
`sources.synthetic` nor any derivation of the pipeline. Children have plain names, a few of them mistyped by the health
visitor. Columns unknown to it are empty or, if required, filled by the builder.
"""

import csv
import datetime as dt
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sources.contracts import CONTRACTS
from sources.reference.places import PILOT, get_place
from tests.support.extracts import build_row, make_nhs_number, make_upn, mark_synthetic

GOALS = (
    "com_e01 com_e02 pse_e03 pse_e04 pse_e05 phy_e06 phy_e07 lit_e08 lit_e09 lit_e10 mat_e11 mat_e12"
    " utw_e13 utw_e14 utw_e15 exp_e16 exp_e17"
).split()
FORENAMES = (
    "Olivia Amelia Isla Ava Freya Lily Florence Mia Ivy Rosie Noah George Oliver Leo Arthur Harry Theo Jack Muhammad"
    " Archie Yusuf Aisha Zofia Ola Grace Ella Evie Sienna Poppy Willow Alfie Tommy Reuben Caleb Ezra Felix Hugo Jude"
).split()
SURNAMES = [
    a + b
    for a in "Ash Bar Cam Dun El Far Gar Har Ing Jar Kel Lan Mor Nor Pel Ros Stan Thorn Wal York".split()
    for b in "by ton well ford man son ley wood field worth".split()
]


ANSWERS = (
    "respondent_role child_age_band fsm_or_funded child_send sought_support wait_band ease_of_access"
    " repeat_story_count sharing_would_have_helped comfortable_with_sharing main_barrier overall_satisfaction"
).split()
_Rows = dict[str, list[dict[str, object]]]
_WHOLE = ("eyfsp", "school_census")
"""Sources with every child."""


@dataclass
class Truth:
    """True links and counts: `pairs` of (council, eyfsp row) and (council, review row) of one child; GLD and children
    by council; the child of each (source, council, row)."""

    pairs: set[tuple[tuple[str, int], tuple[str, int]]] = field(default_factory=set)
    children: Counter[str] = field(default_factory=Counter)
    gld: Counter[str] = field(default_factory=Counter)
    child: dict[tuple[str, str, int], int] = field(default_factory=dict)


def write_extracts(landing: Path, children: int = 1200, seed: int = 7, councils: tuple[str, ...] = PILOT) -> Truth:
    """Write extracts of five sources for each council, cohort 202425, and the expected numbers of rows."""
    rng, truth = random.Random(seed), Truth()
    directory = [("postcode", "lsoa21cd", "imd_decile")]
    for number, council in enumerate(councils):
        rows: _Rows = {source: [] for source in CONTRACTS}
        for index in range(children // len(councils)):
            sent = {source: len(written) for source, written in rows.items()}
            _add_child(rng, council, number * 100_000 + index, rows, truth, directory)
            for source, written in rows.items():
                for row_number in range(sent[source] + 1, len(written) + 1):
                    truth.child[source, council, row_number] = number * 100_000 + index
        for source, written in rows.items():
            _write(landing / council / source / "202425.csv", source, written)
    (landing / "reference").mkdir(parents=True, exist_ok=True)
    with (landing / "reference" / "postcode_directory.csv").open("w", newline="") as file:
        csv.writer(file).writerows(directory)
    with (landing / "reference" / "expected_rows.csv").open("w", newline="") as file:
        expected = [(council, source, "202425", children // len(councils)) for council in councils for source in _WHOLE]
        csv.writer(file).writerows([("council", "source", "cohort", "rows"), *expected])
    mark_synthetic(landing)
    return truth


def _add_child(rng: random.Random, council: str, number: int, rows: _Rows, truth: Truth, directory: list) -> None:
    born = dt.date(2019, 9, 1) + dt.timedelta(days=rng.randrange(366))
    postcode = f"L{rng.randrange(1, 30)} {rng.randrange(1, 9)}{rng.choice('ABDEFG')}{rng.choice('HJLNP')}"
    directory.append((postcode, "E01000001", rng.randrange(1, 11)))
    person = {
        "surname": rng.choice(SURNAMES),
        "forename": rng.choice(FORENAMES),
        "sex": rng.choice("FM"),
        "date_of_birth": born.isoformat(),
        "postcode": postcode,
    }
    able = rng.random() < 0.65
    goals = {goal: "2" if able or (goal not in GOALS[9:12] and rng.random() < 0.7) else "1" for goal in GOALS}
    pupil = {"upn": make_upn(800_000_000_000 + number)} | person
    school = {"la_code": get_place(council).old_la_code, "estab": "2001", "urn": "100001", "academic_year": "202425"}
    rows["eyfsp"].append(school | pupil | goals)
    truth.children[council] += 1
    truth.gld[council] += all(goals[goal] == "2" for goal in GOALS[:12])
    rows["school_census"].append(
        pupil
        | {"ethnicity": rng.choice(("WBRI", "APKN", "BAFR", "MOTH", "OOTH", "")), "fsm_eligible": rng.choice("YNNN")}
        | {"sen_provision": rng.choice("NNNNKE"), "first_language": rng.choice(("ENG", "ENG", "URD", ""))}
    )
    if rng.random() < 0.9:
        rows["early_years_census"].append(
            {"setting_urn": "EY1", "ethnicity": "WBRI", "funded_hours": "15", "eypp": "N"}
            | person
            | {"entitlement": rng.choice(("2YO", "UNI", "WP")), "sen_provision": rng.choice("NNNK")}
            | {"progress_check_date": "2022-03-01"}
            | {"progress_check_outcome": rng.choice(("on_track", "on_track", "concern", "not_done"))}
        )
    if rng.random() < 0.85:
        _add_review(rng, person, number, able, rows)
        truth.pairs.add(((council, len(rows["eyfsp"])), (council, len(rows["hv_reviews"]))))
    if rng.random() < 0.2:
        rows["parent_experience"].append(
            {"response_id": number, "wave": "1"} | dict.fromkeys(ANSWERS, rng.choice("12"))
        )


def _add_review(rng: random.Random, person: dict[str, object], number: int, able: bool, rows: _Rows) -> None:
    seen = dict(person)
    if rng.random() < 0.05:
        seen["forename"] = str(seen["forename"])[:-1] + "x"
    low, high = (35, 60) if able else (10, 60)
    rows["hv_reviews"].append(
        {"local_patient_id": f"P{number}", "nhs_number": make_nhs_number(number) or "", "nhs_number_status": "01"}
        | seen
        | {"review": "2-2.5Y", "review_date": "2022-04-02", "asq3_months": "27"}
        | {
            f"asq3_{domain}": rng.randrange(low, high + 1)
            for domain in ("communication", "gross_motor", "fine_motor", "problem_solving", "personal_social")
        }
        | {"concern": rng.choice("NNNY"), "referral": "N"}
    )


def _write(path: Path, source: str, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    must = {name: value for name, value in build_row(source).items() if CONTRACTS[source][name].required}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys([*(rows[0] if rows else ["response_id"]), *must])))
        writer.writeheader()
        writer.writerows({name: value for name, value in must.items() if name not in each} | each for each in rows)
