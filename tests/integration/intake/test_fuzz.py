"""Sound extracts of every source and format, changed at random: kept, set aside or stopped in words.

`READINESS_FUZZ_EXAMPLES` says how many rounds each source has; a round changes one extract of every form.
"""

import io
import os
import random
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, strategies as st

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.councils.dialect import CONTRACT_DIALECT
from sources.errors import ExtractStopped
from sources.extract.landing import Landed
from sources.extract.open import open_extract
from sources.reference.places import PILOT, load_places
from tests.support.daily import limit_examples, mark_slow_after
from tests.support.intake.corpus import COHORT, PLANTED, Table, build_many, build_table
from tests.support.intake.files import build_zip, read_members
from tests.support.intake.forms import FORMS, STANDARDS, Form
from tests.support.intake.numbered import read_numbered, read_numbered_quarantine

EXAMPLES = int(os.environ.get("READINESS_FUZZ_EXAMPLES", "2"))

FUZZED = ("csv", "quoted", "utf-16", "windows-1252", "gzip", "zip", "workbook", "workbook with shared texts", "parquet")
_LETTERS = (
    "aZ09 ,;|\t\"'=<>&/\\\n\r-_.%{}()\u00a0éÅß\u0301李محمد👶🏽\u202e\u200f\ufeff\u2028\x01\x1a\x7f０２\ud7ff\ufffd"
)
_INSERTED = (
    *(b"\0", b'"', b"\n", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b",", b"<", b"&#0;", b"]]>", b"9" * 400, b"-1"),
    b"\x1a",
)


def changed_cells(rows: Table, rng: random.Random) -> Table:
    """Columns, rows or cells of a table moved, doubled, dropped or filled with anything."""
    rows = [list(row) for row in rows]
    for _ in range(rng.randrange(4)):
        column, other = (rng.randrange(len(rows[0])) for _ in range(2))
        at, to = (rng.randrange(len(rows)) for _ in range(2))
        match rng.randrange(8):
            case 0:
                for row in rows[rng.randrange(2) :]:
                    row[column], row[other] = row[other], row[column]
            case 1:
                rows[at], rows[to] = rows[to], rows[at]
            case 2:
                rows.insert(at, list(rows[to]))
            case 3 if len(rows) > 2:
                del rows[at]
            case 4 if len(rows[0]) > 2:
                for row in rows:
                    del row[column]
            case 5:
                for row in rows[1:]:
                    row[column] = _anything(rng)
            case _:
                for _ in range(rng.randrange(12)):
                    rows[rng.randrange(len(rows))][rng.randrange(len(rows[0]))] = _anything(rng)
    return rows


def _anything(rng: random.Random) -> str:
    length = rng.choice((0, 1, 3, 8, 8, 300))
    return "".join(rng.choice(_LETTERS) for _ in range(length))


def changed_bytes(content: bytes, rng: random.Random, changes: Sequence[int]) -> bytes:
    """Some bytes changed, chunks doubled, dropped or moved, the end cut off; often within a member of an archive."""
    if zipfile.is_zipfile(io.BytesIO(content)) and rng.randrange(2):
        members = read_members(content)
        name = rng.choice(sorted(members))
        return build_zip(members | {name: changed_bytes(members[name], rng, changes)})
    changed = bytearray(content)
    for _ in range(rng.choice(changes)):
        at, to = (rng.randrange(len(changed) + 1) for _ in range(2))
        chunk = rng.choice((1, 4, 60, 2000))
        match rng.randrange(7):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                changed[at : at + 1] = bytes([0])
            case 2:
                changed[to:to] = changed[at : at + chunk]
            case 3:
                del changed[at : at + chunk]
            case 4:
                changed[at : at + chunk] = rng.randbytes(chunk)
            case 5:
                changed[at : at + rng.randrange(2)] = rng.choice(_INSERTED)
            case 6:
                del changed[at:]
    return bytes(changed)


@cache
def _sound(source: str, form: str) -> bytes:
    _, write = (FORMS | STANDARDS.get(source, {}))[form]
    return write(build_table(build_many(source)))


@pytest.mark.parametrize(
    ("source", "form"),
    mark_slow_after(
        10,
        [
            *(("eyfsp", form) for form in (*FUZZED, "old workbook", "binary workbook", "open document", "xml")),
            ("hv_reviews", "tables"),
        ],
    ),
)
@limit_examples(60)
@given(seed=st.integers(0, 2**32))
def test_a_changed_file_is_read_or_stopped(
    tmp_path_factory: pytest.TempPathFactory, source: str, form: str, seed: int
) -> None:
    suffix, _ = (FORMS | STANDARDS.get(source, {}))[form]
    path = tmp_path_factory.mktemp("changed") / f"{COHORT}{suffix}"
    path.write_bytes(changed_bytes(_sound(source, form), random.Random(seed), (1, 2, 4, 6)))
    stopped = None
    try:
        extract = open_extract(Landed("leeds", source, COHORT, path), CONTRACTS[source], CONTRACT_DIALECT)
        for batch in extract.batches:
            batch.validate(full=True)
    except ExtractStopped as error:
        stopped = error
    assert not stopped or (stopped.__cause__ is None and not PLANTED.search(str(stopped)))


@pytest.mark.parametrize("source", mark_slow_after(1, CONTRACTS))
@limit_examples(EXAMPLES, list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_whatever_comes_is_taken_or_stopped_in_words(source: str, seed: int, keys: KeyRing) -> None:
    with tempfile.TemporaryDirectory() as folder:
        landing, home = Path(folder) / "landing", Home(Path(folder) / "home")
        forms = {name: FORMS[name] for name in FUZZED} | STANDARDS.get(source, {})
        landed = [
            _land(landing, council, source, form, random.Random(f"{seed} {name}"))
            for council, (name, form) in zip(_COUNCILS, forms.items(), strict=False)
        ]
        outcomes = Intake(landing, home, keys).ingest_all(landed)
        for (name, form), one, outcome in zip(forms.items(), landed, outcomes, strict=True):
            if isinstance(outcome, ExtractQuality):
                _adds_up(home, keys, outcome, of_tables=form in STANDARDS.get("hv_reviews", {}).values())
            else:
                _says_why(one, outcome, name)
        for path in home.root.rglob("*"):
            assert not path.is_file() or not PLANTED.search(path.read_bytes().decode("latin-1")), path


_COUNCILS = [council for council in load_places() if council not in PILOT]


def _land(landing: Path, council: str, source: str, form: Form, rng: random.Random) -> Landed:
    suffix, write = form
    path = landing / council / source / f"{COHORT}{suffix}"
    path.parent.mkdir(parents=True)
    path.write_bytes(
        changed_bytes(write(changed_cells(build_table(build_many(source, 12)), rng)), rng, (0, 0, 1, 2, 5))
    )
    return Landed(council, source, COHORT, path)


def _adds_up(home: Home, keys: KeyRing, quality: ExtractQuality, of_tables: bool) -> None:
    """Every row that was read is in place or in quarantine. Numbers of CSDS rows count in tables of their own."""
    kept = read_numbered(home, keys, quality.source, quality.council)["source_row"].to_pylist()
    lines = read_numbered_quarantine(home, keys, quality.source, quality.council).to_pylist()
    aside = {line["source_row"] for line in lines if not line["row_kept"]}
    assert quality.rows_read == quality.rows_kept + quality.rows_rejected
    assert len(kept) == len(set(kept)) == quality.rows_kept > 0
    assert of_tables or len(aside) == quality.rows_rejected
    assert of_tables or not aside & set(kept)


def _says_why(landed: Landed, outcome: ExtractStopped, form: str) -> None:
    message = str(outcome)
    assert message.startswith(f"{landed.council}/{landed.source}"), form
    assert "please report" not in message, (form, message)
    assert outcome.__cause__ is None
    assert not PLANTED.search(message), (form, message)
