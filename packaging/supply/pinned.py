"""What is pinned, and where: `uv.lock`, and the lists of tools that builds and tests run apart from it."""

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
    """Files of pinned requirements beside the lock. Those of `bench/linkage/rivals` are not among them: they are other
    people's programs at the versions that were measured, run on public sets alone."""
    return [BUILD_TOOLS, *(path for path in sorted(VALIDATORS.glob("*.txt")) if path.name != "overrides.txt")]


def of_lock() -> list[Pin]:
    """All that the lock pins, the project itself left out."""
    lock = tomllib.loads((PROJECT / "uv.lock").read_text(encoding="utf-8"))
    return [Pin(each["name"], each["version"], "uv.lock") for each in lock["package"] if "registry" in each["source"]]


def of_lists() -> list[Pin]:
    return [pin for path in lists() for pin in of_list(path)]


def of_list(path: Path) -> Iterator[Pin]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)==([^\s;\\]+)", line):
            yield Pin(canonical(found[1]), found[2], str(path.relative_to(PROJECT)))


def shipped(uv: Path = UV) -> set[str]:
    """Names of what comes along with the software, whichever extras and platform: nothing of the development group."""
    command: list[str | Path] = [uv, "export", "--quiet", "--frozen", "--offline", "--no-dev", "--all-extras"]
    command += ["--no-emit-project", "--no-hashes", "--no-annotate", "--no-header"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return {canonical(re.split(r"[=\[ ]", line, maxsplit=1)[0]) for line in told.splitlines() if line}


def policy() -> dict[str, object]:
    """What is allowed, and what is excepted, by people who give a reason: `policy.toml`."""
    return tomllib.loads((PROJECT / "packaging" / "supply" / "policy.toml").read_text(encoding="utf-8"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
