"""`openapi.json` of the static files: OpenAPI 3.1, with the shapes of `shapes` as its components."""

from typing import Any

from pydantic.json_schema import models_json_schema

from ndl_export.api import shapes
from ndl_export.facts.release_facts import TITLE
from ndl_export.tables.schema import SCHEMA_VERSION

_VERSION = {"name": "version", "description": "Version of a release; see releases.json"}
_TABLE = {"name": "table", "description": "Name of a table; see tables.json"}
_AREA = {"name": "area", "description": "Code of an area; see areas.json"}
RESOURCES: dict[str, tuple[str, type[shapes._Shape], tuple[dict[str, str], ...]]] = {
    "/index.json": ("Where everything is", shapes.Index, ()),
    "/releases.json": ("Releases: what each covers, and for which cohorts it is current", shapes.Releases, ()),
    "/tables.json": ("Tables: definition, filters with categories, measures", shapes.Tables, ()),
    "/areas.json": ("Areas that releases have figures of", shapes.Areas, ()),
    "/cohorts.json": ("Cohorts, and the release to use for each", shapes.Cohorts, ()),
    "/releases/{version}/index.json": ("Files of figures of a release", shapes.ReleaseFiles, (_VERSION,)),
    "/releases/{version}/{table}/{area}.json": (
        "Every figure of a table and area in a release",
        shapes.FiguresOfArea,
        (_VERSION, _TABLE, _AREA),
    ),
}
"""Summary, shape and parameters of every resource, by path below the folder of the API."""


def build_openapi(licence: shapes.Licence, example: str) -> dict[str, Any]:
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


def _describe(path: str, summary: str, shape: type[shapes._Shape], parameters: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}
    return {
        "summary": summary,
        "operationId": shape.__name__,
        "parameters": [each | {"in": "path", "required": True, "schema": {"type": "string"}} for each in parameters],
        "responses": {"200": {"description": summary, "content": content}, "404": {"description": "There is none"}},
    }
