"""Known vulnerabilities: they are found, by the real uv asking a stand-in for OSV, and silence is no answer."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.supply.osv import osv_server
from tests.support.supply.scripts import run, script

pinned, advisories = script("pinned"), script("advisories")
TODAY = datetime.datetime.now(datetime.UTC).date()
HALF_A_YEAR = datetime.timedelta(days=184)


def ask(uv: Path, service: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "UV_HTTP_RETRIES": "0"}
    return run("advisories.py", "--uv", uv, "--service", service, *words, env=environment)


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
def test_nothing_known_is_told_with_how_many_were_asked_for(uv: Path) -> None:
    count = len({pin[:2] for pin in (*pinned.of_lock(), *pinned.of_lists())})
    assert count > 300
    with osv_server({}) as service:
        done = ask(uv, service)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Known vulnerabilities: none to act on, in {count} pinned packages.\n")


@pytest.mark.slow
def test_a_known_one_is_found_wherever_it_is_pinned(uv: Path) -> None:
    validators = "tests/support/export/standard_validators"
    planted = {"dagster": "uv.lock", "pywin32": "uv.lock", "hatchling": "packaging/supply/build-tools.txt"}
    planted |= {"ckan": f"{validators}/ckan.txt", "duckdb": f"{validators}/duckdb-oldest.txt"}
    with osv_server({name: f"PLANTED-{name}" for name in planted}) as service:
        done = ask(uv, service, "--or-warn")
    assert done.returncode == 1
    for name, where in planted.items():
        lines = [line for line in done.stderr.splitlines() if line.startswith(f"Wrong: {name} ")]
        assert any(where in line and f"PLANTED-{name}, mended in 99" in line for line in lines), name


@pytest.mark.slow
@pytest.mark.parametrize("status", [None, 503])
def test_a_service_that_does_not_answer_is_no_answer(status: int | None, uv: Path) -> None:
    with osv_server({}, status or 200) as service:
        address = service if status else "http://127.0.0.1:9"
        done, warned = ask(uv, address), ask(uv, address, "--or-warn")
    assert (done.returncode, warned.returncode) == (2, 0)
    assert done.stderr.startswith("Nobody was asked for known vulnerabilities")
    assert warned.stderr.startswith("Warning: nobody was asked for known vulnerabilities")
    assert done.stdout == warned.stdout == ""


def test_an_answer_about_fewer_packages_is_no_answer(uv: Path, tmp_path: Path) -> None:
    pins = [pinned.Pin("click", "8.5.1", "here"), pinned.Pin("jinja2", "3.1.6", "here")]
    advisories.as_lock(pins[:1], tmp_path)
    with (
        osv_server({}) as service,
        pytest.raises(advisories.NotAskedError, match="1 packages were looked up, of 2") as e,
    ):
        advisories.answer(tmp_path, pins, uv, service)
    assert not isinstance(e.value, advisories.UnreachableError)


EXCEPTION = {"package": "dagster", "id": "CVE-1", "reason": "not reached", "until": TODAY}
PINS = [pinned.Pin("dagster", "1.13", "uv.lock")]


def reported(*, status: str | None = None) -> dict[str, object]:
    """What uv says where one package has an advisory, and another perhaps a status on its index."""
    one = {"dependency": {"name": "dagster", "version": "1.13"}, "id": "GHSA-1", "aliases": ["CVE-1"], "link": "there"}
    statuses = [{"name": "toposort", "status": status, "reason": None}] if status else []
    return {"vulnerabilities": [one | {"fix_versions": []}], "adverse_statuses": statuses}


def test_an_exception_holds_until_its_day() -> None:
    wrong, known, used = advisories.judged(reported(), PINS, [EXCEPTION], TODAY)
    assert (wrong, used) == ([], {"CVE-1"})
    assert known == [f"dagster 1.13 (uv.lock): GHSA-1, not mended yet: there; excepted until {TODAY}: not reached"]
    wrong, known, _ = advisories.judged(reported(), PINS, [EXCEPTION], TODAY + datetime.timedelta(days=1))
    assert wrong[0].endswith(f"its exception expired on {TODAY}")
    assert known == []


@pytest.mark.parametrize("other", [{"id": "CVE-2"}, {"package": "duckdb"}])
def test_an_exception_is_for_one_advisory_of_one_package(
    other: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    exception = EXCEPTION | other
    monkeypatch.setattr(pinned, "policy", lambda: {"advisory": [exception]})
    monkeypatch.setattr(advisories, "answer", lambda *_: reported())
    wrong, known, _ = advisories.ask(Path("uv"), "nowhere", TODAY)
    assert wrong[-1] == f"policy.toml excepts {exception['id']} of {exception['package']}, which nobody reports"
    assert wrong[0].startswith("dagster 1.13")
    assert known == []


def test_a_package_in_quarantine_is_wrong_and_one_that_is_left_is_to_be_known() -> None:
    for status, where in (("quarantined", 0), ("archived", 1)):
        found = advisories.judged(reported(status=status), PINS, [EXCEPTION], TODAY)
        assert f"toposort is {status} on its index: no reason given" in found[where]


def test_exceptions_have_reasons_packages_and_days_that_have_not_passed() -> None:
    names = {pin.name for pin in (*pinned.of_lock(), *pinned.of_lists())}
    for each in pinned.policy().get("advisory", []):
        assert each["package"] in names
        assert len(each["reason"]) > 20
        assert TODAY <= each["until"] <= TODAY + HALF_A_YEAR
