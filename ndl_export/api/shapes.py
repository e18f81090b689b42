"""Shapes of the documents, with their JSON Schemas and `openapi.json` of the static files (OpenAPI 3.1).

`Figure` is the same object wherever this project hands out a figure. Properties are in the order in which they appear.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from ndl_export.facts.release_facts import TITLE
from ndl_export.tables.schema import FLAG_MEANINGS, SCHEMA_VERSION, Flag

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True, json_schema_serialization_defaults_required=True)


class Figure(_Shape):
    """One published figure with its 95% interval, as the bundle has it."""

    release: str = Field(description="Version of the release", examples=["2026.11.0"])
    table: str = Field(description="Name of the table; see tables.json")
    row: int = Field(ge=1, description="Number of the data row in the bundle's <table>_all_rows.csv; the first is 1")
    measure: str = Field(description="Name of the measure; see tables.json")
    time_period: str = Field(description="Cohort: 202425 for 2024/25", pattern="^[0-9]{6}$")
    geographic_level: str = Field(description="Kind of area")
    area_code: str = Field(description="ONS code of the area; the level itself where it has none")
    area_name: str = Field(description="Name of the area")
    filters: dict[str, str] = Field(description="Which children or responses the row is about: category by filter")
    value: float | None = Field(description="The figure; null where the flag replaces it")
    lower: float | None = Field(description="Lower end of the 95% interval, not rounded; null where there is none")
    upper: float | None = Field(description="Upper end of the 95% interval, not rounded; null where there is none")
    unit: str = Field(description="What the value counts: %, pp (percentage points), or words such as children")
    flag: Flag | None = Field(
        description="; ".join(f"{flag}: {meaning}" for flag, meaning in FLAG_MEANINGS.items())
        + "; null: the figure can be used"
    )
    flag_meaning: str | None = Field(description="The meaning of the flag, in words")
    series_break: bool = Field(description="Whether a figure of the row is not comparable with the cohort before")


class Licence(_Shape):
    name: str
    url: str


class Withdrawal(_Shape):
    """Why and when a release was withdrawn. Its figures stay readable, and are not to be used."""

    date: str
    reason: str
    sentence: str = Field(description="Both in a sentence, to show before any figure of the release")


class ReleaseNotice(_Shape):
    """What must be shown with any figure of a release."""

    notice: str | None = Field(description="Shown before any figure, such as that the data are synthetic; else null")
    withdrawal: Withdrawal | None = Field(description="Null unless the release was withdrawn")
    release: str = Field(description="Version")
    published_on: str = Field(description="Day of publication")
    citation: str = Field(description="How to cite the release")
    licence: Licence


class Release(ReleaseNotice):
    """A release: what it covers, what it lacks, and for which cohorts it is current."""

    cohorts: list[str]
    current_for: list[str] = Field(description="Cohorts whose figures are to be taken from this release")
    councils: list[str] = Field(description="Official codes of the councils that take part")
    missing: list[str] = Field(description="Sources that councils had not sent, in words")
    sha256sums: str = Field(description="SHA-256 of the bundle's SHA256SUMS, which is signed")
    tables: list[str] = Field(description="Names of its tables")
    bundle: str = Field(description="Address of the signed bundle, relative to this document")
    figures: str = Field(description="Address of the list of its files of figures, relative to this document")


class Releases(_Shape):
    """Every release, oldest first."""

    current: str | None = Field(description="The newest release that is not withdrawn")
    releases: list[Release]


class FilterText(_Shape):
    """A column that says which children or responses a row is about."""

    name: str
    label: str
    description: str


class FilterWithCategories(FilterText):
    categories: list[str] = Field(description="In order; a total comes first")


class Measure(_Shape):
    """A kind of figure in a table."""

    name: str
    label: str
    kind: str = Field(description="count, percent, average or difference")
    unit: str
    decimals: int = Field(description="An unreliable percentage, flag u, or difference in points has none")
    description: str


class TableText(_Shape):
    """The definition of a table: its population, filters and measures."""

    name: str
    title: str
    description: str
    population: str
    on_request: str | None = Field(description="Who asked for it, and what for; null for tables of every release")
    filters: list[FilterText]
    measures: list[Measure]


class Table(TableText):
    filters: list[FilterWithCategories]  # type: ignore[assignment]
    releases: list[str] = Field(description="Versions of the releases that have it")


class Tables(_Shape):
    """Every published table, as the newest release that has it defines it."""

    tables: list[Table]


class Area(_Shape):
    """An area that a release has figures of."""

    code: str
    name: str
    geographic_level: str
    region_code: str | None
    region_name: str | None
    releases: list[str]


class Areas(_Shape):
    areas: list[Area]


class Cohort(_Shape):
    """Children by the academic year in which they were assessed."""

    code: str
    label: str
    born_from: str
    born_to: str
    releases: list[str]
    current_release: str | None = Field(description="The release whose figures of this cohort are to be used")


class Cohorts(_Shape):
    cohorts: list[Cohort]


class FiguresOfArea(ReleaseNotice):
    """Every figure of one table and area in one release, with what is needed to read them."""

    table: TableText
    area_code: str
    area_name: str
    figures: list[Figure]


class Quote(_Shape):
    """A sentence that may be quoted with its source, and the claim that `readiness check-claim` calls supported."""

    sentence: str
    claim: dict[str, Any] = Field(description="The claim in parts")
    figures: list[Figure]


class QuotesOfArea(ReleaseNotice):
    """Sentences about an area in its newest cohort, and what the figures cannot say."""

    area_code: str
    area_name: str
    said: list[Quote]
    unsaid: list[str]
    source: str = Field(description="Quote it with each sentence")
    proof: str = Field(description="Address of the proof of the figures")


class Proof(_Shape):
    """Figures with the hashes that lead to the release's signature: an answer for `check_answer.py`."""

    figures: list[Figure]
    notice: str
    evidence: list[dict[str, Any]]


class TableFiles(_Shape):
    table: str
    title: str
    areas: dict[str, str] = Field(description="Address of the file by area code, relative to this document")


class ReleaseFiles(ReleaseNotice):
    """The files of figures of a release."""

    sha256: str = Field(description="SHA-256 over the names and contents of all files of figures, in order of name")
    files: list[TableFiles]


class Index(_Shape):
    """Where everything is, relative to this document."""

    title: str
    description: str
    notice: str | None
    current_release: str | None
    licence: Licence
    links: dict[str, str]


class Figures(_Shape):
    """The answer of the service to a query: one page of figures, with what must be shown with them."""

    total: int = Field(description="Number of figures that the query matches")
    offset: int
    next: str | None = Field(description="Address of the next page")
    about: list[ReleaseNotice] = Field(description="One for each release of the figures on this page")
    figures: list[Figure]


class Problem(_Shape):
    """Why a request was refused (RFC 9457)."""

    title: str
    status: int
    detail: str
    nearest: list[str] = Field(description="Names that exist and are nearest to the one that was asked for")


DOCUMENTS: dict[str, type[_Shape]] = {
    "index": Index,
    "releases": Releases,
    "tables": Tables,
    "areas": Areas,
    "cohorts": Cohorts,
    "release-files": ReleaseFiles,
    "figures-of-area": FiguresOfArea,
    "quotes-of-area": QuotesOfArea,
    "proof": Proof,
    "figure": Figure,
}
"""Shapes of the static files, by the name of their JSON Schema."""


def build_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a document."""
    return {"$schema": _DIALECT} | DOCUMENTS[name].model_json_schema(mode="serialization")


QUOTES, PROOFS = "quotes", "proofs"
"""Folders of the sentences that may be quoted, and of the proofs of their figures."""
_VERSION = {"name": "version", "description": "Version of a release; see releases.json"}
_TABLE = {"name": "table", "description": "Name of a table; see tables.json"}
_AREA = {"name": "area", "description": "Code of an area; see areas.json"}
RESOURCES: dict[str, tuple[str, type[_Shape], tuple[dict[str, str], ...]]] = {
    "/index.json": ("Where everything is", Index, ()),
    "/releases.json": ("Releases: what each covers, and for which cohorts it is current", Releases, ()),
    "/tables.json": ("Tables: definition, filters with categories, measures", Tables, ()),
    "/areas.json": ("Areas that releases have figures of", Areas, ()),
    "/cohorts.json": ("Cohorts, and the release to use for each", Cohorts, ()),
    "/releases/{version}/index.json": ("Files of figures of a release", ReleaseFiles, (_VERSION,)),
    "/releases/{version}/{table}/{area}.json": (
        "Every figure of a table and area in a release",
        FiguresOfArea,
        (_VERSION, _TABLE, _AREA),
    ),
    f"/{QUOTES}/{{area}}.json": ("Sentences about an area that may be quoted", QuotesOfArea, (_AREA,)),
    f"/{PROOFS}/{{area}}.json": ("Proof of the figures of these sentences", Proof, (_AREA,)),
}
"""Summary, shape and parameters of every resource, by path below the folder of the API."""


def build_openapi(licence: Licence, example: str) -> dict[str, Any]:
    """Return the description of the static files; `example` is a version of a release."""
    inputs = [(shape, "serialization") for _, shape, _ in RESOURCES.values()]
    _, defined = models_json_schema(inputs, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{TITLE}: static API",
            "version": SCHEMA_VERSION,
            "description": "Plain files beside the signed bundles, for example"
            f" `releases/{example}/gld_headline/E08000035.json`. They are not signed: the bundle is.",
            "license": {"name": licence.name, "url": licence.url},
        },
        "servers": [{"url": "."}],
        "paths": {path: {"get": _describe(path, *resource)} for path, resource in RESOURCES.items()},
        "components": {"schemas": defined["$defs"]},
    }


def _describe(path: str, summary: str, shape: type[_Shape], parameters: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}
    return {
        "summary": summary,
        "operationId": shape.__name__,
        "parameters": [each | {"in": "path", "required": True, "schema": {"type": "string"}} for each in parameters],
        "responses": {"200": {"description": summary, "content": content}, "404": {"description": "There is none"}},
    }
