"""Newer versions of all that is pinned, within the bounds of `pyproject.toml`; says what changed and what to run.

    python packaging/supply/update.py

Asks PyPI. Changes `uv.lock`, the lists of tools, the build tools in `pyproject.toml` and the version of uv, and
installs nothing. Ends with the exit status of uv where that fails.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pinned

MAKEFILE = pinned.PROJECT / "Makefile"
IMAGE = pinned.PROJECT / "packaging" / "containers" / "Containerfile"

CARE = {
    r"opendp": "the noise: `make audit`, then docs/privacy-derivation.md and `python -m bench.release`",
    r"dagster.*": "Dagster and its parts move together: `make test-e2e`, with PostgreSQL's server",
    r"splink|duckdb": "the linkage: `make bench-linkage`, and docs/linkage.md if a figure moved",
    r"polars.*|cryptography": "tokens must stay what they are: `pytest tests/unit/pseudonyms tests/integration/sender`",
    r"great-expectations": "the quality suites: `make docs`, which writes them anew",
    r"pyrage|xlsxwriter": "returns: `pytest tests/integration/returns`, with age installed",
    r"s3fs|adlfs|fsspec|aiobotocore": "publishing: `make test-e2e`, with azurite installed",
    r"hatchling": "the wheels: `make release-files`, and tests/integration/supply",
    r"uv": "uv: remove .uv, then `make setup`, and build the image",
}
"""What must be looked at when a distribution changes, by name."""
AFTER = "make setup licences supply-chain lint test-all"


def upgrade(uv: Path) -> None:
    """Everything but uv itself. Raises CalledProcessError."""
    for path in pinned.lists():
        if command := compiled_by(path):
            subprocess.run([uv, *command, "--upgrade", "--quiet"], cwd=path.parent, check=True)
    project = pinned.PROJECT / "pyproject.toml"
    project.write_text(with_build_tools(project.read_text(encoding="utf-8")), encoding="utf-8")
    subprocess.run([uv, "lock", "--upgrade", "--quiet"], cwd=pinned.PROJECT, check=True)


def compiled_by(path: Path) -> list[str]:
    """What follows `uv` in the command that made a list, as it says itself; nothing for one that stays as it is."""
    said = re.search(r"^#    uv (pip compile .*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(said[1]) if said else []


def with_build_tools(project: str) -> str:
    """`pyproject.toml` with the versions of `build-tools.txt`."""
    lines = "".join(f'    "{pin.name}=={pin.version}",\n' for pin in pinned.of_list(pinned.BUILD_TOOLS))
    return re.sub(r"(build-constraint-dependencies = \[\n)[^\]]*\]", rf"\g<1>{lines}]", project)


def upgrade_uv(uv: Path) -> None:
    """The newest uv that PyPI has, into the files that name it."""
    command: list[str | Path] = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "-"]
    told = subprocess.run(command, input="uv\n", capture_output=True, text=True, check=True).stdout
    newest = told.strip().partition("==")[2]
    for path, before in ((MAKEFILE, "UV_VERSION := "), (IMAGE, "ARG UV_VERSION=")):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(rf"({re.escape(before)})[\d.]+", rf"\g<1>{newest}", text), encoding="utf-8")


def now() -> dict[tuple[str, str], str]:
    """Versions by file and distribution."""
    told: dict[tuple[str, str], list[str]] = {}
    for pin in (*pinned.of_lock(), *pinned.of_lists()):
        told.setdefault((pin.where, pin.name), []).append(pin.version)
    (uv,) = re.findall(r"^UV_VERSION := (\S+)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)
    return {at: ", ".join(versions) for at, versions in told.items()} | {("Makefile", "uv"): uv}


def changes(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> list[tuple[str, str, str, str]]:
    """File, distribution, old and new versions of what changed."""
    keys = sorted(set(before) | set(after))
    rows = ((*key, before.get(key, "-"), after.get(key, "-")) for key in keys)
    return [row for row in rows if row[2] != row[3]]


def told(changed: Iterable[tuple[str, str, str, str]]) -> Iterator[str]:
    """A table of what changed, and what to look at for it."""
    rows = list(changed)
    if not rows:
        yield "Everything is as new as it may be."
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for where, name, old, new in rows:
        yield f"{where:{widths[0]}}  {name:{widths[1]}}  {old:>{widths[2]}} -> {new}"
    yield ""
    names = {row[1] for row in rows}
    for pattern, care in CARE.items():
        if moved := sorted(name for name in names if re.fullmatch(pattern, name)):
            yield f"{', '.join(moved)}: {care}"
    yield f"Then: {AFTER}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--uv", type=Path, default=pinned.UV, help="The uv to ask with.")
    given = parser.parse_args()
    uv = given.uv.absolute()
    before = now()
    try:
        upgrade(uv)
        upgrade_uv(uv)
    except subprocess.CalledProcessError as failed:
        print(f"Not everything was updated: {failed}", file=sys.stderr)
        sys.exit(failed.returncode)
    print("\n".join(told(changes(before, now()))))


if __name__ == "__main__":
    main()
