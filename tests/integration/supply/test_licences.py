"""Licences of what is shipped: all are known, told as they are, and allowed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.supply.scripts import run, script

pinned, licences, sbom = script("pinned"), script("licences"), script("sbom")
NEEDS_PIP_LICENSES = pytest.mark.skipif(
    importlib.util.find_spec("piplicenses") is None, reason="pip-licenses is not installed"
)


def test_every_package_that_is_shipped_has_an_allowed_licence(uv: Path) -> None:
    """Without looking at what is installed."""
    names, told = pinned.shipped(uv), sbom.licences()
    allowed, _, settled = licences.of_policy()
    assert names >= {"dagster", "opendp", "psycopg2-binary", "mbi", "pywin32"}
    assert not names & {"pytest", "hypothesis", "pip-licenses"}
    assert set(told) == names
    assert not [name for name, of in told.items() if name not in settled and not licences.is_allowed(of, allowed)]
    assert {name: told[name] for name in settled} == {name: each["licence"] for name, each in settled.items()}
    assert all(len(each["reason"]) > 20 for each in settled.values())
    assert not allowed & {
        "GPL-2.0-only",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "AGPL-3.0-only",
        "LGPL-3.0-only",
        "MPL-2.0",
    }


@pytest.mark.slow
@NEEDS_PIP_LICENSES
def test_what_is_installed_says_what_the_list_says(uv: Path) -> None:
    done = run("licences.py", "--uv", uv)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Licences: none to act on, of {len(pinned.shipped(uv))} packages that are shipped.\n"


@pytest.mark.parametrize(
    ("said", "spdx", "fine"),
    [
        ("MIT", "MIT", True),
        ("mit or apache-2.0", "MIT OR Apache-2.0", True),
        ("Apache Software License; MIT License", "Apache-2.0 AND MIT", True),
        ("BSD-3-Clause AND GPL-3.0-only", "BSD-3-Clause AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", "GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only OR Zlib AND 0BSD", "MIT AND GPL-3.0-only OR Zlib AND 0BSD", True),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", "(MIT OR GPL-3.0-only) AND GPL-3.0-only", False),
        ("GNU Affero General Public License v3", "GNU Affero General Public License v3", False),
        ("Free, as in beer", "Free, as in beer", False),
        ("UNKNOWN", "UNKNOWN", False),
    ],
)
def test_what_is_said_is_told_in_spdx_and_judged(said: str, spdx: str, fine: bool) -> None:
    allowed, words, _ = licences.of_policy()
    assert licences.spdx(said, words) == spdx
    assert licences.is_allowed(spdx, allowed) == fine


@pytest.fixture
def wrong(uv: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is wrong where packages are installed that say this."""
    names, told = pinned.shipped(uv), sbom.licences()

    def with_installed(names: set[str] = names, told: dict[str, str] = told, **said: str) -> list[str]:
        given = {name.replace("_", "-"): licence for name, licence in said.items()}
        monkeypatch.setattr(licences, "installed", lambda of, _: {k: v for k, v in given.items() if k in of})
        monkeypatch.setattr(sbom, "licences", lambda: told)
        result: list[str] = licences.wrong(names, told, licences.derived(names))
        return result

    return with_installed


def test_a_new_licence_or_package_is_found(wrong: Callable[..., list[str]], uv: Path) -> None:
    names, told = pinned.shipped(uv), sbom.licences()
    assert wrong() == []
    assert wrong(splink="AGPL-3.0-only") == ["splink says 'AGPL-3.0-only', licences.csv 'MIT'"]
    assert wrong(told=told | {"splink": "AGPL-3.0-only"}) == [
        "splink has the licence 'AGPL-3.0-only', which policy.toml does not allow"
    ]
    assert wrong(names=names | {"new"}) == ["new is shipped and not in licences.csv"]
    assert wrong(names=names - {"splink"}) == ["splink is in licences.csv and not shipped"]
    assert "pyrage is settled in policy.toml and not shipped" in wrong(names=names - {"pyrage"})


def test_what_is_settled_holds_for_what_was_said_then(wrong: Callable[..., list[str]]) -> None:
    assert wrong(pyrage="UNKNOWN", psycopg="LGPL-3.0-only") == []
    assert wrong(pyrage="GPL-3.0-only") == ["pyrage says 'GPL-3.0-only', which is not what policy.toml settles"]
    assert wrong(colorama="BSD-3-Clause") == [
        "colorama says 'BSD-3-Clause' itself, so that policy.toml need not settle it"
    ]
