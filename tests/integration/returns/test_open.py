"""At the sender: the right file opens into a table and a page, any other is refused with a clear sentence."""

import csv
import datetime as dt
import json
import shutil
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.returns.open import open_receipt
from assets.returns.team_files import TITLES, Situation
from pipelines.cli import main
from pipelines.council_cli import main as council_main
from privacy import keys, row_keys, services
from privacy.doors import age
from privacy.returns import seal
from sources.contracts.model import add_months
from tests.support import areas, independent
from tests.support.installation.commands import invoke
from tests.support.intake.spreadsheets import build_xls
from tests.support.returns.agreements import Recipients
from tests.support.returns.pipeline import COHORT, REVIEW_DAYS, Pipeline, make_pipeline

AGE = shutil.which("age")
FORMULA = "=HYPERLINK(1)"
COUNCILS = ("leeds", "sefton", "wirral")
TITLE_ROWS: tuple[list[str], ...] = ([], ["By the school"])
IN_FIRST_PART, CORRECTED, UNUSABLE = 40, slice(1, 21), 4


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A school in Leeds has written a formula for a surname; Wirral sent Parquet and a workbook; Sefton sent its
    Profile in two parts, its census in two of which the second has everything, and tokens in place of its reviews."""
    made = make_pipeline(tmp_path_factory.mktemp("opened"))
    independent.write_extracts(made.landing, children=240, councils=COUNCILS)
    first, *rest = made.read_rows("leeds", "eyfsp")
    made.put("leeds", "eyfsp", [first | {"surname": FORMULA}, *rest])
    reviews = [
        row | {"review_date": REVIEW_DAYS[number % len(REVIEW_DAYS)]}
        for number, row in enumerate(made.read_rows("leeds", "hv_reviews"))
    ]
    made.put("leeds", "hv_reviews", reviews)
    table = pyarrow.csv.read_csv(made.extract("wirral", "hv_reviews"))
    made.extract("wirral", "hv_reviews").unlink()
    text = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    pq.write_table(text, made.landing / "wirral" / "hv_reviews" / f"{COHORT}.parquet")
    made.extract("wirral", "eyfsp").rename(made.root / "wirral.csv")
    with (made.root / "wirral.csv").open(newline="") as file:
        sheet = build_xls({"Notes": [["a"]], "Reception": [["Wirral"], *TITLE_ROWS, *csv.reader(file)]})
    (made.landing / "wirral" / "eyfsp" / f"{COHORT}.xls").write_bytes(sheet)
    _put_in_parts(made.extract("sefton", "eyfsp"))
    _put_in_cumulative_parts(made.extract("sefton", "early_years_census"))
    _send_tokens(made)
    made.make_first(COUNCILS)
    return made


def _put_in_parts(whole: Path) -> None:
    """The second part has another column, repeats a record and corrects twenty."""
    header, *rows = whole.read_text().splitlines()
    corrected = [line.replace(",2,", ",1,", 1) for line in rows[CORRECTED]]
    assert not set(corrected) & set(rows)
    whole.unlink()
    whole.with_suffix("").mkdir()
    (whole.with_suffix("") / "2025-05.csv").write_text("\n".join([header, *rows[:IN_FIRST_PART]]) + "\n")
    with_more = [f"{line},x" for line in (header, rows[0], *corrected, *rows[IN_FIRST_PART:])]
    (whole.with_suffix("") / "2025-06.csv").write_text("\n".join(with_more) + "\n")


def _put_in_cumulative_parts(whole: Path) -> None:
    header, *rows = whole.read_text().splitlines()
    whole.unlink()
    whole.with_suffix("").mkdir()
    for month, sent in (("2023-01", rows[:IN_FIRST_PART]), ("2024-01", rows[::-1])):
        (whole.with_suffix("") / f"{month}.csv").write_text("\n".join([header, *sent]) + "\n")


def _send_tokens(made: Pipeline) -> None:
    """The extract and its keys stay at the sender; its first rows cannot be used."""
    rows = made.read_rows("sefton", "hv_reviews")
    made.put("sefton", "hv_reviews", [*[rows[0] | {"review": "no such review"}] * UNUSABLE, *rows])
    own = made.root / "sender"
    (own / "keys").mkdir(parents=True, mode=0o700)
    shutil.move(made.extract("sefton", "hv_reviews"), own)
    for name in (*(f"{name}.key" for name in keys.SENDER_KEYS), "intake.pub.pem"):
        shutil.copy(made.root / "keys" / name, own / "keys")
    about = (own / f"{COHORT}.csv", "--council", "sefton", "--source", "hv_reviews")
    folders = ("--out", own / "to-send", "--keys", own / "keys")
    done = invoke("pseudonymise", *about, *folders, tool=council_main, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    shutil.copy(own / "to-send" / f"{COHORT}.tokens.parquet", made.landing / "sefton" / "hv_reviews")


def refused(pipeline: Pipeline, said: str, council: str = "leeds", source: str = "eyfsp", **other: Path) -> None:
    out = pipeline.root / "refused"
    done = pipeline.open(council, source, **{"out": out} | other)
    assert done.exit_code == 1, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert not out.exists()


@pytest.mark.parametrize("source", services.SERVICES)
@pytest.mark.parametrize("council", ["leeds", "wirral"])
def test_each_return_opens_with_its_own_key_and_extract(pipeline: Pipeline, council: str, source: str) -> None:
    done = pipeline.open(council, source, council_main if council == "leeds" else main)
    assert done.exit_code == 0, done.output
    paths = sorted((pipeline.root / "opened").glob(f"{council}-{source}-*"))
    assert [path.suffix for path in paths] == [".csv", ".html", ".xlsx"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)


def test_the_table_joins_every_fact_to_its_row(pipeline: Pipeline) -> None:
    rows, sent = pipeline.read_table("leeds", "eyfsp"), pipeline.read_rows("leeds", "eyfsp")
    places = by_place(rows)
    assert sorted(map(int, places)) == list(range(1, len(sent) + 1))
    facts = {str(fact["row"]): fact for fact in pipeline.read_facts("leeds", "eyfsp")}
    for place, row in places.items():
        own, fact = sent[int(place) - 1], facts.get(place, {})
        assert (row["UPN"], row["Forename"]) == (own["upn"], own["forename"])
        concern = any(contact.get("concern") for contact in fact.get("known_to", ()))
        situation = {title: situation for situation, title in TITLES.items()}[row["What was returned"]]
        assert (situation is Situation.CONCERN_ELSEWHERE) == concern
        assert bool(row["Whom to call"]) == (situation is not Situation.NOT_SAID)
        if concern:
            assert " on duty, 0113 496 0000, " in row["Whom to call"]
            assert " recorded a concern in " in row["Why"]
        assert (situation is Situation.NO_OTHER) == ("known_to_no_other" in fact)
        assert (situation is Situation.NOT_SAID) == (fact == {})
        due = f"{add_months(dt.date.fromisoformat(own['date_of_birth']), 30):%B %Y}"
        sentence = f"of the two to two-and-a-half year review (due in {due}) could be linked."
        assert row["Why"].endswith(sentence) == ("reviews_not_recorded" in fact)
    assert len({row["What was returned"] for row in rows}) >= 3
    assert any("reviews_not_recorded" in fact for fact in facts.values())
    assert [row["Order"] for row in rows] == sorted(row["Order"] for row in rows)


def test_the_page_begins_with_at_most_twenty_children_and_whom_to_call(pipeline: Pipeline) -> None:
    table = pipeline.read_table("leeds", "eyfsp")
    page = (pipeline.root / "opened" / f"leeds-eyfsp-{COHORT}.html").read_text(encoding="utf-8")
    first = page.partition('<p id="first">')[2].partition("</p>")[0]
    assert first.startswith("<strong>Contact first: </strong>")
    to_contact = [row for row in table if int(row["Order"]) < Situation.KNOWN]
    assert first.count("(row") == min(20, len(to_contact)) > 0
    assert f"(row {to_contact[0]['Rows']})" in first
    assert "call health visiting in Leeds: health on duty, 0113 496 0000, health@leeds.example" in first


def by_place(table: Iterable[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the line of each row of the extract."""
    return {place: line for line in table for place in line["Rows"].split(", ")}


def test_rows_of_a_sheet_have_its_numbers(pipeline: Pipeline) -> None:
    with (pipeline.root / "wirral.csv").open() as file:
        sent = {str(number): row["upn"] for number, row in enumerate(csv.DictReader(file), 3 + len(TITLE_ROWS))}
    table = by_place(pipeline.read_table("wirral", "eyfsp"))
    assert {place: row["UPN"] for place, row in table.items()} == sent


def test_the_senders_own_concern_is_told_apart(pipeline: Pipeline) -> None:
    own = [row["concern"] == "Y" for row in pipeline.read_rows("leeds", "hv_reviews")]
    rows = pipeline.read_table("leeds", "hv_reviews")
    assert TITLES[Situation.CONCERN_BOTH] in {row["What was returned"] for row in rows}
    only_elsewhere = [row for row in rows if row["What was returned"] == TITLES[Situation.CONCERN_ELSEWHERE]]
    assert only_elsewhere
    assert not any(own[int(place) - 1] for place in by_place(only_elsewhere))


def test_no_cell_is_a_formula(pipeline: Pipeline) -> None:
    assert f"'{FORMULA}" in {row["Surname"] for row in pipeline.read_table("leeds", "eyfsp")}
    sheet = openpyxl.load_workbook(pipeline.root / "opened" / f"leeds-eyfsp-{COHORT}.xlsx").active
    cells = [cell for row in sheet.iter_rows() for cell in row]
    assert FORMULA in [cell.value for cell in cells]
    assert {cell.data_type for cell in cells if cell.value is not None} <= {"s", "n"}


def test_another_key_or_extract_or_the_same_bytes_with_other_rows_is_refused(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """As under a council file that skips a line: each fact would be told of the child below."""
    for key in (pipeline.recipients.get_key("leeds", "health"), pipeline.recipients.get_key("wirral", "education")):
        refused(pipeline, "is not encrypted to the key you gave", key=key)
    said = f"is not the file that {COHORT}.age is about, which is eyfsp of leeds, cohort {COHORT}, to the byte"
    refused(pipeline, said, extract=pipeline.extract("wirral", "eyfsp"))
    copy = Path(shutil.copy(pipeline.extract("leeds", "eyfsp"), tmp_path / f"{COHORT}.csv"))
    copy.write_text(copy.read_text() + "\n")
    refused(pipeline, said, extract=copy)
    rows = pipeline.read_opened("leeds", "eyfsp").header.extract_rows + 1
    file = sealed(pipeline, tmp_path / "other.age", extract_rows=rows)
    refused(pipeline, f"and had {rows} at the pipeline; give the council file", file=file)


def sealed(pipeline: Pipeline, path: Path, council: str = "leeds", key: Any = None, **header: Any) -> Path:
    """The return about the Profile of a council, with another header or signing key."""
    opened = pipeline.read_opened(council, "eyfsp")
    content = seal.seal(replace(opened.header, **header), list(opened.facts), key or pipeline.keys.signing_key)
    path.write_bytes(content)
    return path


def test_a_file_that_is_not_the_pipelines_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    """Changed, cut short, signed by another, not signed, or encrypted again to somebody else by whoever may read it."""
    import pyrage

    original, file = pipeline.get_file("leeds", "eyfsp").read_bytes(), tmp_path / "forged.age"
    mine = age.read_identity(pipeline.recipients.get_key("leeds", "education"))
    public, others = (
        pyrage.x25519.Recipient.from_str(pipeline.recipients.read_public(council, "education"))
        for council in ("leeds", "wirral")
    )
    for content, said in (
        (original[:-20] + bytes([original[-20] ^ 1]) + original[-19:], "was changed or cut short"),
        (original[:-50], "was changed or cut short"),
        (b"nothing of the kind", "is not encrypted in the age format"),
        (pyrage.encrypt(b"{}", [public]), "is not a signed return of this version"),
    ):
        file.write_bytes(content)
        refused(pipeline, said, file=file)
    refused(pipeline, "was not signed with the key", file=sealed(pipeline, file, key=Ed25519PrivateKey.generate()))
    refused(pipeline, "does not hold the rows that it says", file=sealed(pipeline, file, rows=1))
    file.write_bytes(pyrage.encrypt(pyrage.decrypt(original, [mine]), [others]))
    refused(
        pipeline, "was made for another recipient", file=file, key=pipeline.recipients.get_key("wirral", "education")
    )


def test_an_older_return_says_that_a_newer_exists(pipeline: Pipeline, tmp_path: Path) -> None:
    """The highest number opened with a key is kept beside it: nothing else can be known away from the pipeline."""
    key = Path(shutil.copy(pipeline.recipients.get_key("wirral", "education"), tmp_path / "own.key"))
    kept = tmp_path / "own.key.serials.json"
    for serial, is_older in ((2, False), (3, False), (3, False), (2, True), (1, True)):
        file = sealed(pipeline, tmp_path / f"{serial}.age", "wirral", serial=serial)
        done = pipeline.open("wirral", "eyfsp", file=file, key=key, out=tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert ("number 3 was opened with this key before" in done.output) == is_older
        page = (tmp_path / "out" / f"wirral-eyfsp-{COHORT}.html").read_text(encoding="utf-8")
        assert f"{serial}, replacing every lower one" in page
    assert json.loads(kept.read_bytes()) == {f"wirral/eyfsp/{COHORT}": 3}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_bytes(b"[")
    refused(pipeline, "own.key.serials.json", "wirral", key=key)


def test_a_key_or_folder_that_cannot_be_used_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    refused(pipeline, "is not the pipeline's public key", signer=pipeline.extract("leeds", "eyfsp"))
    missing = pipeline.open("leeds", "eyfsp", key=tmp_path / "none")
    assert (missing.exit_code, "does not exist" in missing.output) == (2, True)
    key = Path(shutil.copy(pipeline.recipients.get_key("leeds", "education"), tmp_path / "open.key"))
    key.chmod(0o644)
    refused(pipeline, "can be read by others than its owner", key=key)
    key.write_text("nothing\n")
    key.chmod(0o600)
    refused(pipeline, "is not a file with one age private key", key=key)
    refused(pipeline, "cannot be written to", out=key / "below")


@pytest.mark.skipif(AGE is None, reason=areas.describe_missing("age"))
def test_stock_age_decrypts_it(pipeline: Pipeline) -> None:
    def decrypt(service: str) -> subprocess.CompletedProcess[bytes]:
        command = [
            "age",
            "-d",
            "-i",
            pipeline.recipients.get_key("leeds", service),
            pipeline.get_file("leeds", "eyfsp"),
        ]
        return subprocess.run(command, capture_output=True, check=False)

    done = decrypt("education")
    assert done.returncode == 0, done.stderr
    first, header, *rows = done.stdout.decode().split("\n")
    assert first.startswith("readiness-return-3 ")
    assert json.loads(header)["council"] == "leeds"
    assert [json.loads(row) for row in rows] == pipeline.read_facts("leeds", "eyfsp")
    assert decrypt("health").returncode != 0


def test_nothing_in_returns_can_be_read_without_the_key(pipeline: Pipeline) -> None:
    """Neither what an extract holds nor any fact of a row is in a file of the folder."""
    rows = pipeline.read_rows("leeds", "eyfsp")
    values = {row[name] for row in rows for name in ("upn", "surname", "date_of_birth", "postcode")}
    facts = {fact for source in services.SERVICES for fact in pipeline.read_opened("leeds", source).facts}
    for path in filter(Path.is_file, pipeline.home.returns.rglob("*")):
        content = path.read_bytes()
        assert not [text for text in (*values, *facts) if text.encode() in content], path
        if path.suffix == ".age":
            assert b"known_to" not in content
            assert b"leeds" not in content


def test_it_opens_under_any_name_and_warns_of_an_agreement_that_has_ended(pipeline: Pipeline, tmp_path: Path) -> None:
    extract = Path(shutil.copy(pipeline.extract("leeds", "eyfsp"), tmp_path / "our profile.bak"))
    for changed, said in (
        ({}, ""),
        ({"expires": "2021-08-31"}, "warning: the agreement ISA-leeds-1 ended on 2021-08-31"),
        ({"made_on": "2999-01-01"}, "warning: it was made on 2999-01-01, which is in the future by"),
    ):
        file = sealed(pipeline, tmp_path / "sent by e-mail (2).bin", **changed)
        done = pipeline.open("leeds", "eyfsp", file=file, extract=extract)
        assert done.exit_code == 0, done.output
        assert ("warning" in done.output) == bool(said)
        assert said in done.output


def test_keygen_never_replaces_a_key(tmp_path: Path) -> None:
    path = Recipients(tmp_path).get_key("leeds", "health")
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    done = invoke("returns", "keygen", "--out", path, tool=council_main)
    assert (done.exit_code, "a key is never replaced" in done.output) == (1, True)
    assert path.read_bytes() == before


# An extract that came in parts


def test_facts_are_about_the_row_in_force_of_each_part(pipeline: Pipeline) -> None:
    folder = pipeline.landing / "sefton" / "eyfsp" / COHORT
    sent = {}
    for part, path in enumerate(sorted(folder.iterdir()), 1):
        with path.open() as file:
            sent |= {f"{part}:{number}": row["upn"] for number, row in enumerate(csv.DictReader(file), 1)}
    table = pipeline.read_table("sefton", "eyfsp", extract=folder)
    assert {place: row["UPN"] for place, row in by_place(table).items()} == sent
    assert len(table) == len(set(sent.values()))  # a line for each child
    places = range(CORRECTED.start + 1, CORRECTED.stop + 1)
    before, now = ({row_keys.parse_row_number(f"{part}:{place}") for place in places} for part in (1, 2))
    facts = {fact["row"] for fact in pipeline.read_facts("sefton", "eyfsp")}
    assert facts <= {row_keys.parse_row_number(name) for name in sent}
    assert not facts & before
    assert facts & now


def test_a_part_that_is_missing_or_was_changed_is_named_by_its_number(pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(pipeline.landing / "sefton" / "eyfsp" / COHORT, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "2025-06.csv").open("a") as file:
        file.write("\n")
    refused(pipeline, "has no file that is, to the byte, part 2 of eyfsp of sefton", "sefton", extract=tmp_path)
    refused(pipeline, "in parts; give their folder", "sefton", extract=tmp_path / "2025-05.csv")


def test_a_sender_of_cumulative_files_needs_the_newest_alone(pipeline: Pipeline) -> None:
    name = ("sefton", "early_years_census")
    older, newest = sorted((pipeline.landing / Path(*name) / COHORT).iterdir())
    assert list(pipeline.read_opened(*name).header.parts.values()) == [2]
    with newest.open() as file:
        sent = {f"2:{number}": row["forename"] for number, row in enumerate(csv.DictReader(file), 1)}
    table = pipeline.read_table(*name, extract=newest)
    assert {place: row["Forename"] for place, row in by_place(table).items()} == sent
    assert {TITLES[Situation.KNOWN]} < {row["What was returned"] for row in table}
    refused(pipeline, "is not, to the byte, part 2 of early_years_census of sefton", *name, extract=older)
    receipt = pipeline.home.get_extract("settings", COHORT, "sefton").told_file
    key = pipeline.recipients.get_key("sefton", "settings")
    _, rows = open_receipt(receipt, key, pipeline.signer, pipeline.root / "told")
    with rows.open(encoding="utf-8-sig") as file:
        assert {line["Row"] for line in csv.DictReader(file)} <= set(sent)


def test_no_recent_record_is_said_only_if_one_was_due_since(pipeline: Pipeline, tmp_path: Path) -> None:
    """The last review is at two and a half: at Reception it is over two years old for every child."""
    born = [dt.date.fromisoformat(row["date_of_birth"]) for row in pipeline.read_rows("leeds", "eyfsp")[:3]]
    facts = [
        json.dumps({"row": number, "known_to": [{"council": "leeds", "service": service, "last_contact": month}]})
        for number, service, month in (
            (1, "health", f"{add_months(born[0], 25):%Y-%m}"),
            (2, "health", f"{add_months(born[1], 12):%Y-%m}"),
            (3, "settings", "2023-01"),
        )
    ]
    header = replace(pipeline.read_opened("leeds", "eyfsp").header, made_on="2025-07-31", rows=len(facts))
    (tmp_path / "return.age").write_bytes(seal.seal(header, facts, pipeline.keys.signing_key))
    table = by_place(pipeline.read_table("leeds", "eyfsp", file=tmp_path / "return.age"))
    situations = [table[str(number)]["What was returned"] for number in (1, 2, 3)]
    late, known = TITLES[Situation.NOT_LATELY], TITLES[Situation.KNOWN]
    assert situations == [known, late, late]


# A sender of tokens


def test_a_return_about_tokens_opens_beside_their_extract_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    own, name = pipeline.root / "sender", ("sefton", "hv_reviews")
    with (own / f"{COHORT}.csv").open() as file:
        sent = {str(number): row for number, row in enumerate(csv.DictReader(file), 1)}
    table = pipeline.read_table(*name, extract=own / f"{COHORT}.csv")
    assert {place: row["Forename"] for place, row in by_place(table).items()} == {
        number: row["forename"] for number, row in sent.items()
    }
    known = {str(fact["row"]) for fact in pipeline.read_facts(*name) if "known_to" in fact}
    assert known
    assert not known & set(map(str, range(1, UNUSABLE + 1)))
    refused(pipeline, "holds tokens", *name, extract=own / "to-send" / f"{COHORT}.tokens.parquet")
    header, *rows = (own / f"{COHORT}.csv").read_text().splitlines()
    (tmp_path / "sorted.csv").write_text("\n".join([header, *sorted(rows)]) + "\n")
    refused(pipeline, "is not the file that", *name, extract=tmp_path / "sorted.csv")
