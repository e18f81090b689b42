"""Reads the words of the database, and checks them against the table definitions: `names.yaml`, `short_views.yaml`.

Importing this module fails if a table, group or category lacks its words, or words are of nothing that exists: a
release must not find that out after it was charged.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ndl_export.analyst_db.child_groups import list_characteristics, list_filter_categories
from ndl_export.tables import TABLES, Table
from ndl_export.tables.model import TOPIC_FILTER
from privacy.doors.shipped import read_yaml
from sources.reference.places import load_places

_NAMES, _VIEWS = (Path(__file__).with_name(name) for name in ("names.yaml", "short_views.yaml"))


class WordsDiffer(ValueError):
    """Words and table definitions that do not fit; the message names file and entry of each, one per line."""


@dataclass(frozen=True)
class Short:
    """A view: text columns made of filters, a figure, a count, and the filters shown `at_total` only."""

    words: Mapping[str, Sequence[str]]
    figure: str
    count: str | None = None
    at_total: Sequence[str] = ()


def find_name_faults(names: Mapping[str, Any]) -> Iterator[str]:
    """Yield faults in the content of `names.yaml`."""
    characteristics = list_characteristics()
    groups = {each.build_key(group) for each in characteristics for group in each.groups}
    yield from _compare(
        f"{_NAMES.name}: characteristics", names["characteristics"], {c.attribute for c in characteristics}
    )
    yield from _compare(f"{_NAMES.name}: groups", names["groups"], groups)
    yield from (f"{_NAMES.name}: groups: {key!r} has no name" for key, called in names["groups"].items() if not called)
    places = load_places().values()
    codes = {code for each in places for code in (each.council, each.region_code, each.english_devolved_area_code)}
    yield from _list_unused(f"{_NAMES.name}: areas", names["areas"], codes)
    categories = _list_categories()
    yield from _list_unused(f"{_NAMES.name}: shown_short", names["shown_short"], categories)
    for label, words in names["shown_short"].items():
        yield from _list_unused(f"{_NAMES.name}: shown_short: {label}", words, categories.get(label, words))


def _list_categories() -> dict[str, set[str]]:
    """Return the categories of every filter and characteristic, by label."""
    found: dict[str, set[str]] = {}
    for entry in chain.from_iterable(table.filters for table in TABLES.values()):
        found.setdefault(entry.label, set()).update(list_filter_categories()[entry.name])
    for each in list_characteristics():
        found.setdefault(each.name, set()).update(each.groups)
    return found


def find_view_faults(stated: Mapping[str, Any]) -> Iterator[str]:
    """Yield faults in the content of `short_views.yaml`."""
    views = stated["views"]
    yield from _compare(f"{_VIEWS.name}: views", views, TABLES)
    used = {column for view in views.values() for column in view["words"]}
    yield from _compare(f"{_VIEWS.name}: text_columns", stated["text_columns"], used)
    for name in views.keys() & TABLES.keys():
        yield from (f"{_VIEWS.name}: views: {name}: {fault}" for fault in _find_view_faults(views[name], TABLES[name]))


def _find_view_faults(view: Mapping[str, Any], table: Table) -> Iterator[str]:
    shown = [*chain.from_iterable(view["words"].values()), *view.get("at_total", ())]
    filters = {entry.name for entry in table.filters} - {TOPIC_FILTER.name}
    # without a filter, rows of several of its categories would look the same
    yield from _compare("words and at_total", shown, filters)
    measures = {measure.name for measure in table.measures}
    yield from _list_unused("figure and count", [view["figure"], *filter(None, [view.get("count")])], measures)


def _compare(place: str, stated: Collection[str], needed: Collection[str]) -> Iterator[str]:
    yield from (f"{place}: {name!r} is missing" for name in needed if name not in stated)
    yield from _list_unused(place, stated, needed)


def _list_unused(place: str, stated: Collection[str], known: Collection[str]) -> Iterator[str]:
    yield from (
        f"{place}: {name!r} is of nothing that the table definitions have" for name in stated if name not in known
    )


def _read_checked() -> tuple[dict[str, Any], dict[str, Any]]:
    names, views = read_yaml(_NAMES), read_yaml(_VIEWS)
    if faults := [*find_name_faults(names), *find_view_faults(views)]:
        raise WordsDiffer(f"In {_NAMES.parent}:\n" + "\n".join(faults))
    return names, views


ALSO_CALLED, STATED = _read_checked()
"""Other names, by kind, and by attribute, key of a group, folder name of a council or official code; and the content of
`short_views.yaml`."""
SHORT = {name: Short(**view) for name, view in STATED["views"].items()}
