"""A correction that lands between two steps, and nights on which nothing or one correction came.

Rows of one delivery never meet the row keys of another, and nothing is made again that is up to date.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest

from assets.home import home_lock
from assets.home.errors import Refused
from assets.home.paths import Home
from assets.keeping.finding import find_rows_by_pseudonym
from assets.keeping.forgetting import forget
from assets.linkage.assets import CONFIDENTIAL, LINKS
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import find_changes_since_linkage, hash_program, list_extract_paths, read_linked_extracts
from assets.linkage.link import derive_confidential_tables, link_cohort
from assets.linkage.row_numbers import explain_link, parse_row
from assets.release import measure as release
from assets.release.fix_release import ReleaseOptions
from assets.release.release import CohortRelease, Release
from ndl_export.facts.description import DATABASE_FILE
from pipelines.commands.console import RunStopped
from pipelines.dagster.jobs import build_release_run
from pipelines.definitions import build_definitions
from pipelines.run import run_cohort
from sources.contracts import CONTRACTS
from sources.extract.landing import list_councils
from sources.reference.code_lists import GOALS
from sources.reference.cohorts import Cohort
from tests.support.extracts import make_upn, prepend
from tests.support.installation.released import COHORT, Place
from tests.support.installation.traces import hash_files
from tests.support.intake.numbered import read_numbered
from tests.support.planted import PROFILE

pytestmark = pytest.mark.slow

VERSION = "2026.11.0"
NEWCOMER = PROFILE | {"upn": make_upn(899_999_123_459), "surname": "Vanterpool", "forename": "Ignatius"}
NEWCOMER |= dict.fromkeys(GOALS, "1")


_STAYS = (
    "! Release 2026.11.0 stays as it was measured. leeds/eyfsp came in, changed or left since then, and the next"
    " release of cohort 202425 will use what is there now."
)


def correct(place: Place, name: str = "leeds/eyfsp") -> None:
    """A child more at the top of the file: every other row has another number."""
    prepend(place.find_file(name), NEWCOMER)
    place.take(name)


def run(place: Place, version: str = VERSION, share: float | None = None) -> list[str]:
    said: list[str] = []
    run_cohort(place.installation, Cohort(COHORT), version, ReleaseOptions(share=share), said.append)
    return said


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
    named = {(e["council"], e["source"], e["source_row"]): e["child_id"] for e in place.list_links()}
    rows = read_numbered(place.home, place.keys, "eyfsp", "leeds").select(["source_row", "t_upn"]).to_pylist()
    return {row["t_upn"]: named["leeds", "eyfsp", row["source_row"]] for row in rows if row["t_upn"] is not None}


def test_between_linkage_and_tables_it_is_linked_again(place: Place, tmp_path: Path) -> None:
    home, councils = place.home, list_councils(place.landing)
    store = home.get_cohort(COHORT)
    correct(place)
    assert find_changes_since_linkage(store, councils) == ["leeds/eyfsp"]
    extracts = {source: list_extract_paths(store, source, councils) for source in CONTRACTS}
    linked = store.links, store.agreement, extracts
    build_confidential_tables(Cohort(COHORT), *linked, {"pupil": tmp_path / "mixed.parquet"})
    instance, done = step(place, *CONFIDENTIAL.values())

    assert done.success
    said = [record.user_message for record in instance.all_logs(done.run_id)]
    assert "leeds/eyfsp came in or changed after the linkage, so the cohort was linked again" in said
    assert instance.get_latest_materialization_event(LINKS)
    assert find_changes_since_linkage(store, councils) == []
    made = children(store.get_confidential_path("pupil"))
    link_cohort(store, councils, place.keys)
    build_confidential_tables(Cohort(COHORT), *linked, {"pupil": tmp_path / "right.parquet"})
    assert made == children(tmp_path / "right.parquet")
    assert made != children(tmp_path / "mixed.parquet")
    store.agreement.unlink()  # the end of a linkage, without which its links are none
    assert read_linked_extracts(store) == {}
    step(place, *CONFIDENTIAL.values())
    assert set(read_linked_extracts(store)) > {"leeds/eyfsp", "halton/early_years_census"}


def test_ids_go_with_children_and_not_with_row_numbers(place: Place) -> None:
    before = ids_by_upn(place)
    planted = place.find_child_id("leeds/hv_reviews")
    correct(place)
    step(place, LINKS)
    after = ids_by_upn(place)
    others = {token: {child for other, child in before.items() if other != token} for token in after}
    assert len(after) == len(before) + 1
    assert not [token for token, child in after.items() if child in others[token]]
    assert place.find_child_id("leeds/hv_reviews") == planted


def test_nobody_else_works_on_the_cohort_while_it_is_measured(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two families nobody can link again, so that all of a release is of the same extracts."""
    monkeypatch.setattr(home_lock, "PATIENCE_SECONDS", 0.0)
    refused: list[str] = []

    def other() -> None:
        try:
            link_cohort(place.home.get_cohort(COHORT), ["leeds"], place.keys)
        except home_lock.InUse as busy:
            refused.append(str(busy))

    def measured(*_: object, **__: object) -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    monkeypatch.setattr(release, "measure_family", measured)
    councils = list_councils(place.landing)
    release.measure_release(
        CohortRelease(place.home.get_cohort(COHORT), "2026.11.0"),
        place.keys,
        councils,
        ReleaseOptions(allow_missing=False),
    )
    assert len(refused) == 3


def test_until_it_is_linked_no_row_is_forgotten_or_explained_and_no_release_is_begun(place: Place) -> None:
    """Nor is the correction passed over in silence: the same version cannot have it, stays, and says so."""
    row, child_id = place.find_row("leeds/eyfsp"), place.find_child_id("leeds/eyfsp")
    found, councils = place.find_rows(row), list_councils(place.landing)
    correct(place)
    before, charged = hash_files(place.home.restricted / "pseudonymised"), place.home.open_ledger().list_entries()
    rows = [parse_row(f"{source}/leeds/{place.find_row(f'leeds/{source}')}") for source in ("eyfsp", "hv_reviews")]

    def measure() -> None:
        options = ReleaseOptions(allow_missing=False, share=0.05)
        release.measure_release(
            CohortRelease(place.home.get_cohort(COHORT), "2026.11.1"), place.keys, councils, options
        )

    with pytest.raises(Refused, match="leeds/eyfsp/202425 changed meanwhile; start again"):
        forget(place.home, found, place.keys)
    with pytest.raises(Refused, match="run the linkage of the cohort, and start again"):
        place.find_rows(row)
    with pytest.raises(Refused, match="run the linkage of the cohort, and start again"):
        find_rows_by_pseudonym(place.home, child_id, None, place.keys)
    with pytest.raises(Refused, match="are not those of the extracts that are in; link the cohort again first"):
        explain_link(place.home.get_cohort(COHORT), *rows, place.keys)
    with pytest.raises(Exception, match="leeds/eyfsp came in or changed since it was linked: run the linkage, then"):
        measure()
    assert hash_files(place.home.restricted / "pseudonymised") == before
    step(place, LINKS, *CONFIDENTIAL.values())
    published = hash_files(place.home.release)
    assert _STAYS in run(place)
    assert hash_files(place.home.release) == published
    assert place.home.open_ledger().list_entries() == charged
    measure()
    assert len(place.home.open_ledger().list_entries()) == len(charged) + 6
    forget(place.home, find_rows_by_pseudonym(place.home, child_id, None, place.keys), place.keys)
    assert place.find_row("leeds/eyfsp") not in place.list_rows("leeds/eyfsp")


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_an_unchanged_night_does_not_load_dagster(place: Place) -> None:
    run(place)  # the copy's files came now
    command = (
        "import sys; from pipelines.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('dagster', 'great_expectations', 'splink') if name in sys.modules])"
    )
    arguments = ["run", "--landing", place.landing, "--home", place.home.root, "--keys", place.root / "keys"]
    arguments += ["--cohort", COHORT, "--release", VERSION]
    done = subprocess.run([sys.executable, "-c", command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_is_lost_beside_the_bundle_is_missed_and_put_back(place: Place, tmp_path: Path) -> None:
    before = hash_files(place.home.release)
    for lost in (
        ("site/index.html", "latest", "latest.json", f"api/v1/releases/{VERSION}/gld_headline/E08000035.json"),
        ("api/v1/index.json", "catalogue.jsonld", "feed.xml", f"{VERSION}.zip"),
        (DATABASE_FILE,),
    ):
        paths = [place.home.release / name for name in lost]
        for path in paths:
            path.rename(tmp_path / "aside")
            current = release.is_bundle_current(Release(place.home, VERSION), place.keys)
            assert current == (path.name == DATABASE_FILE), path
            (tmp_path / "aside").rename(path)
        for path in paths:
            path.unlink()
        run(place)
        assert changed(before, hash_files(place.home.release)) <= {DATABASE_FILE}, lost
        assert (place.home.release / "latest").is_symlink(), lost
    assert run(place).count("      unchanged") == 3


def test_the_job_release_leaves_no_database_behind(place: Place) -> None:
    """In Dagster, by the job alone, and by the asset of the bundle alone."""
    definitions = build_definitions(place.installation)
    given = build_release_run(COHORT, "2026.11.1", ReleaseOptions(share=0.2))
    instance = dg.DagsterInstance.ephemeral()
    done = definitions.resolve_job_def("release").execute_in_process(instance=instance, **given)
    assert done.success
    with duckdb.connect(str(place.home.release / DATABASE_FILE), read_only=True) as con:
        assert con.execute("SELECT release_version FROM releases.release ORDER BY 1").fetchall() == [
            (VERSION,),
            ("2026.11.1",),
        ]
    (place.home.release / DATABASE_FILE).unlink()
    again = definitions.resolve_job_def("republish").execute_in_process(
        instance=instance,
        partition_key=COHORT,
        run_config={"ops": {"release__bundle": {"config": {"version": "2026.11.1"}}}},
        asset_selection=[dg.AssetKey(["release", "bundle"])],
    )
    assert again.success
    assert (place.home.release / DATABASE_FILE).exists()


def test_a_materialisation_that_changes_nothing_has_the_same_versions(place: Place) -> None:
    job = build_definitions(place.installation).resolve_job_def("linkage")

    def versions() -> dict[str, tuple[str, str]]:
        done = job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), partition_key=COHORT)
        found = {}
        for event in done.get_asset_materialization_events():
            tags = event.materialization.tags or {}
            found[event.asset_key.to_user_string()] = (tags["dagster/data_version"], tags["dagster/code_version"])
        return found

    first = versions()
    assert first.keys() == {key.to_user_string() for key in (LINKS, *CONFIDENTIAL.values())}
    assert {code for _, code in first.values()} == {hash_program()}
    before = hash_files(place.home.restricted)
    assert versions() == first
    assert hash_files(place.home.restricted) == before
    correct(place)
    second = versions()
    assert not [
        key for key in (LINKS, CONFIDENTIAL["pupil"]) if second[key.to_user_string()] == first[key.to_user_string()]
    ]
    parents = CONFIDENTIAL["parents"].to_user_string()
    assert second[parents] == first[parents]


def _tables(home: Home) -> list[object]:
    columns = ["source", "council", "row_key", "match_rule", "match_probability"]
    made = [pq.read_table(home.get_cohort(COHORT).links).select(columns)]
    for family in CONFIDENTIAL:
        made.append(pq.read_table(home.get_cohort(COHORT).get_confidential_path(family)).drop_columns(["child_id"]))
    return made


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_correction_gives_what_a_linkage_from_scratch_gives(copied: Callable[[], Place]) -> None:
    """Also where what the linkage before kept is gone, was cut short, or is another file."""
    damages: tuple[Callable[[Path], object], ...] = (
        lambda _: None,
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b"PAR1" + bytes(100) + b"PAR1"),
        lambda path: path.write_bytes(b""),
    )
    made = []
    for damage in damages:
        place = copied()
        damage(place.home.get_cohort(COHORT).pair_cache)
        correct(place)
        derive_confidential_tables(place.home.get_cohort(COHORT), list_councils(place.landing), place.keys)
        made.append(_tables(place.home))
    assert made == [made[0]] * len(damages)


def test_what_a_linkage_kept_is_for_it_alone_and_is_told_where_it_was_changed(place: Place) -> None:
    kept = place.home.get_cohort(COHORT).pair_cache
    assert kept.read_bytes()[:4] == b"PARE"
    assert kept.stat().st_mode & 0o077 == 0
    _flip(kept)
    prepend(place.find_file("leeds/eyfsp"), NEWCOMER)
    with pytest.raises(RunStopped, match=r"pairs.parquet is damaged: remove it and run the linkage"):
        run(place)
    kept.unlink()
    assert _STAYS in run(place)
    assert kept.exists()
