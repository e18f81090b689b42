"""Records of a release for programs, catalogues, data portals and reference managers; their text is in `templates/`.

- `datapackage.json`: all files as a Frictionless Data Package (specs.frictionlessdata.io, version 1). Only CSV files of
  tables have a schema. Columns of symbols define their own missing values, as in version 2: only `none` is missing
  there, no symbol is. `cohorts`, `councils`, `missing`, `schemaVersion` and `notice` are not part of the standard; the
  first three determine the rows of the tables.
- `csv-metadata.json`: the CSV files in CSV on the Web (W3C).
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

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from ndl_export.facts import description, noisy_counts
from ndl_export.facts.description import Description
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE, ON_REQUEST_FILE
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.archive import ARCHIVES
from ndl_export.files.stores import MEDIA_TYPES
from ndl_export.pages import kit, number_format
from ndl_export.tables import Table, csv_files
from ndl_export.tables.schema import LEVEL, OWN_AREA, SCHEMA_VERSION, ColumnRole, list_columns, list_key_names
from privacy.doors.shipped import read_yaml

_FOLDER = Path(__file__).parent
DCAT_CONTEXT: dict[str, Any] = json.loads((_FOLDER / "dcat_context.json").read_text(encoding="utf-8"))
PORTAL_FILES = ("ckan_package.json", "dcat.jsonld", "ukgov_dataset.json", "ukgov_distributions.json")


def build_record(name: str, described: Description, previous: str | None) -> Any:
    """Return the record in this file, JSON-ready; `previous` is the version that this one replaces, or None."""
    facts = described.facts
    found = render_record(
        PurePath(name).stem,
        described=described,
        facts=facts,
        previous=previous,
        archives=ARCHIVES,
        noisy_counts=(noisy_counts.NOISY_COUNTS_FILE, *facts.on_request.files & {FURTHER_COUNTS_FILE}),
        dataset=description.NAME,
        file_title=description.format_file_title,
    )
    return {"@context": DCAT_CONTEXT} | found if name == "dcat.jsonld" else found


def render_record(template: str, **values: object) -> Any:
    """Return the values in the rendered template of a record; title and keywords are the release's by default."""
    licence = {"licence": description.OGL_NAME, "licence_address": description.OGL_ADDRESS}
    shared = {"title": TITLE, "keywords": description.KEYWORDS} | licence | values
    rendered = kit.render(_FOLDER / "templates", f"{template}.yaml.j2", **shared)
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
        "message": number_format.join_parts(facts.notice, "If you use these statistics, please cite them as below."),
        "type": "dataset",
        "title": TITLE,
        "abstract": described.summary,
        "authors": [entity],
        # A copy, because YAML would write the same dictionary as an alias of the author.
        "contact": [dict(entity)],
        "version": facts.version,
        "date-released": facts.published_on,
        **({"doi": facts.doi} if facts.doi else {}),
        "url": facts.folder_address,
        "license": _SPDX_LICENCE,
        "license-url": description.OGL_ADDRESS,
        "keywords": list(description.KEYWORDS),
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


_CONTEXT: dict[str, Any] = json.loads((_FOLDER / "croissant_context.json").read_text(encoding="utf-8"))
"""The context prescribed by Croissant 1.1, with prefixes for the other vocabularies."""
RESPONSIBLE_USE: dict[str, dict[str, str]] = read_yaml(_FOLDER / "responsible_use.yaml")
"""Properties of Croissant RAI 1.0, for a release and for synthetic children."""

_KINDS = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}
_DIMENSIONS = {"time_period": "dimension:refPeriod", OWN_AREA[0]: "dimension:refArea", "sex": "dimension:sex"}
"""SDMX dimensions, by column name."""
_MEASURED = {
    noisy_counts.NOISY_COUNTS_FILE: "Noisy counts behind every figure, as they were drawn",
    FURTHER_COUNTS_FILE: "Noisy counts that were drawn for tables on request, and make other figures sharper too",
}
"""Files of noisy counts, with their descriptions."""


def build_croissant(described: Description, files: Mapping[str, bytes], previous: str | None) -> dict[str, Any]:
    """Return the record of `files`, JSON-ready; `previous` is the version that this one replaces, or None."""
    measured = {name: about for name, about in _MEASURED.items() if name in files}
    counts = [{"@id": name} for name in measured]
    return RESPONSIBLE_USE["release"] | render_croissant(
        "croissant",
        files,
        described=described,
        facts=described.facts,
        previous=previous,
        measured=measured,
        counts=counts if len(counts) > 1 else counts[0],
        tables=[entry for entry in described.data_files if entry.table and entry.format == "parquet"],
        key_names=list_key_names,
        describe_columns=_describe_columns,
    )


def _describe_columns(table: Table) -> list[tuple[str, str, str, str]]:
    """Return name, meaning, type and dimension of each column."""
    columns = list_columns(table)
    return [(each.name, each.meaning, _KINDS[str(each.type)], _DIMENSIONS.get(each.name, "")) for each in columns]


def render_croissant(name: str, files: Mapping[str, bytes], **values: object) -> dict[str, Any]:
    """Return the record in the template of this name; `files` are those that it may describe (content by name)."""
    parquet = {name: content for name, content in files.items() if name.endswith(".parquet")}
    described = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in parquet.items()
    }
    return {"@context": _CONTEXT} | render_record(name, files=described, **values)


_DIALECT = {"delimiter": ",", "quoteChar": '"', "doubleQuote": True, "header": True}
_TYPES = {"string": "string", "int64": "integer", "double": "number"}


def build_datapackage(facts: ReleaseFacts, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the descriptor of `files` (content by name), JSON-ready, in order of name."""
    return {
        "profile": "data-package",
        "name": description.NAME,
        "id": f"{description.NAME}-{facts.version}",
        "title": TITLE,
        "description": number_format.join_parts(
            facts.notice, "Differentially private statistics on school readiness, from linked early-years records"
        ),
        "version": facts.version,
        "schemaVersion": SCHEMA_VERSION,
        "created": f"{facts.published_on}T00:00:00Z",
        "licenses": [{"name": "OGL-UK-3.0", "title": description.OGL_NAME, "path": description.OGL_ADDRESS}],
        "contributors": [{"title": facts.publisher, "email": facts.contact, "role": "publisher"}],
        "homepage": facts.folder_address,
        "keywords": list(description.KEYWORDS),
        "cohorts": sorted(facts.cohorts),
        "councils": sorted(facts.councils),
        "missing": {
            cohort: {source: sorted(councils) for source, councils in sorted(absent.items()) if councils}
            for cohort, absent in facts.missing.items()
        },
        "resources": [_build_resource(name, files[name], facts) for name in sorted(files)],
    } | ({"notice": facts.notice} if facts.notice else {})


@dataclass(frozen=True)
class _CsvFile:
    """A CSV file of a table: its title, what it is about, its columns, and those that identify a row."""

    title: str
    about: str
    columns: tuple[csv_files.CsvColumn, ...]
    key: tuple[str, ...]


def _describe_csv_file(name: str, facts: ReleaseFacts) -> _CsvFile | None:
    """Return the description of a table's CSV file, or None for any other file."""
    suffix = csv_files.ALL_ROWS if name.endswith(csv_files.ALL_ROWS) else ".csv"
    table = facts.tables.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
    if table is None:
        return None
    official = suffix == ".csv"
    # Area codes of other levels than the row's may be empty.
    areas = [f"{area}_code" for area in ("country", "region", "new_la", "english_devolved_area")]
    key = ("time_period", LEVEL, *(areas if official else OWN_AREA[:1]), *(entry.name for entry in table.filters))
    columns = csv_files.list_csv_columns(table, official=official)
    return _CsvFile(f"{table.title} ({description.FORMS[suffix]})", facts.describe_table(table), columns, key)


def _build_resource(name: str, content: bytes, facts: ReleaseFacts) -> dict[str, Any]:
    title = _format_title(PurePath(name), facts.tables)
    described: dict[str, Any] = {"title": title, "profile": "data-resource", "type": "file"}
    if file := _describe_csv_file(name, facts):
        described = {
            "title": file.title,
            "description": file.about,
            "profile": "tabular-data-resource",
            "type": "table",
            # The default of a Data Package's dialect is CRLF.
            "dialect": _DIALECT | {"lineTerminator": "\n"},
            "schema": {
                "fields": [_build_field(column) for column in file.columns],
                # In a file for EES, a symbol takes the place of a figure and is read as missing.
                "missingValues": ["", *(csv_files.INSTEAD if file.columns[0].official else ())],
                "primaryKey": list(file.key),
            },
        }
    return described | describe_file(name, content)


def describe_file(name: str, content: bytes) -> dict[str, Any]:
    """Return the properties that follow from the name and the content of a file."""
    kind = PurePath(name).suffix.lstrip(".")
    return {
        "name": name.lower().replace(".", "-").replace("_", "-"),
        "path": name,
        "format": kind,
        "mediatype": MEDIA_TYPES[kind],
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }


_TITLES = {name: title for name, (title, _) in description.TOGETHER.items()} | {
    noisy_counts.NOISY_COUNTS_FILE: "Noisy counts behind every figure, as they were drawn",
    FURTHER_COUNTS_FILE: "Noisy counts that were drawn for tables on request",
    ON_REQUEST_FILE: "Tables on request: their definitions, who asked and what for",
}


def _format_title(path: PurePath, defined: Mapping[str, Table]) -> str:
    table = defined.get(path.name.partition(".")[0]) if path.suffix in (".csv", ".parquet") else None
    if table and path.name not in _TITLES:
        return f"{table.title} ({description.FORMS.get(path.suffix, 'EES metadata')})"
    return _TITLES.get(path.name) or description.format_file_title(path.name)


def _build_field(column: csv_files.CsvColumn) -> dict[str, Any]:
    constraints: dict[str, Any] = column.limits | ({"required": True} if column.required else {})
    return {
        "name": column.name,
        "title": column.source.label,
        "description": column.description,
        "type": _TYPES[str(column.source.type)],
        "constraints": constraints | ({"enum": list(column.words)} if column.words else {}),
        # As in version 2 of the standard: here the symbols are values, and only `none` is missing.
    } | ({"missingValues": [csv_files.NOTHING]} if column.official and column.source.symbols else {})


_FORMS = {
    "time_period": "[0-9]{6}",
    "country_code": "E92[0-9]{6}",
    "region_code": "E12[0-9]{6}",
    "old_la_code": "[0-9]{3}",
    "new_la_code": "E0[6-9][0-9]{6}",
    "english_devolved_area_code": "E47[0-9]{6}",
}
"""Regular expressions for time and place columns."""


def build_csvw_metadata(described: Description, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the table group of the CSV files among `files` (content by name), JSON-ready."""
    facts = described.facts
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": description.LANGUAGE}],
        "dc:title": TITLE,
        "dc:description": described.description,
        "dc:publisher": facts.publisher,
        "dc:issued": facts.published_on,
        "dc:license": {"@id": description.OGL_ADDRESS},
        "dialect": _DIALECT | {"encoding": "utf-8"},
        "tables": [_build_csvw_table(name, files[name], facts) for name in sorted(files) if name.endswith(".csv")],
    }


def _build_csvw_table(name: str, content: bytes, facts: ReleaseFacts) -> dict[str, Any]:
    if file := _describe_csv_file(name, facts):
        schema = {"columns": [_build_csvw_column(column) for column in file.columns], "primaryKey": list(file.key)}
        return {"url": name, "dc:title": file.title, "dc:description": file.about, "tableSchema": schema}
    header = next(csv.reader(io.StringIO(content.decode())))
    title = (
        f"Metadata of {name.partition('.')[0]}.csv"
        if name.endswith(".meta.csv")
        else description.format_file_title(name)
    )
    columns = [{"name": column, "titles": column} for column in header]
    return {"url": name, "dc:title": title, "tableSchema": {"columns": columns}}


def _build_csvw_column(column: csv_files.CsvColumn) -> dict[str, Any]:
    source, official = column.source, column.official
    described: dict[str, Any] = {
        "name": column.name,
        "titles": column.name,
        "dc:title": source.label,
        "dc:description": column.description,
    }
    if official and (column.is_number or source.symbols):
        described["null"] = list(csv_files.INSTEAD) if column.is_number else [csv_files.NOTHING]
    else:
        filled = source.role in (ColumnRole.TIME, ColumnRole.FILTER) or column.name == LEVEL
        described["required"] = filled if official else column.required
    if column.words:
        # Python escapes spaces too, which not every engine of regular expressions accepts.
        words = "|".join(re.escape(value).replace("\\ ", " ") for value in column.words)
        return described | {"datatype": {"base": "string", "format": words}}
    # Cells for EES are decimals; plain ones are unrounded doubles, which may be written with an exponent.
    base = {"string": "string", "int64": "integer", "double": "decimal" if official else "double"}[str(source.type)]
    form = {"format": _FORMS[column.name]} if column.name in _FORMS else {}
    if official and base == "string" and not form:
        return described
    return described | {"datatype": {"base": base} | form | column.limits}
