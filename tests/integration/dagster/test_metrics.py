"""`readiness metrics`: what Prometheus is told, read by Prometheus's own parser."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assets.home.paths import Home
from pipelines.dagster.instance import open_instance
from tests.support import find_free_port
from tests.support.installation.commands import READINESS, invoke
from tests.support.waiting import wait_until

NAMES = {
    "readiness_last_success_timestamp_seconds",
    "readiness_last_failure_timestamp_seconds",
    "readiness_runs_failed",
    "readiness_newest_delivery_timestamp_seconds",
    "readiness_releases_waiting",
    "readiness_disk_free_bytes",
    "readiness_budget_cap_rho",
    "readiness_budget_remaining_rho",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A release charged and one held for publication, an extract in, a job that succeeded and one that failed."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home = Home(tmp_path / "home")
    home.prepare()
    ledger = home.open_ledger()
    ledger.approve("202425", 0.3)
    ledger.commit(ledger.reserve("202425", "2026.11.0", "pupil", 0.1, "a" * 64, "c" * 64), "b" * 64)
    (home.held / "2026.11.0").mkdir(parents=True)
    quality = home.get_extract("eyfsp", "202425", "leeds").quality
    for path in (home.get_decision_sheet_path("2026.11.0", "publication"), quality):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"rows_read": 4711}')
    os.utime(quality, (1_790_000_000, 1_790_000_000))

    @dg.op
    def fails() -> None:
        raise ValueError("Zzyzxwick, born 2020-02-29")

    @dg.op
    def succeeds() -> None: ...

    with open_instance(home) as history:
        for name, op in (("intake", fails), ("linkage", succeeds)):
            dg.GraphDefinition(name, node_defs=[op]).to_job().execute_in_process(instance=history, raise_on_error=False)
    return home


def parse_metrics(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """By metric and values of its labels; Prometheus's own parser reads it."""
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_it_says_how_the_installation_stands(home: Home) -> None:
    done = invoke("metrics", "--home", home.root, "--landing", home.root.parent / "none")
    assert done.exit_code == 0, done.output
    found = parse_metrics(done.output)
    assert set(found) == NAMES
    assert found["readiness_budget_remaining_rho"] == {("202425", "child"): pytest.approx(0.2)}
    assert found["readiness_budget_cap_rho"] == {("202425", "child"): 0.3}
    assert found["readiness_releases_waiting"] == {("measurement",): 0, ("publication",): 1}
    assert found["readiness_newest_delivery_timestamp_seconds"] == {("eyfsp",): 1_790_000_000}
    assert set(found["readiness_disk_free_bytes"]) == {("home",)}
    assert set(found["readiness_last_success_timestamp_seconds"]) == {("linkage",)}
    assert time.time() - found["readiness_last_failure_timestamp_seconds"][("intake",)] < 3600
    failed = found["readiness_runs_failed"]
    assert (failed[("intake",)], failed[("linkage",)], failed[("release",)]) == (1, 0, 0)
    assert "4711" not in done.output
    assert "Zzyzxwick" not in done.output


def test_a_home_that_is_new_has_metrics_and_one_that_is_not_there_has_none(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    done = invoke("metrics", "--home", tmp_path / "new")
    assert set(parse_metrics(done.output)) <= NAMES
    assert not (tmp_path / "new" / "dagster").exists()
    assert invoke("metrics", "--home", tmp_path / "none").exit_code == 1


@pytest.mark.parametrize("listen", ["9464", ":9464", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:http"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, listen: str) -> None:
    done = invoke("metrics", "--home", tmp_path, "--listen", listen)
    assert done.exit_code == 2
    assert "127.0.0.1:9464" in done.output


def test_it_answers_scrapes(home: Home) -> None:
    port = find_free_port()
    with subprocess.Popen([READINESS, "metrics", "--home", home.root, "--listen", f"127.0.0.1:{port}"]) as process:

        def scrape() -> bytes:
            with (
                suppress(urllib.error.URLError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer,
            ):
                return bytes(answer.read())
            return b""

        try:
            assert set(parse_metrics(wait_until(scrape, of=process).decode())) == NAMES
        finally:
            process.kill()
