"""Records of a release for catalogues, data portals and reference managers; their text is in `templates/`.

- `dcat.jsonld`: DCAT-AP 3.0 (SEMIC, European Commission), with the controlled terms of the EU Publications Office that
  it requires, and areas by the identifiers of the Office for National Statistics.
- `ckan_package.json`: the argument of CKAN's `package_create`, with the fields that data.gov.uk uses.
- `ukgov_dataset.json` and `ukgov_distributions.json`: the UK Cross-Government Metadata Exchange Model (Central Digital
  and Data Office), which has a separate record for each distribution.
- `CITATION.cff`: the Citation File Format 1.2.0.
- `opendp_registry.yaml`: the OpenDP Deployments Registry, from the privacy statement, which has the same fields.
"""

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
    """Return the file to propose to the registry; its checks allow no folded text, and nothing before `url_slug`."""
    entry = {**privacy_record["registry"], "deployment": privacy_record["deployment"]}
    slug = {"url_slug": entry.pop("url_slug")}
    parts = [yaml.safe_dump(part, allow_unicode=True, width=1 << 20) for part in (slug, entry)]
    return (f"# {notice}\n" if notice else "").join(parts)
