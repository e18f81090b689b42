"""Tests that need an optional program, by area, and what happens if the program is missing.

Such a test is skipped with the reason given by `describe_missing`, and reasons are counted at the end of a run. If
READINESS_TEST_REQUIRE names the area (as `.ci/run` does), the test fails instead.
"""

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

AREAS = {
    "postgresql": "a PostgreSQL server (apt-get install postgresql) and the extra `postgres`",
    "browser": "Chromium (apt-get install chromium)",
    "validators": "the environments of `make validators`",
    "deployment": "root, mmdebstrap, and podman-compose with runc and nftables, or Docker",
    "proxy": "nginx (apt-get install nginx-light)",
    "html": "html-validate (npm install --global html-validate)",
    "inspector": "mcp-inspector (npm install --global @modelcontextprotocol/inspector)",
    "azure": "azurite (npm install --global azurite)",
    "age": "age (apt-get install age)",
    "workbook": "LibreOffice (apt-get install libreoffice-calc)",
    "synthetic": "mbi (make synthetic)",
    "r": "R (apt-get install r-base-core)",
}
REQUIRE = "READINESS_TEST_REQUIRE"


def describe_missing(area: str, detail: str = "") -> str:
    return f"{area}: needs {AREAS[area]}" + (f": {detail}" if detail else "")


def find_required() -> set[str]:
    """Return the areas whose tests must run. Raises `pytest.UsageError` for an unknown area."""
    named = set(os.environ.get(REQUIRE, "").replace(",", " ").split())
    if unknown := named - set(AREAS):
        raise pytest.UsageError(f"{REQUIRE} names {', '.join(sorted(unknown))}; the areas are {', '.join(AREAS)}")
    return named


def pytest_configure() -> None:
    find_required()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test of a required area that was skipped because its program is missing."""
    report = yield
    if (why := _explain_skip(report)) and why.partition(":")[0] in find_required():
        report.outcome = "failed"
        report.longrepr = f"skipped, though {REQUIRE} asks for it: {why}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = Counter(_explain_skip(report) for report in terminalreporter.stats.get("skipped", ()))
    if reasons:
        terminalreporter.section("skipped tests, by reason")
        for why, number in reasons.most_common():
            terminalreporter.line(f"{number:5} {why}")


def _explain_skip(report: Any) -> str:
    if report.outcome != "skipped" or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return ""
    return str(report.longrepr[2]).removeprefix("Skipped: ")
