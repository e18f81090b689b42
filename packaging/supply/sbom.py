"""Adds licences to uv's bill of materials (CycloneDX) and removes what differs between two runs.

    uv export --quiet --frozen --no-dev --all-extras --format cyclonedx1.5 | python packaging/supply/sbom.py > cdx.json

With `--debian FILE`, adds the Debian packages of an image, which the file lists.
Needs only Python's standard library, and `licences.csv` beside it.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import os
import sys
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Bill = dict[str, Any]

LICENCES = Path(__file__).with_name("licences.csv")
OUR_LICENCE = [{"license": {"id": "MIT"}}]


def finished(bill: Bill, licences: Mapping[str, str], epoch: str | None, further: Sequence[Bill] = ()) -> Bill:
    """Return the bill with licences, without anything that differs between two runs.

    The time is `epoch` (in Unix seconds), or left out if None; the serial number is derived from the content. `further`
    are components that are not in the lock file. Raises KeyError for a component whose licence is not known.
    """
    root = {**bill["metadata"]["component"], "type": "application", "licenses": OUR_LICENCE}
    metadata = {**bill["metadata"], "component": root}
    del metadata["timestamp"]
    if epoch:
        metadata["timestamp"] = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    components = [{**each, "licenses": [{"expression": licences[each["name"]]}]} for each in bill["components"]]
    done = {**bill, "metadata": metadata, "components": [*components, *further], "serialNumber": ""}
    content = hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()
    return {**done, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}"}


def part(bill: Bill, name: str, pins: Mapping[str, str]) -> Bill:
    """Return the components of a bill that one part of the software needs, given versions by distribution.

    Raises KeyError if the bill lacks one.
    """
    kept = [each for each in bill["components"] if pins.get(each["name"]) == each["version"]]
    if lost := set(pins) - {each["name"] for each in kept}:
        raise KeyError(f"the bill lacks {', '.join(sorted(lost))}")
    old = bill["metadata"]["component"]
    root = {**old, "name": name, "bom-ref": f"{name}@{old['version']}"}
    names = {each["bom-ref"]: each["bom-ref"] for each in kept} | {old["bom-ref"]: root["bom-ref"]}
    dependencies = [
        {"ref": names[each["ref"]], "dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in names]}
        for each in bill["dependencies"]
        if each["ref"] in names
    ]
    metadata = {**bill["metadata"], "component": root}
    return {**bill, "metadata": metadata, "components": kept, "dependencies": dependencies}


def of_debian(listed: str) -> list[Bill]:
    """Return components from lines with name, version and architecture, separated by tabs."""
    found = []
    for name, version, architecture in (line.split("\t") for line in listed.splitlines()):
        purl = f"pkg:deb/debian/{name}@{urllib.parse.quote(version, safe='')}?arch={architecture}"
        found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return found


def licences() -> dict[str, str]:
    with LICENCES.open(encoding="utf-8", newline="") as file:
        return {row["package"]: row["licence"] for row in csv.DictReader(file)}


def text(bill: Bill) -> str:
    return json.dumps(bill, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--debian", type=Path, help="A file with Debian's packages, as the Containerfile lists them.")
    given = parser.parse_args()
    further = of_debian(given.debian.read_text(encoding="utf-8")) if given.debian else []
    bill = finished(json.load(sys.stdin), licences(), os.environ.get("SOURCE_DATE_EPOCH"), further)
    sys.stdout.write(text(bill))


if __name__ == "__main__":
    main()
