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


def ingest(landing: Path, home: Home, keys: KeyRing, councils: tuple[str, ...] = COUNCILS) -> None:
    for source in CONTRACTS:
        found = [landed for council in councils if (landed := find(landing, council, source, COHORT))]
        assert not [
            outcome for outcome in Intake(landing, home, keys).ingest_all(found) if isinstance(outcome, Exception)
        ]


@pytest.mark.slow
def test_extracts_of_two_epochs_are_not_linked_and_ids_outlive_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = tmp_path / "landing"
    write_extracts(landing, children=80, councils=COUNCILS)
    home, old = Home(tmp_path / "home"), KeyRing.create(tmp_path / "keys")
    ingest(landing, home, old)
    link_cohort(home, COHORT, COUNCILS, old)
    before = pyarrow.parquet.read_table(home.links(COHORT))
    new = old.rotate(tmp_path / "next")
    ingest(landing, home, new, ("halton",))
    with pytest.raises(CannotBeLinked, match=r"(leeds|halton)/eyfsp.* take them in again"):
        link_cohort(home, COHORT, COUNCILS, new)
    assert pyarrow.parquet.read_table(home.links(COHORT)).equals(before)
    ingest(landing, home, new)
    link_cohort(home, COHORT, COUNCILS, new)
    assert pyarrow.parquet.read_table(home.links(COHORT)).equals(before)
    monkeypatch.setattr("privacy.pseudonyms.PSEUDONYM_VERSION", "next")
    with pytest.raises(CannotBeLinked, match="and others have tokens made with different keys, pseudonyms"):
        link_cohort(home, COHORT, COUNCILS, new)
