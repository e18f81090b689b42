"""The Explore Education Statistics data screener's rules, as far as they apply to our files.

Numbers are those of the screener's checks in their order of running (filename, metadata, time, filters, geography,
general, indicators, harmonised names, API limits). Left out are checks of columns we never have (schools, providers,
wards, characteristic columns, ethnicity columns) and the API data dictionary (65), which is not ours to pass.
Warnings count as much as failures.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Row = dict[str, str]

META_NEEDED = {
    "col_name",
    "col_type",
    "label",
    "indicator_grouping",
    "indicator_unit",
    "indicator_dp",
    "filter_hint",
    "filter_grouping_column",
}
META_OPTIONAL = {"filter_default", "parent_filter"}
DATA_NEEDED = {"geographic_level", "time_period", "time_identifier", "country_code", "country_name"}
LEVELS = {
    "National": ("country_code", "country_name"),
    "Regional": ("region_code", "region_name"),
    "Local authority": ("new_la_code", "la_name", "old_la_code"),
    "English devolved area": ("english_devolved_area_code", "english_devolved_area_name"),
}
MAY_FILL = {
    "National": set(LEVELS),
    "Regional": {"Regional", "Local authority", "English devolved area"},
    "Local authority": {"Local authority"},
    "English devolved area": {"English devolved area"},
}
OBSERVATIONAL = DATA_NEEDED | {column for columns in LEVELS.values() for column in columns}
PLACES = {
    ("E92000001", "England"),
    ("E12000001", "North East"),
    ("E12000002", "North West"),
    ("E12000003", "Yorkshire and The Humber"),
    ("E12000004", "East Midlands"),
    ("E12000005", "West Midlands"),
    ("E12000006", "East of England"),
    ("E12000007", "London"),
    ("E12000008", "South East"),
    ("E12000009", "South West"),
    ("E47000004", "Liverpool City Region"),
    ("E06000006", "Halton", "876"),
    ("E08000011", "Knowsley", "340"),
    ("E08000012", "Liverpool", "341"),
    ("E08000013", "St. Helens", "342"),
    ("E08000014", "Sefton", "343"),
    ("E08000015", "Wirral", "344"),
    ("E08000035", "Leeds", "383"),
    ("E09000013", "Hammersmith and Fulham", "205"),
}
"""Code, name and for local authorities old code: exact, from the Department for Education's look-ups."""
SMUSHED = (
    "male|female|asian|chinese|indian|pakistani|bangladeshi|black|african|caribbean|white|roma|irish|english|british"
    "|scottish|welsh|northern irish|arab"
)
LOOKS_LIKE_PLACE = (
    "(^(country|sch|prov|inst|estab|reg|la|local|rsc|pfa|pcon|lep|mca|oa|ward|mat)"
    ".*(name|code|urn|ukprn|number|upin|id)$)"
    "|(^(laestab|estab|sch|school|schools|prov|provider|providers|inst|institution|institutions|name|code|urn|ukprn"
    "|number|upin|id|region|la|lad|rsc|pcon|lep|mca|oa|ward|mat)$)"
)
HARMONISED_PART = "sen_|primary_need|secondary_need|establishment_type|provider_type|school_type|ethnic"
HARMONISED = {
    "sen_status",
    "sen_primary_need",
    "sen_secondary_need",
    "sen_provision",
    "establishment_type",
    "establishment_type_group",
    "ethnicity_major",
    "ethnicity_minor",
    "ethnicity_detailed",
    "minority_ethnic",
}
NULL_WORDS = {"NULL", "Null", "null", "NA", "na"}
LEGACY_WORDS = {"N/A", "n/a", ".", "..", "-"}
UNITS = {"", "%", "pp", "£", "£m", "numberstring"}


@dataclass(frozen=True)
class Files:
    """A data file and its metadata file, read as text."""

    data_name: str
    meta_name: str
    columns: list[str]
    data: list[Row]
    meta_columns: list[str]
    meta: list[Row]

    @property
    def filters(self) -> list[Row]:
        return [row for row in self.meta if row["col_type"] == "Filter"]

    @property
    def indicators(self) -> list[Row]:
        return [row for row in self.meta if row["col_type"] == "Indicator"]

    @property
    def groups(self) -> list[str]:
        return [row["filter_grouping_column"] for row in self.meta if row["filter_grouping_column"]]

    @property
    def named(self) -> list[str]:
        return [row["col_name"] for row in self.meta] + self.groups

    def levels(self, column: str) -> set[str]:
        return {row[column] for row in self.data}


def screen(data: Path, meta: Path) -> list[str]:
    """Every rule that the pair of files breaks, as 'number: what'; empty where it passes."""
    columns, rows = _read(data)
    meta_columns, meta_rows = _read(meta)
    files = Files(data.name, meta.name, columns, rows, meta_columns, meta_rows)
    return [f"{number}: {what}" for check in CHECKS for number, holds, what in check(files) if not holds]


def _read(path: Path) -> tuple[list[str], list[Row]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


Outcome = tuple[str, bool, str]


def check_names(files: Files) -> Iterator[Outcome]:
    for name in (files.data_name, files.meta_name):
        yield "1-2", bool(re.fullmatch(r"[A-Za-z0-9_-]+(\.meta)?\.csv", name)), f"file name {name}"
    yield "3", files.meta_name == files.data_name.removesuffix(".csv") + ".meta.csv", "metadata file name"
    yield "10-12", all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in files.columns), "column names"
    yield "14", not {"characteristic", "characteristic_group"} & set(files.columns), "characteristic columns"
    smushed = [row["col_name"] for row in files.indicators if re.search(SMUSHED, row["col_name"], re.IGNORECASE)]
    yield "13", not smushed, f"indicators named after filter items: {smushed}"
    odd = [name for name in files.named if re.search(HARMONISED_PART, name) and name not in HARMONISED]
    yield "61", not odd, f"names that are not harmonised: {odd}"


def check_columns(files: Files) -> Iterator[Outcome]:
    yield "4", set(files.meta_columns) >= META_NEEDED, "metadata columns missing"
    yield "5", set(files.meta_columns) <= META_NEEDED | META_OPTIONAL, "metadata columns unknown"
    yield "6", set(files.columns) >= DATA_NEEDED, "data columns missing"
    yield "7", len(files.columns) - len(DATA_NEEDED) >= len(files.meta), "more metadata rows than data columns"
    yield "8, 22", set(files.named) <= set(files.columns), "metadata about columns that are not there"
    varying = {name for name in files.columns if len(files.levels(name)) > 1} - OBSERVATIONAL
    yield "9", varying <= set(files.named), f"columns without metadata: {varying - set(files.named)}"


def check_meta(files: Files) -> Iterator[Outcome]:
    names, labels = ([row[key] for row in files.meta] for key in ("col_name", "label"))
    yield "15", len(files.filters) + len(files.indicators) == len(files.meta), "col_type"
    yield "16", not OBSERVATIONAL & set(names), "metadata about time or place"
    yield "17, 28-29", len(set(names)) == len(names) and all(n and " " not in n for n in names), "col_name"
    yield "18, 24", len(set(labels)) == len(labels) and all(labels), "labels"
    for key in ("filter_hint", "filter_grouping_column"):
        yield "19, 25", not any(row[key] for row in files.indicators), f"{key} of an indicator"
    for key in ("indicator_dp", "indicator_unit", "indicator_grouping"):
        yield "27, 32, 34", not any(row[key] for row in files.filters), f"{key} of a filter"
    yield "20", len(set(files.groups)) == len(files.groups), "filter group used twice"
    yield "21", set(files.groups) <= set(names), "filter group without a row of its own"
    yield "23", all(_stripped_apart(files.levels(group)) for group in files.groups), "filter group values"
    placelike = [name for name in (*(r["col_name"] for r in files.filters), *files.groups) if _like_place(name)]
    yield "26", not placelike, f"filters that look like geography: {placelike}"
    yield "30-31", all(re.fullmatch(r"\d+", row["indicator_dp"]) for row in files.indicators), "indicator_dp"
    yield "33", all(row["indicator_unit"] in UNITS for row in files.indicators), "indicator_unit"


def check_time(files: Files) -> Iterator[Outcome]:
    periods = files.levels("time_period")
    yield "35, 41", all(re.fullmatch(r"\d{6}", period) for period in periods), "time_period"
    yield "36-37", files.levels("time_identifier") == {"Academic year"}, "time_identifier"
    yield "42", all((int(period[:4]) + 1) % 100 == int(period[4:] or -1) for period in periods), "years not consecutive"


def check_filters(files: Files) -> Iterator[Outcome]:
    for row in files.filters:
        name, items = row["col_name"], files.levels(row["col_name"])
        yield "38", len(items) > 1, f"{name} has one level"
        yield "43", (row.get("filter_default") or "Total") in items, f"{name} has no default"
        yield "45", len(items) <= 25_000, f"{name} has too many items"
        yield "46, 48", all(item and item == item.strip() for item in items), f"{name} has blank or padded items"
        yield "64", all(len(item) <= 120 for item in items), f"{name} has long items"
        group = row["filter_grouping_column"]
        yield "44", not group or len(files.levels(group)) <= len(items), f"{group} has more levels than {name}"
    totals = [
        name for name in OBSERVATIONAL & set(files.columns) if files.levels(name) & {"Total", "total", "All", "all"}
    ]
    yield "47", not totals, f"totals in {totals}"


def check_places(files: Files) -> Iterator[Outcome]:
    yield "39", files.levels("geographic_level") <= set(LEVELS), f"levels {files.levels('geographic_level')}"
    for level, columns in LEVELS.items():
        yield "40, 53", set(columns) <= set(files.columns), f"columns of {level}"
        for row in files.data:
            filled = tuple(row[column] for column in columns)
            if row["geographic_level"] == level:
                yield "50", all(filled), f"{level} row without its code or name"
            if any(filled):
                yield "49", filled in PLACES, f"{filled} is not in the look-up"
                yield "56", row["geographic_level"] in MAY_FILL[level], f"{filled} on a {row['geographic_level']} row"
    regions = [row["region_code"] for row in files.data if row["geographic_level"] == "Local authority"]
    yield "54", all(regions), "local authority without region"
    yield "64", all(len(row[columns[0]]) <= 30 for row in files.data for columns in LEVELS.values()), "location codes"


def check_general(files: Files) -> Iterator[Outcome]:
    keys = [*(OBSERVATIONAL & set(files.columns)), *dict.fromkeys(row["col_name"] for row in files.filters)]
    twice = [key for key, n in Counter(tuple(row[k] for k in keys) for row in files.data).items() if n > 1]
    yield "57", not twice, f"rows there twice: {twice[:3]}"
    cells = {cell for row in (*files.data, *files.meta) for cell in row.values()}
    yield "58-59", not cells & (NULL_WORDS | LEGACY_WORDS), f"null words: {cells & (NULL_WORDS | LEGACY_WORDS)}"
    yield "64", all(len(name) <= 50 for name in files.columns), "long column names"
    yield "64", all(len(row["label"]) <= 80 for row in files.meta), "long labels"


def check_indicators(files: Files) -> Iterator[Outcome]:
    for row in files.indicators:
        bad = files.levels(row["col_name"]) & {"", "~", ":"}
        yield "60", not bad, f"{row['col_name']} has {bad}"


CHECKS: tuple[Callable[[Files], Iterator[Outcome]], ...] = (
    check_names,
    check_columns,
    check_meta,
    check_time,
    check_filters,
    check_places,
    check_general,
    check_indicators,
)


def _stripped_apart(values: set[str]) -> bool:
    return len({re.sub(r"[^A-Za-z0-9]", "", value) for value in values}) == len(values)


def _like_place(name: str) -> bool:
    return re.search(LOOKS_LIKE_PLACE, name, re.IGNORECASE) is not None
