"""An installation with people of its own: the commands, their exit statuses, and Dagster, from hold to publication."""

import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from assets.home.installation import Installation
from assets.home.paths import Home
from ndl_export.bundle.verify import verify
from pipelines.dagster.jobs import approved_releases
from pipelines.definitions import build_definitions
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger
from tests.support.independent import write_extracts
from tests.support.installation.commands import build_settings, run_readiness
from tests.support.release.people import ANNA, BRAM, read_page, write_policy, write_publisher

pytestmark = pytest.mark.slow

COHORT, VERSION = "202425", "2026.11.0"


class Site:
    """Landing, home, keys and a policy that names two people."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, Home(root / "home")
        self.settings: dict[str, object] = {name: root / f"{name}.yaml" for name in ("policy", "publisher")}

    def readiness(self, *words: object, given: str | None = None, **more: object) -> subprocess.CompletedProcess[str]:
        return run_readiness(self.root, *words, given=given, **self.settings | more)

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.readiness("run", "--cohort", COHORT, "--release", VERSION, *more)

    def approve(self, *more: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """As somebody types it who reads the sheet before signing it."""
        about = ["approve", "--cohort", COHORT, "--release", VERSION, *(each for each in more if each == "--publish")]
        written = self.readiness(*about)
        if "--key" not in more or written.returncode:
            return written
        return self.readiness(
            *about, *(each for each in more if each not in about), *read_page(written.stdout), given=given
        )


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation up to its linkage; tests take a copy."""
    root = tmp_path_factory.mktemp("site")
    write_extracts(root / "landing", children=160, councils=("leeds", "wirral"))
    write_policy(root / "policy.yaml", [ANNA, BRAM])
    write_publisher(root / "publisher.yaml")
    KeyRing.create(root / "keys")
    done = Site(root).run("--until", "linkage")
    assert done.returncode == 0, done.stderr
    assert "ready up to its linkage; nothing was charged" in done.stdout
    return root


@pytest.fixture
def site(linked: Path, tmp_path: Path) -> Site:
    return Site(Path(shutil.copytree(linked, tmp_path / "site", symlinks=True)))


def test_hold_sign_go_on_hold_sign_go_on(site: Site) -> None:
    """With a placeholder for the publisher nothing is fixed or charged."""
    key = ANNA.write_key_file(site.root / "people")
    write_publisher(site.root / "publisher.yaml", address="https://data.authority.example/readiness")
    for done in (site.run(), site.approve("--key", str(key))):
        assert done.returncode == 1
        (sentence,) = (line for line in done.stderr.splitlines() if line.startswith("readiness: "))
        assert f"{site.root / 'publisher.yaml'}:1:1: address is a placeholder" in sentence
        assert "READINESS_PUBLISHER" in sentence
    assert not list(site.home.held.glob("*"))
    write_publisher(site.root / "publisher.yaml")
    held = site.run()
    assert held.returncode == 4
    (sentence,) = (line for line in held.stderr.splitlines() if line.startswith("readiness: "))
    assert "needs the signature of 1 person before it is measured" in sentence
    assert "readiness approve --home" in sentence
    assert Ledger(site.home.ledger).list_entries() == []
    assert not (site.home.release / VERSION).exists()

    assert site.approve().returncode == 0
    refused = site.approve("--key", "-", given="no key\n")
    assert refused.returncode == 1
    assert "what standard input gave is not an Ed25519 private key" in refused.stderr
    signed = site.approve("--key", "-", given=key.read_text())  # nobody's key has to be where the pipeline runs
    assert "1 of 1" in signed.stdout, signed.stderr
    measured = site.run()
    assert measured.returncode == 4
    assert "its bundle is made and held" in measured.stderr
    assert not (site.home.release / VERSION).exists()
    assert not (site.home.release / "latest").exists()
    assert not (site.home.release / "readiness.duckdb").exists()

    assert site.approve("--publish", "--key", str(BRAM.write_key_file(site.root / "people"))).returncode == 0
    published = site.run()
    assert published.returncode == 0, published.stderr
    assert verify(site.home.release / VERSION).ok
    everything = held.stdout + held.stderr + measured.stdout + measured.stderr + signed.stdout + published.stdout
    assert not [name for who in (ANNA, BRAM) for name in who.name.split() if name in everything]
    budget = site.readiness("budget").stdout
    assert "publication  statistics lead" in budget


def test_the_first_commands_keys_do_not_help_beside_a_policy_that_names_people(site: Site) -> None:
    other = site.root / "demonstration-keys"
    done = site.readiness("run", "--cohort", COHORT, "--release", VERSION, "--create-keys", keys=other)
    assert done.returncode == 4
    unnamed = site.readiness("run", "--cohort", COHORT, keys=other, policy="")
    assert unnamed.returncode == 4
    assert Ledger(site.home.ledger).list_entries() == []


def test_dagster_waits_and_its_sensor_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in build_settings(site.root, **site.settings).items():
        monkeypatch.setenv(name, value)
    installation = Installation.build()
    definitions = build_definitions(installation)

    def release(job: str, **given: object) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            return definitions.resolve_job_def(job).execute_in_process(instance=instance, **given)

    def requested() -> list[dg.RunRequest]:
        context = dg.build_sensor_context(resources={"installation": installation})
        return [each for each in approved_releases(context) or () if isinstance(each, dg.RunRequest)]

    config = {"ops": {"release__measurements": {"config": {"version": VERSION}}}}
    waits = release("release", partition_key=COHORT, run_config=config)
    assert waits.success
    checks = {each.check_name: each for each in waits.get_asset_check_evaluations()}
    check = checks["approval"]
    assert (check.passed, checks["holds"].passed) == (False, True)
    assert "before it is measured" in str(check.description)
    assert not waits.get_asset_materialization_events()
    assert requested() == []

    key = str(ANNA.write_key_file(site.root / "people"))
    for options, job in (((), "release"), (("--publish",), "republish")):
        assert site.approve("--key", key, *options).returncode == 0
        (request,) = requested()
        assert request.job_name == job
        goes_on = release(job, partition_key=request.partition_key, run_config=request.run_config)
        assert goes_on.success
    assert requested() == []
    assert verify(site.home.release / VERSION).ok
