"""Licences of what is shipped: all are known, in SPDX, and allowed."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.supply import run, script

pinned, licences, sbom = script("pinned"), script("licences"), script("sbom")


def test_every_package_that_is_shipped_has_an_allowed_licence(uv: Path) -> None:
    """Without looking at what is installed."""
    names, listed = pinned.shipped(uv), sbom.licences()
    allowed, _, settled = licences.of_policy()
    assert names >= {"dagster", "opendp", "mbi", "pywin32"}
    assert not names & {"pytest", "hypothesis", "pip-licenses"}
    assert set(listed) == names
    assert not [each for each, of in listed.items() if each not in settled and not licences.is_allowed(of, allowed)]
    assert {name: listed[name] for name in settled} == {name: each["licence"] for name, each in settled.items()}
    assert all(len(each["reason"]) > 20 for each in settled.values())
    assert not {each for each in allowed if each.startswith(("GPL", "AGPL", "LGPL", "MPL"))}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("piplicenses") is None, reason="pip-licenses is not installed")
def test_what_is_installed_says_what_the_list_says(uv: Path) -> None:
    done = run("licences.py", "--uv", uv)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Licences: none to act on, of {len(pinned.shipped(uv))} packages that are shipped.\n"
