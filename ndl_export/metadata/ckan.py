"""`ckan_package.json`: the release as the argument of CKAN's `package_create`, with the fields that data.gov.uk uses.

`owner_org` is the publisher's name on GOV.UK, which is its name on data.gov.uk.
"""

from __future__ import annotations

import re
from typing import Any

from ndl_export.facts.description import KEYWORDS, NAME, OGL_NAME, Description, file_title
from ndl_export.files.media_types import MEDIA_TYPES

THEME = "education"
LICENCE = "uk-ogl"
"""The licence's identifier in CKAN's own list."""

_DOCUMENTS = ("methodology.md", "data_dictionary.csv", "quality.md", "privacy_statement.md", "changelog.md")


def ckan_package(described: Description) -> dict[str, Any]:
    """The package, JSON-ready."""
    facts = described.facts
    extras = {
        "temporal_coverage-from": described.first_day,
        "temporal_coverage-to": described.last_day,
        "geographic_coverage": "; ".join(area.name for area in described.places),
        "update_frequency": "annual",
        "language": "eng",
    }
    return {
        "name": f"{NAME}-{re.sub('[^0-9]', '-', facts.version)}",
        "title": described.title,
        "notes": described.description,
        "owner_org": facts.organisation,
        "author": facts.publisher,
        "author_email": facts.contact,
        "maintainer": facts.publisher,
        "maintainer_email": facts.contact,
        "license_id": LICENCE,
        "license_title": OGL_NAME,
        "theme-primary": THEME,
        "version": facts.version,
        "url": facts.folder_address,
        "private": False,
        "tags": [{"name": keyword} for keyword in sorted(KEYWORDS)],
        "extras": [{"key": key, "value": value} for key, value in sorted(extras.items())],
        "resources": [
            *(
                {
                    "name": entry.title,
                    "description": entry.about,
                    "url": entry.address,
                    "format": entry.format.capitalize() if entry.format == "parquet" else entry.format.upper(),
                    "mimetype": entry.media_type,
                    "size": entry.size,
                    "hash": f"sha256:{entry.sha256}",
                }
                for entry in described.data_files
            ),
            *(
                {
                    "name": entry.title,
                    "description": entry.about,
                    "url": entry.address,
                    "format": entry.format.upper(),
                    "mimetype": entry.media_type,
                }
                for entry in described.archives
            ),
            *(_document(described, name) for name in _DOCUMENTS),
        ],
    }


def _document(described: Description, name: str) -> dict[str, Any]:
    suffix = name.rpartition(".")[2]
    return {
        "name": file_title(name),
        "description": f"{file_title(name)} of the release",
        "url": described.address_of(name),
        "format": "CSV" if suffix == "csv" else "Markdown",
        "mimetype": MEDIA_TYPES[suffix],
        "resource_type": "documentation",
    }
