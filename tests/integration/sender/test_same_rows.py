"""What a sender's file becomes is, to the bit, what the pipeline makes of the identifiable file itself."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.deliveries import MAC_KEY
from assets.intake.ingest import Intake
from assets.pseudonymise.tokens_file import build_tokens_schema
from privacy.keys import KeyRing
from privacy.pseudonyms import TOKEN_COLUMNS
from sources.contracts import CONTRACTS
from sources.extract.landing import Landed, find, list_councils
from sources.synthetic import generate
from tests.support.daily import mark_slow_after
from tests.support.extracts import make_upn
from tests.support.intake.desk import COHORT, Desk, build_eyfsp
from tests.support.intake.numbered import read_numbered_quarantine
from tests.support.intake.sender import Sender, build_reviews, put, unseal

pytestmark = pytest.mark.slow

PEOPLE = ("eyfsp", "school_census", "early_years_census", "hv_reviews")
ODD_PEOPLE: list[dict[str, str]] = [
    {"surname": "O'Brien-Łukasik", "forename": "Zoë Mary"},
    {"surname": "de Silva", "forename": "Mohammed Ali", "date_of_birth": "2020-03-09"},
    {"surname": "李", "forename": "伟", "postcode": "ls29jt"},
    {"surname": "محمد", "forename": "Мария", "postcode": "ZZ99 3VZ"},
    {"surname": "Unknown", "forename": "Baby", "date_of_birth": "1900-01-01"},
    {"surname": "", "forename": "", "postcode": ""},
    {"surname": "Straße Jr", "forename": "Billy", "postcode": "LS1 4AP"},
    {"date_of_birth": "31/02/2020"},
    {"date_of_birth": "2019-10-01"},
    {},
    {},
]
ODD_NUMBERS = [{"upn": "not a upn"}, {"upn": ""}, {"upn": make_upn(800_000_000_012)}, {"sex": ""}]
EXTRACTS = {
    "eyfsp": build_eyfsp(*ODD_PEOPLE, *ODD_NUMBERS, {"com_e01": "3"}, {}) + "a,row,cut,short\n",
    "hv_reviews": build_reviews(
        *ODD_PEOPLE, {"nhs_number": "0000000000"}, {"local_patient_id": " "}, {"review": "8Y"}, {}
    ),
}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    landing = tmp_path_factory.mktemp("synthetic") / "landing"
    generate(landing, COHORT, scale=0.02)
    return landing


def _landed(landing: Path, source: str) -> list[Landed]:
    found = (find(landing, council, source, COHORT) for council in list_councils(landing))
    return [landed for landed in found if landed]


@pytest.mark.parametrize("source", mark_slow_after(1, CONTRACTS))
def test_every_synthetic_extract(
    source: str, synthetic: Path, sender_keys: Path, keys: KeyRing, tmp_path: Path
) -> None:
    directory = synthetic / "reference" / "postcode_directory.csv"
    sender = Sender(tmp_path / "out", sender_keys, directory)
    ours = Desk(synthetic, Home(tmp_path / "ours"), Intake(synthetic, Home(tmp_path / "ours"), keys), keys)
    landing = tmp_path / "landing"
    (landing / "reference").mkdir(parents=True)
    for path in directory.parent.iterdir():
        (landing / "reference" / path.name).write_bytes(path.read_bytes())
    theirs = Desk(landing, Home(tmp_path / "theirs"), Intake(landing, Home(tmp_path / "theirs"), keys), keys)
    extracts = _landed(synthetic, source)
    for landed in extracts:
        put(sender.pseudonymise(landed.path), theirs, source, landed.council)
    sent = _landed(landing, source)
    assert len(sent) == len(extracts) == 8
    for mine, other in zip(ours.intake.ingest_all(extracts), theirs.intake.ingest_all(sent), strict=True):
        assert (other.rows_read, other.rules, other.findings) == (mine.rows_read, mine.rules, mine.findings)
        kept = ours.read_table(source, mine.council)
        assert kept.num_rows
        assert kept.equals(theirs.read_table(source, mine.council))


@pytest.mark.parametrize("source", EXTRACTS)
@pytest.mark.parametrize("chunk", [1 << 18, 3])
def test_odd_names_and_bad_rows(
    source: str, chunk: int, sender: Sender, place_at: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.pseudonymise.stream_extract.CHUNK_ROWS", chunk)
    monkeypatch.setattr("assets.pseudonymise.split_writer.CHUNK_ROWS", chunk)
    extract = sender.write(EXTRACTS[source], source)
    ours, theirs = place_at("ours"), place_at("theirs")
    put(extract, ours, source)
    mine = ours.take(source)
    monkeypatch.setattr("assets.pseudonymise.tokens_file.CHUNK_ROWS", max(chunk - 1, 1))
    put(sender.pseudonymise(extract), theirs, source)
    other = theirs.take(source)
    kept = ours.read_table(source)
    assert kept.equals(theirs.read_table(source))
    assert mine.rows_rejected
    assert (mine.rows_read, mine.rows_kept, mine.rules) == (other.rows_read, other.rows_kept, other.rules)
    assert mine.headings == other.headings
    here, there = (read_numbered_quarantine(p.home, p.keys, source, "leeds") for p in (ours, theirs))
    assert sorted(map(str, here.to_pylist())) == sorted(map(str, there.to_pylist()))


@pytest.mark.parametrize("source", CONTRACTS)
def test_a_tokens_file_has_the_columns_that_its_contract_gives(
    source: str, synthetic: Path, sender: Sender, keys: KeyRing
) -> None:
    made = unseal(sender.pseudonymise(synthetic / "leeds" / source / f"{COHORT}.csv"), keys).schema_arrow
    assert made.remove_metadata().equals(build_tokens_schema(CONTRACTS[source]))
    assert (source in PEOPLE) == any(name in TOKEN_COLUMNS for name in made.names)


def test_taken_once_and_known_by_its_own_mac(sender: Sender, pipeline: Desk) -> None:
    put(sender.pseudonymise(sender.write(EXTRACTS["eyfsp"])), pipeline)
    first, again = pipeline.take("eyfsp"), pipeline.take("eyfsp")
    assert (first.unchanged, again.unchanged) == (False, True)
    metadata = pq.read_metadata(pipeline.home.get_extract("eyfsp", COHORT, "leeds").pseudonymised).metadata
    assert metadata[MAC_KEY.encode()] == first.file_mac.encode()
    put(sender.pseudonymise(sender.write(build_eyfsp({}, {}, {}, *ODD_PEOPLE))), pipeline)
    assert not pipeline.take("eyfsp").unchanged
    assert [path.stem for path in pipeline.home.get_extract("eyfsp", COHORT, "leeds").history.iterdir()] == [
        first.file_mac
    ]


def test_no_token_of_the_sender_is_one_of_the_pipeline(sender: Sender, pipeline: Desk) -> None:
    tokens = sender.pseudonymise(sender.write(EXTRACTS["eyfsp"]))
    put(tokens, pipeline)
    pipeline.take("eyfsp")
    sent, kept = (_tokens(table) for table in (unseal(tokens, pipeline.keys).read(), pipeline.read_table("eyfsp")))
    assert len(sent) == len(kept) > 50
    assert not sent & kept


def _tokens(table: pa.Table) -> set[int]:
    return {value for name in TOKEN_COLUMNS if name in table.column_names for value in table[name].to_pylist()} - {None}
