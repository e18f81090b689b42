"""`CITATION.cff`: how the release is cited, in the Citation File Format 1.2.0 that reference managers read."""

from __future__ import annotations

from typing import Any

import yaml

from ndl_export.facts.description import KEYWORDS, OGL_ADDRESS, Description
from ndl_export.pages.number_format import said

CITATION_FILE = "CITATION.cff"
_LICENCE = "OGL-UK-3.0"
"""The licence's identifier in SPDX's list."""


def citation(described: Description) -> str:
    """The file; its `doi` is that of all releases, where the publisher has one."""
    facts = described.facts
    entity = {"name": facts.publisher, "email": facts.contact, "website": facts.address}
    record: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": said(facts.notice, "If you use these statistics, please cite them as below."),
        "type": "dataset",
        "title": described.title,
        "abstract": described.summary,
        "authors": [entity],
        "contact": [dict(entity)],
        "version": facts.version,
        "date-released": facts.published_on,
        **({"doi": facts.doi} if facts.doi else {}),
        "url": facts.folder_address,
        "license": _LICENCE,
        "license-url": OGL_ADDRESS,
        "keywords": list(KEYWORDS),
    }
    first = f"# {facts.notice}\n" if facts.notice else ""
    return first + yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)
