"""The normaliser, value by value, and against independent Python for the codes."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, strategies as st

from privacy import normalise
from tests.support.daily import limit_examples
from tests.support.extracts import UPN_LETTERS, add_check_digit, add_check_letter

FAST = limit_examples(60, [HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    normalise.install(connection)
    yield connection
    connection.close()


def many(con: duckdb.DuckDBPyConnection, **columns: list[Any]) -> list[dict[str, Any]]:
    arrays = {n: pa.array(v, pa.date32() if n == "date_of_birth" else pa.string()) for n, v in columns.items()}
    con.register("people", pa.table({"place": range(len(next(iter(columns.values())))), **arrays}))
    return con.sql(normalise.normalise_sql("people", {*columns})).order("place").to_arrow_table().to_pylist()


def column(con: duckdb.DuckDBPyConnection, name: str, **columns: list[Any]) -> list[Any]:
    return [row[name] for row in many(con, **columns)]


def scalar(con: duckdb.DuckDBPyConnection, expression: str, *values: Any) -> Any:
    return con.execute(f"SELECT {expression}", list(values)).fetchall()[0][0]


def test_surname(con: duckdb.DuckDBPyConnection) -> None:
    expected = {
        "Smith": "SMITH", "O'Brien": "OBRIEN", "O\u2019Brien": "OBRIEN", "O Brien": "OBRIEN", "Łukasz": "LUKASZ",
        "Øystein": "OYSTEIN", "Zoë": "ZOE", "Zoe\u0308": "ZOE", "İbrahim": "IBRAHIM", "Straße": "STRASSE",
        "Nguyễn": "NGUYEN", "Ọ̀ladélé": "OLADELE", "Æther": "AETHER", "Þór": "THOR",
        "李": "李", "محمد": "محمد", "مُحَمَّد": "محمد", "Андрей": "АНДРЕЙ", "Παπαδόπουλος": "ΠΑΠΑΔΌΠΟΥΛΟΣ",
        "Smith-Jones": "SMITHJONES", "smith  jones ": "SMITHJONES", "de la Cruz": "DELACRUZ",
        "Mr Smith": "SMITH", "Smith Jr": "SMITH", "King (formerly Queen)": "KING", "Babylon": "BABYLON",
        "Testa": "TESTA", "Twinning": "TWINNING",
    }  # fmt: skip
    assert dict(zip(expected, column(con, "n_surname", surname=[*expected]), strict=True)) == expected


def test_placeholders_are_missing(con: duckdb.DuckDBPyConnection) -> None:
    sent = [
        "", "  ", "Unknown", "UNKNOWN",
        "Baby", "baby boy", "Baby Girl", "Baby of Smith", "Twin 1", "TWIN TWO", "Infant of Smith",
        "Test", "Test Patient", "Not known", "N/K", "n/a", "XX", "-", "...", "123", None, "Notknown", "No name",
    ]  # fmt: skip
    for row in many(con, surname=sent, forename=sent):
        found = [row[name] for name in row if name.startswith("n_")]
        assert len(found) > 20
        assert set(found) == {None}, sent[row["place"]]


def test_words(con: duckdb.DuckDBPyConnection) -> None:
    words = {"Smith-Jones": ("SMITH", "JONES"), "Smith": (None, None), "Al-Hassan": (None, "HASSAN")}
    words |= {"de Souza Lima": ("SOUZA", "LIMA")}
    found = many(con, surname=[*words])
    assert [(row["n_surname_first"], row["n_surname_last"]) for row in found] == list(words.values())


def test_forms_of_a_given_name(con: duckdb.DuckDBPyConnection) -> None:
    pairs = {"Bill": "William", "Kate": "Katherine", "Mohammed": "Muhammad", "Lizzie": "Elizabeth"}
    pairs |= {"Mohamed Ali": "Muhammad-Ali"}
    for a, b in zip(many(con, forename=[*pairs]), many(con, forename=[*pairs.values()]), strict=True):
        assert a["n_forename"] == b["n_forename"]
        assert a["n_forename_written"] != b["n_forename_written"]
    forms = normalise.load_given_name_forms()
    assert not set(forms) & set(forms.values()), "a canonical name stands for itself"


def test_postcode(con: duckdb.DuckDBPyConnection) -> None:
    whole = {"LS1 4AP": "LS14AP", "ls14ap": "LS14AP", "LS1 OAB": "LS10AB", "2119": "2119", "D02 X285": "D02X285"}
    whole |= dict.fromkeys(("ZZ99 3VZ", "zz993wz", "", "none"))
    assert dict(zip(whole, column(con, "n_postcode", postcode=[*whole]), strict=True)) == whole


def test_what_a_slip_at_either_end_of_a_name_leaves(con: duckdb.DuckDBPyConnection) -> None:
    ends = {"CHARLES": ("CHARL", "ARLES"), "ALICE": ("ALI", "ICE"), "ALI": ("ALI.", ".ALI"), "李": ("李.", ".李")}
    for name, expected in (ends | {None: (None, None)}).items():
        assert con.execute("SELECT front($1::VARCHAR), rest($1::VARCHAR)", [name]).fetchall() == [expected]


def test_the_outward_part_of_a_postcode(con: duckdb.DuckDBPyConnection) -> None:
    parts = {
        "LS1 4AP": ("LS1", "LS14AP"), "EC1A 1BB": ("EC1A", "EC1A1BB"), "W1A 0AX": ("W1A", "W1A0AX"),
        "LS6": ("LS6", None), "ls17": ("LS17", None), "EC1A": ("EC1A", None), "E1": ("E1", None),
        "2119": ("21", None), "ZZ99": (None, None), "": (None, None),
    }  # fmt: skip
    for (sent, expected), row in zip(parts.items(), many(con, postcode=[*parts]), strict=True):
        assert (row["n_postcode_outward"], row["n_postcode_full"]) == expected
        assert row["n_postcode"] == (sent if sent.isdigit() else expected[1]), "an outward part alone is no postcode"


def test_dates(con: duckdb.DuckDBPyConnection) -> None:
    placeholders = [date(1900, 1, 1), date(2000, 1, 1), date(1970, 1, 1), date(9999, 12, 31), None]
    assert column(con, "n_dob", date_of_birth=placeholders) == [None] * 5
    a, b = many(con, date_of_birth=[date(2020, 3, 9), date(2020, 9, 3)])
    assert a["n_dob"] != b["n_dob"]
    assert a["n_dob_sorted"] == b["n_dob_sorted"]


@limit_examples(20, [HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=20), min_size=1))
def test_names_are_idempotent(con: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    names = ("n_surname", "n_forename_written", "n_forename")
    surnames, written, forenames = ([row[name] for row in many(con, surname=texts, forename=texts)] for name in names)
    again = many(con, surname=surnames * 2, forename=written + forenames)
    assert [row["n_surname"] for row in again] == surnames * 2
    assert [row["n_forename_written"] for row in again[: len(texts)]] == written
    assert [row["n_forename"] for row in again[len(texts) :]] == forenames


@FAST
@given(
    digits=st.from_regex(r"[0-9]{11}", fullmatch=True),
    last=st.sampled_from("0123456789" + UPN_LETTERS),
    at=st.integers(1, 11),
)
def test_upn(con: duckdb.DuckDBPyConnection, digits: str, last: str, at: int) -> None:
    good = add_check_letter(digits + last)
    assert scalar(con, "upn_valid(?)", good) is True
    assert scalar(con, "upn_valid(?)", f" {good.lower()} ") is True
    assert scalar(con, "upn_permanent(?)", good) is last.isdigit()
    wrong = good[:at] + str((int(good[at]) + 1) % 10) + good[at + 1 :]
    assert scalar(con, "upn_valid(?)", wrong) is False


@FAST
@given(body=st.from_regex(r"[0-9]{9}", fullmatch=True), at=st.integers(0, 8))
def test_nhs_number(con: duckdb.DuckDBPyConnection, body: str, at: int) -> None:
    good = add_check_digit(body)
    if good is None or len(set(good)) == 1:
        return
    assert scalar(con, "nhs_valid(?)", good) is True
    assert scalar(con, "nhs_valid(?)", f"{good[:3]} {good[3:6]} {good[6:]}") is True
    wrong = good[:at] + str((int(good[at]) + 1) % 10) + good[at + 1 :]
    assert scalar(con, "nhs_valid(?)", wrong) is False


def test_numbers_that_are_no_nhs_numbers(con: duckdb.DuckDBPyConnection) -> None:
    for number in ("0000000000", "1111111111", "999999999", "99900000001", "abc", ""):
        assert scalar(con, "nhs_valid(?)", number) is False
        assert scalar(con, "upn_valid(?)", number) is False
    for missing in ("nhs_valid(NULL)", "upn_valid(NULL)", "upn_permanent(NULL)"):
        assert scalar(con, missing) is None


def encode_sound(name: str) -> str:
    """The classes of American Soundex (US National Archives), letter by letter, for the first letter too."""
    codes = {
        letter: str(code)
        for code, letters in enumerate(("BFPV", "CGJKQSXZ", "DT", "L", "MN", "R"), 1)
        for letter in letters
    }
    name = name[0].replace("W", "V") + name[1:]
    out, previous = codes.get(name[0], "0"), codes.get(name[0], "")
    for letter in name[1:]:
        code = codes.get(letter, "")
        if code and code != previous:
            out += code
        if letter not in "HW":
            previous = code
    return (out + "0000")[:5]


@FAST
@given(name=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=14))
def test_a_name_has_the_code_of_its_sound(con: duckdb.DuckDBPyConnection, name: str) -> None:
    assert scalar(con, "sound_code(?)", name) == encode_sound(name)


def test_transliterations_and_spellings_have_one_code(con: duckdb.DuckDBPyConnection) -> None:
    for one, other in (("KALLUM", "CALLUM"), ("OMAR", "UMER"), ("WAQAS", "VAKAS"), ("YUSUF", "IUSUF")):
        assert scalar(con, "sound_code(?)", one) == scalar(con, "sound_code(?)", other)
