"""Metadata of synthetic children: a Frictionless Data Package and Croissant 1.1.

Each begins by stating that no row is about a real child, and links to the release that they were made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from ndl_export.documents.synthetic_children import FIRST_COLUMN, TITLES, columns, warning
from ndl_export.facts.description import KEYWORDS, LANGUAGE, OGL_ADDRESS, OGL_NAME
from ndl_export.facts.synthetic import CSV_FILE, PARQUET_FILE, STATEMENT_FILE, SyntheticChildren
from ndl_export.files.media_types import CROISSANT, MEDIA_TYPES, PAGE_TYPE
from ndl_export.metadata.croissant import CONTEXT
from ndl_export.pages.number_format import said
from sources.reference.cohorts import Cohort

_KEYWORDS = ("synthetic data", *KEYWORDS)
_MADE = "Drawn from the noisy counts of a differentially private release, at no further cost in privacy."


def synthetic_package(made: SyntheticChildren, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return `datapackage.json` of `files` (content by name), JSON-ready.

    `synthetic`, `release`, `release_sha256sums`, `seed`, `cohort`, `software` and `held_out` are not part of the
    standard.
    """
    release = made.release
    return {
        "profile": "data-package",
        "name": "synthetic-children",
        "id": f"synthetic-children-of-{release['id']}-{made.cohort}-seed-{made.seed}",
        "title": _title(made),
        "description": said(warning(made), _MADE),
        "homepage": made.address,
        "version": release["version"],
        "created": release["created"],
        "licenses": release["licenses"],
        "contributors": release["contributors"],
        "keywords": list(_KEYWORDS),
        "sources": [{"title": f"{release['title']}, release {release['version']}", "path": release["homepage"]}],
        "synthetic": True,
        "release": release["version"],
        "release_sha256sums": made.release_sums,
        "cohort": made.cohort,
        "seed": made.seed,
        "software": dict(made.libraries),
        "held_out": [asdict(each) for each in made.held_out],
        "resources": [_resource(made, name, content) for name, content in sorted(files.items())],
    }


def _title(made: SyntheticChildren) -> str:
    return f"Synthetic children of {made.release['title']}, {Cohort(made.cohort).label}"


def _resource(made: SyntheticChildren, name: str, content: bytes) -> dict[str, Any]:
    kind = PurePath(name).suffix.lstrip(".")
    described: dict[str, Any] = {"profile": "data-resource", "type": "file"}
    if name == CSV_FILE:
        described = {"profile": "tabular-data-resource", "type": "table", "schema": _schema(made)}
    return described | {
        "name": name.replace(".", "-").replace("_", "-"),
        "title": TITLES[name],
        "path": name,
        "format": kind,
        "mediatype": (MEDIA_TYPES | PAGE_TYPE)[kind],
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }


def _schema(made: SyntheticChildren) -> dict[str, Any]:
    fields = [
        {
            "name": name,
            "type": "string",
            "description": description,
            "constraints": {"required": True} | ({"enum": list(categories)} if categories else {"unique": True}),
        }
        for name, description, categories in columns(made)
    ]
    return {"fields": fields, "primaryKey": [FIRST_COLUMN], "missingValues": [""]}


def synthetic_croissant(made: SyntheticChildren, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return `croissant.json` of the rows in the Parquet file among `files` (content by name), JSON-ready."""
    release, content, day = made.release, files[PARQUET_FILE], str(made.release["created"])[:10]
    publisher = {
        "@type": "Organization",
        **{"name": release["contributors"][0]["title"], "email": release["contributors"][0].get("email", "")},
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT,
        "name": _title(made),
        "description": said(warning(made), _MADE),
        "license": OGL_ADDRESS,
        "sdLicense": OGL_ADDRESS,
        "url": made.address,
        "version": release["version"],
        "datePublished": day,
        "dateCreated": day,
        "dateModified": day,
        "inLanguage": LANGUAGE,
        "keywords": list(_KEYWORDS),
        "publisher": publisher,
        "creator": publisher,
        "citeAs": f"{publisher['name']} ({day[:4]}). {_title(made)}, release {release['version']}, seed {made.seed}.",
        "isLiveDataset": False,
        "usageInfo": {"@type": "CreativeWork", "name": OGL_NAME, "url": OGL_ADDRESS},
        "prov:wasDerivedFrom": {"@id": release["homepage"]},
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"Drawing of rows from a graphical model of noisy counts ({STATEMENT_FILE})",
        },
        **_RESPONSIBLE_USE,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": PARQUET_FILE,
                "name": PARQUET_FILE,
                "description": TITLES[PARQUET_FILE],
                "contentUrl": PARQUET_FILE,
                "contentSize": f"{len(content)} B",
                "encodingFormat": "application/x-parquet",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [_records(made)],
    }


_RESPONSIBLE_USE = {
    "rai:dataCollection": "None: the rows were drawn from a model of published noisy counts, and describe nobody",
    "rai:dataLimitations": (
        "What was not measured together is independent in the rows; standard errors calculated from them as from a"
        " sample of children are wrong (synthetic_children_quality.md)"
    ),
    "rai:dataBiases": "Small groups tend to be too large, since a number of rows is never negative and noise may be",
    "rai:dataUseCases": "Trying out software, queries and methods, and teaching; not for figures about children",
    "rai:personalSensitiveInformation": "None: no row is about a real child",
    "rai:dataReleaseMaintenancePlan": "They stand beside the release that they were made from, and go when it goes",
}


def _records(made: SyntheticChildren) -> dict[str, Any]:
    name = PurePath(PARQUET_FILE).stem
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": warning(made),
        "key": [{"@id": f"{name}/{FIRST_COLUMN}"}],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": description,
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": PARQUET_FILE}, "extract": {"column": column}},
            }
            for column, description, _ in columns(made)
        ],
    }
