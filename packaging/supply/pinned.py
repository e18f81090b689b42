"""Pinned packages: those of `uv.lock`, and the lists of tools that builds and tests run separately from it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
UV = PROJECT / ".uv" / "bin" / "uv"
BUILD_TOOLS = PROJECT / "packaging" / "supply" / "build-tools.txt"
VALIDATORS = PROJECT / "tests" / "support" / "export" / "standard_validators"


class Pin(NamedTuple):
    """A distribution at a version; `where` is the file that pins it."""

    name: str
    version: str
    where: str


def lists() -> list[Path]:
    """Return the files of pinned requirements other than the lock.

    Those of `bench/linkage/rivals` are left out: they are other people's programs at the versions that were measured,
    run on public data sets only.
    """
    return [BUILD_TOOLS, *(path for path in sorted(VALIDATORS.glob("*.txt")) if path.name != "overrides.txt")]


def of_lock() -> list[Pin]:
    """Return everything that the lock pins, except the project itself."""
    lock = tomllib.loads((PROJECT / "uv.lock").read_text(encoding="utf-8"))
    return [Pin(each["name"], each["version"], "uv.lock") for each in lock["package"] if "registry" in each["source"]]


def of_lists() -> list[Pin]:
    return [pin for path in lists() for pin in of_list(path)]


def of_list(path: Path) -> Iterator[Pin]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)==([^\s;\\]+)", line):
            yield Pin(canonical(found[1]), found[2], str(path.relative_to(PROJECT)))


def shipped(uv: Path = UV) -> set[str]:
    """Return the names of packages shipped with any extra on any platform, without development tools."""
    command: list[str | Path] = [uv, "export", "--quiet", "--frozen", "--offline", "--no-dev", "--all-extras"]
    command += ["--no-emit-project", "--no-hashes", "--no-annotate", "--no-header"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return {canonical(re.split(r"[=\[ ]", line, maxsplit=1)[0]) for line in told.splitlines() if line}


def policy() -> dict[str, object]:
    """Return `policy.toml`: allowed licences, and exceptions that people give a reason for."""
    return tomllib.loads((PROJECT / "packaging" / "supply" / "policy.toml").read_text(encoding="utf-8"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
