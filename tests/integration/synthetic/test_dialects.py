"""Files in the councils' own dialects are the contract-form files under other names, codes, dates and encodings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sources.contracts import CONTRACTS, Kind
from sources.councils.council_file import CONTRACT_DIALECT, council_file
from sources.reference.places import PILOT
from tests.support.intake.generated import files, read

NAMES = ("surname", "forename")


@pytest.mark.parametrize("council", PILOT)
def test_each_pilot_council_has_a_dialect_of_every_source(council: str) -> None:
    dialects = council_file(council).sources
    assert set(dialects) == set(CONTRACTS)
    for source, dialect in dialects.items():
        assert dialect != CONTRACT_DIALECT
        assert any(dialect.local_name(name) != name for name in CONTRACTS[source].required)


def test_dialects_differ() -> None:
    dialects = [council_file(council).dialect(source) for council in PILOT for source in CONTRACTS]
    assert {dialect.delimiter for dialect in dialects} == {",", ";", "|", "\t"}
    encodings = {"utf-8", "utf-8-sig", "utf-16", "windows-1252", "latin-1"}
    assert {dialect.encoding for dialect in dialects} == encodings
    assert len({dialect.date_format for dialect in dialects}) >= 6


@pytest.mark.parametrize("source", CONTRACTS)
@pytest.mark.parametrize("council", PILOT)
def test_round_trip(pilot: Path, pilot_in_contract_form: Path, council: str, source: str) -> None:
    contract, dialect = CONTRACTS[source], council_file(council).dialect(source)
    path = files(pilot, source)[council]
    sent = read(path, dialect.delimiter, dialect.encoding)
    plain = read(files(pilot_in_contract_form, source)[council])
    own = {dialect.local_name(name): name for name in plain.columns if name not in dialect.constants}
    assert list(sent.columns) == list(own)
    sent = sent.rename(columns=own)
    assert len(sent) == len(plain)
    for name in sent.columns:
        values, column = sent[name], contract[name]
        if name in dialect.codes:
            told = {*dialect.codes[name], ""}
            assert all(value in told or column.code_of(value) is not None for value in set(values))
            values = values.map(lambda value, codes=dialect.codes[name]: codes.get(value, value))
        elif column.kind is Kind.DATE:
            values = pd.to_datetime(values, format=dialect.date_format).dt.strftime("%Y-%m-%d").fillna("")
        if name in NAMES:
            assert (values != plain[name]).mean() < 0.03, name  # letters that the encoding does not have
        else:
            assert (values == plain[name]).all(), name


def test_other_file_formats_are_found_by_their_ending(pilot: Path) -> None:
    endings = {"".join(path.suffixes) for path in pilot.glob("*/*/*")}
    assert endings == {".csv", ".csv.gz", ".parquet"}


def test_any_script_reaches_systems_that_can_hold_it(pilot: Path) -> None:
    dialect = council_file("liverpool").dialect("hv_reviews")
    names = read(files(pilot, "hv_reviews")["liverpool"], dialect.delimiter, dialect.encoding)
    assert any(ord(letter) > 0x370 for name in names.GivenName for letter in name)
