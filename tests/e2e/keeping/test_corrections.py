"""A correction that lands between two steps: rows of one delivery never meet the row keys of another."""

from __future__ import annotations

import threading
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from assets.home import home_lock
from assets.keeping.forgetting import CannotForget, find_rows, find_rows_by_pseudonym, forget
from assets.linkage.assets import CONFIDENTIAL, LINKS
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import find_changes_since_linkage, list_extract_paths, read_linked_extracts
from assets.linkage.link import link_cohort
from assets.linkage.row_numbers import CannotExplain, explain_link, parse_row
from assets.release import measure as release
from assets.release.fix_release import ReleaseOptions
from pipelines.definitions import build_definitions
from pipelines.ending import RunStopped
from pipelines.run import run_cohort
from privacy.release.ledger import Ledger
from sources.contracts import CONTRACTS
from sources.extract.landed import list_councils
from sources.reference.cohorts import Cohort
from sources.reference.goals import GOALS
from tests.support.extracts import prepend, upn
from tests.support.installation.released import COHORT, Place
from tests.support.installation.traces import hashes
from tests.support.intake.numbered import numbered
from tests.support.planted import PROFILE

pytestmark = pytest.mark.slow

NEWCOMER = PROFILE | {"upn": upn(899_999_123_459), "surname": "Vanterpool", "forename": "Ignatius"}
NEWCOMER |= dict.fromkeys(GOALS, "1")


def correct(place: Place, name: str = "leeds/eyfsp") -> None:
    """A child more at the top of the file: every other row has another number."""
    prepend(place.file(name), NEWCOMER)
    place.take(name)


def step(place: Place, *keys: dg.AssetKey) -> tuple[dg.DagsterInstance, dg.ExecuteInProcessResult]:
    """These assets of the job `linkage`, as Dagster runs them."""
    instance = dg.DagsterInstance.ephemeral()
    job = build_definitions(place.installation).resolve_job_def("linkage")
    return instance, job.execute_in_process(instance=instance, partition_key=COHORT, asset_selection=list(keys))


def children(path: Path) -> list[tuple[object, ...]]:
    return duckdb.sql(
        f"SELECT * EXCLUDE (child_id) FROM read_parquet('{path}', hive_partitioning = false) ORDER BY ALL"
    ).fetchall()


def ids_by_upn(place: Place) -> dict[int, str]:
    named = {(e["council"], e["source"], e["source_row"]): e["child_id"] for e in place.links()}
    rows = numbered(place.home, place.keys, "eyfsp", "leeds").select(["source_row", "t_upn"]).to_pylist()
    return {row["t_upn"]: named["leeds", "eyfsp", row["source_row"]] for row in rows if row["t_upn"] is not None}


def test_between_linkage_and_tables_it_is_linked_again(place: Place, tmp_path: Path) -> None:
    home, councils = place.home, list_councils(place.landing)
    store = home.cohort(COHORT)
    correct(place)
    assert find_changes_since_linkage(store, councils) == ["leeds/eyfsp"]
    extracts = {source: list_extract_paths(store, source, councils) for source in CONTRACTS}
    linked = store.links, store.agreement, extracts
    build_confidential_tables(*linked, {"pupil": tmp_path / "mixed.parquet"})
    instance, done = step(place, *CONFIDENTIAL.values())

    assert done.success
    said = [record.user_message for record in instance.all_logs(done.run_id)]
    assert "leeds/eyfsp came in or changed after the linkage, so the cohort was linked again" in said
    assert instance.get_latest_materialization_event(LINKS)
    assert find_changes_since_linkage(store, councils) == []
    made = children(store.confidential("pupil"))
    link_cohort(store, councils, place.keys)
    build_confidential_tables(*linked, {"pupil": tmp_path / "right.parquet"})
    assert made == children(tmp_path / "right.parquet")
    assert made != children(tmp_path / "mixed.parquet")


def test_ids_go_with_children_and_not_with_row_numbers(place: Place) -> None:
    before = ids_by_upn(place)
    planted = place.child_id("leeds/hv_reviews")
    correct(place)
    step(place, LINKS)
    after = ids_by_upn(place)
    others = {token: {child for other, child in before.items() if other != token} for token in after}
    assert len(after) == len(before) + 1
    assert not [token for token, child in after.items() if child in others[token]]
    assert place.child_id("leeds/hv_reviews") == planted


def test_links_without_the_end_of_their_linkage_are_none(place: Place) -> None:
    store = place.home.cohort(COHORT)
    store.doubts.unlink()
    assert read_linked_extracts(store) == {}
    step(place, *CONFIDENTIAL.values())
    assert set(read_linked_extracts(store)) > {"leeds/eyfsp", "halton/early_years_census"}


def test_no_new_release_is_begun_before_it_is_linked(place: Place) -> None:
    correct(place, "leeds/eyfsp")
    councils, charged = list_councils(place.landing), len(Ledger(place.home.ledger).entries())

    def measure() -> None:
        release.measure_release(
            place.home.cohort(COHORT),
            place.keys,
            "2026.11.1",
            councils,
            ReleaseOptions(allow_missing=False, share=0.05),
        )

    with pytest.raises(Exception, match="leeds/eyfsp came in or changed since it was linked: run the linkage, then"):
        measure()
    assert len(Ledger(place.home.ledger).entries()) == charged
    step(place, LINKS, *CONFIDENTIAL.values())
    measure()
    assert len(Ledger(place.home.ledger).entries()) == charged + 6


def test_nobody_else_works_on_the_cohort_while_it_is_measured(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two families nobody can link again, so that all of a release is of the same extracts."""
    monkeypatch.setattr(home_lock, "PATIENCE_SECONDS", 0.0)
    refused: list[str] = []

    def other() -> None:
        try:
            link_cohort(place.home.cohort(COHORT), ["leeds"], place.keys)
        except home_lock.Busy as busy:
            refused.append(str(busy))

    def measured(*_: object, **__: object) -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    monkeypatch.setattr(release, "measure_family", measured)
    councils = list_councils(place.landing)
    release.measure_release(
        place.home.cohort(COHORT), place.keys, "2026.11.0", councils, ReleaseOptions(allow_missing=False)
    )
    assert len(refused) == 3


def test_rows_of_other_children_are_not_forgotten(place: Place) -> None:
    row, child_id = place.row("leeds/eyfsp"), place.child_id("leeds/eyfsp")
    found = find_rows(place.home.extract("eyfsp", COHORT, "leeds"), [row], place.keys, linked=True)
    correct(place)
    before = hashes(place.home.restricted / "pseudonymised")
    with pytest.raises(CannotForget, match="leeds/eyfsp/202425 changed meanwhile; start again"):
        forget(place.home, found, place.keys)
    with pytest.raises(CannotForget, match="run the linkage of the cohort, and start again"):
        find_rows(place.home.extract("eyfsp", COHORT, "leeds"), [row], place.keys, linked=True)
    with pytest.raises(CannotForget, match="run the linkage of the cohort, and start again"):
        find_rows_by_pseudonym(place.home, child_id, None, place.keys)
    assert hashes(place.home.restricted / "pseudonymised") == before
    step(place, LINKS)
    forget(place.home, find_rows_by_pseudonym(place.home, child_id, None, place.keys), place.keys)
    assert place.row("leeds/eyfsp") not in place.rows("leeds/eyfsp")


def test_links_of_other_rows_are_not_explained(place: Place) -> None:
    correct(place)
    rows = [parse_row(f"{source}/leeds/{place.row(f'leeds/{source}')}") for source in ("eyfsp", "hv_reviews")]
    with pytest.raises(CannotExplain, match="are not those of the extracts that are in; link the cohort again first"):
        explain_link(place.home.cohort(COHORT), *rows, place.keys)


# --- A release that was published, run again


def again(place: Place, version: str = "2026.11.0", share: float | None = None) -> None:
    run_cohort(place.installation, Cohort(COHORT), version, False, lambda _: None, share)


def test_after_forgetting_a_published_release_is_repeated_to_the_byte(place: Place) -> None:
    ledger = Ledger(place.home.ledger).entries()
    published = hashes(place.home.release / "2026.11.0")
    measured = hashes(place.home.restricted / "measurements")
    found = find_rows(place.home.extract("eyfsp", COHORT, "leeds"), [place.row("leeds/eyfsp")], place.keys, linked=True)
    forget(place.home, found, place.keys)
    again(place)
    assert hashes(place.home.release / "2026.11.0") == published
    assert hashes(place.home.restricted / "measurements") == measured
    assert Ledger(place.home.ledger).entries() == ledger
    again(place, "2026.11.1", 0.05)
    assert len(Ledger(place.home.ledger).entries()) == len(ledger) + 6
    assert hashes(place.home.release / "2026.11.0") == published


def test_a_correction_is_not_passed_over_in_silence(place: Place) -> None:
    """Its sender expects it in: the same version cannot have it, and says so."""
    charged = Ledger(place.home.ledger).entries()
    correct(place)
    with pytest.raises(RunStopped, match=r"was charged with another child table\. A revision is a new release"):
        again(place)
    assert Ledger(place.home.ledger).entries() == charged
