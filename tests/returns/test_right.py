"""How right the returned facts are, where the truth is known: two generators, neither of which the code has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from privacy.services import SERVICES
from sources.reference.asq3 import cut_offs
from sources.synthetic import generate
from tests.e2e.extracts import write_extracts
from tests.returns.agreements import EVERY_FACT, everything, telling, write
from tests.returns.conftest import COHORT, Pipeline, pipeline_at

COUNCILS = ("knowsley", "liverpool")
RIGHT = 0.999


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Two neighbouring councils, each telling the other's services everything."""
    pipeline = pipeline_at(tmp_path_factory.mktemp("told"))
    generate(pipeline.landing, COHORT, scale=0.2, seed=20_261_125, councils="pilot")
    pipeline.take_in(COUNCILS)
    pipeline.link(COUNCILS)
    for council, other in (COUNCILS, COUNCILS[::-1]):
        across = "".join(telling(a, b, EVERY_FACT[a], other) for a in EVERY_FACT for b in EVERY_FACT)
        write(pipeline.agreements, council, pipeline.recipients, everything() + across, accepts_from=[other])
    pipeline.make()
    return pipeline


@pytest.fixture(scope="module")
def truth(told: Pipeline) -> duckdb.DuckDBPyConnection:
    """`known`: person, council, service, last_contact, concern, from the truth and the extracts' own payload."""
    con = duckdb.connect()
    below = " OR ".join(
        f"(asq3_months = '{months}' AND {domain} < {cut})" for (domain, months), cut in cut_offs().items()
    )
    said = {
        "eyfsp": ("'2025-06'", "NULL"),
        "school_census": ("'2025-01'", "NULL"),
        "early_years_census": ("'2024-01'", "progress_check_outcome = 'concern' OR sen_provision IN ('K', 'E')"),
        "hv_reviews": ("strftime(review_date, '%Y-%m')", f"concern = 'Y' OR referral = 'Y' OR {below}"),
    }
    rows = " UNION ALL ".join(
        f"SELECT '{source}' AS source, '{SERVICES[source]}' AS service, council, source_row,"
        f" {contact} AS last_contact, coalesce({concern}, false) AS concern FROM read_parquet('{told.home.restricted}"
        f"/pseudonymised/source={source}/cohort={COHORT}/*.parquet', hive_partitioning = false)"
        for source, (contact, concern) in said.items()
    )
    con.execute(
        f"CREATE TABLE rows AS SELECT person_id, said.* FROM ({rows}) AS said"
        f" JOIN '{told.root / 'truth.parquet'}' USING (source, council, source_row)"
    )
    con.execute(
        "CREATE TABLE known AS SELECT person_id, council, service, max(last_contact) AS last_contact,"
        " bool_or(concern) AS concern FROM rows GROUP BY ALL"
    )
    return con


def judged(told: Pipeline, truth: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, bool]]:
    """Each fact that was returned, by kind, and whether it is right."""
    known = {tuple(row[:3]): row[3:] for row in truth.execute("FROM known").fetchall()}
    persons = truth.execute("SELECT source, council, source_row, person_id FROM rows").fetchall()
    person_of = {(source, council, row): person for source, council, row, person in persons}
    for council in COUNCILS:
        for source in SERVICES:
            opened = told.opened(council, source)
            scope = [tuple(name.split("/")) for name in opened.header.absence_of]
            for fact in told.facts(council, source):
                person = person_of[source, council, fact["row"]]
                if "known_to_no_other" in fact:
                    assert set(fact) == {"row", "known_to_no_other"}
                    yield "known_to_no_other", not any((person, *sender) in known for sender in scope)
                    continue
                for contact in fact["known_to"]:
                    assert (contact["council"], contact["service"]) != (council, SERVICES[source])
                    last, concern = known.get((person, contact["council"], contact["service"]), (None, None))
                    yield "known_to", last is not None
                    if "last_contact" in contact:
                        yield "last_contact_month", contact["last_contact"] == last
                    if "concern" in contact:
                        yield "concern_recorded", contact["concern"] == concern


def test_nearly_every_fact_is_right(told: Pipeline, truth: duckdb.DuckDBPyConnection) -> None:
    found = Counter(judged(told, truth))
    kinds = sorted({kind for kind, _ in found})
    table = {kind: (found[kind, True], found[kind, False]) for kind in kinds}
    print(table)
    assert set(kinds) == {"known_to", "last_contact_month", "concern_recorded", "known_to_no_other"}
    right, wrong = (sum(number for (_, is_right), number in found.items() if is_right is is_) for is_ in (True, False))
    assert right + wrong > 10_000
    assert right / (right + wrong) >= RIGHT, table
    for kind, (good, bad) in table.items():
        assert good / (good + bad) >= RIGHT - 0.009 * (kind == "known_to_no_other"), table


def test_most_of_what_could_be_told_is_told(told: Pipeline, truth: duckdb.DuckDBPyConnection) -> None:
    """A gate that told nothing would be right always."""
    sources = {}
    for council in COUNCILS:
        for source in SERVICES:
            rows = truth.execute(
                "SELECT count(*) FROM rows WHERE council = ? AND source = ?", [council, source]
            ).fetchall()[0][0]
            sources[council, source] = len(told.facts(council, source)) / rows
    print(sources)
    assert min(sources.values()) > 0.9, sources


def test_movers_are_told_across_councils(told: Pipeline) -> None:
    contacts = [contact for fact in told.facts("knowsley", "eyfsp") for contact in fact.get("known_to", ())]
    assert {contact["council"] for contact in contacts} == set(COUNCILS)


def test_another_generator(tmp_path: Path) -> None:
    pipeline = pipeline_at(tmp_path)
    truth = write_extracts(pipeline.landing, children=800, seed=11, councils=COUNCILS)
    pipeline.take_in(COUNCILS)
    pipeline.link(COUNCILS)
    for council in COUNCILS:
        write(pipeline.agreements, council, pipeline.recipients)
    pipeline.make()
    known = wrong = 0
    for council in COUNCILS:
        reviewed = {row for (at, row), _ in truth.pairs if at == council}
        for fact in pipeline.facts(council, "eyfsp"):
            to_health = any(contact["service"] == "health" for contact in fact.get("known_to", ()))
            known += to_health
            wrong += to_health and fact["row"] not in reviewed
            wrong += "known_to_no_other" in fact and fact["row"] in reviewed
    assert known > 0.95 * len(truth.pairs)
    assert wrong <= known * (1 - RIGHT)
