"""The MCP server, asked by the SDK's own client: every tool, refusals, what strangers send, and what it can reach."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from ndl_export.facts.row_hashes import check_answer
from tests.support import PROJECT, areas, find_free_port, waiting
from tests.support.daily import mark_slow_after

Arguments = dict[str, Any]
LEEDS: Arguments = {"measure": "ready for school", "area": "Leeds"}
EVERY: list[tuple[str, Arguments, str]] = [
    ("list_releases", {}, "2026.11.0"),
    ("search", {"words": "seen by no one"}, "Seen by: Neither"),
    ("describe_table", {"table": "gld_headline"}, "Eligible for free school meals"),
    ("get_figures", LEEDS | {"groups": ["girls", "FSM"]}, "95% interval"),
    ("compare", LEEDS | {"than_area": "Wirral"}, '"verdict"'),
    ("rank", {"measure": "ready for school"}, "cannot be ruled out"),
    ("trend", LEEDS, "2023/24"),
    ("add_up", {"areas": ["Leeds", "Wirral"], "groups": ["FSM"]}, "Leeds + Wirral"),
    ("distance_from_target", {"area": "Leeds"}, '"targets"'),
    ("cite", {}, "Open Government Licence"),
    ("prove", {"figures": [{"release": "2026.11.0", "table": "gld_headline", "row": 1}]}, '"path"'),
    ("check_claim", {"claim": LEEDS | {"value": 5}}, "not supported"),
]
REFUSED: list[tuple[str, Arguments, str]] = [
    ("get_figures", LEEDS | {"area": "Manchester"}, "takes no part"),
    ("get_figures", LEEDS | {"measure": "vaccination"}, "no measure"),
    ("compare", LEEDS, "same figure"),
    ("add_up", {"areas": ["Leeds"], "groups": ["FSM", "girls"]}, "a child can be in both"),
    ("describe_table", {"table": "../../etc/passwd"}, "no table"),
    ("cite", {"release": "/etc/passwd"}, "no release"),
    ("prove", {"figures": [{"release": "/etc", "table": "passwd", "row": 1}]}, "no such row"),
    ("prove", {"figures": [{"row": "first"}]}, "no such row"),
]
STRANGE: list[tuple[str, Arguments]] = [
    ("get_figures", {"measure": 5, "area": ["Leeds"]}),
    ("get_figures", {}),
    ("get_figures", LEEDS | {"measure": "x" * 10**6}),
    ("get_figures", LEEDS | {"groups": ["girls"] * 5_000}),
    ("get_figures", LEEDS | {"area": "'; DROP TABLE figure; --"}),
    ("get_figures", LEEDS | {"area": "' UNION SELECT content FROM read_text('/etc/passwd') --"}),
    ("get_figures", LEEDS | {"groups": ["\0", "{0}", "%s"]}),
    ("search", {"words": '" OR exact:*', "limit": 50}),
    ("search", {"words": "x", "limit": 10**9}),
    ("add_up", {"areas": ["Leeds"] * 5_000}),
    ("check_claim", {"claim": {"area": "y" * 10**6}}),
    ("check_claim", {"claim": {"council": "Leeds"}}),
    ("check_claim", {"claim": LEEDS | {"value": 60, "decimals": -99_999}}),
    ("check_claim", {}),
    ("get_figures", LEEDS | {"group": "girls"}),
    ("get_figures", LEEDS | {"year": "2018/19"}),
    ("list_releases", {"council": "Leeds"}),
    ("run_sql", {"query": "FROM releases.figure"}),
    ("__init__", {}),
]
CALLS = [*((tool, arguments) for tool, arguments, _ in (*EVERY, *REFUSED)), *STRANGE]


@dataclass(frozen=True)
class Session:
    """What a client heard: names of the tools, the result of each call, and the proof of a figure that it got."""

    tools: list[str]
    results: list[Any]
    proof: Any

    def get(self, number: int) -> tuple[bool, str]:
        """Return whether a call ended in an error, and all text of its result."""
        result = self.results[number]
        structured = json.dumps(result.structured_content, ensure_ascii=False)
        return bool(result.is_error), structured + "".join(getattr(each, "text", "") for each in result.content)


async def _call(server: Any) -> Session:
    async with Client(server, read_timeout_seconds=waiting.PATIENCE) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        results = [await client.call_tool(*call) for call in CALLS]
        figures = (await client.call_tool("get_figures", LEEDS)).structured_content["figures"]
        return Session(tools, results, await client.call_tool("prove", {"figures": figures}))


@pytest.fixture(scope="module", params=mark_slow_after(1, ["stdio", "http"]))
def session(request: pytest.FixtureRequest, series: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Return the answers to all calls, in one session with the command."""
    arguments = ["-c", "from pipelines.cli import main; main()", "mcp", str(series.parent)]
    if request.param == "stdio":
        server = StdioServerParameters(command=sys.executable, args=arguments, cwd=PROJECT)
        return anyio.run(_call, stdio_client(server))
    port = find_free_port()
    said = tmp_path_factory.mktemp("mcp") / "said"
    command = [sys.executable, *arguments, "--transport", "http", "--port", str(port)]
    with said.open("wb") as file, subprocess.Popen(command, cwd=PROJECT, stdout=file, stderr=file) as served:
        try:
            waiting.wait_until(lambda: waiting.is_answering(port), of=served, said=said)
            return anyio.run(_call, f"http://127.0.0.1:{port}/mcp")
        finally:
            served.terminate()


def test_every_tool_answers_refuses_and_is_not_stopped_by_anything_that_is_sent(session: Session, series: Path) -> None:
    """A refusal is an answer, no answer shows the machine, and what it proves can be checked with the key alone."""
    assert session.tools == [tool for tool, _, _ in EVERY]
    for number, (tool, _, expected) in enumerate((*EVERY, *REFUSED)):
        is_error, text = session.get(number)
        assert (is_error, expected in text) == (False, True), f"{tool}: {text[:500]}"
        refused = session.results[number].structured_content.get("refused")
        assert (refused is True) == (number >= len(EVERY)), tool
    for number, (tool, _) in enumerate(STRANGE, start=len(EVERY) + len(REFUSED)):
        is_error, text = session.get(number)
        assert not is_error or "validation error" in text or "Unknown tool" in text, f"{tool}: {text[:500]}"
        assert len(text) < 10_000, tool
        assert is_error or not {"group", "year", "council"} & CALLS[number][1].keys(), f"{tool} passes arguments over"
        for place in (str(series.parent), str(PROJECT), "Traceback", "root:x:"):
            assert place not in text, tool
    assert check_answer(session.proof.structured_content, (series / "public_key.pem").read_bytes()) == []


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        ("ndl_export.serve.service", set()),
        ("ndl_export.serve.mcp", set()),
        # The command line says the version of the software, and how far long work is.
        (
            "pipelines.commands.answers, ndl_export.serve.mcp",
            {"assets", "assets.home", "assets.home.progress", "assets.home.software"},
        ),
    ],
)
def test_no_service_has_anything_of_the_restricted_zone(modules: str, allowed: set[str]) -> None:
    """What a module that is not there cannot reach: intake, linkage, keys, the ledger, noise."""
    look = f"import sys, {modules}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.partition(".")[0] == "assets"} <= allowed
    assert not {name for name in loaded if name.startswith("privacy.release")}
    if modules == "ndl_export.serve.service":
        privacy = {name for name in loaded if name.partition(".")[0] == "privacy" and "privacy.doors" not in name}
        assert privacy <= {"privacy", "privacy.linkage", "privacy.linkage.cells"}
        assert "pipelines" not in loaded
    assert not loaded & {"dagster", "splink", "opendp"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mcp-inspector") is None, reason=areas.describe_missing("inspector"))
def test_the_official_inspector_understands_it(series: Path) -> None:
    server = [sys.executable, "-c", "from pipelines.cli import main; main()", "mcp", str(series.parent)]

    def inspect(*method: str) -> dict[str, Any]:
        command = ["mcp-inspector", "--cli", *server, "--connect-timeout", "0", "--method", *method]
        done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout))

    listed = inspect("tools/list")["tools"]
    assert {tool for tool, *_ in EVERY} == {tool["name"] for tool in listed}
    assert all(tool["description"] and tool["inputSchema"]["type"] == "object" for tool in listed)
    asked = inspect("tools/call", "--tool-name", "get_figures", "--tool-arg", "measure=GLD", "--tool-arg", "area=Leeds")
    assert asked["structuredContent"]["figures"][0]["area_name"] == "Leeds"
