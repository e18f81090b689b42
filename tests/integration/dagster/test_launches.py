"""What whoever can open the UI may ask of Dagster, through its GraphQL: nothing that is a path, a key or a secret."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import ConfigTypeKind
from dagster._core.test_utils import freeze_time

from assets.catalogue.runs import WHY, build_partition_key, note_councils, parse_partition_key
from assets.home.paths import Home
from assets.linkage.arrivals import note_landing
from pipelines.dagster.instance import PROCESS, open_instance, open_working_instance
from pipelines.definitions import build_definitions
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger
from tests.support import PROJECT
from tests.support.installation.commands import build_settings
from tests.support.installation.launching import WHERE, Desk, make_executing_instance, open_desk

COHORT = "202425"
SECRET = "a-password-Zzyzxwick"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installation in the environment, whose ledger was charged, and a folder beside it that no run may use."""
    root = tmp_path_factory.mktemp("launches")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in build_settings(root, publish_to=root / "published").items():
            patch.setenv(name, value)
        patch.setenv("DEPLOYMENT_PASSWORD", SECRET)
        KeyRing.create(root / "keys", demonstration=True)
        KeyRing.create(root / "elsewhere" / "keys", demonstration=True)
        for folder in (root / "landing" / "leeds", root / "elsewhere" / "leeds"):
            (folder / "eyfsp").mkdir(parents=True)
            (folder / "eyfsp" / f"{COHORT}.csv").write_text("upn\n1\n")
        home = Home(root / "home")
        home.prepare()
        note_landing(home, root / "landing")
        ledger = home.open_ledger()
        ledger.approve(COHORT, 0.3)
        ledger.commit(ledger.reserve(COHORT, "2026.11.0", "pupil", 0.1, "a" * 64, "c" * 64), "b" * 64)
        yield root


@pytest.fixture(scope="module")
def desk(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(make_executing_instance(tmp_path_factory.mktemp("history"))) as desk:
        yield desk


_NOT_COMPARED = (".in-use.lock", "upcoming.json")


def read_state(root: Path) -> tuple[dict[str, str], list[str]]:
    """Return every file of the installation and beside it, and every entry of the ledger.

    Locks are left out, and the announcements that every publication writes anew from the release calendar.
    """
    files = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "turns" not in path.parts and not path.name.startswith(("ledger.sqlite", *_NOT_COMPARED))
    }
    return files, [entry.entry_hash for entry in Ledger(Home(root / "home").ledger).list_entries()]


# --- What a launch may set

FIELDS = {
    "release__measurements": {
        "version": "String",
        "allow_missing": "Bool",
        "share": "Float",
        "with_cohorts": "String",
        "reuse": "Bool",
        "requests": "String",
        "accept.holds": "String",
        "accept.reason": "String",
        "accept.signature": "String",
    },
    "release__bundle": {"version": "String"},
    "release__synthetic_children": {"version": "String", "cohort": "String", "seed": "Int"},
    "publish_op": {"version": "String"},
}
"""All that any launch may set, by op. Nothing here may be a path, a key or a secret; nothing else may be set."""


def fields(config: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The name and type of every value below a type of configuration."""
    if ConfigTypeKind.has_fields(config.kind):
        for each, field in config.fields.items():
            yield from fields(field.config_type, f"{name}.{each}".strip("."))
    elif config.kind in (ConfigTypeKind.ARRAY, ConfigTypeKind.NONEABLE):
        yield from fields(config.inner_type, name)
    else:  # anything at all, a value or a variable of the environment, a map, ...
        yield name, config.given_name if config.kind is ConfigTypeKind.SCALAR else config.kind.value


def test_every_value_that_a_launch_may_set_is_on_the_list() -> None:
    allowed = {f"ops.{op}.config.{name}": kind for op, names in FIELDS.items() for name, kind in names.items()}
    found = {
        entry
        for job in build_definitions().resolve_all_job_defs()
        for entry in fields(job.run_config_schema.config_type)
    }
    assert found == set(allowed.items())


def of_op(name: str, **config: Any) -> dict[str, Any]:
    return {"ops": {name: {"config": config}}}


def of_folders(**other: str) -> dict[str, Any]:
    """The folders of the installation, as they could be given once, and one of them another."""
    own = {f"{name}_dir": f"{{elsewhere}}/../{name}" for name in ("landing", "home", "keys")}
    return {"resources": {"installation": {"config": own | other}}}


FROM_ENVIRONMENT = {"env": "DEPLOYMENT_PASSWORD"}
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "other keys": ("retention", of_folders(keys_dir="{elsewhere}/keys")),
    "other extracts": ("retention", of_folders(landing_dir="{elsewhere}")),
    "rows to another place": ("retention", of_folders(home_dir="{elsewhere}/home")),
    "other agreements": ("retention", of_folders(agreements_dir="{elsewhere}")),
    "outputs to another place": ("retention", {"resources": {"io_manager": {"config": {"base_dir": "{elsewhere}"}}}}),
    "another logger": ("retention", {"loggers": {"console": {"config": {"path": "{elsewhere}"}}}}),
    "another executor": ("retention", {"execution": {"config": {"retries": {"enabled": {}}}}}),
    "steps without those before": (
        "retention",
        {"execution": {"config": {"step_dependency_config": {"require_upstream_step_success": False}}}},
    ),
    "an op that takes nothing": ("retention", of_op("expire_op", landing_dir="{elsewhere}")),
    "a step that takes nothing": ("linkage", of_op("restricted__links", landing="{elsewhere}")),
    "a secret as a version": ("publication", of_op("publish_op", version=FROM_ENVIRONMENT)),
    "a secret as a tag": ("synthetic_children", of_op("release__synthetic_children", version=FROM_ENVIRONMENT)),
    "a secret as a reason": (
        "release",
        of_op(
            "release__measurements",
            version="2026.11.0",
            accept=[{"holds": ["a"], "reason": FROM_ENVIRONMENT, "signature": FROM_ENVIRONMENT}],
        ),
    ),
}


def attack(root: Path, name: str) -> tuple[str, dict[str, Any]]:
    job, config = ATTACKS[name]
    return job, json.loads(json.dumps(config).replace("{elsewhere}", str(root / "elsewhere")))


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_else_can_be_set(root: Path, desk: Desk, name: str) -> None:
    before, (job, config) = read_state(root), attack(root, name)
    answer = desk.launch(job, {"dagster/partition": COHORT} if job in ("linkage", "release") else {}, config)
    assert answer["__typename"] == "RunConfigValidationInvalid", answer
    assert SECRET not in str(answer)
    assert read_state(root) == before


def test_a_run_executed_again_or_written_into_storage_with_other_settings_is_refused(root: Path, desk: Desk) -> None:
    """Past the web server's check, as a backfill or whoever reaches Dagster's database makes it, it fails."""
    done = desk.launch("retention")["run"]
    assert done["status"] == "SUCCESS"
    again = desk.launch("retention", config=attack(root, "other extracts")[1], parent=done["runId"])
    assert again["__typename"] == "RunConfigValidationInvalid"
    job = build_definitions().resolve_job_def("retention")
    with pytest.raises(dg.DagsterInvalidConfigError):
        job.execute_in_process(instance=desk.instance, run_config=attack(root, "other extracts")[1])


# --- Names that become folders

ADD = """mutation A($key: String!, $where: RepositorySelector!) { found: addDynamicPartition(
  partitionKey: $key, partitionsDefName: "councils", repositorySelector: $where) { __typename } }"""
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def test_a_partition_of_another_name_is_no_council(root: Path, desk: Desk) -> None:
    council = "../../elsewhere/leeds"
    note_councils(desk.instance, ["leeds"])
    desk.ask(ADD, key=council, where=WHERE)
    before, key = read_state(root), f"{COHORT}|{council}"
    for tags in ({"dagster/partition": key}, {START: build_partition_key("leeds", COHORT), END: key}):
        assert desk.launch("intake", tags)["run"]["status"] == "FAILURE"
    assert read_state(root) == before
    assert not list((root / "home").rglob("*elsewhere*"))
    assert note_councils(desk.instance, ["leeds"]) == ["leeds"]  # and a range of councils holds it no more


def test_a_partition_of_another_name_is_no_cohort(root: Path, desk: Desk) -> None:
    before, cohort = read_state(root), "../../elsewhere"
    measured, written = (
        of_op("release__measurements", version="2026.11.1"),
        of_op("release__bundle", version="2026.11.0"),
    )
    for job, config in (("linkage", {}), ("returns", {}), ("release", measured), ("republish", written)):
        assert desk.launch(job, {"dagster/partition": cohort}, config)["run"]["status"] == "FAILURE"
    assert desk.launch("intake", {"dagster/partition": f"{cohort}|leeds"})["run"]["status"] == "FAILURE"
    assert read_state(root) == before


ELSEWHERE = "../../elsewhere"
NAMED = {"version": "2026.11.1"}


@pytest.mark.parametrize(
    ("job", "configs", "error"),
    [
        ("release", {"measurements": {"version": f"{ELSEWHERE}/2026.11.0"}}, "InvalidVersion"),
        ("release", {"measurements": {"version": "2026.11.99999"}}, "InvalidVersion"),
        ("release", {"measurements": {"version": "２０２６.11.0"}}, "InvalidVersion"),
        ("release", {"measurements": NAMED | {"with_cohorts": [ELSEWHERE]}}, "InvalidCohort"),
        ("release", {"measurements": NAMED | {"with_cohorts": ["2023/24"]}}, "InvalidCohort"),
        ("release", {"measurements": NAMED | {"share": 1e-9}}, "PolicyError"),
        ("release", {"measurements": NAMED | {"share": float("nan")}}, "PolicyError"),
        ("release", {"measurements": NAMED | {"reuse": True, "requests": [ELSEWHERE]}}, "ReleaseConflict"),
        (
            "release",
            {"measurements": NAMED | {"accept": [{"holds": [f"{ELSEWHERE}/leeds"], "reason": "so"}]}},
            "NotLinked",
        ),
        ("release", {"measurements": NAMED, "bundle": {"version": "2026.11.8"}}, "InvalidVersion"),
        ("republish", {}, "Refused"),
        ("republish", {"bundle": {"version": "2026.11.8"}}, "Refused"),
        ("republish", {"bundle": {"version": f"../{ELSEWHERE}"}}, "InvalidVersion"),
        ("publication", {"publish_op": {"version": ELSEWHERE}}, "StepFailed"),
        ("synthetic_children", {"synthetic_children": {"version": ELSEWHERE}}, "BundleRefused"),
        ("synthetic_children", {"synthetic_children": {"version": "2026.11.0", "cohort": ELSEWHERE}}, "BundleRefused"),
    ],
)
def test_no_value_of_a_launch_leads_elsewhere_or_charges(
    root: Path, desk: Desk, job: str, configs: dict[str, dict[str, Any]], error: str
) -> None:
    before = read_state(root)
    tags = {"dagster/partition": COHORT} if job in ("release", "republish") else {}
    ops = {op if op == "publish_op" else f"release__{op}": {"config": config} for op, config in configs.items()}
    run = desk.launch(job, tags, {"ops": ops})["run"]
    assert run["status"] == "FAILURE"
    assert desk.explain_failure(run["runId"]) == error
    assert read_state(root) == before


@pytest.mark.parametrize(
    "key",
    ["202425|../leeds", "202425|leeds/../leeds", "202425|.", "202425|", "..|leeds", "202425|leeds|leeds", "leeds"],
)
def test_a_partition_names_a_council_and_a_cohort(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_partition_key(key)


# --- What may be removed or forged in the history


def test_what_is_done_to_dagsters_history_moves_no_budget_and_no_file(root: Path, desk: Desk) -> None:
    before = read_state(root)
    key = {"path": ["release", "pupil_measurement"]}
    event = {"assetKey": key, "partitionKeys": [COHORT]}
    forged, check = event | {"eventType": "ASSET_MATERIALIZATION"}, event | {"checkName": "approval", "passed": True}
    for field, kind, value, answers in (
        (
            "reportRunlessAssetEvents(eventParams: $v)",
            "ReportRunlessAssetEventsParams!",
            forged,
            "ReportRunlessAssetEventsSuccess",
        ),
        # whatever it is answered, nothing is decided by it
        ("reportAssetCheckEvaluations(eventParams: $v)", "ReportAssetCheckEvaluationsParams!", check, ""),
        ("deleteRun(runId: $v)", "String!", desk.launch("retention")["run"]["runId"], "DeletePipelineRunSuccess"),
        (
            "wipeAssets(assetPartitionRanges: $v)",
            "[PartitionsByAssetSelector!]!",
            [{"assetKey": key}],
            "AssetWipeSuccess",
        ),
    ):
        answer = desk.ask(f"mutation M($v: {kind}) {{ found: {field} {{ __typename }} }}", v=value)
        assert answer["found"]["__typename"].startswith(answers), field
    component = desk.ask(
        'mutation { found: setAppManagedComponent(attributes: "", componentId: "x", locationName: "readiness",'
        ' componentType: "dagster.PythonScriptComponent") { __typename } }'
    )
    assert component["found"]["__typename"] == "UnauthorizedError"  # code cannot be added to a location
    assert read_state(root) == before
    again = desk.launch("release", {"dagster/partition": COHORT}, of_op("release__measurements", version="2026.11.0"))
    assert again["run"]["status"] == "FAILURE"
    assert read_state(root) == before


# --- Tests of sensors and schedules in the UI


def test_every_sensor_and_schedule_can_be_tested(root: Path, desk: Desk) -> None:
    repository, before = build_definitions().get_repository_def(), read_state(root)
    noon = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()
    found = {each.name: desk.try_out("sensor", each.name) for each in repository.sensor_defs}
    found |= {each.name: desk.try_out("schedule", each.name, timestamp=noon) for each in repository.schedule_defs}
    assert set(found) > {"restricted_automation", "landing_sensor", "nightly_intake"}
    assert {name: each["error"] for name, each in found.items() if each["error"]} == {}
    assert read_state(root) == before


def test_a_test_of_the_automation_says_what_it_would_link(desk: Desk) -> None:
    note_councils(desk.instance, ["leeds"])
    cursor, asked = None, []
    for moment in (dt.datetime(2026, 11, 25, 12), dt.datetime(2026, 11, 25, 23), dt.datetime(2026, 11, 26, 4, 1)):
        with freeze_time(moment.replace(tzinfo=dt.UTC)):
            if moment.hour == 23:
                key = build_partition_key("leeds", COHORT)
                desk.instance.report_runless_asset_event(
                    dg.AssetMaterialization(["restricted", "eyfsp"], partition=key)
                )
            found = desk.try_out("sensor", "restricted_automation", cursor=cursor)
        cursor = found["cursor"]
        asked.append([{tag["key"]: tag["value"] for tag in run["tags"]} for run in found["runRequests"]])
    assert asked[:2] == [[], []]
    (tags,) = asked[2]
    assert tags[WHY] == "extracts changed since the last linkage"
    assert tags["dagster/partition"] == COHORT


# --- Tags


def launch_queued(folder: Path, tags: Mapping[str, str]) -> tuple[dict[str, Any], list[dg.DagsterRunStatus]]:
    """What is answered to a launch where runs are queued as the shipped settings say, and how its run stands."""
    with open_desk(open_instance(Home(folder))) as desk:
        return desk.launch("retention", tags), [run.status for run in desk.instance.get_runs()]


@pytest.mark.parametrize("tag", ["dagster-k8s/config", "dagster-docker/container_context", "ecs/task_overrides"])
def test_a_run_whose_tags_speak_of_its_container_is_not_queued(tmp_path: Path, root: Path, tag: str) -> None:
    answer, found = launch_queued(tmp_path, {tag: json.dumps({"container_config": {"image": "attacker"}})})
    assert f"The run was not queued: its tags {tag} could change where it runs" in answer["message"]
    assert found == [dg.DagsterRunStatus.FAILURE]


def test_a_run_with_tags_of_ours_and_of_dagster_is_queued(tmp_path: Path, root: Path) -> None:
    inherited = {"docker/container_id": "1", "dagster/image": "x", ".dagster/grpc_info": "{}", "note": "by hand"}
    _, found = launch_queued(tmp_path, {WHY: "a test", "dagster/priority": "1", "spends_budget": "true"} | inherited)
    assert found == [dg.DagsterRunStatus.QUEUED]


def test_every_instance_that_is_shipped_checks_tags_and_repeats_nothing(tmp_path: Path) -> None:
    shipped = [*PROJECT.glob("packaging/containers/dagster/in_*.yaml"), PROJECT / "packaging/kubernetes/dagster.yaml"]
    shipped.append(PROJECT / "pipelines" / "dagster" / "dagster.yaml")
    assert len(shipped) == 4
    for path in shipped:
        settings = yaml.safe_load(path.read_text())
        assert settings["run_coordinator"]["class"] == "TagCheckingCoordinator", path
        assert "run_retries" not in settings, path
    with open_instance(Home(tmp_path)) as ours:
        assert type(ours.run_coordinator).__name__ == "TagCheckingCoordinator"
        assert not ours.run_retries_enabled


def test_a_tag_is_no_path_to_look_at(tmp_path: Path) -> None:
    """Whoever starts a run may write the tag by which commands find runs that were left over."""
    home = Home(tmp_path)
    home.prepare()
    (tmp_path / "loop").symlink_to("loop")  # opening it is an error, which stopped every command
    run = {"job_name": "retention", "status": dg.DagsterRunStatus.STARTED}
    with open_instance(home) as ours:
        for path in ("/etc/shadow", "../../loop", str(tmp_path / "loop")):
            ours.run_storage.add_run(dg.DagsterRun(**run, tags={PROCESS: path}))
        parent = dg.DagsterRun(**run, tags={PROCESS: "gone.alive"})
        ours.run_storage.add_run(parent)
        again = dg.DagsterRun(
            **run, tags={PROCESS: "gone.alive"}, parent_run_id=parent.run_id, root_run_id=parent.run_id
        )
        ours.run_storage.add_run(again)
    with open_working_instance(home) as (ours, _):
        found = {each.run_id: each.status for each in ours.get_runs()}
    assert found.pop(again.run_id) is dg.DagsterRunStatus.STARTED  # executed again in the UI, with the tags of before
    assert set(found.values()) == {dg.DagsterRunStatus.FAILURE}
