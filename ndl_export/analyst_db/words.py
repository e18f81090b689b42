"""Short views and other names of characteristics, groups and categories, from the declarations of the families.

Importing this module fails if a declared word is of nothing that the table definitions have, or a view lacks a filter:
a release must not find that out after it was charged. Other names of areas are in `area_names.yaml`.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from ndl_export.analyst_db.child_groups import Characteristic, list_characteristics, list_filter_categories
from ndl_export.tables import TABLES, Table
from ndl_export.tables.declarations import (
    DECLARATIONS,
    CharacteristicDeclaration,
    Declarations,
    ViewDeclaration,
    WrongDeclaration,
    list_unused,
)
from ndl_export.tables.model import FILTERS, TOPIC_FILTER
from privacy.doors.shipped import read_yaml
from sources.reference.places import load_places

_NOTHING = "it is of nothing that the table definitions have"
_UNDECLARED = CharacteristicDeclaration()


class Words:
    """Words of the database; all of them by characteristic, or by label of the filter and category."""

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared

    def list_names(self, characteristic: Characteristic) -> tuple[str, ...]:
        """Return other names of a characteristic."""
        return self._get(characteristic).names

    def list_group_names(self, characteristic: Characteristic, group: str) -> tuple[str, ...]:
        """Return names of a group, of which the first is shown in the short views."""
        is_unique = self._groups[group] == 1
        default = group if is_unique else f"{group} ({characteristic.name})"
        return self._get(characteristic).groups.get(group, (default,))

    @cached_property
    def shown_short(self) -> dict[str, Mapping[str, str]]:
        """Categories that are too long for a narrow column, with what is shown instead."""
        return {label: entry.shown_short for label, _, entry in self._iter_labelled() if entry.shown_short}

    @cached_property
    def synonyms(self) -> dict[str, Mapping[str, tuple[str, ...]]]:
        """Names of categories that people use in questions."""
        return {label: entry.synonyms for label, _, entry in self._iter_labelled() if entry.synonyms}

    @cached_property
    def views(self) -> dict[str, ViewDeclaration]:
        """Short views of tables, by table; those of other tables are made as those of requested tables are."""
        return {name: table.view for name, table in self._declared.tables.items() if table.view}

    def iter_faults(self) -> Iterator[str]:
        """Yield faults in the declared words, with file, line and entry."""
        characteristics = {characteristic.attribute: characteristic for characteristic in list_characteristics()}
        describe = self._declared.describe_fault
        for name in list_unused(self._declared.characteristics, characteristics):
            yield describe("characteristics", name, _NOTHING)
        for name in self._declared.characteristics.keys() & characteristics.keys():
            for group in list_unused(self._declared.characteristics[name].groups, characteristics[name].groups):
                yield describe("characteristics", name, _NOTHING, "groups", group)
        categories = _list_categories()
        for label, (section, name), entry in self._iter_labelled():
            for kind, known in (("shown_short", entry.shown_short), ("synonyms", entry.synonyms)):
                for category in list_unused(known, categories[label]):
                    yield describe(section, name, _NOTHING, kind, category)
        used = {column for view in self.views.values() for column in view.columns}
        for column in list_unused(self._declared.view_columns, used):
            yield describe("view_columns", column, "no view has it")
        for name, view in self.views.items():
            for sentence in self._find_view_faults(view, TABLES[name]):
                yield describe("tables", name, sentence, "view")

    def _find_view_faults(self, view: ViewDeclaration, table: Table) -> Iterator[str]:
        shown = [*chain.from_iterable(view.columns.values()), *view.at_total]
        filters = {entry.name for entry in table.filters} - {TOPIC_FILTER.name}
        # without a filter, rows of several of its categories would look the same
        yield from (f"the filter {name!r} is missing" for name in list_unused(filters, shown))
        yield from (f"the table has no filter {name!r}" for name in list_unused(shown, filters))
        measures = {measure.name for measure in table.measures}
        stated = [view.figure, *([view.count] if view.count else [])]
        yield from (f"the table has no measure {name!r}" for name in list_unused(stated, measures))
        for column in list_unused(view.columns, self._declared.view_columns):
            yield f"{column!r} has no description in a section view_columns"

    def _get(self, characteristic: Characteristic) -> CharacteristicDeclaration:
        return self._declared.characteristics.get(characteristic.attribute, _UNDECLARED)

    @cached_property
    def _groups(self) -> Counter[str]:
        return Counter(group for characteristic in list_characteristics() for group in characteristic.groups)

    def _iter_labelled(self) -> Iterator[tuple[str, tuple[str, str], Any]]:
        """Yield filters and characteristics with their label, section and name."""
        for name, entry in self._declared.filters.items():
            yield FILTERS[name].label, ("filters", name), entry
        for characteristic in list_characteristics():
            name = characteristic.attribute
            if name in self._declared.characteristics:
                yield characteristic.name, ("characteristics", name), self._declared.characteristics[name]


def _list_categories() -> dict[str, set[str]]:
    """Return the categories of every filter and characteristic, by label."""
    categories: dict[str, set[str]] = {}
    for entry in chain.from_iterable(table.filters for table in TABLES.values()):
        categories.setdefault(entry.label, set()).update(list_filter_categories()[entry.name])
    for characteristic in list_characteristics():
        categories.setdefault(characteristic.name, set()).update(characteristic.groups)
    return categories


def find_area_faults(names: Mapping[str, Collection[str]]) -> list[str]:
    """Return the declared areas that there are not."""
    places = load_places().values()
    codes = {code for each in places for code in (each.council, each.region_code, each.english_devolved_area_code)}
    return [f"{_AREAS.name}: areas: {name!r} is no area" for name in list_unused(names, filter(None, codes))]


_AREAS = Path(__file__).with_name("area_names.yaml")
_STATED_AREAS: dict[str, Any] = read_yaml(_AREAS)
ALL_TOGETHER_NAMES: tuple[str, ...] = tuple(_STATED_AREAS["all_together"])
"""Names of the area of all councils together."""
AREA_NAMES: dict[str, list[str]] = _STATED_AREAS["areas"]
"""Other names of areas, by folder name of a council or official code."""
WORDS = Words(DECLARATIONS)
if _FAULTS := [*WORDS.iter_faults(), *find_area_faults(AREA_NAMES)]:
    raise WrongDeclaration("\n".join(_FAULTS))
