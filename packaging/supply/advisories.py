"""Asks OSV for known vulnerabilities of all pinned packages: `uv audit` over `uv.lock` and the lists of tools.

    python packaging/supply/advisories.py

Exit status: 0 if nothing is known that `policy.toml` does not except, 1 if something is, 2 without an answer. With
`--or-warn`, a service that cannot be reached is only a warning.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pinned

NO_ANSWER = 2
UNREACHABLE = ("Request failed", "error sending request", "HTTP status")
REGISTRY = '{ registry = "https://pypi.org/simple" }'


def audit(uv: Path, project: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Ask about the lock file in `project`."""
    command: list[str | Path] = [uv, "audit", "--preview-features", "audit-command", "--frozen", *words]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def write_lock(folder: Path) -> None:
    """Write the lists of tools as a lock file, because uv audits nothing else."""
    versions = sorted({pin[:2] for pin in pinned.of_lists()})
    entries = "".join(f'{{ name = "{n}", version = "{v}", source = {REGISTRY} }},\n' for n, v in versions)
    packages = "".join(f'[[package]]\nname = "{n}"\nversion = "{v}"\nsource = {REGISTRY}\n' for n, v in versions)
    about = 'name = "lists"\nversion = "0"\n'
    lock = f'version = 1\nrequires-python = ">=3.11"\n[[package]]\n{about}source = {{ virtual = "." }}\n'
    (folder / "uv.lock").write_text(f"{lock}dependencies = [\n{entries}]\n{packages}", encoding="utf-8")
    (folder / "pyproject.toml").write_text(f'[project]\n{about}requires-python = ">=3.11"\n', encoding="utf-8")


def exceptions(today: datetime.date) -> list[str]:
    """Return the ids that `policy.toml` excepts; an expired exception no longer counts."""
    listed: list[dict[str, Any]] = pinned.policy().get("advisory", [])  # type: ignore[assignment]
    return [each["id"] for each in listed if each["until"] >= today]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uv", type=Path, default=pinned.UV, help="The uv to ask with.")
    parser.add_argument("--service", default="https://api.osv.dev", help="Where OSV's interface is.")
    parser.add_argument("--or-warn", action="store_true", help="End with 0 if the service does not answer.")
    given = parser.parse_args()
    words = ["--service-url", given.service]
    for each in exceptions(datetime.datetime.now(datetime.UTC).date()):
        words += ["--ignore", each]
    with tempfile.TemporaryDirectory() as folder:
        write_lock(Path(folder))
        answers = [audit(given.uv.resolve(), project, words) for project in (pinned.PROJECT, Path(folder))]
    for answer in answers:
        # uv ends with 0 or 1 and reports what it found; any other result is no answer.
        if answer.returncode not in (0, 1) or "Found" not in answer.stdout + answer.stderr:
            warn = given.or_warn and any(word in answer.stderr for word in UNREACHABLE)
            print(f"{'Warning: n' if warn else 'N'}o answer about vulnerabilities: {answer.stderr}", file=sys.stderr)
            sys.exit(0 if warn else NO_ANSWER)
        print(answer.stdout, answer.stderr, sep="")
    sys.exit(max(answer.returncode for answer in answers))


if __name__ == "__main__":
    main()
