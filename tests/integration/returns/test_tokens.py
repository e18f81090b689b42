"""A sender of tokens has its return too: it opens beside the extract that the tokens were made from."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.council_cli import main as council_main
from privacy.keys import SENDER_KEYS
from tests.support.independent import write_extracts
from tests.support.returns.agreements import write
from tests.support.returns.pipeline import COHORT, Pipeline, pipeline_at

pytestmark = pytest.mark.slow

COUNCIL, SOURCE = "leeds", "hv_reviews"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stays at the sender: its extract and keys, and the tokens that it sends."""
    return tmp_path_factory.mktemp("sender")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, own: Path) -> Pipeline:
    """Leeds, whose health visitors sent tokens in place of their extract, four rows of it unusable."""
    made = pipeline_at(tmp_path_factory.mktemp("pipeline"))
    write_extracts(made.landing, children=120, councils=(COUNCIL,))
    extract = Path(shutil.move(made.extract(COUNCIL, SOURCE), own / f"{COHORT}.csv"))
    header, *rows = extract.read_text().splitlines()
    at = header.split(",").index("review")
    wrong = [",".join([*rows[0].split(",")[:at], "no such review", *rows[0].split(",")[at + 1 :]])] * 4
    extract.write_text("\n".join([header, *wrong, *rows]) + "\n")
    (own / "keys").mkdir(mode=0o700)
    for name in SENDER_KEYS:
        shutil.copy(made.root / "keys" / f"{name}.key", own / "keys")
    shutil.copy(made.root / "keys" / "intake.pub.pem", own / "keys")
    command = ["pseudonymise", str(extract), "--council", COUNCIL, "--source", SOURCE, "--out", str(own / "to-send")]
    done = CliRunner().invoke(council_main, [*command, "--keys", str(own / "keys")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    shutil.copy(own / "to-send" / f"{COHORT}.tokens.parquet", made.landing / COUNCIL / SOURCE)
    made.ingest([COUNCIL])
    made.link([COUNCIL])
    write(made.agreements, COUNCIL, made.recipients)
    made.make()
    return made


def test_it_opens_beside_the_extract_by_its_own_row_numbers(pipeline: Pipeline, own: Path) -> None:
    done = pipeline.open(COUNCIL, SOURCE, extract=own / f"{COHORT}.csv")
    assert done.exit_code == 0, done.output
    with (own / f"{COHORT}.csv").open() as file:
        sent = {str(number): row for number, row in enumerate(csv.DictReader(file), 1)}
    with (pipeline.root / "opened" / f"{COUNCIL}-{SOURCE}-{COHORT}.csv").open(encoding="utf-8-sig") as file:
        table = {row["Row"]: row for row in csv.DictReader(file)}
    assert {number: row["Forename"] for number, row in table.items()} == {n: row["forename"] for n, row in sent.items()}
    known = {str(fact["row"]) for fact in pipeline.facts(COUNCIL, SOURCE) if "known_to" in fact}
    assert known
    assert not known & {"1", "2", "3", "4"}
    with pipeline.extract(COUNCIL, "eyfsp").open() as file:
        schools = {(row["surname"], row["date_of_birth"], row["postcode"]) for row in csv.DictReader(file)}
    assert {(sent[n]["surname"], sent[n]["date_of_birth"], sent[n]["postcode"]) for n in known} <= schools


def test_the_tokens_themselves_are_refused(pipeline: Pipeline, own: Path) -> None:
    done = pipeline.open(COUNCIL, SOURCE, extract=own / "to-send" / f"{COHORT}.tokens.parquet")
    assert done.exit_code == 1
    assert "holds tokens; give the extract that they were made from" in done.output


def test_an_extract_that_was_changed_since_is_refused(pipeline: Pipeline, own: Path, tmp_path: Path) -> None:
    header, *rows = (own / f"{COHORT}.csv").read_text().splitlines()
    turned = tmp_path / f"{COHORT}.csv"
    turned.write_text("\n".join([header, *sorted(rows)]) + "\n")
    done = pipeline.open(COUNCIL, SOURCE, extract=turned)
    assert done.exit_code == 1
    assert f"{COHORT}.csv: is not the file that {COHORT}.age is about, which is {SOURCE} of {COUNCIL}" in done.output
