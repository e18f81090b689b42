"""Reads the declarations of each family from its YAML file, and those that several families share from `shared.yaml`.

A family's file has everything about its tables that is not arithmetic: titles, filters, other names of categories,
short views, and whole tables that need no code. The noise plan, the Parquet schema, the database, the API, the answers
and all documents are derived from it. A declaration that is incomplete, is used by nothing or comes twice is an error
that names file, line and entry, whatever is run next: a release must not find it out after it was charged.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from privacy.doors.settings_file import InvalidSettings, describe_rule, read_document
from privacy.doors.shipped import read_yaml

FILES = ("shared", "pupil", "health", "parents")
_FOLDER = Path(__file__).parent
_Names = tuple[str, ...]


class WrongDeclaration(ValueError):
    """Declarations that do not fit; the message names file, line and entry of each, one per line."""


class _Declaration(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ViewDeclaration(_Declaration):
    """A short view of a table: text columns made of filters, a figure, a count, and filters shown `at_total` only."""

    columns: Mapping[str, _Names]
    figure: str
    count: str | None = None
    at_total: _Names = ()


class TableDeclaration(_Declaration):
    """A table in words.

    A table with blocks in the family's module names its `filters`. A table without code has `columns` and perhaps
    a `figure`, as a request for a table has; its short view may be left out, and is then that of a requested table.
    `since` is the first version of the schema that has it.
    """

    title: str
    description: str
    filters: _Names = ()
    view: ViewDeclaration | None = None
    since: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "1.0.0"
    columns: tuple[Any, ...] = ()
    figure: Mapping[str, Any] | None = None
    geography: str = "councils"
    weight: str | None = None
    """Kind of cell in the weights of the privacy policy; by default that of the family's requested tables."""


class CategoryNames(_Declaration):
    """Names of categories: `shown_short` in narrow columns, and `synonyms` that people use in questions."""

    shown_short: Mapping[str, str] = Field(default_factory=dict)
    synonyms: Mapping[str, _Names] = Field(default_factory=dict)


class FilterDeclaration(CategoryNames):
    """A filter column of published tables."""

    label: str
    description: str


class CharacteristicDeclaration(CategoryNames):
    """Other names of a characteristic of children, and of each of its groups, of which the first is shown in views.

    A group without names is shown as it is published.
    """

    names: _Names = ()
    groups: Mapping[str, Annotated[_Names, Field(min_length=1)]] = Field(default_factory=dict)


class AttributeDeclaration(_Declaration):
    """An attribute that is a column of a source, by code: the first council with a code for a child counts."""

    label: str
    source: Literal["eyfsp", "school_census", "hv_reviews", "parent_experience"]
    column: str
    codes: Annotated[Mapping[str, str], Field(min_length=2)]
    """Category of each code; every other child has the category `Unknown`."""


class FamilyFile(_Declaration):
    """The content of one file."""

    attributes: Mapping[str, AttributeDeclaration] = Field(default_factory=dict)
    tables: Mapping[str, TableDeclaration] = Field(default_factory=dict)
    filters: Mapping[str, FilterDeclaration] = Field(default_factory=dict)
    characteristics: Mapping[str, CharacteristicDeclaration] = Field(default_factory=dict)
    view_columns: Mapping[str, str] = Field(default_factory=dict)
    """Descriptions of the text columns of short views."""


class Declarations:
    """All declarations, by section and name, and where each of them is."""

    def __init__(self, contents: Mapping[str, Mapping[str, Any]], folder: Path = _FOLDER) -> None:
        """Check the content of each file, by its name without suffix. Raises `WrongDeclaration`."""
        self._folder, self._file_of = folder, dict[tuple[str, str], str]()
        self.files = {name: self._validate(name, content) for name, content in contents.items()}
        faults = []
        for name, file in self.files.items():
            for section in FamilyFile.model_fields:
                for entry in getattr(file, section):
                    if (other := self._file_of.setdefault((section, entry), name)) != name:
                        faults.append(f"{self._locate(name, section, entry)}: {section}.{entry} is in {other}.yaml too")
        if faults:
            raise WrongDeclaration("\n".join(faults))

    @classmethod
    def read(cls) -> "Declarations":
        """Read the files of this folder."""
        return cls({name: read_yaml(_FOLDER / f"{name}.yaml") for name in FILES})

    @cached_property
    def tables(self) -> dict[str, TableDeclaration]:
        return {name: entry for file in self.files.values() for name, entry in file.tables.items()}

    @cached_property
    def filters(self) -> dict[str, FilterDeclaration]:
        return {name: entry for file in self.files.values() for name, entry in file.filters.items()}

    @cached_property
    def characteristics(self) -> dict[str, CharacteristicDeclaration]:
        return {name: entry for file in self.files.values() for name, entry in file.characteristics.items()}

    @cached_property
    def view_columns(self) -> dict[str, str]:
        return {name: entry for file in self.files.values() for name, entry in file.view_columns.items()}

    def describe_fault(self, section: str, entry: str, sentence: str, *keys: str) -> str:
        """Return a fault of an entry with the file and line of its nearest key: `pupil.yaml:12: tables.x: ...`."""
        file = self._file_of.get((section, entry))
        path = ".".join((section, entry, *keys))
        if file is None:
            return f"{' or '.join(f'{name}.yaml' for name in self.files)}: {path}: {sentence}"
        return f"{self._locate(file, section, entry, *keys)}: {path}: {sentence}"

    def _locate(self, file: str, *path: str) -> str:
        try:
            document = read_document(self._folder / f"{file}.yaml")
        except InvalidSettings:
            return f"{file}.yaml"
        problem = document.build_problem({"loc": path, "type": "rule", "msg": ""})
        return f"{file}.yaml:{problem.line}"

    def _validate(self, name: str, content: Mapping[str, Any]) -> FamilyFile:
        try:
            return FamilyFile.model_validate(content)
        except pydantic.ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            lines = (self._describe_error(name, tuple(map(str, each["loc"])), dict(each)) for each in wrong)
            raise WrongDeclaration("\n".join(lines)) from None

    def _describe_error(self, file: str, path: tuple[str, ...], error: Mapping[str, Any]) -> str:
        rule = "is missing" if error["type"] == "missing" else describe_rule(error)
        return f"{self._locate(file, *path)}: {'.'.join(path)}: {rule}"


def list_unused(declared: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the declared names that nothing has."""
    return sorted({*declared} - {*known})


DECLARATIONS = Declarations.read()
