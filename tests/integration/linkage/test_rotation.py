"""Keys of another epoch: tokens of both are not linked together, and children keep their ids."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage.link import CannotBeLinked, link_cohort
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.extract.landed import find
from tests.support.independent import write_extracts

COHORT, COUNCILS = "202425", ("leeds", "halton")


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rotation") / "landing"
    write_extracts(folder, children=80, councils=COUNCILS)
    return folder


def ingest(landing: Path, home: Home, keys: KeyRing, councils: tuple[str, ...] = COUNCILS) -> None:
    for source in CONTRACTS:
        found = [landed for council in councils if (landed := find(landing, council, source, COHORT))]
        assert not [
            outcome for outcome in Intake(landing, home, keys).ingest_all(found) if isinstance(outcome, Exception)
        ]


@pytest.mark.slow
def test_extracts_of_two_epochs_are_not_linked_and_ids_outlive_a_rotation(landing: Path, tmp_path: Path) -> None:
    home, old = Home(tmp_path / "home"), KeyRing.create(tmp_path / "keys")
    ingest(landing, home, old)
    link_cohort(home, COHORT, COUNCILS, old)
    before = pyarrow.parquet.read_table(home.links(COHORT))
    new = old.rotate(tmp_path / "next")
    ingest(landing, home, new, ("halton",))
    with pytest.raises(CannotBeLinked, match=r"leeds/eyfsp|halton/eyfsp") as stopped:
        link_cohort(home, COHORT, COUNCILS, new)
    assert "take them in again" in str(stopped.value)
    assert pyarrow.parquet.read_table(home.links(COHORT)).equals(before)
    ingest(landing, home, new)
    link_cohort(home, COHORT, COUNCILS, new)
    assert pyarrow.parquet.read_table(home.links(COHORT)).equals(before)


@pytest.mark.slow
def test_tokens_of_another_version_are_not_linked(
    landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, keys = Home(tmp_path / "home"), KeyRing.create(tmp_path / "keys")
    ingest(landing, home, keys)
    monkeypatch.setattr("privacy.pseudonyms.PSEUDONYM_VERSION", "next")
    with pytest.raises(CannotBeLinked, match="and others have tokens made with different keys, pseudonyms"):
        link_cohort(home, COHORT, COUNCILS, keys)
