"""Kubernetes: what the chart makes, and the Job that Dagster makes of a run, for which a small API stands in."""

import datetime as dt
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from assets.home.installation import Installation
from assets.home.paths import Home
from pipelines.dagster.jobs import approved_releases, landing_sensor
from pipelines.definitions import CodeLocation, build_definitions
from privacy.keys import KeyRing
from sources.extract.landing import READY
from tests.support import PROJECT, find_free_port
from tests.support.daily import mark_slow_after
from tests.support.installation import chart, cluster
from tests.support.installation.chart import find_manifest
from tests.support.waiting import wait_until

LOCATIONS = ("restricted", "release")
SECRETS = {"restricted": {"readiness-keys", "readiness-postgresql"}}
SECRETS["release"] = SECRETS["restricted"] | {"readiness-ledger"}
CLAIMS = {"restricted": {"readiness-home": True, "readiness-landing": True}, "release": {"readiness-home": True}}
"""Of a run: each namespace has its own `readiness-keys`."""


WITH_API = {"api": {"enabled": True}}


def before_the_chart() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((chart.CHART / "namespaces.yaml").read_text()))


def test_helm_and_kubernetes_accept_the_chart() -> None:
    assert chart.lint() == chart.lint(**WITH_API) == []
    manifests = [*before_the_chart(), *chart.render_manifests(**WITH_API)]
    written = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
    assert chart.find_faults([*manifests, *(each for text in written for each in yaml.safe_load_all(text))]) == {}
    known = {each["metadata"]["name"] for each in before_the_chart()}
    assert {each["metadata"]["namespace"] for each in chart.render_manifests(**WITH_API)} == known
    assert {each["metadata"]["namespace"] for each in chart.render_manifests()} == known - {"readiness-api"}
    levels = {each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for each in before_the_chart()}
    assert levels == {"restricted"}


def test_every_server_is_asked_whether_it_works() -> None:
    """What is asked of the daemon and the code locations is what Compose asks of them."""
    services = yaml.safe_load((PROJECT / "packaging" / "containers" / "compose.yaml").read_text())["services"]
    servers = {n: pod for n, pod in chart.list_pods(chart.render_manifests()).items() if n.startswith("Deployment ")}
    assert {name.partition("/")[2] for name in servers} == {"webserver", "daemon", "restricted", "release"}
    for name, pod in servers.items():
        (container,) = pod["containers"]
        role = name.partition("/")[2]
        asked = services[role]["healthcheck"]["test"]
        wanted = {"exec": {"command": asked.split()}}
        if role == "webserver":
            wanted = {"httpGet": {"path": "/server_info", "port": "http"}}
            assert f"{container['ports'][0]['containerPort']}/server_info" in asked
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert {key: value for key, value in container[probe].items() if key in ("exec", "httpGet")} == wanted, name
            assert container[probe]["timeoutSeconds"] >= 30, name  # asking loads Dagster
        start = container["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= 600, name


def test_pods_are_restricted_code_servers_have_no_keys_and_dagster_has_no_data() -> None:
    """Only Dagster's own may ask Kubernetes."""
    pods = chart.list_pods(chart.render_manifests())
    assert {name: wrong for name, pod in pods.items() if (wrong := chart.list_unrestricted(pod))} == {}
    with_token = {name for name, pod in pods.items() if pod["automountServiceAccountToken"]}
    assert with_token == {"Deployment readiness/webserver", "Deployment readiness/daemon"}
    bound = [
        each
        for each in chart.render_manifests()
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding", "ClusterRole")
    ]
    subjects = {(subject["name"], subject["namespace"]) for each in bound for subject in each["subjects"]}
    assert subjects == {("readiness-dagster", "readiness")}
    assert {each["kind"] for each in bound} == {"RoleBinding"}
    restricted, release = (pods[f"Deployment readiness-{each}/{each}"] for each in LOCATIONS)
    assert chart.list_secrets(restricted) == {"readiness-postgresql"}
    assert chart.list_secrets(release) == {"readiness-postgresql", "readiness-ledger", "readiness-alert"}
    assert chart.list_claims(restricted) == {"readiness-home": True, "readiness-landing": False}
    assert chart.list_claims(release) == {"readiness-home": True}
    for role in ("webserver", "daemon"):
        assert chart.list_secrets(pods[f"Deployment readiness/{role}"]) == {"readiness-postgresql"}
        assert chart.list_claims(pods[f"Deployment readiness/{role}"]) == {}
    for each in LOCATIONS:
        desk = pods[f"CronJob readiness-{each}/desk"]
        assert (chart.list_secrets(desk), chart.list_claims(desk)) == (SECRETS[each], CLAIMS[each])
        assert find_manifest("CronJob", "desk", f"readiness-{each}")["spec"]["suspend"] is True


def test_the_api_sees_what_is_published_and_nothing_else() -> None:
    """No key, no home, no way out; the release location alone writes what it serves."""
    manifests = chart.render_manifests(**WITH_API)
    pods = chart.list_pods(manifests)
    assert {name: wrong for name, pod in pods.items() if (wrong := chart.list_unrestricted(pod))} == {}
    api = pods["Deployment readiness-api/api"]
    assert (chart.list_claims(api), chart.list_secrets(api)) == ({"readiness-published": False}, set())
    assert api["securityContext"]["runAsUser"] == 10004
    assert api["automountServiceAccountToken"] is False
    (container,) = api["containers"]
    assert not {"env", "envFrom"} & container.keys()
    writes = {name for name, pod in pods.items() if chart.list_claims(pod).get("readiness-published")}
    assert writes == {"Deployment readiness-release/release", "CronJob readiness-release/desk"}
    (policy,) = (e for e in manifests if e["kind"] == "NetworkPolicy" and e["metadata"]["namespace"] == "readiness-api")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy["spec"]
    assert [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] == [8080]


def test_the_restricted_namespace_has_no_way_out() -> None:
    policies = [each for each in chart.render_manifests() if each["kind"] == "NetworkPolicy"]
    out: dict[str, list[int]] = {}
    for each in policies:
        ports = [port["port"] for rule in each["spec"].get("egress", ()) for port in rule["ports"]]
        out.setdefault(each["metadata"]["namespace"], []).extend(ports)
        assert all(rule.get("to") for rule in each["spec"].get("egress", ()))
    assert {name: sorted(ports) for name, ports in out.items()} == {
        "readiness": [53, 53, 4000, 5432, 6443],
        "readiness-restricted": [53, 53, 5432],
        "readiness-release": [53, 53, 443, 5432],
    }
    for namespace in ("readiness", "readiness-restricted", "readiness-release"):
        closed = find_manifest("NetworkPolicy", "readiness-closed", namespace)["spec"]
        assert closed["podSelector"] == {}
        assert closed["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in closed
    for each in LOCATIONS:
        (rule,) = find_manifest("NetworkPolicy", "readiness-location", f"readiness-{each}")["spec"]["ingress"]
        (source,) = rule["from"]
        assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "readiness"}


def test_the_instance_is_that_of_containers_but_for_the_launcher() -> None:
    ours = yaml.safe_load((chart.CHART / "dagster.yaml").read_text())
    theirs = yaml.safe_load((PROJECT / "packaging" / "containers" / "dagster" / "in_containers.yaml").read_text())
    assert {key for key in ours | theirs if ours.get(key) != theirs.get(key)} <= {"run_launcher", "run_monitoring"}
    longest = ours["run_monitoring"]["max_runtime_seconds"]
    assert longest == theirs["run_monitoring"]["max_runtime_seconds"]
    assert longest == ours["run_launcher"]["config"]["run_k8s_config"]["job_spec_config"]["active_deadline_seconds"]
    assert ours["run_monitoring"]["max_resume_run_attempts"] == 0
    assert "run_retries" not in ours
    said = find_manifest("ConfigMap", "readiness-dagster")["data"]
    assert yaml.safe_load(said["dagster.yaml"]) == ours


def test_web_server_and_daemon_find_the_code_servers_and_no_run() -> None:
    workspace = yaml.safe_load(find_manifest("ConfigMap", "readiness-dagster")["data"]["workspace.yaml"])
    servers = [entry["grpc_server"] for entry in workspace["load_from"]]
    assert [each["location_name"] for each in servers] == list(LOCATIONS)
    for server in servers:
        name, namespace = server["host"].split(".")
        service = find_manifest("Service", name, namespace)["spec"]
        server_pod = find_manifest("Deployment", name, namespace)["spec"]["template"]
        assert service["selector"].items() <= server_pod["metadata"]["labels"].items()
        assert service["ports"][0]["port"] == server["port"]
        command = server_pod["spec"]["containers"][0]["command"]
        assert command[command.index("-p") + 1] == str(server["port"])
        assert importlib.util.find_spec(command[command.index("-m") + 1])
        desk = find_manifest("CronJob", "desk", namespace)["spec"]["jobTemplate"]["spec"]["template"]
        assert not service["selector"].items() <= desk["metadata"]["labels"].items()


@pytest.mark.parametrize("part", [CodeLocation.RESTRICTED, CodeLocation.RELEASE])
def test_a_code_server_does_its_work_without_keys(part: CodeLocation, tmp_path: Path) -> None:
    """Every schedule, and every sensor that looks into folders, where no key is mounted."""
    landed = tmp_path / "landing" / "leeds" / "eyfsp" / "202425.csv"
    landed.parent.mkdir(parents=True)
    landed.write_text("upn")
    landed.with_name(landed.name + READY).touch()
    installation = Installation(tmp_path / "landing", Home(tmp_path / "home"), Path("/not/mounted"))
    definitions = build_definitions(installation, part)
    repository = definitions.get_repository_def()
    given: dict[str, Any] = {"repository_def": repository, "resources": {"installation": installation}}
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        now = dt.datetime.now(dt.UTC)
        for each in repository.schedule_defs:
            with dg.build_schedule_context(instance=instance, scheduled_execution_time=now, **given) as context:
                each.evaluate_tick(context)
        with dg.build_sensor_context(instance=instance, **given) as context:
            if part is CodeLocation.RESTRICTED:
                (run,) = landing_sensor(context).run_requests
                assert run.partition_key == "202425|leeds"
            else:
                assert [type(said) for said in approved_releases(context)] == [dg.SkipReason]


JOBS = {"restricted": "retention", "release": "analyst_database"}


def code_server(location: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a location's code server, but for what secrets and maps give it."""
    (container,) = find_manifest("Deployment", location, f"readiness-{location}")["spec"]["template"]["spec"][
        "containers"
    ]
    return container["command"], {each["name"]: each["value"] for each in container["env"] if "value" in each}


def told(location: str) -> JobPythonOrigin:
    """What a code server with that command and environment says of a job (a slow test asks a real one)."""
    command, environment = code_server(location)
    repository = RepositoryPythonOrigin(
        executable_path=sys.executable,
        code_pointer=ModuleCodePointer(command[command.index("-m") + 1], "defs", working_directory=None),
        container_image=environment["DAGSTER_CURRENT_IMAGE"],
        entry_point=["dagster"],
        container_context=json.loads(environment["DAGSTER_CONTAINER_CONTEXT"]),
    )
    return JobPythonOrigin(JOBS[location], repository)


@dataclass
class Installed:
    """The instance of the chart, but with storage of its own, whose launcher asks a cluster that stands in."""

    instance: dg.DagsterInstance
    cluster: cluster.Cluster

    def launch(
        self, location: str, tags: dict[str, str] | None = None, origin: JobPythonOrigin | None = None
    ) -> dg.DagsterRun:
        """A run of a location's first job, as the web server starts it; `origin` is what its code server says of it."""
        origin = origin or told(location)
        run = create_run_for_test(self.instance, origin.job_name, tags=tags, job_code_origin=origin)
        self.instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
        return run

    @property
    def job(self) -> dict[str, Any]:
        """The Job that was posted last."""
        return self.cluster.posted[-1]


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    if importlib.util.find_spec("dagster_k8s") is None:
        pytest.skip("dagster-k8s is not installed (extra `kubernetes`)")
    settings = yaml.safe_load((chart.CHART / "dagster.yaml").read_text())
    del settings["storage"]
    settings["local_artifact_storage"]["config"]["base_dir"] = str(tmp_path / "artifacts")
    outside = {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    settings["run_launcher"]["config"] |= outside
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    rights = cluster.list_rights([each for each in chart.render_manifests() if each["kind"] == "Role"])
    with (
        cluster.run_cluster(rights, tmp_path / "kubeconfig") as api,
        dg.DagsterInstance.from_config(str(home)) as instance,
    ):
        yield Installed(instance, api)


@pytest.mark.parametrize("location", mark_slow_after(1, LOCATIONS))
def test_a_run_is_a_job_with_the_secrets_of_its_location_alone(installed: Installed, location: str) -> None:
    installed.launch(location)
    job = installed.job
    assert chart.find_faults([job]) == {}
    assert job["metadata"]["namespace"] == f"readiness-{location}"
    (pod,) = chart.list_pods([job]).values()
    assert (chart.list_secrets(pod), chart.list_claims(pod)) == (SECRETS[location], CLAIMS[location])
    assert chart.list_unrestricted(pod) == set()
    assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (False, "readiness")
    assert pod["containers"][0]["image"] == yaml.safe_load((chart.CHART / "values.yaml").read_text())["image"]["name"]
    spec = job["spec"]
    assert (spec["backoffLimit"], pod["restartPolicy"], spec["ttlSecondsAfterFinished"]) == (0, "Never", 86400)
    assert pod["terminationGracePeriodSeconds"] >= 120
    service = find_manifest("Service", location, f"readiness-{location}")["spec"]["selector"]
    assert not service.items() <= spec["template"]["metadata"]["labels"].items()


EVIL = {
    "container_config": {
        "image": "registry.example.org/other",
        "env_from": [],
        "volume_mounts": [{"name": "theirs", "mount_path": "/theirs"}],
    },
    "pod_spec_config": {"volumes": [{"name": "theirs", "secret": {"secret_name": "readiness-keys"}}]},
    "merge_behavior": "SHALLOW",
}


def test_whoever_starts_a_run_decides_nothing_of_its_pod(installed: Installed) -> None:
    """Dagster's own launcher would follow this tag, and the release would be charged to no ledger that is kept."""
    installed.launch("release")
    plain = installed.job
    installed.launch("release", tags={"dagster-k8s/config": json.dumps(EVIL)})
    (before,), (after,) = chart.list_pods([plain]).values(), chart.list_pods([installed.job]).values()
    for pod in (before, after):
        del pod["containers"][0]["args"]  # the run's own
    assert before == after


def test_dagster_has_the_rights_that_it_needs_and_no_other(installed: Installed) -> None:
    launcher = installed.instance.run_launcher
    for location in LOCATIONS:
        run = installed.launch(location)
        assert launcher.check_run_worker_health(run).status.name == "RUNNING"
        assert launcher.get_run_worker_debug_info(run, include_container_logs=False)
        assert launcher.terminate(run.run_id)
    assert installed.cluster.jobs == {}
    assert installed.cluster.rights == installed.cluster.used
    assert all("events" in resource or "log" in resource for _, resource, _ in installed.cluster.refused)
    elsewhere = ("readiness", "batch/jobs", "create")
    assert elsewhere not in installed.cluster.rights


@pytest.mark.parametrize("lost", ["its pod failed", "it is gone"])
def test_a_lost_run_is_failed_at_the_next_look_and_not_started_again(installed: Installed, lost: str) -> None:
    instance = installed.instance
    run = installed.launch("restricted")
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run.run_id)
    ((key, job),) = installed.cluster.jobs.items()
    look(instance, run)
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED
    if lost == "it is gone":
        del installed.cluster.jobs[key]
    else:
        job["status"] = {"failed": 1}
    look(instance, run)
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE
    assert len(installed.cluster.posted) == 1


def look(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    record = instance.get_run_record_by_id(run.run_id)
    assert record
    monitor_started_run(instance, None, record, logging.getLogger("test"))


@pytest.mark.slow
def test_a_run_of_a_real_code_server_works_by_its_job_alone(installed: Installed, tmp_path: Path) -> None:
    """The code server has no keys; the Job's command, in a process without the Kubernetes API, has those of the run."""
    keys = tmp_path / "keys"
    KeyRing.create(keys)
    (tmp_path / "landing").mkdir()
    folders = {"READINESS_HOME": tmp_path / "home", "READINESS_LANDING": tmp_path / "landing"}
    environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    environment |= {key: str(value) for key, value in folders.items()}
    with asked(environment | {"READINESS_KEYS": "/not/mounted"}, installed.instance) as origin:
        assert origin.repository_origin.container_context == told("restricted").repository_origin.container_context
        assert origin.repository_origin.container_image == told("restricted").repository_origin.container_image
        run = installed.launch("restricted", origin=origin)
    (pod,) = chart.list_pods([installed.job]).values()
    assert (chart.list_secrets(pod), chart.list_claims(pod)) == (SECRETS["restricted"], CLAIMS["restricted"])
    (container,) = pod["containers"]
    (tmp_path / "kubeconfig").unlink()
    done = subprocess.run(
        [PROGRAM, *container["args"][1:]],
        env=environment | {"READINESS_KEYS": str(keys)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert installed.instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.SUCCESS


PROGRAM = str(Path(sys.executable).with_name("dagster"))


@contextmanager
def asked(environment: dict[str, str], instance: dg.DagsterInstance) -> Iterator[JobPythonOrigin]:
    """What the restricted location's code server says of its job, while it runs."""
    port = find_free_port()
    command, own = code_server("restricted")
    command = [PROGRAM, *command[1:]]
    command[command.index("-p") + 1] = str(port)
    with subprocess.Popen(command, env=environment | own, cwd=PROJECT, stderr=subprocess.DEVNULL) as server:
        try:
            healthy = [PROGRAM, "api", "grpc-health-check", "-p", str(port)]
            wait_until(lambda: subprocess.run(healthy, capture_output=True, check=False).returncode == 0, of=server)
            target = GrpcServerTarget(host="127.0.0.1", port=port, socket=None, location_name="restricted")
            with WorkspaceProcessContext(instance, target) as workspace:
                location = workspace.create_request_context().get_code_location("restricted")
                (repository,) = location.get_repositories().values()
                yield repository.get_full_job(JOBS["restricted"]).get_python_origin()
        finally:
            server.terminate()
