"""`ukgov_dataset.json`, `ukgov_distributions.json`: the release in the UK Cross-Government Metadata Exchange Model.

The model (Central Digital and Data Office) names distributions by address and describes each as a record of its own.
"""

from __future__ import annotations

from typing import Any

from ndl_export.facts.description import KEYWORDS, OGL_ADDRESS, Archive, DataFile, Description

_THEME = "http://publications.europa.eu/resource/authority/data-theme/EDUC"


def ukgov_dataset(described: Description, previous: str | None) -> dict[str, Any]:
    """The record of class Dataset; `previous` is the version that this one replaces, if any."""
    facts = described.facts
    related = [described.address_of(name) for name in ("methodology.md", "privacy_statement.md", "quality.md")]
    return {
        "identifier": facts.folder_address,
        "type": "dcat:Dataset",
        "title": described.title,
        "alternativeTitle": ["School readiness statistics"],
        "summary": described.summary,
        "description": described.description,
        "keyword": sorted(KEYWORDS),
        "theme": [_THEME],
        "licence": OGL_ADDRESS,
        "version": facts.version,
        "accessRights": "OPEN",
        "securityClassification": "OFFICIAL",
        "contactPoint": {"contactName": facts.publisher, "email": facts.contact},
        "created": facts.published_on,
        "issued": facts.published_on,
        "modified": facts.published_on,
        "creator": [facts.organisation],
        "publisher": facts.organisation,
        "updateFrequency": "freq:annual",
        "relatedResource": [*related, *([f"{facts.address}/{previous}"] if previous else [])],
        "distribution": [entry.address for entry in _entries(described)],
    }


def ukgov_distributions(described: Description) -> list[dict[str, Any]]:
    """The records of class Distribution, in the order that the dataset names them in."""
    day = described.facts.published_on
    return [
        {
            "identifier": entry.address,
            "type": "dcat:Distribution",
            "title": entry.title,
            "description": entry.about,
            "licence": OGL_ADDRESS,
            "accessRights": "OPEN",
            "issued": day,
            "modified": day,
            "downloadURL": entry.address,
            "mediaType": entry.media_type,
        }
        | ({"byteSize": entry.size} if isinstance(entry, DataFile) else {})
        for entry in _entries(described)
    ]


def _entries(described: Description) -> tuple[DataFile | Archive, ...]:
    return (*described.data_files, *described.archives)
