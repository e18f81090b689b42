"""The councils of England and the areas they belong to."""

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sources.reference import read_rows

PILOT = ("leeds", "hammersmith-and-fulham", "halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral")
LIVERPOOL_CITY_REGION = "E47000004"
COUNTRY = ("E92000001", "England")


@dataclass(frozen=True)
class Place:
    """One upper-tier local authority; `council` is the name of its folders."""

    council: str
    la_name: str
    new_la_code: str
    old_la_code: str
    region_code: str
    region_name: str
    english_devolved_area_code: str
    english_devolved_area_name: str


class UnknownCouncil(ValueError):
    """A folder, option or file names a council that is not in the list of English authorities."""


@cache
def load_places() -> dict[str, Place]:
    """Return every English authority by its `council` name, sorted by name."""
    return {row["council"]: Place(**row) for row in read_rows(Path(__file__).with_name("places.csv"))}


@cache
def load_tiles() -> dict[str, tuple[int, int]]:
    """Return each authority's position on a map of hexagons, by ONS code.

    Positions are in half columns from the left and rows from the top. Neighbours in a row are two half columns apart,
    and each row is shifted by one half column against the next.
    """
    rows = read_rows(Path(__file__).with_name("tiles.csv"))
    return {row["new_la_code"]: (int(row["half_columns"]), int(row["row"])) for row in rows}


def get_place(council: str) -> Place:
    """Return the authority called `council`; raises `UnknownCouncil`."""
    try:
        return load_places()[council]
    except KeyError:
        raise UnknownCouncil(
            f"{council!r} is not the name of an English authority; names are as in sources/reference/places.csv"
        ) from None


def resolve(text: str) -> Place:
    """Return the authority of this council or official name, DfE or ONS code, in any case. Raises `UnknownCouncil`."""
    entries = load_places().values()
    known = {
        name.lower(): entry
        for entry in entries
        for name in (entry.old_la_code, entry.new_la_code, entry.la_name, entry.council)
    }
    wanted = " ".join(text.lower().replace("_", " ").split())
    # Folders are written with hyphens, official names with spaces and sometimes with hyphens.
    found = known.get(wanted) or known.get(wanted.replace(" ", "-"))
    if found is None:
        near = difflib.get_close_matches(wanted.replace(" ", "-"), load_places(), n=1)
        raise UnknownCouncil(
            f"{text!r} is not the name of an English authority"
            + (f"; perhaps {near[0]!r}" if near else "")
            + "; names are as in sources/reference/places.csv"
        )
    return found
