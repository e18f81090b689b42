"""Records of a release for catalogues, data portals and reference managers; their text is in `templates/`.

- `dcat.jsonld`: DCAT-AP 3.0 (SEMIC, European Commission), with the controlled terms of the EU Publications Office that
  it requires, and areas by the identifiers of the Office for National Statistics.
- `ckan_package.json`: the argument of CKAN's `package_create`, with the fields that data.gov.uk uses.
- `ukgov_dataset.json` and `ukgov_distributions.json`: the UK Cross-Government Metadata Exchange Model (Central Digital
  and Data Office), which has a separate record for each distribution.
- `CITATION.cff`: the Citation File Format 1.2.0.
- `croissant.json`: Croissant 1.1 (MLCommons), with which a program can load the rows of every table. Its sources are
  the Parquet files, by name, so it loads from a downloaded bundle as well as from the web. The provenance of tables is
  in PROV-O, the licence terms in ODRL, and the subject of a row in the dimensions of SDMX, as version 1.1 recommends.
- `opendp_registry.yaml`: the OpenDP Deployments Registry, from the privacy statement, which has the same fields.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from ndl_export.facts.description import KEYWORDS, NAME, OGL_ADDRESS, OGL_NAME, Description, format_file_title
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE
from ndl_export.files.archive import ARCHIVES
from ndl_export.pages import kit
from ndl_export.pages.number_format import join_parts
from ndl_export.tables.schema import OWN_AREA, list_columns, list_key_names
from privacy.doors.shipped import read_yaml

DCAT_CONTEXT: dict[str, Any] = json.loads((Path(__file__).parent / "dcat_context.json").read_text(encoding="utf-8"))


PORTAL_FILES = ("ckan_package.json", "dcat.jsonld", "ukgov_dataset.json", "ukgov_distributions.json")


def build_record(name: str, described: Description, previous: str | None) -> Any:
    """Return the record in this file, JSON-ready; `previous` is the version that this one replaces, or None."""
    facts = described.facts
    record = kit.render(
        Path(__file__).parent / "templates",
        f"{PurePath(name).stem}.yaml.j2",
        described=described,
        facts=facts,
        previous=previous,
        archives=ARCHIVES,
        noisy_counts=(NOISY_COUNTS_FILE, *facts.on_request.files & {FURTHER_COUNTS_FILE}),
        dataset=NAME,
        keywords=KEYWORDS,
        licence=OGL_NAME,
        licence_address=OGL_ADDRESS,
        file_title=format_file_title,
    )
    found = read_record(record)
    return {"@context": DCAT_CONTEXT} | found if name == "dcat.jsonld" else found


def read_record(rendered: str) -> Any:
    """Return the values in a rendered template of a record."""
    # The C loader, where libyaml is installed, is ten times as fast.
    return yaml.load(rendered, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


CITATION_FILE = "CITATION.cff"
_SPDX_LICENCE = "OGL-UK-3.0"
"""The licence's identifier in SPDX."""


def build_citation(described: Description) -> str:
    """Return the citation file; its `doi` identifies all releases together, if the publisher has one."""
    facts = described.facts
    entity = {"name": facts.publisher, "email": facts.contact, "website": facts.address}
    record: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": join_parts(facts.notice, "If you use these statistics, please cite them as below."),
        "type": "dataset",
        "title": described.title,
        "abstract": described.summary,
        "authors": [entity],
        # A copy, because YAML would write the same dictionary as an alias of the author.
        "contact": [dict(entity)],
        "version": facts.version,
        "date-released": facts.published_on,
        **({"doi": facts.doi} if facts.doi else {}),
        "url": facts.folder_address,
        "license": _SPDX_LICENCE,
        "license-url": OGL_ADDRESS,
        "keywords": list(KEYWORDS),
    }
    # The format has no field for a notice, so it is a comment in the first line.
    first = f"# {facts.notice}\n" if facts.notice else ""
    return first + yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)


REGISTRY_FILE = "opendp_registry.yaml"


def build_registry_file(privacy_record: Mapping[str, Any], notice: str) -> str:
    """Return the file to propose to the registry, whose checks allow no folded text and nothing before `url_slug`."""
    entry = {**privacy_record["registry"], "deployment": privacy_record["deployment"]}
    slug = {"url_slug": entry.pop("url_slug")}
    parts = [yaml.safe_dump(part, allow_unicode=True, width=1 << 20) for part in (slug, entry)]
    return (f"# {notice}\n" if notice else "").join(parts)


CONTEXT: dict[str, Any] = json.loads((Path(__file__).parent / "croissant_context.json").read_text(encoding="utf-8"))
"""The context prescribed by Croissant 1.1, with prefixes for the other vocabularies."""
RESPONSIBLE_USE: dict[str, dict[str, str]] = read_yaml(Path(__file__).parent / "responsible_use.yaml")
"""Properties of Croissant RAI 1.0, for a release and for synthetic children."""

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
