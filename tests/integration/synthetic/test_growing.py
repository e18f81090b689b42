"""What councils of a growing world have sent by a day is taken in, cohort by cohort, as its truth says."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.ingest import Intake
from privacy.keys import KeyRing
from sources.extract.landing import find
from sources.synthetic.growing import GrowingWorld

COHORTS = ("202425", "202526")


def test_two_open_cohorts_are_taken_in_and_ended_records_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, home, keys = tmp_path / "landing", Home(tmp_path / "home"), KeyRing.create(tmp_path / "keys")
    world = GrowingWorld.draw(COHORTS[0], len(COHORTS), scale=0.04)
    world.write(landing, dt.date(2022, 4, 21))
    truth = pd.read_parquet(tmp_path / "truth_rows.parquet")
    monkeypatch.setenv("READINESS_COUNCILS", str(tmp_path / "councils"))
    intake = Intake(landing, home, keys)
    deleted = 0
    for source, cohorts in {"hv_reviews": COHORTS, "early_years_census": COHORTS[:1]}.items():
        for cohort in cohorts:
            for council in ("leeds",):
                landed = find(landing, council, source, cohort)
                assert landed
                (outcome,) = intake.ingest_all([landed])
                assert isinstance(outcome, ExtractQuality), outcome
                assert outcome.parts.how == "changes"
                sent = truth[(truth.source == source) & (truth.council == council) & (truth.cohort == cohort)]
                parts = outcome.parts.parts
                # Some rows have no date of birth by which their cohort is known, or a wrong one.
                assert abs(sum(part.rows_read for part in parts) - len(sent)) <= 0.02 * len(sent) + 1
                assert abs(sum(part.deletions for part in parts) - sent.deletes.sum()) <= 1
                assert sum(part.of_nothing for part in parts) <= 1
                ended = sent.person_id.isin(sent.person_id[sent.deletes])
                kept = pq.read_metadata(home.get_extract(source, cohort, council).pseudonymised).num_rows
                assert abs(kept - (~ended).sum()) <= 0.02 * len(sent) + 1
                deleted += int(sent.deletes.sum())
    assert deleted
    assert not intake.list_needing_intake(COHORTS[1], ["leeds"])
