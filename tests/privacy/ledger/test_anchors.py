"""Published budget stays spent whatever happens to the ledger: bundles in the release directory and at the place of
publication stop a ledger that does not record them, before a charge and before publication."""

import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from assets.home.paths import Home
from assets.release.published_charges import check_known, list_stated_charges, read_published_charges
from ndl_export.facts.bundle_reader import ANCHOR_FILES, UnreadableAnchor, fetch_anchors, read_anchors
from ndl_export.files.archive import ARCHIVES
from ndl_export.files.stores import StoreError, open_store
from privacy.doors.environment import PUBLISH_TO
from privacy.keys import KeyRing
from privacy.release.ledger import BudgetExceeded, LedgerCorrupt
from tests.support.release.anchored import COHORT, FAMILY, OTHER_KEY, Books, seal

FIRST, SECOND, THIRD = "2026.11.0", "2026.11.1", "2026.11.2"
UNKNOWN = "another ledger, or an old copy. Restore the newest copy of the ledger from a backup"


@pytest.fixture
def place() -> str:
    return f"memory://{uuid.uuid4().hex}/readiness"


@pytest.fixture
def books(tmp_path: Path, place: str) -> Books:
    """Return a home with one release of its cohort, published at its configured place."""
    made = Books.for_folder(tmp_path / "home", place)
    made.release(FIRST)
    made.publish(FIRST, place)
    return made


def kinds(books: Books) -> list[str]:
    return [entry.kind for entry in books.ledger.list_entries()]


def refused(books: Books, version: str = SECOND) -> str:
    """Return why a release is refused, after checking that nothing was charged."""
    before = kinds(books)
    with pytest.raises((LedgerCorrupt, UnreadableAnchor)) as stopped:
        books.measure(version)
    assert [kind for kind in kinds(books) if kind != "APPROVE"] == [kind for kind in before if kind != "APPROVE"]
    return str(stopped.value)


def test_a_ledger_that_knows_all_goes_on_to_its_cap(books: Books, place: str) -> None:
    for version in (SECOND, "2026.12.0"):
        books.release(version)
        books.publish(version, place)
    with pytest.raises(BudgetExceeded):
        books.release("2027.01.0")


WITHDRAWN = json.dumps({"withdrawn": [{"version": FIRST}]})


@pytest.mark.parametrize(
    ("change", "is_sent", "bundle"),
    [
        (lambda _: None, False, f"release/{FIRST}"),
        (lambda release: shutil.rmtree(release / FIRST), True, f"readiness/{FIRST}"),
        (lambda release: (release / FIRST).rename(release / "kept"), False, "release/kept"),
        (lambda release: (release / "withdrawn.json").write_text(WITHDRAWN), False, f"release/{FIRST}"),
    ],
)
def test_a_bundle_anywhere_stops_a_ledger_that_was_lost(
    books: Books, change: Callable[[Path], None], is_sent: bool, bundle: str
) -> None:
    change(books.home.release)
    books = books if is_sent else Books(books.home)
    books.lose_records()
    for version in (FIRST, SECOND):
        message = refused(books, version)
        assert f"{bundle} states for {FAMILY} of release {FIRST}, cohort {COHORT}" in message
        assert UNKNOWN in message


def test_a_second_home_is_stopped_before_its_charge_and_before_publication(books: Books, tmp_path: Path) -> None:
    assert UNKNOWN in refused(Books.for_folder(tmp_path / "second", books.target), FIRST)
    unset = Books.for_folder(tmp_path / "third")
    unset.release(SECOND)  # it has no place of publication, so its charge is only known in its home
    with pytest.raises(LedgerCorrupt, match="another ledger"):
        unset.publish(SECOND, str(books.target))
    assert open_store(str(books.target)).read(f"{SECOND}/SHA256SUMS", 10**6) is None


def test_of_two_copies_of_a_ledger_one_may_publish(books: Books, tmp_path: Path) -> None:
    shutil.copytree(books.home.root, tmp_path / "copy")
    copy = Books.for_folder(tmp_path / "copy")
    books.release(SECOND)
    copy.release(THIRD)
    books.publish(SECOND, str(books.target))
    with pytest.raises(LedgerCorrupt, match="another ledger"):
        copy.publish(THIRD, str(books.target))
    assert UNKNOWN in refused(Books(copy.home, books.target))


def test_an_old_copy_of_the_ledger(books: Books, tmp_path: Path) -> None:
    shutil.copy(Path(books.home.ledger), tmp_path / "backup")
    books.release(SECOND)
    books.lose_records()
    shutil.copy(tmp_path / "backup", Path(books.home.ledger))
    assert f"release/{SECOND} states for {FAMILY} of release {SECOND}" in refused(books, THIRD)
    with pytest.raises(LedgerCorrupt, match="another ledger"):
        books.publish(FIRST, str(books.target))


def test_signatures_that_were_cut_short(books: Books) -> None:
    """All charges are there, but signatures since the first release, such as a change of signers, are missing."""
    books.release(SECOND)
    with sqlite3.connect(Path(books.home.ledger)) as connection:
        connection.execute("DROP TRIGGER sign_offs_never_delete")
        connection.execute("DELETE FROM sign_offs WHERE seq > 1")
    books.ledger.verify_chain()
    assert f"release/{SECOND} states for {FAMILY} of release {SECOND}" in refused(books, THIRD)
    with pytest.raises(LedgerCorrupt, match="or lacks what people signed for it"):
        books.publish(SECOND, str(books.target))


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_an_archive_alone_is_an_anchor(books: Books, suffix: str) -> None:
    folder = books.home.release / FIRST
    packed = ARCHIVES[suffix]({path.name: path.read_bytes() for path in folder.iterdir()}, FIRST)
    shutil.rmtree(folder)
    (books.home.release / f"{FIRST}.{suffix}").write_bytes(packed)
    (anchor,) = read_anchors(books.home.release)
    assert anchor.statement["release"] == FIRST
    memory = fsspec.filesystem("memory")
    memory.rm(f"{books.target}/{FIRST}", recursive=True)
    memory.pipe_file(f"{books.target}/{FIRST}.{suffix}", packed)
    assert [each.fingerprint for each in fetch_anchors(open_store(str(books.target)))] == [anchor.fingerprint]
    books.lose_records()
    assert UNKNOWN in refused(books)


def test_a_statement_without_its_charges_stops_as_well(books: Books) -> None:
    seal(books.home.release / FIRST, {"release": FIRST, "cohorts": [], "families": [{"family": FAMILY}]})
    assert "its privacy statement does not say what it was charged" in refused(books)


@pytest.mark.parametrize("file", ANCHOR_FILES)
def test_what_cannot_be_read_stops_as_well(books: Books, file: str) -> None:
    damaged = books.home.release / FIRST / file
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"damaged!\n")
    assert f"release/{FIRST}: " in (message := refused(books))
    assert "nobody can tell what it was charged; put back a copy" in message


def test_whatever_arrived_of_a_release_its_statement_did(books: Books) -> None:
    """A publication that failed after its first file is an anchor; one without a statement stops all others."""
    memory, folder = fsspec.filesystem("memory"), f"{books.target}/{FIRST}"
    for file in ANCHOR_FILES[1:]:
        memory.rm_file(f"{folder}/{file}")
    (anchor,) = fetch_anchors(open_store(str(books.target)))
    assert list_stated_charges([anchor])[0].release == FIRST
    assert anchor.fingerprint is None
    memory.rm_file(f"{folder}/{ANCHOR_FILES[0]}")
    memory.pipe_file(f"{folder}/README.md", b"arriving")
    assert fetch_anchors(open_store(str(books.target)), arriving=FIRST) == []
    assert f"{ANCHOR_FILES[0]} is missing, so nobody can tell" in refused(books)


def test_a_bundle_that_another_key_signed(books: Books, tmp_path: Path) -> None:
    keys = KeyRing.create(tmp_path / "keys")
    with pytest.raises(LedgerCorrupt, match=r"release/2026\.11\.0 is signed with another key than this installation's"):
        read_published_charges(books.home, keys)
    foreign = Books.for_folder(tmp_path / "foreign", key=OTHER_KEY)
    foreign.release(THIRD)
    with pytest.raises(LedgerCorrupt, match="is signed with another key"):
        foreign.publish(THIRD, str(books.target))


def test_the_place_that_is_set_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, place = KeyRing.create(tmp_path / "keys"), tmp_path / "served"
    monkeypatch.setenv(PUBLISH_TO, str(place))
    assert read_published_charges(Home(tmp_path / "second"), keys) == []
    books = Books.for_folder(tmp_path / "home", key=keys.signing_key)
    books.release(FIRST)
    books.publish(FIRST, str(place))
    (charge,) = read_published_charges(Home(tmp_path / "second"), keys)
    assert (charge.place, charge.release) == (f"{place}/{FIRST}", FIRST)
    assert len(read_published_charges(books.home, keys, excluding=FIRST)) == 1
    monkeypatch.setenv(PUBLISH_TO, "nosuch://bucket/x")
    with pytest.raises(StoreError, match="no kind of store is called nosuch"):
        read_published_charges(books.home, keys)


def test_publication_without_a_ledger_is_refused_and_makes_none(books: Books) -> None:
    books.lose_ledger()
    with pytest.raises(LedgerCorrupt, match=r"there is no ledger at .*ledger\.sqlite: restore it from a backup"):
        check_known(books.home, read_anchors(books.home.release))
    assert not Path(books.home.ledger).exists()
