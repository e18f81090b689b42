"""Under contract names every value is one that the contract accepts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sources.contracts import CONTRACTS, Kind
from sources.reference.places import PILOT
from tests.support.intake.generated import files, read

UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"


@pytest.fixture(scope="module")
def tables(pilot_in_contract_form: Path) -> dict[str, pd.DataFrame]:
    """All councils' rows of each source."""
    return {
        source: pd.concat([read(path) for path in files(pilot_in_contract_form, source).values()]).fillna("")
        for source in CONTRACTS
    }


@pytest.mark.parametrize("source", CONTRACTS)
def test_every_council_sends_every_source(pilot_in_contract_form: Path, source: str) -> None:
    sent = files(pilot_in_contract_form, source)
    assert set(sent) == set(PILOT)
    for path in sent.values():
        assert set(CONTRACTS[source].required) <= set(read(path).columns) <= {c.name for c in CONTRACTS[source].columns}


@pytest.mark.parametrize("source", CONTRACTS)
def test_values_conform(tables: dict[str, pd.DataFrame], source: str) -> None:
    for name, values in tables[source].items():
        column, given = CONTRACTS[source][str(name)], values[values != ""]
        if column.codes:
            assert all(column.code_of(value) is not None for value in set(given)), name
        if column.kind is Kind.DATE:
            assert given.str.fullmatch(r"\d{4}-\d\d-\d\d").all(), name
        if column.kind is Kind.DECIMAL:
            numbers = given.astype(float)
            assert numbers.min() >= (column.minimum or 0), name
            assert numbers.max() <= (column.maximum or 1000), name
        if column.blank is not None and column.blank.value == "reject":
            assert (values != "").all(), name


@pytest.mark.parametrize("source", ["eyfsp", "school_census"])
def test_upn_check_letters(tables: dict[str, pd.DataFrame], source: str) -> None:
    upns = tables[source].upn.unique()
    for upn in upns:
        values = [int(c) if c.isdigit() else UPN_LETTERS.index(c) for c in upn[1:]]
        total = sum(weight * value for weight, value in zip(range(2, 14), values, strict=True))
        assert upn[0] == UPN_LETTERS[total % 23]
    temporary = sum(upn[-1].isalpha() for upn in upns)
    assert 0 < temporary < 0.02 * len(upns)


@pytest.mark.parametrize("source", ["hv_reviews", "eyfsp", "school_census", "early_years_census"])
def test_nhs_numbers(tables: dict[str, pd.DataFrame], source: str) -> None:
    numbers = tables[source].nhs_number
    for number in numbers[numbers != ""].unique():
        assert len(number) == 10
        assert number.startswith("999")
        assert sum(weight * int(digit) for weight, digit in zip(range(10, 0, -1), number, strict=True)) % 11 == 0
    if source == "hv_reviews":
        assert (numbers == "").sum() > 1000


def test_scores_are_mostly_in_steps_of_five(tables: dict[str, pd.DataFrame]) -> None:
    scores = pd.to_numeric(tables["hv_reviews"].asq3_communication).dropna()
    assert 0.005 < (scores % 5 != 0).mean() < 0.05
