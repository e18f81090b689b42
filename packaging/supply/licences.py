"""Checks the licence of every shipped package against `policy.toml`, by pip-licenses.

    python packaging/supply/licences.py            # check, with exit status 1 if anything is wrong
    python packaging/supply/licences.py --write    # write licences.csv anew

A package that is not installed on this machine keeps its line in `licences.csv`, or gets the licence in `policy.toml`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pinned
import sbom
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

UNKNOWN = "UNKNOWN"


def installed(names: set[str], words: Mapping[str, str]) -> dict[str, str]:
    """Return the SPDX expression, or else the stated licence, of each distribution of `names` installed here."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--with-system"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    said = {pinned.canonical(each["Name"]): each["License"] for each in told}
    return {name: spdx(said[name], words) for name in sorted(names & set(said))}


def spdx(said: str, words: Mapping[str, str]) -> str:
    """Return a stated licence as an SPDX expression, or unchanged if that is not possible.

    Classifiers are separated by semicolons, and all of them apply.
    """
    parts = [words.get(part, part) for part in said.split("; ")]
    try:
        return canonicalize_license_expression(" AND ".join(parts))
    except InvalidLicenseExpression:
        return said


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Check whether one choice of an expression needs only allowed licences. Brackets are not supported."""
    return any(set(choice.split(" AND ")) <= allowed for choice in expression.split(" OR "))


def of_policy() -> tuple[set[str], Mapping[str, str], dict[str, dict[str, Any]]]:
    """Return the licences allowed for anything, SPDX names by other words, and decisions about single packages."""
    policy: dict[str, Any] = pinned.policy()
    allowed = set(policy["licences"]["allowed"])
    return allowed, policy["licences"]["words"], {each["package"]: each for each in policy.get("licence", ())}


def derived(names: set[str]) -> dict[str, str]:
    """Return the correct licence of each package: as decided, or as installed, or as listed before."""
    _, words, settled = of_policy()
    by_hand = {name: each["licence"] for name, each in settled.items()}
    found = sbom.licences() | installed(names - set(settled), words) | by_hand
    return {name: found.get(name, UNKNOWN) for name in sorted(names)}


def wrong(names: set[str], listed: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return sentences about lines of the table that are incorrect or not allowed."""
    allowed, words, settled = of_policy()
    found = [f"{name} is in licences.csv and not shipped" for name in sorted(set(listed) - names)]
    found += [f"{name} is settled in policy.toml and not shipped" for name in sorted(set(settled) - names)]
    for name in sorted(names):
        if listed.get(name) != now[name]:
            found.append(f"{name} has the licence {now[name]!r}, and not {listed.get(name)!r} as in licences.csv")
        elif name not in settled and not is_allowed(now[name], allowed):
            found.append(f"{name} has the licence {now[name]!r}, which policy.toml does not allow")
    for name, stated in installed(names & set(settled), words).items():
        if stated != settled[name].get("says", settled[name]["licence"]):
            found.append(f"{name} states {stated!r}, which is not what policy.toml settles")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uv", type=Path, default=pinned.UV, help="The uv that reads the lock.")
    parser.add_argument("--write", action="store_true", help="Write the table anew, and check it.")
    given = parser.parse_args()
    names = pinned.shipped(given.uv)
    now = derived(names)
    if given.write:
        sbom.LICENCES.write_text("".join(f"{each},{of}\n" for each, of in [("package", "licence"), *now.items()]))
    found = wrong(names, sbom.licences(), now)
    for line in found:
        print(f"Wrong: {line}", file=sys.stderr)
    print(f"Licences: {len(found) or 'none'} to act on, of {len(names)} packages that are shipped.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
