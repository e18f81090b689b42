"""`croissant.json`: the release in Croissant 1.1 (MLCommons), with which a program can load the rows of every table.

Its sources are the Parquet files, by name, so it loads from a downloaded bundle as well as from the web. What version
1.1 recommends is stated in the vocabularies that it names: the provenance of tables in PROV-O, the licence terms in
ODRL, and the subject of a row in the dimensions of SDMX, as an observation of a data cube.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ndl_export.facts.description import KEYWORDS, OGL_ADDRESS, OGL_NAME, Description
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE
from ndl_export.metadata.portals import read_record
from ndl_export.pages import kit
from ndl_export.tables.schema import OWN_AREA, list_columns, list_key_names
from privacy.doors.shipped import read_yaml

CONTEXT: dict[str, Any] = json.loads((Path(__file__).parent / "croissant_context.json").read_text(encoding="utf-8"))
"""The context prescribed by Croissant 1.1, with prefixes for the other vocabularies."""
RESPONSIBLE_USE: dict[str, dict[str, str]] = read_yaml(Path(__file__).parent / "responsible_use.yaml")
"""Properties of Croissant RAI 1.0, of a release and of synthetic children."""

_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}
_DIMENSIONS = {"time_period": "dimension:refPeriod", OWN_AREA[0]: "dimension:refArea", "sex": "dimension:sex"}
"""SDMX dimensions, by column name."""
_MEASURED = {
    NOISY_COUNTS_FILE: "Noisy counts behind every figure, as they were drawn",
    FURTHER_COUNTS_FILE: "Noisy counts that were drawn for tables on request, and make other figures sharper too",
}
"""Files of noisy counts, with their descriptions."""


def build_croissant(described: Description, files: Mapping[str, bytes], previous: str | None) -> dict[str, Any]:
    """Return the record of `files`, JSON-ready; `previous` is the version that this one replaces, or None."""
    measured = {name: about for name, about in _MEASURED.items() if name in files}
    counts = [{"@id": name} for name in measured]
    tables = [
        (
            entry,
            [
                (column.name, column.meaning, _TYPES[str(column.type)], _DIMENSIONS.get(column.name, ""))
                for column in list_columns(entry.table)
            ],
        )
        for entry in described.data_files
        if entry.table and entry.format == "parquet"
    ]
    return RESPONSIBLE_USE["release"] | render_croissant(
        "croissant",
        files,
        described=described,
        facts=described.facts,
        previous=previous,
        keywords=KEYWORDS,
        measured=measured,
        counts=counts if len(counts) > 1 else counts[0],
        tables=tables,
        key_names=list_key_names,
    )


def render_croissant(name: str, files: Mapping[str, bytes], **values: object) -> dict[str, Any]:
    """Return the record in the template of this name; `files` are those that it may describe (content by name)."""
    parquet = {name: content for name, content in files.items() if name.endswith(".parquet")}
    described = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in parquet.items()
    }
    rendered = kit.render(
        Path(__file__).parent / "templates",
        f"{name}.yaml.j2",
        files=described,
        licence=OGL_NAME,
        licence_address=OGL_ADDRESS,
        **values,
    )
    return {"@context": CONTEXT} | read_record(rendered)
