"""Council files: the eight are sound, and a mistake is reported with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.contracts import CONTRACTS
from sources.councils.council_file import InvalidCouncilFile, council_file, load
from sources.reference.places import PILOT, UnknownCouncil


def test_each_pilot_council_has_a_dialect_of_its_own() -> None:
    dialects = [tuple(council_file(council).dialect(source) for source in CONTRACTS) for council in PILOT]
    assert all(dialects.count(dialect) == 1 for dialect in dialects)


def test_a_council_without_a_file_is_read_in_contract_form() -> None:
    assert council_file("bradford").sources == {}
    with pytest.raises(UnknownCouncil, match="not the name of an English authority"):
        council_file("narnia")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("council: [", "not readable as YAML"),
        ("council: halton\nsources: {}\n", "'council' must be 'leeds'"),
        ("council: leeds\nsources: {eyfs: {}}\n", "sources has eyfs"),
        ("council: leeds\nsources: {eyfsp: {colums: {}}}\n", "sources.eyfsp has colums"),
        ("council: leeds\nsources: {eyfsp: {columns: {upnn: X}}}\n", "sources.eyfsp.columns has upnn"),
        ("council: leeds\nsources: {eyfsp: {codes: {sex: {Boy: B}}}}\n", "maps to B; the contract accepts F, M"),
        ("council: leeds\nsources: {eyfsp: {columns: {upn: X, surname: X}}}\n", "one local name to two"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "leeds.yaml"
    path.write_text(text)
    with pytest.raises(InvalidCouncilFile, match=r"leeds\.yaml") as problem:
        load(path)
    assert message in str(problem.value)
