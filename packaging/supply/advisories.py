"""Asks which pinned packages have a known vulnerability: `uv audit`, of OSV's advisories, over `uv.lock` and the lists.

    python packaging/supply/advisories.py

Ends with 0 if nothing is known but what `policy.toml` excepts, with 1 if something is, or if an exception has expired
or excepts nothing, and with 2 if the answer could not be had, which is not an answer.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pinned
from pinned import Pin

SOUND, FOUND, NOT_ASKED = 0, 1, 2
OSV = "https://api.osv.dev"
SILENCE = ("Request failed", "error sending request", "HTTP status")
"""What uv says where a service cannot be reached or is out of order."""
REGISTRY = '{ registry = "https://pypi.org/simple" }'


class NotAskedError(RuntimeError):
    """uv has no answer."""


class UnreachableError(NotAskedError):
    """The service does not answer, as against an answer that cannot be had or read."""


def answer(project: Path, pins: Sequence[Pin], uv: Path, service: str) -> dict[str, Any]:
    """What `uv audit` says of the lock file in `project`, which has these pins. Raises NotAskedError."""
    command: list[str | Path] = [uv, "audit", "--preview-features", "audit-command,json-output", "--frozen"]
    command += ["--output-format", "json", "--service-url", service]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode not in (SOUND, FOUND):
        said = " ".join(done.stderr.split())
        raise (UnreachableError if any(word in said for word in SILENCE) else NotAskedError)(said)
    told: dict[str, Any] = json.loads(done.stdout)
    asked = told["summary"]["audited_packages"]
    if asked != len({pin[:2] for pin in pins}):
        raise NotAskedError(f"{asked} packages were looked up, of {len({pin[:2] for pin in pins})}")
    return told


def as_lock(pins: Iterable[Pin], folder: Path) -> None:
    """A lock file of these pins, since uv audits no other lists."""
    versions = sorted({pin[:2] for pin in pins})
    entries = [f'name = "{name}", version = "{version}", source = {REGISTRY}' for name, version in versions]
    head = 'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "lists"\nversion = "0"\n'
    root = (
        'source = { virtual = "." }\ndependencies = [\n' + "".join(f"    {{ {line} }},\n" for line in entries) + "]\n"
    )
    packages = [f'\n[[package]]\nname = "{n}"\nversion = "{v}"\nsource = {REGISTRY}\n' for n, v in versions]
    (folder / "uv.lock").write_text(head + root + "".join(packages), encoding="utf-8")
    project = '[project]\nname = "lists"\nversion = "0"\nrequires-python = ">=3.11"\n'
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")


def judged(
    told: Mapping[str, Any], pins: Sequence[Pin], excepted: Sequence[Mapping[str, Any]], today: datetime.date
) -> tuple[list[str], list[str], set[str]]:
    """What is wrong, what is only to be known, and the exceptions that were used."""
    wrong, known, used = [], [], set()
    for each in told["vulnerabilities"]:
        name, version = each["dependency"]["name"], each["dependency"]["version"]
        where = ", ".join(sorted({pin.where for pin in pins if pin[:2] == (name, version)}))
        ids = {each["id"], *each["aliases"]}
        mended = f"mended in {', '.join(each['fix_versions'])}" if each["fix_versions"] else "not mended yet"
        line = f"{name} {version} ({where}): {each['id']}, {mended}: {each['link']}"
        exception = next((one for one in excepted if one["package"] == name and one["id"] in ids), None)
        if exception is None:
            wrong.append(line)
            continue
        used.add(exception["id"])
        if exception["until"] < today:
            wrong.append(f"{line}; its exception expired on {exception['until']}")
        else:
            known.append(f"{line}; excepted until {exception['until']}: {exception['reason']}")
    for each in told["adverse_statuses"]:
        line = f"{each['name']} is {each['status']} on its index: {each['reason'] or 'no reason given'}"
        (wrong if each["status"] == "quarantined" else known).append(line)
    return wrong, known, used


def ask(uv: Path, service: str, today: datetime.date) -> tuple[list[str], list[str], int]:
    """What is wrong, what is only to be known, and how many packages were asked for. Raises NotAskedError."""
    excepted: list[dict[str, Any]] = pinned.policy().get("advisory", [])  # type: ignore[assignment]
    wrong, known, used = [], [], set()
    with tempfile.TemporaryDirectory() as folder:
        as_lock(pinned.of_lists(), Path(folder))
        asked = ((pinned.PROJECT, pinned.of_lock()), (Path(folder), pinned.of_lists()))
        for project, pins in asked:
            found = judged(answer(project, pins, uv, service), pins, excepted, today)
            wrong += found[0]
            known += found[1]
            used |= found[2]
    needless = [each for each in excepted if each["id"] not in used]
    wrong += [f"policy.toml excepts {each['id']} of {each['package']}, which nobody reports" for each in needless]
    return wrong, known, len({pin[:2] for _, pins in asked for pin in pins})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--uv", type=Path, default=pinned.UV, help="The uv to ask with.")
    parser.add_argument("--service", default=OSV, help="Where OSV's interface is, if not at its own place.")
    parser.add_argument(
        "--or-warn",
        action="store_true",
        help="End with 0 if the service does not answer, and say so on standard error.",
    )
    given = parser.parse_args()
    try:
        wrong, known, count = ask(given.uv.resolve(), given.service, datetime.datetime.now(datetime.UTC).date())
    except NotAskedError as reason:
        warn = given.or_warn and isinstance(reason, UnreachableError)
        print(f"{'Warning: n' if warn else 'N'}obody was asked for known vulnerabilities: {reason}", file=sys.stderr)
        sys.exit(SOUND if warn else NOT_ASKED)
    for line in known:
        print(f"To know: {line}")
    for line in wrong:
        print(f"Wrong: {line}", file=sys.stderr)
    print(f"Known vulnerabilities: {len(wrong) or 'none'} to act on, in {count} pinned packages.")
    sys.exit(FOUND if wrong else SOUND)


if __name__ == "__main__":
    main()
