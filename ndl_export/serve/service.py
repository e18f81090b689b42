"""The HTTP service over a release directory: the documents of the static API, and figures by query. It only reads.

It reads the bundles into memory and looks for a new release each second, so it needs no restart. Every answer has an
ETag, and a reader's copy is checked before it is used again, because a withdrawal must reach readers.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ndl_export.analyst_db.build import NothingReleased
from ndl_export.api import documents, shapes
from ndl_export.facts import description, release_facts
from ndl_export.files.stores import ASK_FIRST, MEDIA_TYPES
from ndl_export.pages import kit
from ndl_export.serve.queries import ALL, CURRENT, NO_FLAG, Latest, UnknownName, build_page
from ndl_export.tables.schema import SCHEMA_VERSION

MOST_FIGURES, FIGURES = 1_000, 100
"""Largest and usual number of figures on a page."""
LONGEST_QUERY, LONGEST_PATH, MOST_VALUES = 2_000, 200, 50
"""Longest query and path in bytes, and the largest number of values of one parameter."""
_AT_ONCE = 2
"""Requests that are answered at the same time, while others wait: a page of 1,000 figures takes 10 MB."""
_COMPRESSION = 5
"""Level of gzip: figures take a tenth of their size, and higher levels twice the time for little more."""
_ROOT = f"/{description.API_FOLDER}"
_TEMPLATES = Path(__file__).parent / "templates"
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'",
}
_SIGNATURE = b"readiness-signature"
"""Header that says whether the signatures of the releases were checked."""
_FILTERS = {
    "name": "filters",
    "in": "query",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Any filter of a table and its category, such as sex=Female; see tables.json",
}
_PROBLEMS = {
    404: "There is none",
    414: "The address is too long",
    422: "A parameter or a value that does not exist",
    503: "Nothing is published yet",
}
"""Refusals, by status."""


@asynccontextmanager
async def _limit_threads(_: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = _AT_ONCE
    yield


def create_app(latest: Latest) -> FastAPI:
    """Return the application that serves a release directory, as `latest` reads it."""
    app = FastAPI(
        title=release_facts.TITLE,
        version=SCHEMA_VERSION,
        description="Published figures with intervals, flags and units. Show notices and withdrawals, and cite.",
        license_info={"name": documents.LICENCE.name, "url": documents.LICENCE.url},
        openapi_url=f"{_ROOT}/openapi.json",
        lifespan=_limit_threads,
        # FastAPI's pages fetch scripts from another host, so `/` has a page of our own.
        docs_url=None,
        redoc_url=None,
    )
    _add_documents(app, latest)
    _add_figures(app, latest)
    _add_problems(app)
    _describe_problems(app)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD"],
        allow_headers=["If-None-Match"],
        expose_headers=["ETag", "Link", "X-Total-Count", _SIGNATURE.decode()],
    )
    app.add_middleware(GZipMiddleware, compresslevel=_COMPRESSION)
    app.add_middleware(Guard, latest=latest)
    return app


def _add_documents(app: FastAPI, latest: Latest) -> None:
    """Add the documents of the static API, with the same paths and bytes, and the reference page."""

    def add(path: str, answer: Callable[..., Response]) -> None:
        summary, shape, _ = shapes.RESOURCES[path]
        responses: dict[int | str, dict[str, Any]] = {200: {"model": shape}}
        app.get(f"{_ROOT}{path}", summary=summary, name=shape.__name__, responses=responses)(answer)

    def add_plain(path: str) -> None:
        def answer(request: Request) -> Response:
            return _answer(request, latest.get().documents[path.removeprefix("/")])

        add(path, answer)

    for path in (path for path in shapes.RESOURCES if "{" not in path):
        add_plain(path)

    def answer_files(request: Request, version: str) -> Response:
        return _answer(request, latest.get().get_release_files(version))

    def answer_area(request: Request, version: str, table: str, area: str) -> Response:
        return _answer(request, latest.get().get_area_file(version, table, area))

    def answer_schema(request: Request, name: str) -> Response:
        if name not in shapes.DOCUMENTS:
            raise UnknownName("schema", name, shapes.DOCUMENTS)
        return _answer(request, latest.get().documents[f"schemas/{name}.json"])

    def answer_reference(request: Request) -> Response:
        page = kit.render(_TEMPLATES, "reference.html.j2", api=app.openapi(), root=_ROOT)
        return _answer(request, page.encode(), "text/html; charset=utf-8")

    def answer_quotes(request: Request, area: str) -> Response:
        return _answer(request, latest.get().get_quotes(shapes.QUOTES, area))

    def answer_proof(request: Request, area: str) -> Response:
        return _answer(request, latest.get().get_quotes(shapes.PROOFS, area))

    add(f"/{shapes.QUOTES}/{{area}}.json", answer_quotes)
    add(f"/{shapes.PROOFS}/{{area}}.json", answer_proof)
    add("/releases/{version}/index.json", answer_files)
    add("/releases/{version}/{table}/{area}.json", answer_area)
    app.get(f"{_ROOT}/schemas/{{name}}.json", summary="JSON Schema of a document")(answer_schema)
    app.get("/", include_in_schema=False)(answer_reference)


Names = Annotated[list[str], Query(max_length=MOST_VALUES)]


def _add_figures(app: FastAPI, latest: Latest) -> None:
    """Add the query for figures."""
    responses: dict[int | str, dict[str, Any]] = {200: {"model": shapes.Figures, "content": {"text/csv": {}}}}

    @app.get(
        f"{_ROOT}/figures",
        summary="Figures by any of their names",
        responses=responses,
        openapi_extra={"parameters": [_FILTERS]},
    )
    def find_figures(
        request: Request,
        release: Annotated[Names, Query(description=f"Versions; {CURRENT!r}, of each cohort; {ALL!r}")] = [CURRENT],  # noqa: B006
        table: Annotated[Names, Query(description="Names of tables")] = [],  # noqa: B006
        measure: Annotated[Names, Query(description="Names of measures")] = [],  # noqa: B006
        area: Annotated[Names, Query(description="Codes or names of areas")] = [],  # noqa: B006
        cohort: Annotated[Names, Query(description="Cohorts, as 202425 or 2024/25")] = [],  # noqa: B006
        flag: Annotated[Names, Query(description=f"Flags; {NO_FLAG!r}: figures without one")] = [],  # noqa: B006
        limit: Annotated[int, Query(ge=1, le=MOST_FIGURES, description="Figures on a page")] = FIGURES,
        offset: Annotated[int, Query(ge=0, le=10**9, description="Figures before the page")] = 0,
        format: Annotated[Literal["json", "csv"] | None, Query(description="Or by the header Accept")] = None,
    ) -> Response:
        """Parameters that are given several times match any of their values; different ones must all match.

        The answer has at most `limit` figures; `next` leads to those after them.
        """
        filters = {"release": release, "table": table, "measure": measure, "area": area, "cohort": cohort, "flag": flag}
        conditions = {name: values for name, values in filters.items() if values}
        for name in request.query_params.keys() - {*filters, "limit", "offset", "format"}:
            conditions[name] = request.query_params.getlist(name)
        accepted = request.headers.get("accept", "")
        prefers_csv = MEDIA_TYPES["csv"] in accepted and MEDIA_TYPES["json"] not in accepted
        csv = format == "csv" or (format is None and prefers_csv)
        page = latest.get().find_figures(conditions, limit, offset, csv=csv)
        following = None
        if offset + limit < page.total:
            others = [pair for pair in request.query_params.multi_items() if pair[0] != "offset"]
            following = f"figures?{urlencode([*others, ('offset', str(offset + limit))])}"
        if not csv:
            return _answer(request, build_page(page, offset, following))
        links = [f'<{documents.LICENCE.url}>; rel="license"', *([f'<{following}>; rel="next"'] if following else [])]
        answer = _answer(request, page.content.encode(), f"{MEDIA_TYPES['csv']}; charset=utf-8")
        answer.headers["Link"] = ", ".join(links)
        answer.headers["X-Total-Count"] = str(page.total)
        return answer


def _answer(request: Request, content: bytes, media_type: str = MEDIA_TYPES["json"]) -> Response:
    """Return the content, or 304 without it if the reader's copy is the same."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": ASK_FIRST, "Vary": "Accept"}
    copies = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if copies & {etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _add_problems(app: FastAPI) -> None:
    """Answer every refusal in one form, which repeats nothing of the request."""

    @app.exception_handler(UnknownName)
    def answer_unknown(request: Request, error: UnknownName) -> Response:
        # An unknown name in the path is an address that does not exist; in a query it is a wrong value.
        status = 422 if request.url.path == f"{_ROOT}/figures" else 404
        return _refuse(status, "There is no such name", str(error), error.nearest)

    @app.exception_handler(RequestValidationError)
    def answer_invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        problems = "; ".join(f"{each['loc'][1] if len(each['loc']) > 1 else ''}: {each['msg']}" for each in found)
        return _refuse(422, "A parameter is not valid", problems)

    @app.exception_handler(NothingReleased)
    def answer_nothing(request: Request, error: NothingReleased) -> Response:
        return _refuse(503, "Nothing is published yet", "there is no release; ask again later")

    @app.exception_handler(HTTPException)
    def answer_http(request: Request, error: HTTPException) -> Response:
        answer = _refuse(error.status_code, error.detail, f"{_ROOT}/index.json leads to everything; / describes it")
        answer.headers.update(error.headers or {})
        return answer


def _refuse(status: int, title: str, detail: str, nearest: Iterable[str] = ()) -> Response:
    problem = shapes.Problem(title=title, status=status, detail=detail, nearest=list(nearest))
    headers = {"Cache-Control": "no-store"}
    return Response(documents.format_document(problem), status, media_type="application/problem+json", headers=headers)


def _describe_problems(app: FastAPI) -> None:
    """Add the refusals of each operation to the description: those of FastAPI are not what is answered here."""
    described = app.openapi()
    described["components"]["schemas"] |= {"Problem": shapes.Problem.model_json_schema()}
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, methods in described["paths"].items():
        statuses = {414, 503} | ({404} if "{" in path else set()) | ({422} if path == f"{_ROOT}/figures" else set())
        for operation in methods.values():
            kept = {status: each for status, each in operation["responses"].items() if status == "200"}
            refusals = {str(each): {"description": _PROBLEMS[each], "content": content} for each in sorted(statuses)}
            operation["responses"] = kept | refusals


class Guard:
    """Refuses addresses that are too long, answers HEAD as GET without content, and adds headers to every answer."""

    def __init__(self, app: ASGIApp, latest: Latest) -> None:
        self.app, self.latest = app, latest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_head = scope["method"] == "HEAD"

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *_HEADERS.items(),
                    (_SIGNATURE, self.latest.signature.encode()),
                ]
            elif is_head:
                message["body"] = b""
            await send(message)

        too_long = len(scope["query_string"]) > LONGEST_QUERY or len(scope["path"]) > LONGEST_PATH
        app = _refuse(414, "The address is too long", f"{LONGEST_QUERY} bytes of query") if too_long else self.app
        await app(dict(scope) | {"method": "GET" if is_head else scope["method"]}, receive, send_guarded)
