"""Tokens: the bits, the two keyings, what is missing, and that keys do not show."""

import hmac
import sys
import traceback
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, strategies as st

from privacy import normalise, pseudonyms
from privacy.keys import KeyProblem, KeyRing
from privacy.pseudonyms import RARE_PAIR, RARE_SURNAME, compute_hmac_64, encode_as_bytes
from tests.support.daily import limit_examples

COLUMNS = ("surname", "forename", "date_of_birth", "postcode", "upn", "nhs_number", "local_patient_id")
PEOPLE = [
    ("Smith-Jones", "Bill", "2020-03-09", "LS1 4AP", "H801200001001", "9434765919", "P1"),
    ("O'Brien", "Mohammed Ali", "2019-11-30", "L3 5TF", None, "0000000000", " "),
    ("Łukasik", "Zofia", None, "ZZ99 3VZ", "not a upn", None, None),
    ("Unknown", "Baby", "1900-01-01", "", "", "", ""),
    ("李", "伟", "2020-01-02", "W6 9JU", None, None, "P9"),
    ("Smith", "Oliver", "2020-01-02", "W6 9JU", None, None, None),
    ("Smith", "Amelia", "2020-01-02", None, None, None, None),
]


@pytest.fixture
def con(keys: KeyRing) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    pseudonyms.prepare(connection)
    put(connection, "people", PEOPLE)
    yield connection
    connection.close()


def put(con: duckdb.DuckDBPyConnection, table: str, people: Sequence[tuple[str | None, ...]]) -> str:
    """Make a table of people with as many of the columns, in their order, as they have."""
    kinds = [f"{name} {'DATE' if name == 'date_of_birth' else 'VARCHAR'}" for name in COLUMNS[: len(people[0])]]
    con.execute(f"CREATE OR REPLACE TABLE {table} (source_row INTEGER, {', '.join(kinds)})").fetchall()
    con.executemany(f"INSERT INTO {table} VALUES (?{', ?' * len(kinds)})", [(i, *p) for i, p in enumerate(people)])
    return table


def rows(table: pa.Table) -> list[dict[str, object]]:
    return list(table.sort_by("source_row").to_pylist())


def made(
    con: duckdb.DuckDBPyConnection,
    keys: KeyRing,
    relation: str = "people",
    council: str = "leeds",
    cohort: str = "202425",
    **how: bool,
) -> pa.Table:
    sent = f"(SELECT '{council}' AS council, '{cohort}' AS cohort, * FROM {relation})"
    columns = {*con.table(relation).columns} - {"source_row"}
    return pseudonyms.tokenise(con, sent, columns, ["source_row"], keys, **how)


def reference(keys: KeyRing, token: pseudonyms.TokenColumn, message: str, bands: list[int], keyings: int) -> int:
    """The token by Python's own hmac, its last bits the bands of the names."""
    width = pseudonyms.BAND_BITS * len(bands)
    last = sum(band << (pseudonyms.BAND_BITS * at) for at, band in enumerate(reversed(bands)))
    widest = max(pseudonyms.BAND_BITS * len(t.bands) for t in pseudonyms.TOKENS if t.domain == token.domain)
    value = _hmac_64(keys.derive_subkey(token.key, f"token/{token.domain}"), message.encode())
    if keyings == 2:
        bare = (value >> widest << widest).to_bytes(8)
        value = _hmac_64(keys.derive_subkey("linker", f"token/{token.domain}"), bare)
    return (value >> width << width) + last


def _hmac_64(key: bytes, message: bytes) -> int:
    return int.from_bytes(hmac.digest(key.hex().encode(), message, "sha256")[:8])


@pytest.mark.parametrize("keyings", [1, 2])
def test_every_token_agrees_with_python_hmac(con: duckdb.DuckDBPyConnection, keys: KeyRing, keyings: int) -> None:
    tokens = rows(made(con, keys, second_keying=keyings == 2))
    normal = rows(con.sql(normalise.normalise_sql("people", {*COLUMNS})).to_arrow_table())
    checked = 0
    for token in pseudonyms.TOKENS:
        for row, plain in zip(tokens, normal, strict=True):
            parts = [component(plain, name) for name in token.components]
            expected = (
                None
                if None in parts
                else (
                    reference(
                        keys, token, "\x1f".join(map(str, parts)), [int(str(plain[b])) for b in token.bands], keyings
                    )
                )
            )
            assert row[token.name] == expected, token.name
            checked += expected is not None
    assert checked > 30
    assert {value for name, value in tokens[3].items() if name != "source_row"} == {None}, "nothing is known of him"


def component(plain: dict[str, object], name: str) -> object:
    if name == "council":
        return "leeds"
    if name.startswith("nullif(n_forename_written"):
        return plain["n_forename_written"] if plain["n_forename_written"] != plain["n_forename"] else None
    if " ELSE " in name:
        condition = f"CASE WHEN n_surname_band >= {RARE_SURNAME} THEN "
        rare, common = name.removeprefix(condition).removesuffix(" END").split(" ELSE ")
        return component(plain, rare if int(str(plain["n_surname_band"] or 0)) >= RARE_SURNAME else common)
    if name.startswith(("front(", "rest(")):
        whole = str(plain[name[name.index("(") + 1 : -1]] or "")
        front = name.startswith("front(")
        short = f"{whole}." if front else f".{whole}"
        return (whole[:-2] if front else whole[2:]) if len(whole) >= 5 else (whole and short) or None
    if name == "''":
        return ""
    if name.startswith("left(n_postcode_full, "):
        return str(plain["n_postcode_full"])[: int(name[-3:-1])] if plain["n_postcode_full"] else None
    if name.startswith("CASE WHEN n_surname_band"):
        surname, forename = (int(str(plain[f"n_{name}_band"] or 0)) for name in ("surname", "forename"))
        rare = surname >= RARE_SURNAME and surname + forename >= RARE_PAIR
        return plain["n_surname"] if rare or plain["n_surname"] is None else f"{plain['n_surname']}\x1fleeds\x1f202425"
    if name.startswith("nullif(trim(local_patient_id)"):
        return str(plain["local_patient_id"] or "").strip() or None
    return plain[name]


def test_keying_at_the_sender_then_in_the_pipeline_is_keying_at_once(
    con: duckdb.DuckDBPyConnection, keys: KeyRing
) -> None:
    sent = made(con, keys.limit_to_sender(), second_keying=False)
    again = pseudonyms.rekey(sent, list(pseudonyms.TOKEN_COLUMNS), keys)
    assert rows(again) == rows(made(con, keys))


@pytest.mark.parametrize("with_polars", [True, False])
@given(
    st.lists(st.one_of(st.none(), st.text(), st.binary(max_size=200)), max_size=20), st.binary(min_size=1, max_size=32)
)
def test_a_column_is_hashed_as_python_does(with_polars: bool, values: list[str | bytes | None], key: bytes) -> None:
    text = [value if isinstance(value, str) else None for value in values]
    raw = [value if isinstance(value, bytes) else None for value in values]
    columns = {"text": pa.array(text, pa.string()), "raw": pa.array(raw, pa.binary())}
    with patch.dict(sys.modules, {} if with_polars else {"polars_hash": None}):
        found = compute_hmac_64(columns, {"text": key, "raw": key})
    assert found["text"].to_pylist() == [None if v is None else _hmac_64(key, v.encode()) for v in text]
    assert found["raw"].to_pylist() == [None if v is None else _hmac_64(key, v) for v in raw]


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), max_size=20))
def test_numbers_as_bytes(numbers: list[int | None]) -> None:
    found = encode_as_bytes(pa.array(numbers, pa.uint64()))
    found.validate(full=True)
    assert found.to_pylist() == [None if number is None else number.to_bytes(8) for number in numbers]


def test_no_token_of_a_name_a_date_or_a_postcode_alone() -> None:
    for token in pseudonyms.TOKENS:
        if token.key == "linkage":
            assert len(token.components) >= len(set(token.inputs)) >= 2
            assert {"date_of_birth", "postcode"} & set(token.inputs) or token.name == "t_names"


COMMON = ("Smith", "Oliver")
Person = tuple[str | None, ...]


def made_at_once(
    con: duckdb.DuckDBPyConnection, keys: KeyRing, *extracts: Sequence[Person], **how: bool
) -> list[list[dict[str, object]]]:
    """Return the rows of each extract; each gets its own council, so that one statement can tokenise them all.

    Planning a statement takes longer than running it.
    """
    named = put(con, "named", [*chain(*extracts)])
    councils = [str(number) for number, extract in enumerate(extracts) for _ in extract]
    sent = f"(SELECT {councils}[source_row + 1] AS council, '202425' AS cohort, * FROM {named})"
    columns = {*COLUMNS[:4]}
    found = iter(rows(pseudonyms.tokenise(con, sent, columns, ["source_row"], keys, **how)))
    return [[next(found) for _ in extract] for extract in extracts]


def test_names_that_several_may_have_make_a_token_only_where_the_surname_is_rare(
    con: duckdb.DuckDBPyConnection, keys: KeyRing
) -> None:
    cases = {("Smith", "Oliver"): False, ("Fenwick", "Oliver"): True, ("Smith", "Peregrine"): False}
    cases |= {(None, "Peregrine"): False}
    found = made_at_once(con, keys, *([(*names, None, None)] for names in cases), whole=False)
    assert [row["t_names"] is not None for (row,) in found] == list(cases.values())


def test_common_names_make_a_token_where_one_child_of_the_extract_has_them(
    con: duckdb.DuckDBPyConnection, keys: KeyRing
) -> None:
    others: dict[Person, bool] = {
        ("Smith", "George", "2020-05-09", "M1 2AB"): True,
        ("Smith", "Oliver", "2020-03-09", "M1 2AB"): True,
        ("Smith", "Ollie", "2020-09-03", "LS1 4AP"): True,
        ("Smith", "Oliver", None, "LS1 4AP"): True,
        ("Smith", "Oliver", "2020-05-09", "LS1 4AP"): False,
        ("Smith", "Ollie", "2020-05-09", "LS1 4AP"): False,
        ("Smith", "Oliver", None, "M1 2AB"): False,
    }
    found = made_at_once(con, keys, *([(*COMMON, "2020-03-09", "LS1 4AP"), other] for other in others))
    assert [one["t_names"] is not None for one, _ in found] == list(others.values())


def test_common_names_are_compared_within_a_council_and_a_cohort(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    def token(*person: str | None, **place: str) -> object:
        return rows(made(con, keys, put(con, "named", [person]), **place))[0]["t_names"]

    here = token(*COMMON, "2020-03-09", "LS1 4AP")
    assert here == token(*COMMON, None, "M1 2AB") == token(*COMMON, None, None)
    assert len({here, token(*COMMON, None, None, council="wirral"), token(*COMMON, None, None, cohort="202324")}) == 3
    rare = ("Fenwick", "Peregrine", None, None)
    assert token(*rare) == token(*rare, council="wirral") == token(*rare, cohort="202324")


_ONE_OF_FEW = st.tuples(
    st.sampled_from(["Smith", "Khan", "Fenwick", "Smith-Khan", None]),
    st.sampled_from(["Oliver", "Ollie", "Mohammed", "Peregrine", None]),
    st.sampled_from(["2020-03-09", "2020-09-03", "2020-05-01", None]),
    st.sampled_from(["LS1 4AP", "M1 2AB", "LS1", None]),
)


@limit_examples(30, [HealthCheck.function_scoped_fixture])
@given(extracts=st.lists(st.lists(_ONE_OF_FEW, min_size=1, max_size=12), min_size=5, max_size=10))
def test_a_token_of_common_names_joins_no_two_dates_and_no_two_addresses(
    con: duckdb.DuckDBPyConnection, keys: KeyRing, extracts: list[list[Person]]
) -> None:
    common = [
        (row["t_names"], row["t_surname_dob"], row["t_surname_postcode"])
        for row in chain(*made_at_once(con, keys, *extracts))
        if row["t_names"] is not None and (int(str(row["t_names"])) >> pseudonyms.BAND_BITS) % 8 < RARE_SURNAME
    ]
    for names in {names for names, _, _ in common}:
        dates, homes = ({row[at] for row in common if row[0] == names} for at in (1, 2))
        assert len(dates - {None}) <= 1
        assert None not in dates or len(homes - {None}) <= 1


def test_names_with_a_common_surname_make_tokens_only_with_a_narrow_place(
    con: duckdb.DuckDBPyConnection, keys: KeyRing
) -> None:
    same: dict[tuple[str, str | None], set[str]] = {
        ("Fenwick", None): {"t_names", "t_names_day"},
        ("Fenwick", "M1 2AB"): {"t_names", "t_names_day"},
        ("Fenwick", "LS1 9ZZ"): {"t_names", "t_names_day", "t_names_outward"},
        **{key: set() for key in (("Smith", None), ("Smith", "M1 2AB"), ("Smith", "LS1 9ZZ"))},
        ("Smith", "LS1 4BB"): {"t_names_day"},
        ("Smith", "LS1 4AB"): {"t_names_day", "t_names_outward"},
    }
    pairs = (
        [(surname, "Oliver", "2020-03-09", "LS1 4AP"), (surname, "Oliver", "2020-05-09", place)]
        for surname, place in same
    )
    for (one, other), expected in zip(made_at_once(con, keys, *pairs), same.values(), strict=True):
        names = [name for name in one if name.startswith("t_names")]
        assert {name for name in names if one[name] is not None and one[name] == other[name]} == expected


def test_a_postcode_that_is_not_whole_makes_no_token_of_a_common_surname_and_a_forename(
    con: duckdb.DuckDBPyConnection, keys: KeyRing
) -> None:
    places = ("LS1", "LS", "L1", "1234", "12345", "ZZ99 3VZ", "")
    people = put(con, "named", [(*COMMON, "2020-03-09", place) for place in places])
    for row in rows(made(con, keys, people, whole=False)):
        assert {row[name] for name in row if name.startswith("t_names")} == {None}


def test_tokens_are_compared_without_their_bands(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    columns = {"surname", "forename", "date_of_birth"}
    people = [(*names, "2020-03-09") for names in (("Smith", "Oliver"), ("Oliver", "Smith"), ("Zzyzx", "Peregrine"))]
    con.register("made", made(con, keys, put(con, "three", people)))
    tokens = {token.name: token for token in pseudonyms.list_token_columns(columns)}
    bare = [pseudonyms.build_bare_sql(tokens[name]) for name in ("t_surname_dob", "t_forename_dob")]
    bands = [pseudonyms.build_band_sql(name, set(tokens)) for name in ("surname", "forename")]
    a, b, c = con.execute(f"SELECT {', '.join(bare + bands)} FROM made ORDER BY source_row").fetchall()
    assert a[:2] == b[1::-1]
    assert a[2:] == (0, 0)
    assert c[2:] == (5, 5)


def test_tokens_of_other_keys_differ_and_scoped_numbers_at_another_sender(
    con: duckdb.DuckDBPyConnection, keys: KeyRing, tmp_path: Path
) -> None:
    here, there = (rows(made(con, keys, council=council))[0] for council in ("leeds", "wirral"))
    assert here["t_patient"] != there["t_patient"]
    assert here["t_nhs"] == there["t_nhs"]
    others = rows(made(con, KeyRing.create(tmp_path / "another")))[0]
    assert not [name for name in here if name.startswith("t_") and here[name] and here[name] in others.values()]


def test_keys_show_in_no_error_and_no_rendering(keys: KeyRing) -> None:
    with pytest.raises(pl.exceptions.PolarsError) as problem:
        compute_hmac_64({"t_nhs": pa.array([1, 2])}, {"t_nhs": keys.derive_subkey("nhs", "token/nhs")})
    shown = "".join(traceback.format_exception(problem.value))
    for token in pseudonyms.TOKENS:
        assert keys.derive_subkey(token.key, f"token/{token.domain}").hex() not in shown.lower()


def test_the_second_keying_needs_the_linker_key(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    with pytest.raises(KeyProblem, match=r"linker\.key is needed here"):
        made(con, keys.limit_to_sender())
