"""Licences of what is shipped: all are known, in SPDX, and allowed."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.supply import load_script, run

pinned, licences, sbom = load_script("pinned"), load_script("licences"), load_script("sbom")


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


@pytest.mark.parametrize(
    ("stated", "spdx", "fine"),
    [
        ("mit or apache-2.0", "MIT OR Apache-2.0", True),
        ("Apache Software License; MIT License", "Apache-2.0 AND MIT", True),
        ("MIT AND GPL-3.0-only OR Zlib AND 0BSD", "MIT AND GPL-3.0-only OR Zlib AND 0BSD", True),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", "(MIT OR GPL-3.0-only) AND GPL-3.0-only", False),
        ("GNU Affero General Public License v3", "GNU Affero General Public License v3", False),
        ("UNKNOWN", "UNKNOWN", False),
    ],
)
def test_what_is_stated_is_read_as_spdx_and_judged(stated: str, spdx: str, fine: bool) -> None:
    allowed, words, _ = licences.of_policy()
    assert licences.spdx(stated, words) == spdx
    assert licences.is_allowed(spdx, allowed) == fine


@pytest.mark.parametrize(
    ("installed", "listed", "shipped", "found"),
    [
        ({"pyrage": "UNKNOWN", "certifi": "MPL-2.0"}, {}, set(), ""),
        ({"splink": "AGPL-3.0-only"}, {}, set(), "splink has the licence 'AGPL-3.0-only', and not 'MIT'"),
        ({}, {"splink": "AGPL-3.0-only"}, set(), "splink has the licence 'AGPL-3.0-only', which policy.toml"),
        ({}, {}, {"new"}, "new has the licence 'UNKNOWN', and not None"),
        ({}, {}, {"splink"}, "splink is in licences.csv and not shipped"),
        ({"pyrage": "GPL-3.0-only"}, {}, set(), "pyrage states 'GPL-3.0-only', which is not what policy.toml"),
    ],
)
def test_what_has_changed_is_found(
    uv: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: dict[str, str],
    listed: dict[str, str],
    shipped: set[str],
    found: str,
) -> None:
    """`shipped` are packages that are shipped now, or no longer."""
    names, stated = pinned.shipped(uv) ^ shipped, sbom.licences() | listed
    monkeypatch.setattr(licences, "installed", lambda of, _: {k: v for k, v in installed.items() if k in of})
    monkeypatch.setattr(sbom, "licences", lambda: stated)
    wrong = licences.wrong(names, stated, licences.derived(names))
    assert [each for each in wrong if each.startswith(found)] == wrong[:1]
    assert len(wrong) == bool(found)
