"""At the sender: the right file opens into a table and a page, any other is refused with a clear sentence."""

from __future__ import annotations

import csv
import html
import json
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.returns.team_files import NEXT, TITLES, TO_CONTACT, Situation
from pipelines.council_cli import main as council_main
from privacy.doors import age
from privacy.returns import seal
from privacy.services import SERVICE_NAMES, SERVICES
from tests.support.areas import lacking
from tests.support.independent import write_extracts
from tests.support.intake.spreadsheets import as_xls
from tests.support.returns.agreements import Recipients, write
from tests.support.returns.pipeline import COHORT, Pipeline, pipeline_at

AGE = shutil.which("age")
FORMULA = "=HYPERLINK(1)"
COUNCILS = ("leeds", "wirral")
TITLE_ROWS: tuple[list[str], ...] = ([], ["By the school"])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Two councils that told what they may; a school in Leeds has written a formula for a surname."""
    made = pipeline_at(tmp_path_factory.mktemp("opened"))
    write_extracts(made.landing, children=240, councils=COUNCILS)
    path = made.extract("leeds", "eyfsp")
    header, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[header.split(",").index("surname")] = FORMULA
    path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    table = pyarrow.csv.read_csv(made.extract("wirral", "hv_reviews"))
    made.extract("wirral", "hv_reviews").unlink()
    text = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    pq.write_table(text, made.landing / "wirral" / "hv_reviews" / f"{COHORT}.parquet")
    made.extract("wirral", "eyfsp").rename(made.root / "wirral.csv")
    with (made.root / "wirral.csv").open(newline="") as file:
        sheet = as_xls({"Notes": [["a"]], "Reception": [["Wirral"], *TITLE_ROWS, *csv.reader(file)]})
    (made.landing / "wirral" / "eyfsp" / f"{COHORT}.xls").write_bytes(sheet)
    made.ingest(COUNCILS)
    made.link(COUNCILS)
    for council in COUNCILS:
        write(made.agreements, council, made.recipients)
    made.make()
    return made


def refused(pipeline: Pipeline, said: str, council: str = "leeds", source: str = "eyfsp", **other: Path) -> None:
    out = pipeline.root / "refused"
    done = pipeline.open(council, source, out=out, **other)
    assert done.exit_code == 1, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert not out.exists()


@pytest.mark.parametrize("source", SERVICES)
@pytest.mark.parametrize("council", COUNCILS)
def test_each_return_opens_with_its_own_key_and_extract(pipeline: Pipeline, council: str, source: str) -> None:
    done = pipeline.open(council, source)
    assert done.exit_code == 0, done.output
    paths = sorted((pipeline.root / "opened").glob(f"{council}-{source}-*"))
    assert [path.suffix for path in paths] == [".csv", ".html", ".xlsx"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)


def test_the_table_joins_every_fact_to_its_row(pipeline: Pipeline) -> None:
    assert pipeline.open("leeds", "eyfsp").exit_code == 0
    with pipeline.extract("leeds", "eyfsp").open() as file:
        sent = {str(number): row for number, row in enumerate(csv.DictReader(file), 1)}
    with (pipeline.root / "opened" / f"leeds-eyfsp-{COHORT}.csv").open(encoding="utf-8-sig") as file:
        table = {row["Row"]: row for row in csv.DictReader(file)}
    assert set(table) == set(sent)
    facts = {str(fact["row"]): fact for fact in pipeline.facts("leeds", "eyfsp")}
    for number, row in table.items():
        assert (row["UPN"], row["Forename"]) == (sent[number]["upn"], sent[number]["forename"])
        fact = facts.get(number, {})
        concern = any(contact.get("concern") for contact in fact.get("known_to", ()))
        situation = {title: situation for situation, title in TITLES.items()}[row["What was returned"]]
        assert (situation is Situation.CONCERN_ELSEWHERE) == concern
        assert (situation is Situation.NO_OTHER) == ("known_to_no_other" in fact)
        assert (situation is Situation.NOT_SAID) == (fact == {})
    assert len({row["What was returned"] for row in table.values()}) >= 3
    assert [row["Order"] for row in table.values()] == sorted(row["Order"] for row in table.values())


def test_rows_of_a_sheet_have_its_numbers(pipeline: Pipeline) -> None:
    assert pipeline.open("wirral", "eyfsp").exit_code == 0
    with (pipeline.root / "wirral.csv").open() as file:
        sent = {str(number): row["upn"] for number, row in enumerate(csv.DictReader(file), 3 + len(TITLE_ROWS))}
    with (pipeline.root / "opened" / f"wirral-eyfsp-{COHORT}.csv").open(encoding="utf-8-sig") as file:
        assert {row["Row"]: row["UPN"] for row in csv.DictReader(file)} == sent


def test_the_senders_own_concern_is_told_apart(pipeline: Pipeline) -> None:
    assert pipeline.open("leeds", "hv_reviews").exit_code == 0
    with pipeline.extract("leeds", "hv_reviews").open() as file:
        own = {str(n): row["concern"] == "Y" for n, row in enumerate(csv.DictReader(file), 1)}
    with (pipeline.root / "opened" / f"leeds-hv_reviews-{COHORT}.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    both = [row for row in rows if row["What was returned"] == TITLES[Situation.CONCERN_BOTH]]
    only_elsewhere = [row for row in rows if row["What was returned"] == TITLES[Situation.CONCERN_ELSEWHERE]]
    assert both
    assert only_elsewhere
    assert not any(own[row["Row"]] for row in only_elsewhere)


def test_no_cell_is_a_formula(pipeline: Pipeline) -> None:
    assert pipeline.open("leeds", "eyfsp").exit_code == 0
    path = pipeline.root / "opened" / f"leeds-eyfsp-{COHORT}"
    assert f"'{FORMULA}" in path.with_suffix(".csv").read_text(encoding="utf-8-sig")
    sheet = openpyxl.load_workbook(path.with_suffix(".xlsx")).active
    assert sheet is not None
    cells = [cell for row in sheet.iter_rows() for cell in row]
    assert FORMULA in [cell.value for cell in cells]
    assert {cell.data_type for cell in cells if cell.value is not None} <= {"s", "n"}


def test_anothers_key_does_not_open_it(pipeline: Pipeline) -> None:
    for key in (pipeline.recipients.key("leeds", "health"), pipeline.recipients.key("wirral", "education")):
        refused(pipeline, "is not encrypted to your key; it is another recipient's", key=key)


def test_another_extract_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    said = f"is not the file that {COHORT}.age is about, which is eyfsp of leeds, cohort {COHORT}, to the byte"
    refused(pipeline, said, extract=pipeline.extract("wirral", "eyfsp"))
    copy = Path(shutil.copy(pipeline.extract("leeds", "eyfsp"), tmp_path / f"{COHORT}.csv"))
    copy.write_text(copy.read_text() + "\n")
    refused(pipeline, said, extract=copy)


def test_a_changed_or_cut_file_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    sealed = pipeline.file("leeds", "eyfsp").read_bytes()
    for name, content, said in (
        ("body", sealed[:-20] + bytes([sealed[-20] ^ 1]) + sealed[-19:], "was changed or cut short on its way"),
        ("short", sealed[:-50], "was changed or cut short on its way"),
        ("other", b"nothing of the kind", "is not an encrypted return"),
    ):
        path = tmp_path / f"{name}.age"
        path.write_bytes(content)
        refused(pipeline, said, file=path)


def test_a_return_that_is_not_the_pipelines_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    import pyrage

    opened = pipeline.opened("leeds", "eyfsp")
    forged = tmp_path / "forged.age"
    forged.write_bytes(seal.seal(opened.header, list(opened.facts), Ed25519PrivateKey.generate()))
    refused(pipeline, "was not signed with the key you gave as the pipeline's", file=forged)
    recipient = pyrage.x25519.Recipient.from_str(opened.header.recipient)
    forged.write_bytes(pyrage.encrypt("\n".join(opened.facts).encode(), [recipient]))
    refused(pipeline, "is not a signed return of this version", file=forged)
    forged.write_bytes(seal.seal(replace(opened.header, rows=1), list(opened.facts), pipeline.keys.signing_key))
    refused(pipeline, "does not hold the rows that it says", file=forged)


def test_a_return_cannot_be_addressed_again(pipeline: Pipeline, tmp_path: Path) -> None:
    """Who may read a return signs nothing: encrypted to somebody else, it is refused there."""
    import pyrage

    mine = age.read_identity(pipeline.recipients.key("leeds", "education"))
    plain = pyrage.decrypt(pipeline.file("leeds", "eyfsp").read_bytes(), [mine])
    others = pyrage.x25519.Recipient.from_str(pipeline.recipients.public("wirral", "education"))
    again = tmp_path / "again.age"
    again.write_bytes(pyrage.encrypt(plain, [others]))
    refused(pipeline, "was made for another recipient", file=again, key=pipeline.recipients.key("wirral", "education"))


def test_an_older_return_says_that_a_newer_exists(pipeline: Pipeline, tmp_path: Path) -> None:
    """The highest number opened with a key is kept beside it: nothing else can be known away from the pipeline."""
    opened = pipeline.opened("wirral", "eyfsp")
    key = Path(shutil.copy(pipeline.recipients.key("wirral", "education"), tmp_path / "own.key"))
    kept = tmp_path / "own.key.serials.json"
    warned = "and number 3 was opened with this key before: a newer return exists"
    for serial, is_older in ((2, False), (3, False), (3, False), (2, True), (1, True)):
        file = tmp_path / f"{serial}.age"
        header = replace(opened.header, serial=serial)
        file.write_bytes(seal.seal(header, list(opened.facts), pipeline.keys.signing_key))
        done = pipeline.open("wirral", "eyfsp", file=file, key=key, out=tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert (warned in done.output) == is_older
        page = (tmp_path / "out" / f"wirral-eyfsp-{COHORT}.html").read_text(encoding="utf-8")
        assert f"{serial}, in place of every lower one" in page
    assert json.loads(kept.read_bytes()) == {f"wirral/eyfsp/{COHORT}": 3}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_bytes(b"[")
    done = pipeline.open("wirral", "eyfsp", key=key, out=tmp_path / "none")
    assert done.exit_code == 1
    assert "own.key.serials.json" in done.output
    assert not (tmp_path / "none").exists()


def test_keys_that_are_none_are_named(pipeline: Pipeline, tmp_path: Path) -> None:
    refused(pipeline, "is not the pipeline's public key", signer=pipeline.extract("leeds", "eyfsp"))
    missing = pipeline.open("leeds", "eyfsp", key=tmp_path / "none")
    assert (missing.exit_code, "does not exist" in missing.output) == (2, True)
    key = Path(shutil.copy(pipeline.recipients.key("leeds", "education"), tmp_path / "open.key"))
    key.chmod(0o644)
    refused(pipeline, "can be read by others than its owner", key=key)
    key.write_text("nothing\n")
    key.chmod(0o600)
    refused(pipeline, "is not a file with one age private key", key=key)


@pytest.mark.skipif(AGE is None, reason=lacking("age"))
def test_stock_age_decrypts_it(pipeline: Pipeline) -> None:
    assert AGE
    key = pipeline.recipients.key("leeds", "education")
    done = subprocess.run(
        [AGE, "-d", "-i", str(key), str(pipeline.file("leeds", "eyfsp"))], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, header, *rows = done.stdout.decode().split("\n")
    assert first.startswith("readiness-return-2 ")
    assert json.loads(header)["council"] == "leeds"
    assert [json.loads(row) for row in rows] == pipeline.facts("leeds", "eyfsp")
    others = pipeline.recipients.key("leeds", "health")
    failed = subprocess.run(
        [AGE, "-d", "-i", str(others), str(pipeline.file("leeds", "eyfsp"))], capture_output=True, check=False
    )
    assert failed.returncode != 0


def test_nothing_in_returns_can_be_read_without_the_key(pipeline: Pipeline) -> None:
    """Neither what was planted in an extract nor any fact of a row stands in a file of the folder."""
    with pipeline.extract("leeds", "eyfsp").open() as file:
        rows = list(csv.DictReader(file))
    values = {row[name] for row in rows for name in ("upn", "surname", "date_of_birth", "postcode")}
    facts = {fact for source in SERVICES for fact in pipeline.opened("leeds", source).facts}
    for path in pipeline.home.returns.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [value for value in values if value.encode() in content], path
            assert not [fact for fact in facts if fact.encode() in content], path
            if path.suffix == ".age":
                assert b"known_to" not in content
                assert b"leeds" not in content


def test_the_page_says_who_why_and_what_next(pipeline: Pipeline) -> None:
    for source, service in SERVICES.items():
        assert pipeline.open("leeds", source).exit_code == 0
        path = pipeline.root / "opened" / f"leeds-{source}-{COHORT}"
        page = html.unescape(path.with_suffix(".html").read_text())
        with path.with_suffix(".csv").open(encoding="utf-8-sig") as file:
            named = [row for row in csv.DictReader(file) if int(row["Order"]) in TO_CONTACT]
        assert named
        for row in named:
            assert row["Why"] in page
            assert row["What to do next"] in page
            assert f"{row['Forename']} {row['Surname'].removeprefix(chr(39))}" in page
        positions = [page.index(f">{TITLES[situation]}</h2>") for situation in TO_CONTACT]
        assert positions == sorted(positions)
        assert NEXT[Situation.CONCERN_ELSEWHERE, service] in page
        assert "DPIA-7" in page
        assert "a duty to share" in page
        assert "http" not in page.replace("http-equiv", "")


def test_every_situation_of_every_service_has_its_words() -> None:
    assert set(NEXT) == {(situation, service) for situation in TO_CONTACT for service in SERVICE_NAMES}
    assert set(TITLES) == set(Situation)


def test_the_councils_tool_opens_it_too(pipeline: Pipeline, tmp_path: Path) -> None:
    command = ["returns", "open", str(pipeline.file("leeds", "eyfsp")), "--signer", str(pipeline.signer)]
    command += ["--extract", str(pipeline.extract("leeds", "eyfsp")), "--out", str(tmp_path / "out")]
    command += ["--key", str(pipeline.recipients.key("leeds", "education"))]
    done = CliRunner().invoke(council_main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_it_opens_under_any_name_and_warns_of_an_agreement_that_has_ended(pipeline: Pipeline, tmp_path: Path) -> None:
    opened = pipeline.opened("leeds", "eyfsp")
    again = tmp_path / "sent by e-mail (2).bin"
    extract = Path(shutil.copy(pipeline.extract("leeds", "eyfsp"), tmp_path / "our profile.bak"))
    for changed, said in (
        ({}, ""),
        ({"expires": "2021-08-31"}, "warning: the agreement ISA-leeds-1 ended on 2021-08-31"),
        ({"made_on": "2999-01-01"}, "warning: it was made on 2999-01-01, which is in the future by"),
    ):
        again.write_bytes(seal.seal(replace(opened.header, **changed), list(opened.facts), pipeline.keys.signing_key))
        done = pipeline.open("leeds", "eyfsp", file=again, extract=extract)
        assert done.exit_code == 0, done.output
        assert ("warning" in done.output) == bool(said)
        assert said in done.output


def test_the_same_bytes_with_other_rows_are_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    """As under a council file that skips a line: each fact would be told of the child below."""
    opened = pipeline.opened("leeds", "eyfsp")
    other = tmp_path / "other.age"
    rows = opened.header.extract_rows + 1
    header = replace(opened.header, extract_rows=rows)
    other.write_bytes(seal.seal(header, list(opened.facts), pipeline.keys.signing_key))
    refused(pipeline, f"rows as it is read here and had {rows} at the pipeline; give the council file", file=other)


def test_a_folder_that_cannot_be_written_to_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    in_the_way = tmp_path / "out"
    in_the_way.write_text("a file")
    done = pipeline.open("leeds", "eyfsp", out=in_the_way / "below")
    assert done.exit_code == 1
    assert "cannot be written to" in done.output
    assert "Traceback" not in done.output


def test_keygen_never_replaces_a_key(tmp_path: Path) -> None:
    keys = Recipients(tmp_path)
    path = keys.key("leeds", "health")
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    done = CliRunner().invoke(council_main, ["returns", "keygen", "--out", str(path)])
    assert done.exit_code == 1
    assert "a key is never replaced" in done.output
    assert path.read_bytes() == before
