"""A return about an extract that came in parts opens beside the parts, by part and row."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from privacy.row_keys import number_of
from tests.support.independent import write_extracts
from tests.support.returns.agreements import write
from tests.support.returns.pipeline import COHORT, Pipeline, pipeline_at

COUNCILS = ("leeds", "wirral")
CORRECTED = slice(1, 21)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The Profile of Leeds comes in two parts, the second of which has another column, repeats a record
    and corrects twenty."""
    made = pipeline_at(tmp_path_factory.mktemp("parts"))
    write_extracts(made.landing, children=160, councils=COUNCILS)
    whole = made.landing / "leeds" / "eyfsp" / f"{COHORT}.csv"
    header, *rows = whole.read_text().splitlines()
    whole.unlink()
    folder = whole.with_suffix("")
    folder.mkdir()
    (folder / "2025-05.csv").write_text("\n".join([header, *rows[:50]]) + "\n")
    corrected = [line.replace(",2,", ",1,", 1) for line in rows[CORRECTED]]
    assert not set(corrected) & set(rows)
    with_more = [f"{line},x" for line in (header, rows[0], *corrected, *rows[50:])]
    (folder / "2025-06.csv").write_text("\n".join(with_more) + "\n")
    made.ingest(COUNCILS)
    made.link(COUNCILS)
    for council in COUNCILS:
        write(made.agreements, council, made.recipients)
    made.make()
    return made


@pytest.mark.slow
def test_every_fact_stands_beside_its_row(pipeline: Pipeline) -> None:
    folder = pipeline.landing / "leeds" / "eyfsp" / COHORT
    done = pipeline.open("leeds", "eyfsp", extract=folder)
    assert done.exit_code == 0, done.output
    with (pipeline.root / "opened" / f"leeds-eyfsp-{COHORT}.csv").open(encoding="utf-8-sig") as file:
        table = {row["Row"]: row for row in csv.DictReader(file)}
    sent = {}
    for part, path in enumerate(sorted(folder.iterdir()), 1):
        with path.open() as file:
            sent |= {f"{part}:{number}": row["upn"] for number, row in enumerate(csv.DictReader(file), 1)}
    assert {name: row["UPN"] for name, row in table.items()} == sent
    facts = {fact["row"] for fact in pipeline.facts("leeds", "eyfsp")}
    assert len(facts) > 20
    assert facts <= {number_of(name) for name in sent}
    assert any(fact > (2 << 40) for fact in facts)


def test_of_a_corrected_record_the_row_in_force_is_spoken_of(pipeline: Pipeline) -> None:
    places = range(CORRECTED.start + 1, CORRECTED.stop + 1)
    before, now = ({number_of(f"{part}:{place}") for place in places} for part in (1, 2))
    facts = {fact["row"] for fact in pipeline.facts("leeds", "eyfsp")}
    assert not facts & before
    assert facts & now


def test_a_part_that_is_missing_or_was_changed_is_named_by_its_number(pipeline: Pipeline, tmp_path: Path) -> None:
    folder = pipeline.landing / "leeds" / "eyfsp" / COHORT
    (tmp_path / "2025-05.csv").write_bytes((folder / "2025-05.csv").read_bytes())
    (tmp_path / "2025-06.csv").write_bytes((folder / "2025-06.csv").read_bytes() + b"\n")
    done = pipeline.open("leeds", "eyfsp", extract=tmp_path)
    assert done.exit_code == 1
    assert "has no file that is, to the byte, part 2 of eyfsp of leeds" in done.output
    done = pipeline.open("leeds", "eyfsp", extract=tmp_path / "2025-05.csv")
    assert done.exit_code == 1
    assert "which was sent in parts; give their folder" in done.output
