"""The content of one zone reveals nothing about another: attacks on the order, the dates and the tokens of rows.

The extract is sorted by surname, as exports are. The attacker knows the frequency of every surname, and the program.
Of extracts in parts, marks match nothing outside one council's source.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.intake.parts import PartStore
from assets.linkage.tokens import open_tokens
from assets.pseudonymise import split_writer, stream_extract
from assets.pseudonymise.split_writer import SenderWriter, SplitWriter
from assets.pseudonymise.stream_extract import Tools, make_tools, stream_alone
from assets.pseudonymise.tokens_file import build_tokens_schema
from privacy import row_keys
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.pseudonyms import MARK_COLUMNS, TOKEN_COLUMNS
from privacy.row_keys import ROW_KEY, RowKeys
from sources.contracts import CONTRACTS
from sources.councils.council_file import load_council_file
from sources.extract.landing import Landed, find
from sources.extract.open import open_extract
from tests.support.extracts import COHORT, Row, build_row, format_rows, make_nhs_number, make_upn

CHILDREN, SURNAMES = 3_000, 400
LIMIT = 0.01
"""Limit of the share guessed correctly in excess of guessing the most common surname for every child."""


@pytest.fixture(scope="module")
def tools(keys: KeyRing) -> Tools:
    return make_tools(keys, None)


@dataclass(frozen=True)
class Written:
    """An extract, the pipeline's files made from it, and the file that a sender would send instead."""

    people: pd.DataFrame
    kept: SplitWriter
    sent: SenderWriter


def _people() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    letters = np.array([f"{a}{b}orn{c}" for a in "BCDFGHJKLMNPRSTW" for b in "aeiou" for c in "abcdefgh"])
    names = np.char.capitalize(rng.permutation(letters)[:SURNAMES])
    shares = np.arange(1, SURNAMES + 1) ** -0.9
    people = pd.DataFrame(
        {
            "surname": rng.choice(names, CHILDREN, p=shares / shares.sum()),
            "forename": rng.choice(["Amelia", "Noah", "Ruby", "Samuel", "Zachary"], CHILDREN),
            "sex": rng.choice(["F", "M"], CHILDREN),
            "date_of_birth": pd.Timestamp("2019-09-01") + pd.to_timedelta(rng.integers(0, 366, CHILDREN), unit="D"),
            "postcode": [f"LS{n % 28 + 1} {n % 9}AB" for n in rng.integers(0, 5_000, CHILDREN)],
        }
    )
    return people.sort_values("surname", kind="stable").reset_index(drop=True)


def _write(folder: Path, people: pd.DataFrame, source: str, keys: KeyRing, tools: Tools) -> Written:
    rows = [
        build_row(source) | {name: str(value) for name, value in child.items()} | {"date_of_birth": f"{born:%Y-%m-%d}"}
        for child, born in zip(people.to_dict("records"), people.date_of_birth, strict=True)
    ]
    if source == "hv_reviews":
        visits = people.date_of_birth + pd.Timedelta(days=12)
        rows = [r | {"review": "NBV", "review_date": f"{day:%Y-%m-%d}"} for r, day in zip(rows, visits, strict=True)]
    else:
        rows = [r | {"upn": make_upn(800_000_000_000 + number)} for number, r in enumerate(rows)]
    path = folder / f"{COHORT}.csv"
    path.write_text(format_rows(rows, list(rows[0])), encoding="utf-8")
    landed, contract = Landed("leeds", source, COHORT, path), CONTRACTS[source]
    for name in ("kept", "sent"):
        (folder / name).mkdir()
    of_delivery, of_sent = _row_keys(keys, source)
    tokens, intake = (keys.get_public_key(pair) for pair in ("tokens", "intake"))
    kept = SplitWriter(folder / "kept", of_delivery, tokens, {}, lambda table: np.zeros(len(table), bool))
    sent = SenderWriter(folder / "sent", of_sent, intake, build_tokens_schema(contract))
    for out in (kept, sent):
        with out:
            extract = open_extract(landed, contract, load_council_file("leeds").get_dialect(source))
            stream_alone(tools, extract, contract, out)
    return Written(people, kept, sent)


def _row_keys(keys: KeyRing, source: str) -> tuple[RowKeys, RowKeys]:
    """Return the row keys of the delivery and of the file that a sender would send."""
    key = (source, COHORT, "leeds")
    return row_keys.derive_delivery_keys(keys, *key, "mac"), row_keys.derive_sent_file_keys(keys, *key, "sha")


def _open(path: Path | None, pair: str, keys: KeyRing) -> pq.ParquetFile:
    return sealed.open_sealed(path, keys.get_private_key(pair))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing, tools: Tools) -> Written:
    return _write(tmp_path_factory.mktemp("eyfsp"), _people(), "eyfsp", keys, tools)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing, tools: Tools) -> Written:
    return _write(tmp_path_factory.mktemp("hv"), _people().head(400), "hv_reviews", keys, tools)


def _aligned(order: np.ndarray, surnames: pd.Series) -> float:
    """Return the share guessed correctly by giving rows, in stored order, the names of the public list in its order."""
    guessed = np.sort(surnames.to_numpy())
    return float((guessed == surnames.to_numpy()[order]).mean())


def _places(rows: pa.Table, of: RowKeys) -> np.ndarray:
    """Return the position of each row in the extract."""
    return of.find_rows(rows[ROW_KEY].to_numpy()) - 1


def test_the_place_of_rows_names_nobody(profile: Written, keys: KeyRing) -> None:
    """Aligned with a sorted list, the extract identifies everybody, and files made from it identify nobody."""
    surnames, (of_delivery, of_sent) = profile.people.surname, _row_keys(keys, "eyfsp")
    assert _aligned(np.arange(CHILDREN), surnames) == 1
    blind = float((surnames.value_counts(normalize=True) ** 2).sum())  # by the names of the list in random order
    for rows, its_keys in (
        (pq.read_table(profile.kept.kept), of_delivery),
        (_open(profile.kept.tokens, "tokens", keys).read(), of_delivery),
        (_open(profile.sent.kept, "intake", keys).read(), of_sent),
    ):
        assert _aligned(_places(rows, its_keys), surnames) < blind + LIMIT


def test_row_keys_follow_no_order_and_are_other_ones_for_every_delivery(keys: KeyRing) -> None:
    rows = np.array([*range(1, 100_001), 609_000_001, 2**62])
    one, other = (row_keys.derive_delivery_keys(keys, "eyfsp", COHORT, "leeds", mac) for mac in ("a", "b"))
    made = one.derive_keys(rows)
    assert len(np.unique(made)) == len(rows)
    assert (one.find_rows(made) == rows).all()
    assert not np.isin(made, other.derive_keys(rows)).any()
    assert abs(np.corrcoef(rows[:100_000], made[:100_000].astype(float))[0, 1]) < 0.02


def test_nobody_but_the_linkage_reads_a_token(profile: Written, keys: KeyRing, tmp_path: Path) -> None:
    """No value, column name, minimum or maximum can be read, not even in a sender's file."""
    strangers = KeyRing.create(tmp_path / "strangers")
    assert profile.kept.tokens
    for path, holder, other in ((profile.kept.tokens, "tokens", "intake"), (profile.sent.kept, "intake", "tokens")):
        content = path.read_bytes()
        assert not [name for name in (*TOKEN_COLUMNS, ROW_KEY, "leeds", "com_e01") if name.encode() in content]
        with pytest.raises(OSError, match="no decryption found"):
            pq.read_table(path)
        for ring, pair in ((strangers, holder), (keys, other)):
            with pytest.raises(sealed.NotForThisKey):
                _open(path, pair, ring)
        assert _open(path, holder, keys).metadata.num_rows == CHILDREN


def test_payload_holds_no_token_no_place_and_no_day(visits: Written, keys: KeyRing) -> None:
    """Born twelve days before the first visit: right for all children if the day is kept, for one in a month if not."""
    rows = pq.read_table(visits.kept.kept)
    assert not set(rows.column_names) & {*TOKEN_COLUMNS, "source_row"}
    assert [field.name for field in rows.schema if pa.types.is_date(field.type)] == ["review_date"]
    assert set(pc.day(rows["review_date"]).to_pylist()) == {1}
    born = visits.people.date_of_birth.to_numpy()[_places(rows, _row_keys(keys, "hv_reviews")[0])]
    middle = pd.to_datetime(rows["review_date"].to_pandas()) + pd.Timedelta(days=14 - 12)
    assert (middle.to_numpy() == born).mean() < 0.08


def test_the_same_rows_give_the_same_payload_and_other_bytes_of_tokens(
    profile: Written, keys: KeyRing, tools: Tools, tmp_path: Path
) -> None:
    again = _write(tmp_path, profile.people, "eyfsp", keys, tools)
    assert again.kept.kept.read_bytes() == profile.kept.kept.read_bytes()
    paths = [written.kept.tokens for written in (again, profile)]
    one, other = (_open(path, "tokens", keys).read() for path in paths)
    assert one.equals(other)
    assert len({path.read_bytes() for path in paths if path}) == 2


def test_a_long_extract_is_in_the_same_order_and_leaves_nothing_behind(
    profile: Written, keys: KeyRing, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (stream_extract, split_writer):
        monkeypatch.setattr(module, "CHUNK_ROWS", 700)
    monkeypatch.setattr("sources.extract.open.APART", False)
    monkeypatch.setattr("sources.extract.readers.delimited.BLOCK_BYTES", 50_000)
    aside: list[bytes] = []
    unlink: Callable[..., None] = Path.unlink

    def look_and_unlink(path: Path, missing_ok: bool = False) -> None:
        """Note what was on disk before rows were sorted."""
        if path.suffix == ".unordered" and path.exists():
            aside.append(path.read_bytes())
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", look_and_unlink)
    long = _write(tmp_path, profile.people, "eyfsp", keys, tools)
    assert pq.read_table(long.kept.kept).equals(pq.read_table(profile.kept.kept))
    assert pq.ParquetFile(long.kept.kept).num_row_groups > 1
    assert not list(tmp_path.rglob("*.unordered"))
    assert aside
    assert not [content for content in aside if b"com_e01" in content or b"t_upn" in content]


# --- Extracts in parts


COMMON = ("Smith", "Oliver")
PLACES = (("leeds", "eyfsp"), ("leeds", "school_census"), ("wirral", "eyfsp"), ("leeds", "hv_reviews"))


def child(source: str, council: str, number: int, names: tuple[str, str] | None = None) -> Row:
    surname, forename = names or (f"Quill{chr(97 + number)}", f"Ottoline{chr(97 + number)}")
    values = {"upn": make_upn(800_000_000_000 + number), "nhs_number": str(make_nhs_number(11 * number + 1))}
    values |= {"surname": surname, "forename": forename, "la_code": {"leeds": "383", "wirral": "344"}[council]}
    born = {"date_of_birth": f"2020-03-{number + 1:02d}"}
    return build_row(source, {name: value for name, value in values.items() if name in build_row(source)}, born)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, KeyRing]:
    """Return a home in two parts with the same children, of whom two, one in each part, have the same common names."""
    root = tmp_path_factory.mktemp("apart")
    keys, landing, home = KeyRing.create(root / "keys"), root / "landing", Home(root / "home")
    for council, source in PLACES:
        folder = landing / council / source / COHORT
        folder.mkdir(parents=True)
        first = [child(source, council, number) for number in range(1, 6)] + [child(source, council, 6, COMMON)]
        second = [child(source, council, 7), child(source, council, 8, COMMON), child(source, council, 1)]
        (folder / "2026-01.csv").write_text(format_rows(first))
        (folder / "2026-02.csv").write_text(format_rows(second))
        Intake(landing, home, keys).ingest(find(landing, council, source, COHORT))
    return home, keys


def test_nobody_but_the_intake_reads_a_mark_and_nobody_but_the_linkage_a_token(place: tuple[Home, KeyRing]) -> None:
    home, keys = place
    for council, source in PLACES:
        key = (source, COHORT, council)
        for stem in {part.kept_in for part in PartStore(home.get_extract(*key)).list_kept()}:
            kept = PartStore(home.get_extract(*key)).get_files(stem)
            assert not {*pq.read_schema(kept.payload).names} & {*TOKEN_COLUMNS, *MARK_COLUMNS, "source_row"}
            marks = sealed.open_sealed(kept.marks, keys.get_private_key("intake"))
            assert {*marks.schema_arrow.names} <= {*MARK_COLUMNS, ROW_KEY, "state"}
            for path, other in (
                (kept.marks, "tokens"),
                (kept.tokens, "intake"),
                (home.get_extract(*key).tokens, "intake"),
            ):
                with pytest.raises(OSError, match="no decryption found"):
                    pq.read_table(path)
                with pytest.raises(sealed.NotForThisKey):
                    sealed.open_sealed(path, keys.get_private_key(other))
                assert not [name for name in (*TOKEN_COLUMNS, *MARK_COLUMNS) if name.encode() in path.read_bytes()]


def test_marks_join_no_rows_of_two_services_sources_or_councils(place: tuple[Home, KeyRing]) -> None:
    home, keys = place
    seen: dict[tuple[str, str], set[int]] = {}
    for council, source in PLACES:
        key = (source, COHORT, council)
        marks = (
            PartStore(home.get_extract(*key)).read_marks(keys, PartStore(home.get_extract(*key)).list_kept()).values()
        )
        values = (table[name].to_pylist() for table in marks for name in ("record", "content"))
        seen[council, source] = {value for column in values for value in column if value is not None}
        assert len(seen[council, source]) > 10
    for one in PLACES:
        for other in PLACES:
            assert one == other or not seen[one] & seen[other]


def test_common_names_that_two_children_bear_have_no_token_of_both(place: tuple[Home, KeyRing]) -> None:
    """Neither in the tokens of a part, in which each is the only one, nor in those that are linked."""
    home, keys = place
    for council, source in PLACES:
        key = (source, COHORT, council)
        for stem in {part.kept_in for part in PartStore(home.get_extract(*key)).list_kept()}:
            rows = sealed.open_sealed(
                PartStore(home.get_extract(*key)).get_files(stem).tokens, keys.get_private_key("tokens")
            ).read()
            assert rows["t_names"].null_count == 2
        linked = open_tokens(home.get_extract(*key), keys).read()
        assert (len(linked), linked["t_names"].null_count) == (8, 2)
