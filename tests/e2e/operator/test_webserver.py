"""The real web server over a finished run: it loads without an error and leaks nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from playwright.sync_api import Browser

from assets.catalogue.descriptions import ALLOWED
from assets.catalogue.runs import BY, RELEASE, WHY
from tests.support import PROJECT
from tests.support.browser import IN_A_BROWSER, start_browser
from tests.support.installation.rig import COHORT, COUNCILS, FIRST, Site, check_nothing_leaked, copy_finished_site
from tests.support.installation.server import Server, serve_site
from tests.support.planted import IDENTIFIERS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

METADATA = """metadataEntries { __typename label description
  ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on PathMetadataEntry { path }
  ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } ... on JsonMetadataEntry { jsonString }
  ... on TableSchemaMetadataEntry { schema { columns { name description } } } }"""
ASSETS = f"""{{ assetNodes {{ id description groupName kinds tags {{ key value }} owners {{ __typename }}
  hasMaterializePermission assetKey {{ path }} {METADATA}
  assetMaterializations(limit: 100) {{ runId {METADATA} }} }} }}"""
RUNS = """{ runsOrError { ... on Runs { results { id status jobName tags { key value } } } } }"""
EVENTS = """query Q($run: ID!, $after: String) { logsForRun(runId: $run, afterCursor: $after) { __typename
  ... on EventConnection { cursor hasMore events { __typename ... on MessageEvent { message stepKey } } } } }"""
BACKFILL = """mutation B($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return copy_finished_site(tmp_path_factory)[0].copy(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    with serve_site(site) as running:
        yield running


@pytest.fixture(scope="module")
def everything(server: Server) -> dict[str, Any]:
    """All that the server says: assets with their metadata, runs with their tags, every event."""
    runs = server.ask(RUNS)["runsOrError"]["results"]
    return {
        "assets": server.ask(ASSETS)["assetNodes"],
        "runs": runs,
        "events": [_events(server, r["id"]) for r in runs],
    }


def _events(server: Server, run: str) -> list[dict[str, Any]]:
    found, after = [], None
    while True:
        page = server.ask(EVENTS, run=run, after=after)["logsForRun"]
        found += page["events"]
        if not page["hasMore"]:
            return found
        after = page["cursor"]


def test_runs_say_who_and_why_and_nothing_that_it_says_leaks(everything: dict[str, Any], site: Site) -> None:
    """No planted identifier; no number of linked children, in no message and no metadata, which is of the list."""
    tags = {run["jobName"]: {tag["key"]: tag["value"] for tag in run["tags"]} for run in everything["runs"]}
    assert all(each[BY] and each[WHY] == "readiness run" for each in tags.values())
    assert (tags["release"][RELEASE], tags["release"]["spends_budget"]) == (FIRST, "true")
    said = json.dumps(everything)
    assert not [word for word in IDENTIFIERS if word.lower() in said.lower()]
    linked = site.restricted / "linked" / f"cohort={COHORT}"
    links = pq.read_table(linked / "links.parquet")
    counts = {links.num_rows, len(set(links["child_id"].to_pylist()))}
    counts |= {pq.read_metadata(path).num_rows for path in linked.glob("*.parquet")}
    counts = {count for count in counts if count > 9}  # smaller ones are everywhere
    texts = [str(event.get("message")) for events in everything["events"] for event in events]
    numbers = {int(found) for text in texts for found in re.findall(r"(?<![\w.:-])\d+(?![\w.:-])", text)}
    made = [each for asset in everything["assets"] for each in asset["assetMaterializations"]]
    entries = [entry for each in made for entry in each["metadataEntries"]]
    numbers |= {entry["intValue"] for entry in entries if entry.get("intValue") is not None}
    labels = {entry["label"] for entry in entries}
    assert {"rows_read", "rho", "release"} <= labels
    assert not [label for label in labels if not any(re.fullmatch(pattern, label) for pattern in ALLOWED)]
    assert not counts & numbers, counts & numbers


def test_what_containers_and_pods_ask_of_a_server_is_answered(server: Server, site: Site, tmp_path: Path) -> None:
    """Of the daemon: while it is at work, and not where it never was."""
    services = yaml.safe_load((PROJECT / "packaging" / "containers" / "compose.yaml").read_text())["services"]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def asked(service: str, home: Path) -> int:
        command = services[service]["healthcheck"]["test"].replace("http://127.0.0.1:3000", server.url)
        environment = os.environ | {"PATH": programs, "DAGSTER_HOME": str(home)}
        return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, check=False).returncode

    assert asked("webserver", tmp_path) == 0
    wait_until(lambda: asked("daemon", site.home / "dagster") == 0)
    assert asked("daemon", tmp_path) == 1


@IN_A_BROWSER
def test_pages_load_without_an_error(server: Server) -> None:
    """The asset graph, an asset of each group, jobs, automation, runs: no error in the console, none on the page."""
    assets = ("restricted/eyfsp", "restricted/links", "restricted/children", "release/bundle")
    paths = (
        *("/asset-groups", *(f"/assets/{asset}?view=overview" for asset in assets)),
        *("/locations/readiness/jobs/release/playground", "/jobs", "/automation", "/runs"),
        "/assets/restricted/children?view=lineage&lineageScope=upstream",
    )
    with start_browser() as browser:
        for path in paths:
            said, text = _open_page(browser, server.url + path)
            if said and all(each.endswith(_CUT_OFF) for each in said):
                said, text = _open_page(browser, server.url + path)
            assert said == [], path
            assert "An error occurred" not in text, text
            assert "PythonError" not in text, text
            assert not [word for word in IDENTIFIERS if word.lower() in text.lower()]


_CUT_OFF = "Failed to fetch"
"""What the browser says when a busy machine drops a connection. Such a page is opened once more."""


def _open_page(browser: Browser, url: str) -> tuple[list[str], str]:
    """Open a page on its own. Return the errors in the console or from the server, and the text of the page."""
    page, said = browser.new_page(viewport={"width": 1500, "height": 1000}), list[str]()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("response", lambda r: said.append(f"{r.status} {r.url}") if r.status >= 500 else None)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    text = page.inner_text("body")
    page.close()
    return said, text


def test_a_backfill_of_all_councils_is_one_run(server: Server, site: Site) -> None:
    """Launched from the server, carried out by the daemon."""
    names = [f"{COHORT}|{council}" for council in COUNCILS]
    selection = [{"path": ["restricted", source]} for source in ("eyfsp", "school_census")]
    answer = server.ask(BACKFILL, params={"assetSelection": selection, "partitionNames": names})
    backfill = answer["launchPartitionBackfill"]["backfillId"]

    def of_backfill(found: Any) -> list[dict[str, Any]]:
        return [
            run
            for run in found["runsOrError"]["results"]
            if {"key": "dagster/backfill", "value": backfill} in run["tags"]
        ]

    found = server.query_until(
        RUNS, lambda found: any(r["status"] in ("SUCCESS", "FAILURE") for r in of_backfill(found))
    )
    assert [run["status"] for run in of_backfill(found)] == ["SUCCESS"]
    check_nothing_leaked(site)
