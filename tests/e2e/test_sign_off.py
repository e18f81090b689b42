"""An installation with people of its own: the commands, their exit statuses, and Dagster, from hold to publication."""

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from assets.home.installation import Installation
from ndl_export.bundle.verify import verify
from pipelines.cli import main
from pipelines.dagster.jobs import approved_releases
from pipelines.definitions import build_definitions
from privacy.keys import KeyRing
from tests.support.independent import write_extracts
from tests.support.installation.commands import build_settings
from tests.support.release.people import ANNA, BRAM, name_people, read_page

pytestmark = pytest.mark.slow

COHORT, VERSION = "202425", "2026.11.0"


class Site:
    """An installation whose policy names two people; `said` is all that its commands print."""

    def __init__(self, root: Path) -> None:
        write_extracts(root / "landing", children=160, councils=("leeds", "wirral"))
        KeyRing.create(root / "keys")
        self.root, self.said = root, ""

    def readiness(self, *words: str, given: str | None = None) -> Result:
        done = CliRunner().invoke(main, [*words, "--cohort", COHORT, "--release", VERSION], input=given)
        self.said += done.output
        return done

    def approve(self, key: str, *more: str, given: str | None = None) -> Result:
        """As somebody types it who reads the sheet before signing it."""
        written = self.readiness("approve", *more)
        return self.readiness("approve", *more, *read_page(written.stdout), "--key", key, given=given)

    def release(self, job: str, **given: object) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            found = build_definitions(Installation.build()).resolve_job_def(job)
            return found.execute_in_process(instance=instance, **given)

    def list_requested(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(resources={"installation": Installation.build()})
        return [each for each in approved_releases(context) or () if isinstance(each, dg.RunRequest)]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    name_people(tmp_path, monkeypatch, [ANNA, BRAM])
    for name, value in build_settings(tmp_path).items():
        monkeypatch.setenv(name, value)
    linked = site.readiness("run", "--until", "linkage")
    assert "ready up to its linkage; nothing was charged" in linked.stdout, linked.stderr
    return site


def test_hold_sign_go_on_hold_sign_go_on(site: Site) -> None:
    """Whoever waits is told what to type; nothing is charged or published before; no name is printed."""
    held, home = site.readiness("run"), Installation.build().home
    assert held.exit_code == 4
    (sentence,) = (line for line in held.stderr.splitlines() if line.startswith("readiness: "))
    assert "needs the signature of 1 person before it is measured" in sentence
    assert "readiness approve --home" in sentence
    config = {"ops": {"release__measurements": {"config": {"version": VERSION}}}}
    waits = site.release("release", partition_key=COHORT, run_config=config)
    assert waits.success
    checks = {each.check_name: each for each in waits.get_asset_check_evaluations()}
    assert (checks["approval"].passed, checks["holds"].passed) == (False, True)
    assert "before it is measured" in str(checks["approval"].description)
    assert not waits.get_asset_materialization_events()
    assert (site.list_requested(), home.open_ledger().list_entries()) == ([], [])

    refused = site.approve("-", given="no key\n")
    assert refused.exit_code == 1
    assert "what standard input gave is not an Ed25519 private key" in refused.stderr
    annas, brams = (who.write_key_file(site.root / "people") for who in (ANNA, BRAM))
    read = annas.read_text()  # nobody's key has to be where the pipeline runs
    for words, given, job in ((("-",), read, "release"), ((str(brams), "--publish"), None, "republish")):
        assert not any((home.release / name).exists() for name in (VERSION, "latest", "readiness.duckdb"))
        assert "1 of 1" in site.approve(*words, given=given).stdout
        (request,) = site.list_requested()
        assert request.job_name == job
        assert site.release(job, partition_key=request.partition_key, run_config=request.run_config).success
    assert site.list_requested() == []
    assert verify(home.release / VERSION).ok
    assert not [name for who in (ANNA, BRAM) for name in who.name.split() if name in site.said]
    assert "publication  statistics lead" in CliRunner().invoke(main, ["budget"]).stdout
