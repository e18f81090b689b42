"""A bill of materials in CycloneDX, made from that of uv: the same bytes for the same lock, and with licences.

    uv export --quiet --frozen --no-dev --all-extras --format cyclonedx1.5 | python packaging/supply/sbom.py > cdx.json

Needs Python's own library alone, and `licences.csv` beside it.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Bill = dict[str, Any]

LICENCES = Path(__file__).with_name("licences.csv")
OUR_LICENCE = [{"license": {"id": "MIT"}}]


def finished(bill: Bill, licences: Mapping[str, str], epoch: str | None) -> Bill:
    """With licences, without chance: the time is that of `epoch` (seconds since 1970), or none; the serial number
    follows from the content. Raises KeyError for a component whose licence is not known."""
    root = {**bill["metadata"]["component"], "type": "application", "licenses": OUR_LICENCE}
    metadata = {**bill["metadata"], "component": root}
    del metadata["timestamp"]
    if epoch:
        metadata["timestamp"] = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    components = [{**each, "licenses": [{"expression": licences[each["name"]]}]} for each in bill["components"]]
    done = {**bill, "metadata": metadata, "components": components, "serialNumber": ""}
    content = hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()
    return {**done, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}"}


def part(bill: Bill, name: str, pins: Mapping[str, str]) -> Bill:
    """Of a bill, what one part of the software brings along: versions by distribution."""
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


def licences() -> dict[str, str]:
    with LICENCES.open(encoding="utf-8", newline="") as file:
        return {row["package"]: row["licence"] for row in csv.DictReader(file)}


def text(bill: Bill) -> str:
    return json.dumps(bill, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    bill = json.load(sys.stdin)
    sys.stdout.write(text(finished(bill, licences(), os.environ.get("SOURCE_DATE_EPOCH"))))


if __name__ == "__main__":
    main()
