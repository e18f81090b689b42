"""The page on deployment, command by command: images, folders, services, a pilot from landing to bundle, and kills.

The tests follow one another, each with what the one before has made; the kills make what they need themselves.
"""

import base64
import codecs
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ndl_export.bundle.verify import verify
from ndl_export.facts.bundle_reader import read_contents
from privacy.release.ledger import Ledger
from sources.reference.places import PILOT
from tests.support import PROJECT, get_environment_without_settings
from tests.support.extracts import COHORT
from tests.support.installation.commands import READINESS
from tests.support.installation.containers import ENDED, SERVICES, Deployment
from tests.support.installation.engine import explain_absence
from tests.support.release.people import read_page
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(bool(explain_absence()), reason=explain_absence() or "-"),
]

FIRST = "2026.11.0"
EARLIER = "202324"
REVISIONS, SHARE = 4, 0.05
"""As many as the budget of a cohort holds beside the first release."""
KILLS = int(os.environ.get("READINESS_AUDIT_CONTAINER_KILLS", "2"))
COUNCILS = ("halton", "leeds", "sefton", "st-helens")
"""As many as are taken in at a time; each takes 15 s of a processor to start and to be taken in."""
OWNER = 10001
_UNTIL_IT_IS_NOTICED = 3.0
"""Seconds, after which what was killed is gone for others too."""
FOLDER = "packaging/containers"


def readiness(*words: str, **settings: str) -> str:
    """What a command of the project prints, outside of containers."""
    kept = get_environment_without_settings() | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([READINESS, *words], env=kept | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def measuring(version: str, **more: Any) -> dict[str, Any]:
    return {"ops": {"release__measurements": {"config": {"version": version, **more}}}}


def sign(deployed: Deployment, version: str, *more: str) -> None:
    """With a key that stays outside of the containers."""
    key = (deployed.root / "ada.pem").read_text()
    about = ["readiness", "approve", "--cohort", COHORT, "--release", version, *more]
    page = read_page(deployed.run_inside("release", *about))
    assert "Signed: " in deployed.run_inside("release", *about, *page, "--key", "-", given=key)


def release(deployed: Deployment, version: str, **more: Any) -> None:
    """A release of the cohort, by the UI's API, signed twice as the page says."""
    for stage in ((), ("--publish",)):
        deployed.run("release", "release", COHORT, measuring(version, **more))
        sign(deployed, version, *stage)
    deployed.run("release", "release", COHORT, measuring(version, **more))


def tables_of(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What is linked in a home folder, and the confidential tables, without the ids that each first linkage draws."""
    linked = home / "restricted" / "linked" / f"cohort={COHORT}"
    told = {
        "links": "SELECT list_sort(list(row_key)) AS rows FROM {} GROUP BY child_id ORDER BY ALL",
        "children": "SELECT * EXCLUDE (child_id) FROM {} ORDER BY ALL",
        "reviewed_children": "SELECT * EXCLUDE (child_id) FROM {} ORDER BY ALL",
        "responses": "FROM {} ORDER BY ALL",
    }
    files = {name: f"read_parquet('{linked / name}.parquet', hive_partitioning = false)" for name in told}
    with duckdb.connect() as database:
        return {name: database.sql(query.format(files[name])).fetchall() for name, query in told.items()}


def on_one_machine(deployed: Deployment, folder: Path) -> Path:
    """A home folder linked without containers, from the deployment's extracts under its keys."""
    secrets = deployed.root / "srv" / "secrets"
    keys = Path(shutil.copytree(secrets / "restricted-keys", folder / "keys"))
    shutil.copy(secrets / "release-keys" / "signing.pem", keys)
    home, landing = folder / "home", str(deployed.data / "landing")
    options = ("--landing", landing, "--home", str(home), "--cohort", COHORT, "--until", "linkage")
    readiness("run", *options, READINESS_KEYS=str(keys))
    return home


def owned(folder: Path) -> None:
    """Give a folder to the account of the containers."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OWNER, OWNER)


def check_without_rights(status: str) -> None:
    """A container's first process, by what the kernel says of it: no capability, and no way to get one."""
    told = dict(re.findall(r"^(\w+):\t(\S+)", status, re.MULTILINE))
    assert {int(told[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"
    assert int(told["Uid"]) in (OWNER, OWNER + 1, OWNER + 2)


def switch_to_containers(deployed: Deployment) -> None:
    deployed.run_commands("Runs in containers of their own", FOLDER)
    deployed.in_containers = True
    deployed.wait_until_loaded()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Brought up as the page says, with the extracts of four councils in landing."""
    made = Deployment(tmp_path_factory.mktemp("deployed"), f"readiness-{os.getpid()}")
    with made.run_engine():
        made.run_commands("Build")
        made.run_commands("Folders, keys and passwords")
        made.fill_in()
        readiness("synth", "--landing", str(made.data / "landing"), "--cohort", COHORT, "--yes")
        for council in set(PILOT) - set(COUNCILS):
            shutil.rmtree(made.data / "landing" / council)
        owned(made.data / "landing")
        made.run_commands("Start")
        made.wait_until_loaded()
        yield made


def test_the_images_hold_no_more_than_they_need(deployed: Deployment) -> None:
    for image, account in ((deployed.name, "10001:10001"), (f"{deployed.name}-postgres", "10002:10002")):
        (told,) = json.loads(deployed.engine.ask("image", "inspect", f"localhost/{image}:latest"))
        assert told["Config"]["User"] == account
        steps = deployed.engine.ask("history", "--no-trunc", "--format", "{{.CreatedBy}}", f"localhost/{image}:latest")
        assert "apt-get install" in steps
        said = " ".join(told["Config"]["Env"]) + steps
        assert not [word for word in ("password=", "SECRET", "TOKEN", "PGPASSWORD") if word in said]
    look = "for c in pip gcc curl; do command -v $c; done; find / -xdev -name '*.pem' -path '*keys*'; ls /src 2>&1"
    found = deployed.run_inside("restricted", "sh", "-c", f"{look} || true")
    assert found == "ls: cannot access '/src': No such file or directory"
    bill = json.loads(deployed.run_inside("daemon", "cat", "/opt/readiness/bill.cdx.json"))
    assert {"opendp", "dagster", "splink", "libc6", "python3.13"} <= {each["name"] for each in bill["components"]}
    assert "mbi" not in {each["name"] for each in bill["components"]}


def test_each_service_sees_its_own_and_no_more(deployed: Deployment) -> None:
    mounts, ways_out = {}, set()
    for service in SERVICES:
        (told,) = json.loads(deployed.engine.ask("inspect", deployed.find_container(service)))
        mounts[service] = {mount["Destination"] for mount in told["Mounts"]} - {"/tmp", "/run/postgresql"}
        assert told["HostConfig"]["ReadonlyRootfs"]
        assert (
            told["HostConfig"]["Memory"] == (8 if service == "restricted" else 4 if service == "release" else 2) << 30
        )
        assert told["HostConfig"]["LogConfig"]["Type"] in ("json-file", "k8s-file")
        deployed.wait_until_healthy(service)
        check_without_rights(deployed.run_inside(service, "cat", "/proc/1/status"))
        routes = deployed.run_inside(service, "cat", "/proc/net/route").splitlines()[1:]
        if any(route.split()[1] == "00000000" for route in routes):
            ways_out.add(service)
    both = {"/data/home", "/etc/readiness", "/run/keys"}
    assert mounts == {
        "postgres": {"/var/lib/postgresql/data", "/run/secrets/dagster_password", "/run/secrets/ledger_password"},
        "restricted": both | {"/data/landing", "/run/secrets/pgpass_dagster"},
        "release": both | {"/run/secrets/pgpass_release"},
        "webserver": {"/run/secrets/pgpass_dagster"},
        "daemon": {"/run/secrets/pgpass_dagster"},
    }
    assert ways_out == {"release", "webserver"}
    refused = deployed.run_inside("restricted", "sh", "-c", "psql --version 2>&1; touch /opt/x 2>&1 || true")
    assert "Read-only file system" in refused
    assert "0 wrong" not in deployed.run_commands("What is missing", FOLDER)


def test_people_get_in_through_the_proxy(deployed: Deployment) -> None:
    """And find the web server again when it was started again, perhaps at another address."""
    deployed.run_commands("TLS and a log-in", further={"openssl passwd -6": "echo horse | openssl passwd -6 -stdin"})
    deployed.compose("-f", "compose.tls.yaml", "up", "--detach", "proxy")
    context = ssl.create_default_context(cafile=str(deployed.root / "srv" / "secrets" / "tls" / "certificate.pem"))
    context.check_hostname = False

    def status(words: str) -> int:
        headers = {"Authorization": "Basic " + base64.b64encode(words.encode()).decode()}
        request = urllib.request.Request(f"https://127.0.0.1:{deployed.tls_port}/server_info", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return 0

    try:
        wait_until(lambda: status("ada:horse") == 200, every=1)
        assert status("ada:cow") == 401
        deployed.wait_until_healthy("proxy")
        check_without_rights(deployed.run_inside("proxy", "cat", "/proc/1/status"))
        deployed.engine.ask("restart", deployed.find_container("webserver"))
        wait_until(lambda: status("ada:horse") == 200, every=1)
    finally:
        deployed.engine.ask("rm", "--force", deployed.find_container("proxy"))
    deployed.wait_until_loaded()


def test_a_run_in_its_location(deployed: Deployment) -> None:
    deployed.add_council("halton")
    deployed.run("restricted", "intake", f"{COHORT}|halton")
    assert not deployed.run_containers(all_of_them=True)


def test_a_run_whose_location_was_killed_is_told_as_failed(deployed: Deployment) -> None:
    deployed.add_council("leeds")
    run = deployed.launch("restricted", "intake", f"{COHORT}|leeds")
    deployed.wait_until_started(run)
    assert deployed.kill(deployed.find_container("restricted"))
    assert deployed.wait_until_ended(run) == ["FAILURE"]
    deployed.wait_until_loaded()
    deployed.run("restricted", "intake", f"{COHORT}|leeds")


def test_intakes_go_side_by_side_in_containers_of_their_own(deployed: Deployment) -> None:
    switch_to_containers(deployed)
    deployed.start_sensor("restricted", "landing_sensor")

    def intakes() -> list[dict[str, Any]]:
        return [run for run in deployed.list_runs() if "docker/container_id" in run["tags"]]

    wait_until(lambda: len(intakes()) >= len(COUNCILS), patience=3600, every=2)
    assert set(deployed.wait_until_ended(*(run["runId"] for run in intakes()))) == {"SUCCESS"}
    ended = intakes()
    assert {run["tags"]["dagster/partition"] for run in ended} == {f"{COHORT}|{council}" for council in COUNCILS}
    at_once = [
        (one, other)
        for one, other in combinations(ended, 2)
        if max(one["startTime"], other["startTime"]) < min(one["endTime"], other["endTime"])
    ]
    assert len(at_once) >= 3


def test_cohorts_go_side_by_side_and_locks_reach_across_containers(deployed: Deployment) -> None:
    before = deployed.root / "before"
    readiness("synth", "--landing", str(before), "--cohort", EARLIER, "--yes")
    for source in (path.parent.name for path in before.glob(f"leeds/*/{EARLIER}.csv")):
        shutil.copy(before / "leeds" / source / f"{EARLIER}.csv", deployed.data / "landing" / "leeds" / source)
    owned(deployed.data / "landing")
    linkage = deployed.launch("restricted", "linkage", COHORT)
    intake = deployed.launch("restricted", "intake", f"{EARLIER}|leeds")
    home = "Home(pathlib.Path('/data/home'))"
    paths = "import pathlib; from assets.home.paths import Home; from assets.home.home_lock import lock_home"
    alone = f"{paths}; lock_home({home}, 0.0).__enter__()"
    refused = False
    while not refused and not set(deployed.list_status(linkage, intake)) <= ENDED:
        told = deployed.run_inside("release", "sh", "-c", f'python -c "{alone}" 2>&1 || true')
        refused = "InUse: /data/home: a run is at work in it" in told
    assert refused
    assert deployed.wait_until_ended(linkage, intake) == ["SUCCESS", "SUCCESS"]
    one, other = (run for run in deployed.list_runs() if run["runId"] in (linkage, intake))
    assert max(one["startTime"], other["startTime"]) < min(one["endTime"], other["endTime"])


def test_a_run_has_the_mounts_of_its_location(deployed: Deployment) -> None:
    """Of the restricted location landing and its keys; of the release location neither."""
    of_both = {"/data/home", "/etc/readiness", "/run/keys"}
    wanted = {
        "linkage": (of_both | {"/data/landing", "/run/secrets/pgpass_dagster"}, "restricted-keys", 1),
        "release": (of_both | {"/run/secrets/pgpass_release"}, "release-keys", 2),
    }
    for job, (mounts, keys, networks) in wanted.items():
        location = "release" if job == "release" else "restricted"
        run = deployed.launch(location, job, COHORT, measuring(FIRST) if job == "release" else None)
        while not (found := deployed.run_containers(run)):
            assert not ENDED.intersection(deployed.list_status(run))
            time.sleep(0.2)
        (told,) = json.loads(deployed.engine.ask("inspect", *found))
        by_place = {mount["Destination"]: mount.get("Source", "") for mount in told["Mounts"]}
        assert set(by_place) - {"/tmp"} == mounts
        assert by_place["/run/keys"].endswith(f"/{keys}")
        assert len(told["NetworkSettings"]["Networks"]) == networks
        assert told["HostConfig"]["ReadonlyRootfs"]
        assert told["HostConfig"]["Memory"] == (4 if job == "release" else 8) << 30
        check_without_rights(deployed.engine.ask("exec", *found, "cat", "/proc/1/status"))
        assert deployed.wait_until_ended(run) == ["SUCCESS"]


def test_after_a_power_cut_everything_comes_back(deployed: Deployment) -> None:
    """By itself, as the machine starts again; the run that was at work is told as failed, and can be repeated."""
    run = deployed.launch("restricted", "linkage", COHORT)
    deployed.wait_until_started(run)
    deployed.engine.cut_power()
    deployed.engine.start()
    deployed.wait_until_loaded()
    assert deployed.wait_until_ended(run) == ["FAILURE"]
    deployed.run("restricted", "linkage", COHORT)


def test_from_landing_to_bundle_as_on_one_machine(deployed: Deployment, tmp_path: Path) -> None:
    release(deployed, FIRST)
    published = deployed.data / "home" / "release" / FIRST
    assert verify(published).ok
    assert tables_of(deployed.data / "home") == tables_of(on_one_machine(deployed, tmp_path))
    assert "tables are what the noisy counts give" in readiness("recompute", str(published))


def test_moved_to_one_machine_it_gives_the_same_bytes(deployed: Deployment) -> None:
    """From a copy of the home folder and a backup of records, by one process with its ledger in a file."""
    one = deployed.root / "one"
    one.mkdir()
    (recipient,) = re.findall(r"age1\w+", readiness("returns", "keygen", "--out", str(one / "operator.key")))
    (custodian,) = re.findall(r"age1\w+", readiness("returns", "keygen", "--out", str(deployed.root / "custodian.key")))
    for folder in ("backup", "vault"):
        (deployed.root / folder).mkdir()
        owned(deployed.root / folder)
    deployed.run_commands("Backup", FOLDER, {"age1...custodian": custodian, "age1...": recipient})
    kept = sorted(re.sub(r"-\d.*", "", path.name) for path in (deployed.root / "vault").iterdir())
    assert kept == ["readiness-keys-release", "readiness-keys-restricted"]
    (backup,) = (deployed.root / "backup").glob("readiness-records-*.age")
    shutil.copy(backup, one / "records.age")
    shutil.copytree(deployed.data / "home", one / "home", symlinks=True)
    keys = Path(shutil.copytree(deployed.root / "srv" / "secrets" / "restricted-keys", one / "keys"))
    shutil.copy(deployed.root / "srv" / "secrets" / "release-keys" / "signing.pem", keys)
    owned(one)
    restore = ("restore", "records", "/one/records.age", "--identity", "/one/operator.key", "--yes")
    deployed.run_alone(one, *restore)
    bundle = deployed.data / "home" / "release" / FIRST
    restored = one / "home" / "release" / FIRST
    assert read_contents(restored) == read_contents(bundle)
    shutil.rmtree(restored)
    deployed.run_alone(one, "run", "--cohort", COHORT, "--release", FIRST)
    assert read_contents(restored) == read_contents(bundle)
    entries = Ledger(one / "home" / "ledger.sqlite").list_entries()
    told = json.loads(deployed.run_inside("release", "readiness", "budget", "--json"))
    charged = {charge["entry"] for account in told for charge in account["charges"]}
    assert charged == {entry.entry_hash for entry in entries if entry.entry_hash in charged}
    assert len({(entry.release, entry.family) for entry in entries if entry.release}) == len(charged)


def test_both_databases_move_to_a_new_server(deployed: Deployment) -> None:
    """As to another major version of PostgreSQL, which does not take the folder of the one before."""
    budget = deployed.run_inside("release", "readiness", "budget", "--json")
    runs = {run["runId"] for run in deployed.list_runs()}
    deployed.run_commands("A new major version of PostgreSQL", FOLDER)
    deployed.in_containers = False
    deployed.wait_until_loaded()
    assert deployed.run_inside("postgres", "ls", "/var/lib/postgresql/data").split() == ["17", "before"]
    assert deployed.run_inside("release", "readiness", "budget", "--json") == budget
    # A sensor may request runs at any moment: the earlier ones must be there, and perhaps more.
    assert runs <= {run["runId"] for run in deployed.list_runs()}
    told = deployed.run_inside("release", "readiness", "doctor")
    assert re.search(r"PostgreSQL: [1-9]\d* entries, unbroken", told), told
    earlier = "mkdir /var/lib/postgresql/data/16; start-postgres 2>&1 || true"
    said = deployed.engine.ask(
        "run", "--rm", "--network", "none", f"localhost/{deployed.name}-postgres", "sh", "-c", earlier
    )
    assert "data/16 was made by another version of PostgreSQL than this one, 17: see docs/deployment.md" in said


def send_again(council: Path) -> None:
    """The same rows in files with other bytes, so that they are taken in anew."""
    for file in council.glob(f"*/{COHORT}.csv"):
        content = file.read_bytes()
        file.write_bytes(content + "\n".encode("utf-16-le" if content.startswith(codecs.BOM_UTF16_LE) else "ascii"))


def kills_in_a_run(deployed: Deployment, chance: random.Random, location: str, job: str, *more: Any) -> list[str]:
    """Return what was killed while a run was at work, which is started again until it succeeds."""
    killed: list[str] = []
    while True:
        deployed.wait_until_loaded()
        run = deployed.launch(location, job, *more)
        if not killed or chance.random() < 0.5:
            time.sleep(chance.uniform(0, 15))
            if what := deployed.kill_one_at_random(chance):
                killed.append(what)
                time.sleep(_UNTIL_IT_IS_NOTICED)
        (ended,) = deployed.wait_until_ended(run)
        print(f"{job}: {ended.lower()}, killed so far: {', '.join(killed) or 'nothing'}", flush=True)
        if ended == "SUCCESS":
            return killed


def leave_a_container_behind(deployed: Deployment) -> None:
    """As where the daemon is killed between making the container of a run and starting it."""
    ended = next(run["runId"] for run in deployed.list_runs() if run["status"] in ENDED)
    of = ("--label", f"dagster/run_id={ended}", "--network", f"{deployed.name}-inside")
    deployed.engine.ask("create", *of, f"localhost/{deployed.name}:latest", "true")


def test_kills_at_random(deployed: Deployment, tmp_path: Path) -> None:
    """Whatever is killed and when: what is started again completes, nothing is lost, and nothing spent twice."""
    if not deployed.in_containers:
        switch_to_containers(deployed)
    if not (deployed.data / "home" / "release" / FIRST).exists():
        for council in COUNCILS:
            deployed.add_council(council)
        intakes = [deployed.launch("restricted", "intake", f"{COHORT}|{council}") for council in COUNCILS]
        assert set(deployed.wait_until_ended(*intakes)) == {"SUCCESS"}
        deployed.run("restricted", "linkage", COHORT)
        release(deployed, FIRST)
    seed = random.randrange(1 << 32)
    chance, killed, revisions = random.Random(seed), list[tuple[str, str]](), 0
    while len(killed) < KILLS:
        council, job = chance.choice(COUNCILS), chance.choice(("intake", "linkage", "release"))
        if job == "intake":
            send_again(deployed.data / "landing" / council)
            what = kills_in_a_run(deployed, chance, "restricted", "intake", f"{COHORT}|{council}")
        elif job == "linkage" or revisions == REVISIONS:
            what = kills_in_a_run(deployed, chance, "restricted", "linkage", COHORT)
        else:
            revisions += 1
            version = f"2026.11.{revisions}"
            deployed.run("restricted", "linkage", COHORT)
            deployed.run("release", "release", COHORT, measuring(version, share=SHARE))
            sign(deployed, version)
            what = kills_in_a_run(deployed, chance, "release", "release", COHORT, measuring(version, share=SHARE))
        killed += [(job, each) for each in what]
    print(f"seed {seed}: {killed}")

    accounts = json.loads(deployed.run_inside("release", "readiness", "budget", "--json"))
    for account in accounts:
        charges = [(charge["release"], charge["family"]) for charge in account["charges"]]
        assert len(set(charges)) == len(charges)
        assert {charge["state"] for charge in account["charges"]} == {"measured"}
        assert {release for release, _ in charges} == {FIRST, *(f"2026.11.{each + 1}" for each in range(revisions))}
    deployed.run("restricted", "intake", f"{COHORT}|{COUNCILS[0]}")
    leave_a_container_behind(deployed)
    deployed.run("restricted", "linkage", COHORT)
    assert tables_of(deployed.data / "home") == tables_of(on_one_machine(deployed, tmp_path))
    assert verify(deployed.data / "home" / "release" / FIRST).ok
    assert "none changed or removed" in deployed.run_inside("restricted", "readiness", "doctor")
    assert not list((deployed.data / "home" / "restricted").glob("staging-*"))
    assert not [path for path in (deployed.data / "home" / "release").iterdir() if path.name.startswith(".")]
    wait_until(lambda: not deployed.run_containers(all_of_them=True), every=1)  # the engine itself removes the last one
