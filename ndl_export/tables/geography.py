"""Areas that a release has rows for, given the councils that take part.

Order of rows: all councils together, then regions, devolved areas and councils. An area with an official code is
published only if all its councils take part, so a code never means part of a place. All councils together are England
only if all 153 take part; otherwise they have no official geography and get the level `Pilot councils`. A council that
takes part but has not sent the source that a table counts keeps its own rows, flagged as not available, and counts as
absent from every other area. A kind of record that a council does not send makes the rows about it not available in
every area with that council, so that a total never means fewer children than the same total elsewhere.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ndl_export.tables.schema import LEVEL, OWN_AREA, PLACE_COLUMNS
from sources.reference.places import COUNTRY, LIVERPOOL_CITY_REGION, get_place, load_places

NATIONAL, REGIONAL, DEVOLVED, LOCAL_AUTHORITY = "National", "Regional", "English devolved area", "Local authority"
ALL_TOGETHER = "Pilot councils"
"""Level of all participating councils, if they are not the whole of England."""

REGIONS_ABOVE = 20
"""Regions are published only with more councils than this."""

Missing = Mapping[str, Collection[str]]
"""By source, or by kind of record as `source/code`, the participating councils that have not sent it; what all have
sent may be left out."""

MissingByCohort = Mapping[str, Missing]
"""The same for each cohort of a release."""

_OFFICIAL = {
    NATIONAL: ("country_code", "country_name"),
    REGIONAL: ("region_code", "region_name"),
    DEVOLVED: ("english_devolved_area_code", "english_devolved_area_name"),
    LOCAL_AUTHORITY: ("new_la_code", "la_name"),
}
"""Columns with the official code and name of a row's own area, by level; `ALL_TOGETHER` has none."""


@dataclass(frozen=True)
class Geography:
    """One area: its level, the values of its place columns, and the names of its councils."""

    level: str
    columns: Mapping[str, str | None]
    councils: tuple[str, ...]
    available: bool = True
    """False if none of its councils has sent the counted source."""
    lacks: frozenset[str] = frozenset()
    """Kinds of record (`Attribute.sent_as`) that at least one of its councils does not send."""

    @property
    def name(self) -> str:
        """The area's name."""
        return str(self.columns[OWN_AREA[1]])

    @property
    def code(self) -> str:
        """The area's official code, or its level if it has no code."""
        return str(self.columns[OWN_AREA[0]])


def list_geographies(
    councils: Iterable[str], not_sent: Collection[str] = (), lacking: Missing = MappingProxyType({})
) -> tuple[Geography, ...]:
    """Return the areas of a release, all councils together first.

    Councils in `not_sent` are in no area except their own; `lacking` has, by kind of record, those that do not send it.
    Raises `sources.reference.places.UnknownCouncil`, and
    ValueError if no council takes part.
    """
    members = sorted({get_place(council).council for council in councils})
    if not members:
        raise ValueError("a release needs at least one council")
    present = tuple(council for council in members if council not in not_sent)
    regions: dict[str, list[str]] = {}
    if len(present) > REGIONS_ABOVE:
        # All councils of England, not only those that take part: a region is published only if none is missing.
        for council, entry in load_places().items():
            regions.setdefault(entry.region_code, []).append(council)
    places = load_places().items()
    devolved = tuple(name for name, place in places if place.english_devolved_area_code == LIVERPOOL_CITY_REGION)
    level = NATIONAL if len(present) == len(load_places()) else ALL_TOGETHER
    areas = (
        Geography(level, _build_columns(level), present, bool(present)),
        *(_build_area(REGIONAL, tuple(inside)) for _, inside in sorted(regions.items()) if set(inside) <= set(present)),
        *([_build_area(DEVOLVED, devolved)] if set(devolved) <= set(present) else []),
        *(_build_area(LOCAL_AUTHORITY, (council,), council in present) for council in members),
    )
    return tuple(
        replace(area, lacks=frozenset(kind for kind, named in lacking.items() if {*named} & {*area.councils}))
        for area in areas
    )


_OF_LEVEL = _OFFICIAL | {
    # Without the devolved area, which Explore Education Statistics rejects on rows of its members.
    LOCAL_AUTHORITY: ("region_code", "region_name", "old_la_code", "new_la_code", "la_name"),
}
"""Place columns filled at each level, in addition to the country's."""


def _build_area(level: str, councils: tuple[str, ...], available: bool = True) -> Geography:
    filled = {name: getattr(get_place(councils[0]), name) for name in _OF_LEVEL[level]}
    return Geography(level, _build_columns(level, **filled), councils, available)


def _build_columns(level: str, **filled: str) -> dict[str, str | None]:
    code, name = COUNTRY
    known = {LEVEL: level, "country_code": code, "country_name": name, **filled}
    # All councils together have no official code: the level fills both columns, so that they are never empty.
    own = [known[column] for column in _OFFICIAL.get(level, (LEVEL, LEVEL))]
    known |= dict(zip(OWN_AREA, own, strict=True))
    return {column.name: known.get(column.name) for column in PLACE_COLUMNS}
