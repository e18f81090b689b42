"""Restricted and release work apart, each with its own secrets; PostgreSQL; and the files that deploy them."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from docker.types import LogConfig

from assets.catalogue.runs import RELEASE as RELEASE_TAG, SHARE, note_councils, tag_partition_range
from assets.home.installation import Installation
from assets.home.paths import Home
from ndl_export.bundle.verify import verify
from pipelines.definitions import CodeLocation, build_definitions
from privacy.doors.environment import ALERT, CALENDAR, COUNCILS, POLICY, PUBLISH_TO, PUBLISHER, RETENTION
from privacy.keys import PIPELINE, RELEASE, RESTRICTED, KeyProblem, KeyRing
from sources.extract.landing import list_councils
from tests.support import PROJECT, get_environment_without_settings
from tests.support.areas import describe_missing
from tests.support.installation.released import COHORT, Place
from tests.support.release import postgres

CONTAINERS = PROJECT / "packaging" / "containers"
VERSION = "2026.11.0"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's own storage, with the ledger beside it: a real PostgreSQL under the shipped settings."""
    settings = yaml.safe_load((CONTAINERS / "dagster" / "in_place.yaml").read_text())
    settings["local_artifact_storage"]["config"]["base_dir"] = str(tmp_path / "artifacts")
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with postgres.run_server() as server:
        url = server.build_url().replace("postgresql:", "postgresql+psycopg2:")
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"{url}&options=-csynchronous_commit%3Doff")  # events need no fsync
        monkeypatch.setenv("READINESS_LEDGER", server.build_url())
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert "Postgres" in type(instance.event_log_storage).__name__
            yield instance


def keys_of(place: Place, name: str, holder: tuple[str, ...]) -> Path:
    folder = place.root / name
    folder.mkdir(mode=0o700)
    for file in holder:
        shutil.copy(place.root / "keys" / file, folder / file)
    return folder


@pytest.mark.slow
def test_each_part_does_its_work_with_its_own_secrets(
    released: Place, tmp_path: Path, storage: dg.DagsterInstance
) -> None:
    place = Place(tmp_path)
    shutil.copytree(released.landing, place.landing)
    shutil.copytree(released.root / "keys", place.root / "keys")
    names = tuple(f"{name}.key" for name in ("linkage", "upn", "nhs", "linker", "row", "input-mac"))
    pairs = tuple(f"{name}{end}.pem" for name in ("intake", "tokens") for end in ("", ".pub"))
    intake_keys = keys_of(place, "restricted-keys", (*names, *pairs, "epoch"))
    release_keys = keys_of(place, "release-keys", ("input-mac.key", "signing.pem", "demo-approver.pem"))
    for folder, other in ((intake_keys, RELEASE), (release_keys, RESTRICTED), (intake_keys, PIPELINE)):
        with pytest.raises(KeyProblem, match="is missing"):
            KeyRing.load(folder, other)

    restricted = build_definitions(Installation(place.landing, place.home, intake_keys), CodeLocation.RESTRICTED)
    release = build_definitions(Installation(tmp_path / "not-mounted", place.home, release_keys), CodeLocation.RELEASE)
    councils = list_councils(place.landing)
    done = [
        run(
            restricted, "intake", storage, tags=tag_partition_range(councils, COHORT, note_councils(storage, councils))
        ),
        run(restricted, "linkage", storage, partition_key=COHORT),
    ]
    config = {"config": {"version": VERSION, "allow_missing": False, "share": None}}
    spend = {"ops": {"release__measurements": config}}
    done.append(run(release, "release", storage, partition_key=COHORT, run_config=spend))
    done.append(run(release, "analyst_database", storage))

    assert all(storage.get_run_by_id(run_id).is_success for run_id in done)
    tags = storage.get_run_by_id(done[2]).tags
    assert (tags[RELEASE_TAG], tags[SHARE]) == (VERSION, "as begun, else 1")
    assert verify(place.home.release / VERSION).ok
    charged = {entry.release for entry in place.home.open_ledger().list_entries() if entry.release}
    assert charged == {VERSION}
    assert place.home.ledger == os.environ["READINESS_LEDGER"]
    assert not (place.home.root / "ledger.sqlite").exists()


def run(definitions: dg.Definitions, job: str, instance: dg.DagsterInstance, **options: object) -> str:
    result = definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)
    failures = [event.message for event in result.all_events if event.is_failure]
    assert result.success, failures
    return result.run_id


def test_a_part_holds_nothing_of_the_other(tmp_path: Path) -> None:
    installation = Installation(tmp_path, Home(tmp_path / "home"), tmp_path)
    of = {part: build_definitions(installation, part) for part in CodeLocation}
    made = {part: {k.to_user_string() for k in d.resolve_asset_graph().executable_asset_keys} for part, d in of.items()}
    assert made[CodeLocation.RESTRICTED] | made[CodeLocation.RELEASE] | {"restricted/returns"} == made[CodeLocation.ALL]
    assert {key.partition("/")[0] for key in made[CodeLocation.RESTRICTED]} == {"restricted"}
    assert {key.partition("/")[0] for key in made[CodeLocation.RELEASE]} == {"release"}
    assert [schedule.name for schedule in of[CodeLocation.RELEASE].schedules or ()] == ["release_calendar"]
    sensors = {part: [sensor.name for sensor in d.sensors or ()] for part, d in of.items()}
    assert sensors[CodeLocation.RELEASE] == ["approved_releases", "failed_runs"]
    assert sorted(sensors[CodeLocation.RESTRICTED] + sensors[CodeLocation.RELEASE]) == sorted(sensors[CodeLocation.ALL])


BESIDE = ("compose.runs.yaml", "compose.tls.yaml", "compose.metrics.yaml", "compose.api.yaml")
"""What may be beside `compose.yaml`."""


def compose(file: str = "compose.yaml") -> dict[str, Any]:
    return yaml.safe_load((CONTAINERS / file).read_text())


def all_services() -> dict[str, dict[str, Any]]:
    """Every service, of those beside `compose.yaml` those that it does not have."""
    beside = (compose(f"compose.{name}.yaml")["services"] for name in ("tls", "metrics", "api"))
    return {name: service for services in (*beside, compose()["services"]) for name, service in services.items()}


def instance_settings(where: str) -> dict[str, Any]:
    return yaml.safe_load((CONTAINERS / "dagster" / f"{where}.yaml").read_text())


def test_compose_gives_each_service_its_own_secrets_and_limits_and_a_command_that_is_there() -> None:
    content, services = compose(), all_services()
    declared = set(content["secrets"])
    for name, service in services.items():
        assert set(service.get("secrets", ())) <= declared, name
        assert set(service["networks"]) <= set(content["networks"] | compose("compose.api.yaml")["networks"]), name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
    mounts = {name: " ".join(service.get("volumes", ())) for name, service in services.items()}
    assert {name for name, said in mounts.items() if "restricted-keys" in said} == {"restricted"}
    assert {name for name, said in mounts.items() if "release-keys" in said} == {"release"}
    assert {name for name, said in mounts.items() if "/data/landing" in said} == {"restricted"}
    assert {name for name, said in mounts.items() if "/data/home" in said} == {"restricted", "release", "metrics"}
    assert "/data/home:ro" in mounts["metrics"]
    assert mounts["proxy"] == "${READINESS_SECRETS}/tls:/run/tls:ro"
    with_ledger = {n for n, s in services.items() if "READINESS_LEDGER" in s.get("environment", {})}
    assert with_ledger == {"release", "metrics"}
    # The one that strangers reach sees what is published, and is alone in its network.
    assert mounts["api"] == "${READINESS_DATA}/published:/data/published:ro"
    assert services["api"]["user"] == "10004:10004"
    assert not {"secrets", "environment", "depends_on"} & services["api"].keys()
    assert {name for name, service in services.items() if "public" in service["networks"]} == {"api"}
    assert services["api"]["networks"] == ["public"]
    open_to_all = {n for n, s in services.items() if not all(p.startswith("127.0.0.1:") for p in s.get("ports", ()))}
    assert open_to_all == {"proxy"}
    assert services["proxy"]["networks"] == ["outside"]
    # Health, memory and the size of its log, so that none fills the machine or fails in silence.
    assert set(services) == {"postgres", "restricted", "release", "webserver", "daemon", "proxy", "metrics", "api"}
    for name, service in services.items():
        assert service["logging"] == content["x-logging"], name
        assert {key: value for key, value in service["healthcheck"].items() if key != "test"} == content["x-health"]
        assert re.fullmatch(r"(\$\{READINESS_\w+_MEMORY:-)?\d+[gm]\}?", service["mem_limit"]), name
        assert isinstance(service["healthcheck"]["test"], str), name  # podman-compose quotes a list wrongly
    for entry in yaml.safe_load((CONTAINERS / "dagster" / "workspace.yaml").read_text())["load_from"]:
        server = entry["grpc_server"]
        command = services[server["host"]]["command"]
        assert command[command.index("-p") + 1] == str(server["port"])
        assert importlib.util.find_spec(command[command.index("-m") + 1])


@pytest.mark.skipif(shutil.which("podman-compose") is None, reason=describe_missing("deployment", "podman-compose"))
@pytest.mark.parametrize("beside", [(), BESIDE])
def test_podman_compose_reads_what_is_beside_compose_yaml(beside: tuple[str, ...]) -> None:
    files = [word for file in ("compose.yaml", *beside) for word in ("-f", file)]
    command = ["podman-compose", "--env-file", "deployment.env", *files, "config"]
    environment = get_environment_without_settings()
    done = subprocess.run(command, cwd=CONTAINERS, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    wanted = {name for file in ("compose.yaml", *beside) for name in compose(file)["services"]}
    assert set(services) == wanted
    limits = {name: service["mem_limit"] for name, service in services.items()}
    assert (limits["restricted"], limits["release"], limits["postgres"]) == ("8g", "4g", "2g")
    assert "$" not in done.stdout.replace("$webserver", "")


def test_a_run_has_what_its_location_has_and_no_more() -> None:
    """Mounts, networks and settings of a run's container: those of the service that serves its code."""
    content, beside = compose(), compose("compose.runs.yaml")["services"]
    for name in ("restricted", "release"):
        service, own = content["services"][name], beside[name]["environment"]
        given = json.loads(own["DAGSTER_CONTAINER_CONTEXT"])["docker"]
        secrets = {f"${{READINESS_SECRETS}}/{each}:/run/secrets/{each}:ro" for each in service["secrets"]}
        volumes = {re.sub(r":\?[^}]*}", "}", volume) for volume in service["volumes"]}
        assert set(given["container_kwargs"]["volumes"]) == volumes | secrets
        settings = {f"{key}={value}" for key, value in service["environment"].items()}
        assert set(given["env_vars"]) == {each for each in settings if "DAGSTER_POSTGRES_URL" not in each}
        assert given["container_kwargs"]["mem_limit"] == service["mem_limit"]
        assert given["networks"] == [content["networks"][each]["name"] for each in service["networks"]]
        assert own["DAGSTER_CURRENT_IMAGE"] == service["image"]
    assert {name for name, service in beside.items() if "volumes" in service} == {"daemon"}  # the engine's socket
    homes = {name: service["environment"]["DAGSTER_HOME"] for name, service in beside.items()}
    assert homes == dict.fromkeys(("restricted", "release", "webserver", "daemon"), "/opt/dagster/in_containers")


def test_every_setting_of_compose_is_in_the_file_to_fill_in() -> None:
    """Empty where it may be: some engines hand on the name of a variable that they do not know."""
    used = {
        name for file in ("compose.yaml", *BESIDE) for name in re.findall(r"\$\{(\w+)", (CONTAINERS / file).read_text())
    }
    filled = re.findall(r"^(\w+)=", (CONTAINERS / "deployment.env").read_text(), re.MULTILINE)
    assert sorted(used) == sorted(filled)


def test_runs_in_containers_differ_in_how_they_run_alone_and_no_instance_keeps_output_or_sends_anything() -> None:
    in_place, in_containers = instance_settings("in_place"), instance_settings("in_containers")
    alone = yaml.safe_load((PROJECT / "pipelines" / "dagster" / "dagster.yaml").read_text())
    for settings in (alone, in_place, in_containers):
        assert settings["telemetry"] == {"enabled": False}
        assert settings["compute_logs"]["class"] == "NoOpComputeLogManager"
    assert in_containers["run_launcher"]["class"] == "TidyLauncher"
    kwargs = in_containers["run_launcher"]["config"]["container_kwargs"]
    service = compose()["services"]["restricted"]
    for setting in ("read_only", "cap_drop", "security_opt"):
        assert kwargs[setting] == service[setting]
    assert LogConfig(**kwargs["log_config"]) == LogConfig(
        type=service["logging"]["driver"], config=service["logging"]["options"]
    )
    assert in_containers["run_monitoring"]["max_resume_run_attempts"] == 0
    limits = [each["concurrency"]["runs"].pop("max_concurrent_runs") for each in (in_place, in_containers)]
    assert limits == [1, 4]
    for settings in (in_place, in_containers):
        for changed in ("run_launcher", "run_monitoring"):
            del settings[changed]
    assert in_place == in_containers


def test_settings_reach_the_location_that_reads_them() -> None:
    """Those of publication and alerts: the release location, which alone gets out. Files lie where both read them. Who
    may sign is recorded at the first intake, and so both have the policy."""
    wanted = {"restricted": {POLICY, RETENTION, COUNCILS}, "release": {POLICY, PUBLISHER, CALENDAR, PUBLISH_TO, ALERT}}
    services = compose()["services"]
    for name, settings in wanted.items():
        given = {key: value for key, value in services[name]["environment"].items() if key.startswith("READINESS_")}
        assert {key for key, value in given.items() if value == f"${{{key}:-}}"} == settings
        assert any(volume.endswith("/settings:/etc/readiness:ro") for volume in services[name]["volumes"])
    assert {name for name, service in services.items() if "outside" in service["networks"]} == {"webserver", "release"}


def test_the_image_gets_code_and_nothing_else() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for line in (CONTAINERS / "Containerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for source in [word for word in line.split()[1:-1] if not word.startswith("--")]
    }
    assert {
        source for source in copied if not any(source == each or source.startswith(f"{each}/") for each in allowed)
    } == set()
    assert {each for each in allowed if not any(source.startswith(each) for source in copied)} == set()
    assert all((PROJECT / source).exists() for source in copied)


INSTALLS = re.compile(r"\b(?:pip install|pipx install|uv add|uv tool install)\s+([^\n;`|#&()]+)")
RUNS = re.compile(r"\b(?:uvx|uv tool run|pipx run)\s+(\S+)")
"""What tells a person, or a machine, to take something from an index, with what is taken."""


def named_for_an_index(text: str) -> set[str]:
    """What a text tells to take from an index by name, as against a file."""
    told = [word for words in INSTALLS.findall(text) for word in words.split()] + RUNS.findall(text)
    words = {word.strip("'\",.") for word in told if not word.startswith("-")}
    return {re.split(r"[\[=<>~]", word)[0] for word in words if ".whl" not in word} - {""}


def test_nobody_is_told_to_install_a_name_that_we_do_not_hold() -> None:
    """No index has our packages: whoever asked one for them by name would get what a stranger puts there."""
    assert named_for_an_index("run: pip install 'readiness[publish]'") == {"readiness"}
    assert named_for_an_index("pip install './readiness_council-1-py3-none-any.whl[returns]'") == set()
    packages = ("sources", "privacy", "assets", "ndl_export", "pipelines")
    written = [path for folder in (*packages, "docs", "packaging") for path in (PROJECT / folder).rglob("*")]
    kinds = {".py", ".md", ".toml", ".yaml", ".sh", ".html", ".txt", ""}
    texts = [path for path in (*written, *PROJECT.glob("*")) if path.is_file() and path.suffix in kinds]
    assert len(texts) > 300
    told = {name for path in texts for name in named_for_an_index(path.read_text(encoding="utf-8"))}
    assert told == {"marimo", "uv"}  # of others, and known
