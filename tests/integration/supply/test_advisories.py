"""Known vulnerabilities: they are found, by the real uv asking a stand-in for OSV, and silence is no answer."""

import datetime
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from privacy.doors import clock
from tests.support import PROJECT, serve
from tests.support.supply import load_script, run

pinned, advisories = load_script("pinned"), load_script("advisories")
TODAY = clock.today()
HALF_A_YEAR = datetime.timedelta(days=184)


def ask(uv: Path, service: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run("advisories.py", "--uv", uv, "--service", service, *words, env={**os.environ, "UV_HTTP_RETRIES": "0"})


@contextmanager
def osv_server(found: Mapping[str, str], status: int = 200) -> Iterator[str]:
    """Run a fake OSV with an advisory, by its identifier, for any version of each of these distributions, or one that
    returns the error `status` for everything; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = (query["package"]["name"] for query in queries)
            self._say({"results": [{"vulns": [{"id": found[n]}]} if n in found else {} for n in names]})

        def do_GET(self) -> None:
            named = self.path.rpartition("/")[2]
            event = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}
            of = [name for name, each in found.items() if each == named]
            affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [event]} for name in of]
            when = "2026-01-01T00:00:00Z"
            common = {"summary": "planted", "details": "planted", "modified": when, "published": when}
            self._say({"id": named, "aliases": [f"CVE-of-{named}"], "affected": affected, **common})

        def _say(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Handler) as address:
        yield address


def test_every_pin_has_its_sums() -> None:
    for path in pinned.lists():
        pins = re.split(r"^(?=[a-z])", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
        assert len(pins) == len(list(pinned.of_list(path)))
        assert all("--hash=sha256:" in pin for pin in pins), path
    synced = [line for line in (PROJECT / "Makefile").read_text("utf-8").splitlines() if "pip sync" in line]
    assert [line for line in synced if "--require-hashes" not in line and ".bench/" not in line] == []


def test_nothing_is_built_to_be_installed() -> None:
    lock = tomllib.loads((PROJECT / "uv.lock").read_text("utf-8"))
    locked = [each for each in lock["package"] if "registry" in each["source"]]
    assert [each["name"] for each in locked if not each.get("wheels")] == []


@pytest.mark.slow
@pytest.mark.parametrize("planted", [(), ("dagster", "pywin32", "hatchling", "ckan", "duckdb")])
def test_a_known_one_is_found_wherever_it_is_pinned(uv: Path, planted: tuple[str, ...]) -> None:
    with osv_server({name: f"PLANTED-{name}" for name in planted}) as service:
        done = ask(uv, service, "--or-warn")
    assert done.returncode == bool(planted), done.stderr
    assert all(f"\n{name} " in done.stdout for name in planted)
    for pins in (pinned.of_lock(), pinned.of_lists()):
        assert planted or f"statuses in {len({pin[:2] for pin in pins})} packages" in done.stdout


def test_it_is_excepted_until_its_day(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"id": "CVE-1", "until": TODAY}, {"id": "CVE-2", "until": TODAY - datetime.timedelta(days=1)}]
    monkeypatch.setattr(pinned, "policy", lambda: {"advisory": listed})
    assert advisories.exceptions(TODAY) == ["CVE-1"]


@pytest.mark.slow
@pytest.mark.parametrize("status", [None, 503])
def test_a_service_that_does_not_answer_is_no_answer(status: int | None, uv: Path) -> None:
    with osv_server({}, status or 200) as service:
        address = service if status else "http://127.0.0.1:9"
        done, warned = ask(uv, address), ask(uv, address, "--or-warn")
    assert (done.returncode, warned.returncode) == (2, 0)
    assert done.stderr.startswith("No answer about vulnerabilities")
    assert warned.stderr.startswith("Warning: no answer about vulnerabilities")
    assert done.stdout == warned.stdout == ""


def test_exceptions_have_reasons_packages_and_days_that_have_not_passed() -> None:
    names = {pin.name for pin in (*pinned.of_lock(), *pinned.of_lists())}
    for each in pinned.policy().get("advisory", []):
        assert each["package"] in names
        assert len(each["reason"]) > 20
        assert TODAY <= each["until"] <= TODAY + HALF_A_YEAR
