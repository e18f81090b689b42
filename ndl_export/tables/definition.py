"""Tables without code: the definition that a requester or a family's file gives, and its conversion to a `Table`.

A requested table counts the rows of a family by some of its attributes, at each level and at the total. It may also
give the number and percentage of each row's children who are in a group. Without a group, it gives each row as a
percentage of the same row with the last column at its total. `build_table` turns a definition into the `Table` from
which the noise plan, the schema, the documents and the database are derived. A definition can name only attributes and
categories of the family, so it cannot ask for anything outside the public domain.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import StringConstraints

from ndl_export.pages.number_format import capitalise
from ndl_export.tables import model
from ndl_export.tables.declarations import DECLARATIONS, TableDeclaration, WrongDeclaration
from ndl_export.tables.schema import BREAK_COLUMN, PLACE_COLUMNS, TIME_COLUMNS, list_measure_columns
from privacy.doors.settings_file import describe_rule

MOST_COLUMNS = 4
MOST_ROWS = 1_000
"""Rows per area."""
TOTAL = model.ALL.label
_NAME = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", min_length=3, max_length=48)]
_MARKUP = r"<>|`*\\\[\]{}\x00-\x1f\x7f"
_WORDS = Annotated[str, StringConstraints(pattern=rf"^[^\s{_MARKUP}]([^{_MARKUP}]*[^\s{_MARKUP}])?$")]
"""One line of plain text that can go unchanged into Markdown tables, pages and metadata."""
Words = Annotated[_WORDS, StringConstraints(max_length=200)]
Label = Annotated[_WORDS, StringConstraints(max_length=80)]


class InvalidDefinition(ValueError):
    """A definition that cannot be used; the message names each place and the rule it breaks, one per line."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class RequestedColumn(_Part):
    """A filter column: an attribute at its `levels` (by default every category except the unknown) and at its total."""

    attribute: str
    levels: dict[Label, tuple[str, ...]] | None = None
    total: bool = True
    name: _NAME | None = None
    label: Label | None = None
    description: Words | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _accept_name(cls, stated: object) -> object:
        """Also accept the name of the attribute alone."""
        return {"attribute": stated} if isinstance(stated, str) else stated

    @pydantic.field_validator("levels", mode="before")
    @classmethod
    def _accept_list(cls, levels: object) -> object:
        """Also accept levels as a list of labels with their categories."""
        # Plans and bundles are JSON with sorted keys, which cannot keep the order of an object's levels.
        if not isinstance(levels, list | tuple) or not all(
            isinstance(each, dict) and each.keys() == {"label", "categories"} and isinstance(each["label"], str)
            for each in levels
        ):
            return levels
        found = {each["label"]: each["categories"] for each in levels}
        # The dictionary would lose a label that comes twice, so the list is returned unchanged and pydantic refuses it.
        return found if len(found) == len(levels) else levels

    @pydantic.field_serializer("levels", when_used="json-unless-none")
    def _serialise_levels(self, levels: dict[str, tuple[str, ...]]) -> list[dict[str, object]]:
        return [{"label": label, "categories": categories} for label, categories in levels.items()]


class RequestedFigure(_Part):
    """The share of a row's children, or responses, in a group: those whose attribute has one of the categories."""

    attribute: str
    categories: tuple[str, ...]
    name: _NAME | None = None
    """Start of the names of its measures; required if the family has no measures for this group."""
    label: Label | None = None
    """The group in words, to follow "Percentage of children"."""
    with_count: bool = True


class Definition(_Part):
    """A table of a family. Its name becomes one of a worksheet, and its title one of Explore Education Statistics."""

    name: Annotated[_NAME, StringConstraints(max_length=31)]
    title: Annotated[_WORDS, StringConstraints(max_length=120)]
    description: Words
    columns: Annotated[tuple[RequestedColumn, ...], pydantic.Field(min_length=1, max_length=MOST_COLUMNS)]
    figure: RequestedFigure | None = None
    geography: Literal["councils", "all_councils_together"] = "councils"


def read_definition(document: object) -> Definition:
    """Read a definition for any family. Raises `InvalidDefinition`."""
    return read_as(Definition, document)


_Model = TypeVar("_Model", bound=pydantic.BaseModel)


def read_as(form: type[_Model], document: object) -> _Model:
    """Read a document parsed from JSON or YAML. Raises `InvalidDefinition` with the place and rule of every error."""
    try:
        return form.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors()
        inside = {each["loc"][:-depth] for each in found for depth in range(1, len(each["loc"]))}
        wrong = [each for each in found if each["loc"] not in inside]  # errors in a part replace the part's own
        lines = (f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {_explain_rule(each)}" for each in wrong)
        raise InvalidDefinition("\n".join(dict.fromkeys(lines))) from None


def _explain_rule(error: Any) -> str:
    match error["type"]:
        case "missing":
            return "is missing"
        # pydantic does not say whose pattern failed; only the pattern of names has letters.
        case "string_pattern_mismatch" if "a-z" in error["ctx"]["pattern"]:
            return "is written in small letters, digits and single underscores, beginning with a letter"
        case "string_pattern_mismatch":
            return "is one line of text without < > | ` * \\ [ ] { }"
    return describe_rule(error)


def build_table(definition: Definition, family: model.Family) -> model.Table:
    """Return the table that a definition describes. Raises `InvalidDefinition` if it does not fit the family."""
    if problems := list(_find_problems(dict(enumerate(definition.columns)), definition.figure, family)):
        raise InvalidDefinition("\n".join(problems))
    filters, axes = [], []
    for column in definition.columns:
        attribute = family.get_attribute(column.attribute)
        label = column.label or attribute.label
        filters.append(model.Filter(column.name or column.attribute, label, column.description or label))
        axes.append(model.Axis(filters[-1].name, column.attribute, _build_selections(column, attribute)))
    # Figures by an attribute found by linkage are corrected, so the count before correction is published with them.
    linked = any(column.attribute in family.found_by_linkage for column in definition.columns)
    as_linked = family.counted_as_linked if linked else ""
    councils, of_figure = definition.geography == "councils", build_measures(definition.figure, family)
    shape = model.Block(
        axes=tuple(axes), base=family.counted, as_linked=as_linked, councils=councils, weight=family.weight
    )
    return model.Table(
        name=definition.name,
        title=definition.title,
        family=family.name,
        population=family.population,
        description=definition.description,
        filters=tuple(filters),
        measures=(*(model.MEASURES[name] for name in (family.counted, as_linked) if name), *of_figure.values()),
        blocks=(_add_figure(shape, definition.figure, {kind: each.name for kind, each in of_figure.items()}),),
    )


def declare_tables(family: model.Family) -> model.Family:
    """Return the family with the tables that its file declares without code, all in the order of the file.

    Raises `WrongDeclaration`.
    """
    tables, faults = {table.name: table for table in family.tables}, []
    declarations = DECLARATIONS.files[family.name].tables
    for name, declared in declarations.items():
        try:
            if declared.columns:
                tables[name] = _build_declared(name, declared, family)
        except InvalidDefinition as wrong:
            faults += [DECLARATIONS.describe_fault("tables", name, line) for line in str(wrong).splitlines()]
    if faults:
        raise WrongDeclaration("\n".join(faults))
    return replace(family, tables=tuple(tables[name] for name in declarations if name in tables))


def _build_declared(name: str, declared: TableDeclaration, family: model.Family) -> model.Table:
    stated = declared.model_dump(include={"title", "description", "columns", "figure", "geography"})
    definition = read_definition({"name": name, **stated})
    columns = tuple(map(_fill_in_words, definition.columns))
    weighed = replace(family, weight=declared.weight or family.weight)
    return build_table(definition.model_copy(update={"columns": columns}), weighed)


def _fill_in_words(column: RequestedColumn) -> RequestedColumn:
    """Return the column with label and description of the declared filter of its name, if there is one."""
    declared = model.FILTERS.get(column.name or column.attribute)
    if declared is None or column.label:
        return column
    return column.model_copy(update={"label": declared.label, "description": declared.description})


def find_problems(document: Mapping[str, Any], family: model.Family) -> list[str]:
    """List the errors in every column and figure of a definition that can be read, whatever else is wrong with it."""
    columns, figure = document.get("columns"), document.get("figure")
    listed = enumerate(columns) if isinstance(columns, list | tuple) else ()
    readable = {place: column for place, each in listed if (column := _read_if(RequestedColumn, each))}
    return list(_find_problems(readable, _read_if(RequestedFigure, figure), family))


def _read_if(form: type[_Model], document: object) -> _Model | None:
    try:
        return read_as(form, document)
    except InvalidDefinition:
        return None


def _add_figure(shape: model.Block, figure: RequestedFigure | None, names: Mapping[str, str]) -> model.Block:
    """Return the block of this shape with a figure or, without one, with the share of its last column."""
    if figure is None:
        return model.ShareBlock(**vars(shape), share_of=shape.axes[-1].filter, share=names["rate"])
    numerator = (figure.attribute, figure.categories)
    return model.RateBlock(**vars(shape), numerator=numerator, rate=names["rate"], part=names.get("count"))


def list_publishable(family: model.Family) -> tuple[model.TableAttribute, ...]:
    """Return the attributes that a definition may name: all except those measured only to estimate linkage error."""
    return tuple(attribute for attribute in family.attributes if attribute.name not in family.never_shown)


def _find_problems(
    columns: Mapping[int, RequestedColumn], figure: RequestedFigure | None, family: model.Family
) -> Iterator[str]:
    """Yield the errors in the columns, which are keyed by position, and in the figure."""
    known = {attribute.name: attribute for attribute in list_publishable(family)}
    named = {f"columns.{place}": column.attribute for place, column in columns.items()}
    named |= {"figure": figure.attribute} if figure else {}
    for place, name in named.items():
        if name not in known:
            yield f"{place}.attribute: {name!r} is not an attribute of {family.name}; choose from: {', '.join(known)}"
    names = [*named.values()]
    yield from (f"{name} is named twice" for name in dict.fromkeys(names) if names.count(name) > 1)
    found_by_linkage = sorted({*names} & {*family.found_by_linkage})
    if len(found_by_linkage) > 1:
        yield (
            f"{' and '.join(found_by_linkage)} are both found by linkage: a table can have one such attribute, for its"
            " figures are corrected for missed links by that one"
        )
    for number, column in columns.items():
        for label, categories in (column.levels or {}).items():
            if column.attribute in known:
                yield from _find_group_problems(f"columns.{number}.levels.{label}", known[column.attribute], categories)
            if label == TOTAL:
                yield f"columns.{number}.levels: {TOTAL!r} is the word for all categories; give the level another name"
    if figure and figure.attribute in known:
        yield from _find_group_problems("figure.categories", known[figure.attribute], figure.categories)
        yield from _find_figure_problems(figure, family)
    filters = [column.name or column.attribute for column in columns.values()]
    yield from (f"two columns are called {name}" for name in dict.fromkeys(filters) if filters.count(name) > 1)
    # Time, place, filters and figures are columns of one table, and views of the analyst database add theirs.
    measures = (model.MEASURES[family.counted], *build_measures(figure, family).values())
    taken = {*_RESERVED, *model.MEASURES, *(column.name for each in measures for column in list_measure_columns(each))}
    yield from (f"a column cannot be called {name}" for name in filters if name in taken)
    # For an attribute that does not exist, the number of rows is unknown.
    if all(column.attribute in known for column in columns.values()):
        rows = math.prod(len(_build_selections(column, known[column.attribute])) for column in columns.values())
        if rows > MOST_ROWS:
            yield f"it would have {rows:,} rows an area, and {MOST_ROWS:,} are the most: leave out a column"


_RESERVED = frozenset(
    (
        *(column.name for column in (*TIME_COLUMNS, *PLACE_COLUMNS, BREAK_COLUMN)),
        *("council", "cohort", "region", "release", "release_version", "is_all_together"),
        *("area", "children", "responses", "percent", "lower", "upper", "flag"),
    )
)
"""Names of columns that every table has, in the files or in the analyst database."""


def _find_group_problems(place: str, attribute: model.TableAttribute, categories: tuple[str, ...]) -> Iterator[str]:
    if not categories:
        yield f"{place}: it is empty"
    for category in dict.fromkeys(categories):
        if category not in attribute.categories:
            yield f"{place}: {attribute.name} has no category {category!r}: {'; '.join(attribute.categories)}"
        if categories.count(category) > 1:
            yield f"{place}: {category!r} is listed twice"
    if set(categories) >= set(attribute.categories):
        yield f"{place}: these are all the categories, so they are not a group"


def _find_figure_problems(figure: RequestedFigure, family: model.Family) -> Iterator[str]:
    if (figure.attribute, figure.categories) in family.figures:
        if figure.name or figure.label:
            yield "figure: this group already has measures: leave out name and label"
    elif not (figure.name and figure.label):
        yield "figure: give it a name, as sen_support, and a label, as 'with SEN support'"
    elif any(name in model.MEASURES for name in _name_measures(figure.name)):
        yield f"figure.name: {figure.name} is the name of another figure"


def build_measures(figure: RequestedFigure | None, family: model.Family) -> dict[str, model.Measure]:
    """Return the measures of a figure: its `rate`, and its `count` if it has one; without a figure, the share."""
    if figure is None:
        return {"rate": model.MEASURES[family.share]}
    counted = family.figures.get((figure.attribute, figure.categories))
    if counted:
        found = {"count": model.MEASURES[counted[0]], "rate": model.MEASURES[counted[1]]}
    else:
        of, (count, percent) = model.MEASURES[family.counted].of, _name_measures(str(figure.name))
        group = f"{of} {figure.label}"
        words = capitalise(group)
        found = {
            "count": model.Measure(count, f"Number of {group}", model.MeasureKind.COUNT, f"{words} in the row", 0, of),
            "rate": model.Measure(
                percent,
                f"Percentage of {group}",
                model.MeasureKind.PERCENT,
                f"{words} as a percentage of the {of} in the row",
                1,
                of,
            ),
        }
    return {kind: measure for kind, measure in found.items() if kind == "rate" or figure.with_count}


def _name_measures(figure: str) -> tuple[str, str]:
    return f"{figure}_count", f"{figure}_percent"


def _build_selections(column: RequestedColumn, attribute: model.TableAttribute) -> tuple[model.Selection, ...]:
    stated = [model.Selection(label, categories) for label, categories in (column.levels or {}).items()]
    own = stated or model.select_each(attribute)
    return (model.ALL, *own) if column.total else tuple(own)
