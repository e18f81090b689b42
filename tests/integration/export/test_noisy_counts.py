"""Noisy counts in a bundle are the plan's cells, whole and in order, and the plan is the one that was charged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndl_export.bundle.make import BundleRefused, write_bundle
from ndl_export.facts.noisy_counts import (
    NOISE_COVARIANCE_FILE,
    NOISY_COUNTS_FILE,
    NoisyCounts,
    find_covariance_faults,
    find_noisy_faults,
    list_plan_files,
)
from ndl_export.tables import FAMILIES
from sources.reference.places import PILOT
from tests.support.export.fake_release import COHORT, fake_facts, fake_noisy_counts, fake_privacy_record


def _cells() -> pa.Table:
    noisy = fake_noisy_counts(tuple(PILOT))
    return pa.concat_tables([entry.table(COHORT, family) for family, entry in noisy.items()])


def _plans() -> dict[tuple[str, str], bytes]:
    return {(COHORT, family): entry.plan for family, entry in fake_noisy_counts(tuple(PILOT)).items()}


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
def test_what_is_written_is_read_back(councils: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    domains = {"council": [f"c{n}" for n in range(councils)], "level": [f"l, {n}" for n in range(levels)]}
    attributes = [{"name": name, "categories": domain} for name, domain in domains.items()]
    measured = [{"attributes": names, "sigma": 2.5} for names in ([], ["level"], ["council", "level"])]
    plan = json.dumps({"family": {"attributes": attributes}, "measured": measured}).encode()
    shapes = ((), (levels,), (councils, levels))
    counts = {tuple(m["attributes"]): rng.integers(-9, 99, s) for m, s in zip(measured, shapes, strict=True)}
    found = NoisyCounts.read(plan, NoisyCounts(plan, counts).table(COHORT, "pupil"), COHORT, "pupil")
    assert found.counts.keys() == counts.keys()
    assert all((found.counts[names] == counts[names]).all() for names in counts)


def test_a_bundle_holds_them(bundle: Path) -> None:
    cells = pq.read_table(bundle / NOISY_COUNTS_FILE)
    assert set(cells["family"].to_pylist()) == set(FAMILIES)
    for family in FAMILIES:
        plan = (bundle / list_plan_files([COHORT])[COHORT, family]).read_bytes()
        assert (NoisyCounts.read(plan, cells, COHORT, family).counts["council",] == np.arange(len(PILOT)) - 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cells: cells.slice(1), "the noisy counts of pupil, cohort 202425, are not those of its plan"),
        (lambda cells: cells.take(pa.array(range(cells.num_rows - 1, -1, -1))), "are not those of its plan"),
        (lambda cells: pa.concat_tables([cells, cells.slice(0, 1)]), "are not those of its plan"),
        (lambda cells: cells.drop_columns(["sigma"]), "noisy_counts.parquet"),
    ],
)
def test_other_cells_are_faults(change, message: str) -> None:
    record = fake_privacy_record("2026.11.0")
    assert list(find_noisy_faults(_plans(), _cells(), record)) == []
    assert message in "; ".join(find_noisy_faults(_plans(), change(_cells()), record))


def test_another_plan_than_the_statement_names_is_refused(tmp_path: Path, tables, signing_key) -> None:
    facts = fake_facts()
    own = facts.noisy_counts[COHORT]
    own |= {family: NoisyCounts(entry.plan + b" ", entry.counts) for family, entry in own.items()}
    with pytest.raises(BundleRefused, match=r"noise_plan_pupil\.json is not the plan that the privacy statement names"):
        write_bundle(tmp_path, facts, tables, signing_key)


def test_the_covariances_are_of_the_release(bundle: Path) -> None:
    held = pq.read_table(bundle / NOISE_COVARIANCE_FILE)
    assert list(find_covariance_faults(held, [COHORT])) == []
    assert "other cohorts than the release: 202425" in "; ".join(find_covariance_faults(held, ["202324"]))
    assert "its columns" in "; ".join(find_covariance_faults(held.drop_columns(["same_gld"]), [COHORT]))
