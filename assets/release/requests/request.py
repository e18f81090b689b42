"""A request for a table, as a file `request.yaml`: its definition, family, cohorts, accuracy, purpose and requester.

A request holds only words and publicly known names, so that its validity, its cost and the decision on it depend on
nothing confidential.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ndl_export.facts.on_request import is_taken
from ndl_export.tables import FAMILIES, Table
from ndl_export.tables.definition import Definition, InvalidDefinition, Words, build_table, find_problems, read_as
from privacy.doors.settings_file import Document, InvalidSettings, Settings, build_fault_validator, read_document
from privacy.release.canonical import hash_json
from sources.reference.cohorts import Cohort

TEMPLATE = Path(__file__).with_name("request_template.yaml")
"""A template of a request, with a comment on each key."""
WIDEST_POINTS = 15.0
_LONGEST_SHOWN = 20


def _parse_cohort(code: str) -> str:
    if len(code) > _LONGEST_SHOWN:
        raise ValueError("is two consecutive years, as 202425")
    return Cohort.parse(code).code


class Accuracy(Settings):
    """The accuracy that a request asks for.

    Among percentages of rows at full detail, with no column at its total, `share_of_rates` must have a 95% interval of
    at most `half_width_points` percentage points either way.
    """

    half_width_points: Annotated[float, Field(ge=0.1, le=WIDEST_POINTS)]
    share_of_rates: Annotated[float, Field(gt=0, le=1)]


class Request(Definition):
    """A requested table, with everything needed to decide on it."""

    family: Annotated[
        str, build_fault_validator(lambda name: None if name in FAMILIES else f"is one of {', '.join(FAMILIES)}")
    ]
    cohorts: Annotated[tuple[Annotated[str, AfterValidator(_parse_cohort)], ...], Field(min_length=1)]
    accuracy: Accuracy
    purpose: Words
    # the register is public, and an address may name a person
    asked_by: Annotated[
        Words,
        build_fault_validator(lambda name: "is the name of an organisation, and no address" if "@" in name else None),
    ]
    """Name of an organisation."""

    @cached_property
    def definition(self) -> Definition:
        return Definition(**{name: getattr(self, name) for name in Definition.model_fields})

    @cached_property
    def table(self) -> Table:
        return build_table(self.definition, FAMILIES[self.family])

    def build_document(self) -> dict[str, Any]:
        """Return the request JSON-ready, with every key, defaults included."""
        return self.model_dump(mode="json")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON; the request's identity."""
        return hash_json(self.build_document())


def read_request(path: Path) -> Request:
    """Read a request. Raises `InvalidDefinition` with every problem of the file."""
    try:
        document = read_document(path)
        if document.problems:
            raise InvalidSettings(document.problems)
        return parse_request(document.content)
    except InvalidSettings as error:
        raise InvalidDefinition(str(error)) from None
    except InvalidDefinition as error:
        raise InvalidDefinition(
            "\n".join(_locate_problem(document, line) for line in str(error).splitlines())
        ) from None


def _locate_problem(document: Document, problem: str) -> str:
    """Return a problem of a definition with file and line; it begins with its key, such as `columns.0.attribute`."""
    dotted, _, rule = problem.partition(": ")
    place = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
    if place[0] not in document.content and rule != "is missing":
        return f"{document.file}: {problem}"
    return str(document.build_problem({"loc": place, "type": "rule", "msg": rule}))


def read_requests(paths: Iterable[Path]) -> list[Request]:
    """Read several requests. Raises `InvalidDefinition` with every problem of any file, and for a repeated name."""
    found, problems = list[Request](), list[str]()
    for path in paths:
        try:
            found.append(read_request(path))
        except InvalidDefinition as error:
            problems.append(str(error))
    names = [each.name for each in found]
    problems += [f"two requests are called {name}" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise InvalidDefinition("\n".join(problems))
    return found


def parse_request(document: object) -> Request:
    """Return the request in a document from JSON or YAML. Raises `InvalidDefinition` with every problem."""
    problems: list[str] = []
    request = None
    try:
        request = read_as(Request, document)
    except InvalidDefinition as error:
        problems += str(error).splitlines()
    if isinstance(document, Mapping):
        problems += _list_table_problems(document)
    if problems or request is None:
        raise InvalidDefinition("\n".join(dict.fromkeys(problems)))
    return request


def _list_table_problems(document: Mapping[str, Any]) -> list[str]:
    """Return the problems of the table and cohorts, as far as they can be read despite other problems."""
    name, family = (value if isinstance(value := document.get(key), str) else "" for key in ("name", "family"))
    taken = (
        [f"name: {name} is already the name of something else in a release; give it another"] if is_taken(name) else []
    )
    cohorts = document.get("cohorts")
    codes = [str(each) for each in cohorts] if isinstance(cohorts, list | tuple) else []
    repeated = [code for code in dict.fromkeys(codes) if codes.count(code) > 1 and len(code) <= _LONGEST_SHOWN]
    return [
        *taken,
        *(f"cohorts: {code} is listed twice" for code in repeated),
        *(find_problems(document, FAMILIES[family]) if family in FAMILIES else ()),
    ]
