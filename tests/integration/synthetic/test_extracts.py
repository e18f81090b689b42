"""Generated extracts conform to the contracts and the councils' dialects, and the truth matches them row for row."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sources.contracts import CONTRACTS, Kind
from sources.councils.council_file import load_council_file
from sources.reference.places import PILOT
from sources.synthetic import generate
from tests.support.extracts import add_check_digit, add_check_letter


def read(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> pd.DataFrame:
    """Return a landed file as text; blanks are empty."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).fillna("")
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return pd.read_csv(io.StringIO(raw.decode(encoding)), sep=delimiter, dtype=str, keep_default_na=False)


def files(landing: Path, source: str) -> dict[str, Path]:
    return {path.parts[-3]: path for path in sorted(landing.glob(f"*/{source}/*"))}


@pytest.fixture(scope="module")
def tables(pilot_in_contract_form: Path) -> dict[str, pd.DataFrame]:
    return {
        source: pd.concat([read(path) for path in files(pilot_in_contract_form, source).values()]).fillna("")
        for source in CONTRACTS
    }


@pytest.mark.parametrize("source", CONTRACTS)
def test_every_council_sends_values_that_conform(
    pilot_in_contract_form: Path, tables: dict[str, pd.DataFrame], source: str
) -> None:
    sent = files(pilot_in_contract_form, source)
    assert set(sent) == set(PILOT)
    for path in sent.values():
        assert set(CONTRACTS[source].required) <= set(read(path).columns) <= {c.name for c in CONTRACTS[source].columns}
    for name, values in tables[source].items():
        column, filled = CONTRACTS[source][str(name)], values[values != ""]
        if column.codes:
            assert all(column.find_code(value) is not None for value in set(filled)), name
        if column.kind is Kind.DATE:
            assert filled.str.fullmatch(r"\d{4}-\d\d-\d\d").all(), name
        if column.kind is Kind.DECIMAL:
            numbers = filled.astype(float)
            assert numbers.min() >= (column.minimum or 0), name
            assert numbers.max() <= (column.maximum or 1000), name
        if column.blank is not None and column.blank.value == "reject":
            assert (values != "").all(), name


@pytest.mark.parametrize("source", ["eyfsp", "school_census"])
def test_upn_check_letters(tables: dict[str, pd.DataFrame], source: str) -> None:
    upns = tables[source].upn.unique()
    assert all(upn == add_check_letter(upn[1:]) for upn in upns)
    temporary = sum(upn[-1].isalpha() for upn in upns)
    assert 0 < temporary < 0.02 * len(upns)


@pytest.mark.parametrize("source", ["hv_reviews", "eyfsp", "school_census", "early_years_census"])
def test_nhs_numbers(tables: dict[str, pd.DataFrame], source: str) -> None:
    numbers = tables[source].nhs_number
    sent = numbers[numbers != ""].unique()
    assert all(number.startswith("999") and number == add_check_digit(number[:9]) for number in sent)
    if source == "hv_reviews":
        assert (numbers == "").mean() > 0.005


def test_councils_send_many_dialects_and_formats(pilot: Path) -> None:
    dialects = {
        (council, source): load_council_file(council).get_dialect(source) for council in PILOT for source in CONTRACTS
    }
    for (_, source), dialect in dialects.items():
        assert any(dialect.get_local_name(name) != name for name in CONTRACTS[source].required)
    assert {dialect.delimiter for dialect in dialects.values()} == {",", ";", "|", "\t"}
    encodings = {"utf-8", "utf-8-sig", "utf-16", "windows-1252", "latin-1"}
    assert {dialect.encoding for dialect in dialects.values()} == encodings
    assert len({dialect.date_format for dialect in dialects.values()}) >= 6
    assert {"".join(path.suffixes) for path in pilot.glob("*/*/*")} == {".csv", ".csv.gz", ".parquet"}
    dialect = dialects["liverpool", "hv_reviews"]
    names = read(files(pilot, "hv_reviews")["liverpool"], dialect.delimiter, dialect.encoding)
    assert any(ord(letter) > 0x370 for name in names.GivenName for letter in name), "no name in another script"


@pytest.mark.parametrize("source", CONTRACTS)
@pytest.mark.parametrize("council", PILOT)
def test_round_trip(pilot: Path, pilot_in_contract_form: Path, council: str, source: str) -> None:
    contract, dialect = CONTRACTS[source], load_council_file(council).get_dialect(source)
    path = files(pilot, source)[council]
    sent = read(path, dialect.delimiter, dialect.encoding)
    plain = read(files(pilot_in_contract_form, source)[council])
    own = {dialect.get_local_name(name): name for name in plain.columns if name not in dialect.constants}
    assert list(sent.columns) == list(own)
    sent = sent.rename(columns=own)
    assert len(sent) == len(plain)
    for name in sent.columns:
        values, column = sent[name], contract[name]
        if name in dialect.codes:
            mapped = {*dialect.codes[name], ""}
            assert all(value in mapped or column.find_code(value) is not None for value in set(values))
            values = values.map(lambda value, codes=dialect.codes[name]: codes.get(value, value))
        elif column.kind is Kind.DATE:
            values = pd.to_datetime(values, format=dialect.date_format[0]).dt.strftime("%Y-%m-%d").fillna("")
        if name in ("surname", "forename"):
            assert (values != plain[name]).mean() < 0.03, name  # letters that the encoding does not have
        else:
            assert (values == plain[name]).all(), name


LINKABLE = ("eyfsp", "school_census", "early_years_census", "hv_reviews")


@pytest.fixture(scope="module")
def truth(pilot_in_contract_form: Path) -> pd.DataFrame:
    return pd.read_parquet(pilot_in_contract_form.parent / "truth.parquet")


@pytest.fixture(scope="module")
def rows(pilot_in_contract_form: Path, truth: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each source with who they are about."""

    def parts(source: str) -> Iterator[pd.DataFrame]:
        for council, path in files(pilot_in_contract_form, source).items():
            table = read(path)
            yield table.assign(source=source, council=council, source_row=range(1, len(table) + 1))

    keys = ["source", "council", "source_row"]
    return {source: pd.concat(parts(source)).merge(truth, on=keys, how="left") for source in LINKABLE}


def test_one_entry_for_every_row(rows: dict[str, pd.DataFrame], truth: pd.DataFrame) -> None:
    assert len(truth) == sum(len(table) for table in rows.values())
    assert not truth.duplicated(["source", "council", "source_row"]).any()
    for table in rows.values():
        assert table.person_id.notna().all()
        assert set(table.cohort) == {"202425"}


def test_landing_holds_no_truth(pilot: Path) -> None:
    assert sorted(path.name for path in pilot.parent.iterdir()) == ["landing", "truth.parquet"]
    columns = {column.name for contract in CONTRACTS.values() for column in contract.columns}
    assert not columns & {"person_id", "is_twin"}
    assert not list(pilot.rglob("*truth*"))


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(tmp_path / name / "landing", "202425", scale=0.02, seed=seed)
    content = {
        name: {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    }
    assert content["a"] == content["b"]
    assert content["a"].keys() == content["c"].keys()
    assert content["a"] != content["c"]


def test_truth_of_another_cohort_stays(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    generate(landing, "202324", scale=0.02)
    generate(landing, "202425", scale=0.02)
    generate(landing, "202425", scale=0.02)
    truth = pq.read_table(tmp_path / "truth.parquet").to_pandas()
    assert set(truth.cohort) == {"202324", "202425"}
    assert not truth.duplicated(["cohort", "source", "council", "source_row"]).any()
    older = read(landing / "leeds/eyfsp/202324.csv", ",", "utf-8-sig")
    born = pd.to_datetime(older.DOB, format="%d/%m/%Y")
    assert born[born.dt.year > 1900].between("2018-01-01", "2019-12-31").all()


def test_scale_must_be_possible(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="above 0"):
        generate(tmp_path / "landing", "202425", scale=0)
    with pytest.raises(ValueError, match="smaller scale"):
        generate(tmp_path / "landing", "202425", scale=40)
