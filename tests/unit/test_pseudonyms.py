"""Tokens: the bits, the two keyings, what is missing, and that keys do not show."""

import hmac
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from privacy import normalise, pseudonyms
from privacy.keys import KeyRing
from privacy.pseudonyms import RARE_PAIR, RARE_SURNAME

COLUMNS = {"surname", "forename", "date_of_birth", "postcode", "upn", "nhs_number", "local_patient_id"}
PEOPLE = [
    # surname, forename, date_of_birth, postcode, upn, nhs_number, local_patient_id
    ("Smith-Jones", "Bill", "2020-03-09", "LS1 4AP", "H801200001001", "9434765919", "P1"),
    ("O'Brien", "Mohammed Ali", "2019-11-30", "L3 5TF", None, "0000000000", " "),
    ("Łukasik", "Zofia", None, "ZZ99 3VZ", "not a upn", None, None),
    ("Unknown", "Baby", "1900-01-01", "", "", "", ""),
    ("李", "伟", "2020-01-02", "W6 9JU", None, None, "P9"),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set")


@pytest.fixture
def con(keys: KeyRing) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    pseudonyms.prepare(connection, keys)
    connection.execute(
        """
        CREATE TABLE people (source_row INTEGER, surname VARCHAR, forename VARCHAR, date_of_birth DATE,
                             postcode VARCHAR, upn VARCHAR, nhs_number VARCHAR, local_patient_id VARCHAR)
        """
    ).fetchall()
    connection.executemany(
        "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(i, *p) for i, p in enumerate(PEOPLE)]
    )
    yield connection
    connection.close()


def rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, object]]:
    result = con.execute(sql)
    names = [column[0] for column in result.description]
    return sorted((dict(zip(names, row, strict=True)) for row in result.fetchall()), key=lambda row: row["source_row"])  # type: ignore[arg-type,return-value]


def reference(keys: KeyRing, token: pseudonyms.TokenColumn, message: str, bands: list[int], keyings: int) -> int:
    """The token by Python's own hmac, its last bits the bands of the names."""
    width = pseudonyms.BAND_BITS * len(bands)
    last = sum(band << (pseudonyms.BAND_BITS * at) for at, band in enumerate(reversed(bands)))
    widest = max(pseudonyms.BAND_BITS * len(t.bands) for t in pseudonyms.TOKENS if t.domain == token.domain)
    value = int.from_bytes(hmac.digest(keys.subkey(token.key, f"token/{token.domain}"), message.encode(), "sha256")[:8])
    if keyings == 2:
        bare = (value >> widest << widest).to_bytes(8)
        value = int.from_bytes(hmac.digest(keys.subkey("linker", f"token/{token.domain}"), bare, "sha256")[:8])
    return (value >> width << width) + last


@pytest.mark.parametrize("keyings", [1, 2])
def test_every_token_agrees_with_python_hmac(con: duckdb.DuckDBPyConnection, keys: KeyRing, keyings: int) -> None:
    made = rows(con, pseudonyms.tokenise_sql("people", COLUMNS, "leeds", ["source_row"], second_keying=keyings == 2))
    normal = rows(con, normalise.normalise_sql("people", COLUMNS))
    checked = 0
    for token in pseudonyms.TOKENS:
        for row, plain in zip(made, normal, strict=True):
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


def component(plain: dict[str, object], name: str) -> object:
    if name == "$council":
        return "leeds"
    if name.startswith("nullif(n_forename_written"):
        return plain["n_forename_written"] if plain["n_forename_written"] != plain["n_forename"] else None
    if name.startswith("CASE WHEN n_surname_band"):
        surname, forename = (int(str(plain[f"n_{name}_band"] or 0)) for name in ("surname", "forename"))
        return plain["n_surname"] if surname >= RARE_SURNAME and surname + forename >= RARE_PAIR else None
    if name.startswith("nullif(trim(local_patient_id)"):
        return str(plain["local_patient_id"] or "").strip() or None
    return plain[name]


def test_keying_at_the_sender_then_in_the_pipeline_is_keying_at_once(
    con: duckdb.DuckDBPyConnection, keys: KeyRing, tmp_path: Path
) -> None:
    sender = duckdb.connect()
    pseudonyms.prepare(sender, keys)
    sender.register("sent", con.execute("FROM people").df())
    sender.execute(
        "CREATE TABLE people AS SELECT * REPLACE (date_of_birth::DATE AS date_of_birth) FROM sent"
    ).fetchall()
    file = tmp_path / "tokens.parquet"
    first = pseudonyms.tokenise_sql("people", COLUMNS, "leeds", ["source_row"], second_keying=False)
    sender.execute(f"COPY ({first}) TO '{file}' (FORMAT parquet)").fetchall()
    again = rows(con, pseudonyms.rekey_sql(f"'{file}'", list(pseudonyms.TOKEN_COLUMNS), ["source_row"]))
    assert again == rows(con, pseudonyms.tokenise_sql("people", COLUMNS, "leeds", ["source_row"]))


def test_missing_is_never_a_token(con: duckdb.DuckDBPyConnection) -> None:
    nobody = rows(con, pseudonyms.tokenise_sql("people", COLUMNS, "leeds", ["source_row"]))[3]
    assert {value for name, value in nobody.items() if name != "source_row"} == {None}


def test_no_token_of_a_name_a_date_or_a_postcode_alone() -> None:
    for token in pseudonyms.TOKENS:
        if token.key == "linkage":
            assert len(token.components) == len(set(token.inputs)) >= 2
            assert {"date_of_birth", "postcode"} & set(token.inputs) or token.name == "t_names"


@pytest.mark.parametrize(
    ("surname", "forename", "made"),
    [
        ("Smith", "Oliver", False),
        ("Fenwick", "Oliver", True),
        ("Smith", "Peregrine", False),
        (None, "Peregrine", False),
    ],
)
def test_two_names_make_a_token_only_where_the_surname_is_rare(
    con: duckdb.DuckDBPyConnection, surname: str | None, forename: str, made: bool
) -> None:
    con.execute(
        "CREATE OR REPLACE TABLE one AS SELECT 1 AS source_row, ?::VARCHAR AS surname, ?::VARCHAR AS forename",
        [surname, forename],
    )
    (row,) = rows(con, pseudonyms.tokenise_sql("one", {"surname", "forename"}, "leeds", ["source_row"]))
    assert (row["t_names"] is not None) == made


def test_tokens_are_compared_without_their_bands(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        CREATE TABLE three AS SELECT DATE '2020-03-09' AS date_of_birth, * FROM
        (VALUES (1, 'Smith', 'Oliver'), (2, 'Oliver', 'Smith'), (3, 'Zzyzx', 'Peregrine'))
        t(source_row, surname, forename)
        """
    )
    columns = {"surname", "forename", "date_of_birth"}
    made = pseudonyms.tokenise_sql("three", columns, "leeds", ["source_row"])
    tokens = {token.name: token for token in pseudonyms.token_columns(columns)}
    bare = [pseudonyms.bare_sql(tokens[name]) for name in ("t_surname_dob", "t_forename_dob")]
    bands = [pseudonyms.band_sql(name, set(tokens)) for name in ("surname", "forename")]
    a, b, c = con.execute(f"SELECT {', '.join(bare + bands)} FROM ({made}) ORDER BY source_row").fetchall()
    assert a[:2] == b[1::-1]
    assert a[2:] == (0, 0)
    assert c[2:] == (5, 5)


def test_scoped_numbers_mean_nothing_at_another_sender(con: duckdb.DuckDBPyConnection) -> None:
    here, there = (
        rows(con, pseudonyms.tokenise_sql("people", COLUMNS, c, ["source_row"]))[0] for c in ("leeds", "wirral")
    )
    assert here["t_patient"] != there["t_patient"]
    assert here["t_nhs"] == there["t_nhs"]


def test_tokens_of_other_keys_differ(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sql = pseudonyms.tokenise_sql("people", COLUMNS, "leeds", ["source_row"])
    before = rows(con, sql)[0]
    pseudonyms.prepare(con, KeyRing.create(tmp_path / "another"))
    after = rows(con, sql)[0]
    assert not {v for n, v in before.items() if n.startswith("t_")} & {
        v for n, v in after.items() if n.startswith("t_")
    } - {None}


def test_a_source_gets_the_tokens_its_columns_allow() -> None:
    names = {token.name for token in pseudonyms.token_columns({"surname", "forename", "postcode"})}
    assert {"t_surname_postcode", "t_forename_postcode", "t_names_outward"} < names
    assert not {name for name in names if "dob" in name}


def test_keys_show_in_no_plan_and_no_error(con: duckdb.DuckDBPyConnection, keys: KeyRing) -> None:
    sql = pseudonyms.tokenise_sql("people", COLUMNS, "leeds", ["source_row"])
    shown = sql + str(con.execute(f"EXPLAIN ANALYZE {sql}").fetchall())
    with pytest.raises(duckdb.Error) as problem:
        con.execute(sql.replace("UBIGINT", "UTINYINT")).fetchall()
    shown += str(problem.value)
    for token in pseudonyms.TOKENS:
        key = keys.subkey(token.key, f"token/{token.domain}")
        for secret in (key, bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)):
            escaped = "".join(f"\\x{byte:02X}" for byte in secret[:6])
            assert secret.hex() not in shown.lower()
            assert escaped not in shown


def test_the_second_keying_needs_the_linker_key(keys: KeyRing, tmp_path: Path) -> None:
    con = duckdb.connect()
    pseudonyms.prepare(con, KeyRing.create(tmp_path / "sender", at_sender=True))
    con.execute("CREATE TABLE t (source_row INTEGER, t_nhs UBIGINT)").fetchall()
    with pytest.raises(duckdb.BinderException):
        con.execute(pseudonyms.rekey_sql("t", ["t_nhs"], ["source_row"])).fetchall()


def test_the_manifest_names_versions_and_fingerprints(keys: KeyRing) -> None:
    manifest = pseudonyms.manifest(keys)
    assert manifest["normaliser_version"] == normalise.NORMALISER_VERSION
    assert manifest["linkage_key_fingerprint"] == keys.fingerprints["linkage"]
    assert "input-mac_key_fingerprint" not in manifest
