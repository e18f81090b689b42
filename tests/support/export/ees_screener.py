"""The rules of the Department for Education's data screener, one check per rule.

Numbers are those of `ees_reference/rules.csv`. A check returns what breaks its rule in a pair of files; warnings of the
screener count as failures. Where the screener accepts several forms, only those that releases have are accepted:
academic years, and the levels in `LEVELS`. Rules that are not checked are in `NOT_CHECKED` with the reason.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Row = dict[str, str]

REFERENCE = Path(__file__).parent / "ees_reference"
META_NEEDED = {
    *("col_name", "col_type", "label", "indicator_grouping", "indicator_unit", "indicator_dp"),
    *("filter_hint", "filter_grouping_column"),
}
META_OPTIONAL = {"filter_default", "parent_filter"}
DATA_NEEDED = {"geographic_level", "time_period", "time_identifier", "country_code", "country_name"}
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
UNITS = {"", "%", "pp", "£", "£m", "numberstring"}
NULL_WORDS = {"NULL", "Null", "null", "NA", "na"}
LEGACY_WORDS = {"N/A", "n/a", ".", "..", "-"}
NOT_CHECKED = {
    **dict.fromkeys((51, 52, 55), "About levels that no release has: rule 39 accepts only those in `LEVELS`."),
    **dict.fromkeys((62, 63, 66), "About columns that no release has: rule 14 accepts none of them."),
    65: "The API data dictionary is the department's own and does not hold the terms of linked early-years records.",
}


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
    def names(self) -> tuple[str, str]:
        return self.data_name, self.meta_name

    def list_meta_values(self, column: str, kind: str = "") -> list[str]:
        """Return the filled cells of a metadata column, of all rows or of those for filters or indicators."""
        return [row[column] for row in self.meta if row[column] and kind in ("", row["col_type"])]

    def list_unfilled(self, column: str, kind: str = "") -> list[Row]:
        """Return the metadata rows in which a column is empty."""
        return [row for row in self.meta if not row[column] and kind in ("", row["col_type"])]

    @property
    def groups(self) -> list[str]:
        return self.list_meta_values("filter_grouping_column")

    @property
    def named(self) -> list[str]:
        return [*self.list_meta_values("col_name"), *self.groups]

    @property
    def filter_columns(self) -> list[str]:
        return [
            n for n in dict.fromkeys([*self.list_meta_values("col_name", "Filter"), *self.groups]) if n in self.columns
        ]

    def list_levels(self, column: str) -> set[str]:
        return {row[column] for row in self.data} if column in self.columns else set()

    def select_level(self, level: str) -> list[Row]:
        return [row for row in self.data if row["geographic_level"] == level]

    def list_filled(self, columns: Iterable[str]) -> set[tuple[str, ...]]:
        """Return the combinations of values of those columns that exist, if any value is filled."""
        names = [name for name in columns if name in self.columns]
        return {values for row in self.data if any(values := tuple(row[name] for name in names))}


def list_failures(data: Path, meta: Path) -> list[str]:
    """Return every rule that the pair of files breaks, as 'number: what'; empty if it passes."""
    return list_faults(read(data, meta))


def read(data: Path, meta: Path) -> Files:
    (columns, rows), (meta_columns, meta_rows) = _read(data), _read(meta)
    blank = dict.fromkeys(META_NEEDED | META_OPTIONAL, "")
    return Files(data.name, meta.name, columns, rows, meta_columns, [blank | row for row in meta_rows])


def list_faults(files: Files) -> list[str]:
    found = ((number, sorted(map(str, check(files)))) for number, check in CHECKS.items())
    return [f"{number}: {', '.join(wrong[:5])}" for number, wrong in found if wrong]


def _read(path: Path) -> tuple[list[str], list[Row]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


@cache
def read_reference(name: str) -> tuple[Row, ...]:
    return tuple(_read(REFERENCE / f"{name}.csv")[1])


COLUMNS_OF_LEVELS = {
    row["geographic_level"]: tuple(
        row[field] for field in ("code_field", "name_field", "code_field_secondary") if row[field] != "NA"
    )
    for row in read_reference("geography_matrix")
}
"""The code, name and second code columns of every geographic level of the screener, as far as it has them."""
LEVELS = {
    "National": "country",
    "Regional": "regions",
    "Local authority": "las",
    "English devolved area": "english_devolved_areas",
}
"""The levels of a release, each with its look-up."""
INSIDE = {"Regional": {"Local authority", "English devolved area"}}
"""Lower levels on whose rows a level's columns may be filled."""
OBSERVATIONAL = DATA_NEEDED | {column for columns in COLUMNS_OF_LEVELS.values() for column in columns}


def _is_place(name: str) -> bool:
    return re.search(LOOKS_LIKE_PLACE, name, re.IGNORECASE) is not None


def _find_repeated(values: Iterable[object]) -> list[object]:
    return [value for value, times in Counter(values).items() if times > 1]


def _list_cells(rows: list[Row]) -> set[str]:
    return {cell for row in rows for cell in row.values()}


def _find_without_default(files: Files) -> list[str]:
    wanted = {row["col_name"]: row["filter_default"] or "Total" for row in files.meta if row["col_type"] == "Filter"}
    wanted = dict.fromkeys(files.groups, "Total") | wanted
    return [name for name, level in wanted.items() if level not in files.list_levels(name)]


def _find_unknown_places(files: Files) -> list[object]:
    there = {level: columns for level in LEVELS if set(columns := COLUMNS_OF_LEVELS[level]) <= set(files.columns)}
    return [
        place
        for level, columns in there.items()
        for place in files.list_filled(columns)
        - {tuple(row[c] for c in columns) for row in read_reference(LEVELS[level])}
    ]


def _find_incomplete_places(files: Files) -> list[object]:
    there = {level: [c for c in COLUMNS_OF_LEVELS[level][:2] if c in files.columns] for level in LEVELS}
    return [
        row for level, columns in there.items() for row in files.select_level(level) if not all(row[c] for c in columns)
    ]


def _find_overcompleted(files: Files) -> list[object]:
    """Return places filled on rows of another level; the country is filled on every row."""
    return [
        (level, row["geographic_level"])
        for level in COLUMNS_OF_LEVELS.keys() - {"National"}
        for row in files.data
        if row["geographic_level"] not in {level, *INSIDE.get(level, ())}
        and any(row[column] for column in COLUMNS_OF_LEVELS[level] if column in files.columns)
    ]


def _find_wrong_names(files: Files) -> list[object]:
    accepted: dict[str, set[str]] = {}
    for row in read_reference("harmonised_col_names"):
        accepted.setdefault(row["col_name_search_string"], set()).add(row["col_name_harmonised"])
    return [(part, n) for part, names in accepted.items() for n in files.named if part in n and n not in names]


def _find_too_long(files: Files) -> list[str]:
    places = [column for columns in COLUMNS_OF_LEVELS.values() for column in columns]
    codes = {code for name in places if name.endswith(("_code", "_urn", "_id")) for code in files.list_levels(name)}
    items = {item for name in (*files.filter_columns, *places) for item in files.list_levels(name)}
    limits = ((files.columns, 50), (files.list_meta_values("label"), 100), (codes, 30), (items, 120))
    return [value for values, most in limits for value in values if len(value) > most]


CHECKS: dict[int, Callable[[Files], Iterable[object]]] = {
    1: lambda f: [name for name in f.names if " " in name],
    2: lambda f: [name for name in f.names if not re.fullmatch(r"[\w -]+(\.meta)?\.csv", name, re.ASCII)],
    3: lambda f: {f.meta_name} - {f.data_name.removesuffix(".csv") + ".meta.csv"},
    4: lambda f: META_NEEDED - set(f.meta_columns),
    5: lambda f: set(f.meta_columns) - META_NEEDED - META_OPTIONAL,
    6: lambda f: DATA_NEEDED - set(f.columns),
    7: lambda f: f.meta[len(f.columns) - len(DATA_NEEDED) :],
    8: lambda f: set(f.named) - set(f.columns),
    9: lambda f: {name for name in f.columns if len(f.list_levels(name)) > 1} - OBSERVATIONAL - set(f.named),
    10: lambda f: [name for name in f.columns if " " in name],
    11: lambda f: [name for name in f.columns if re.search(r"[^a-z0-9_]", name)],
    12: lambda f: [name for name in f.columns if not re.match("[a-z]", name)],
    13: lambda f: [
        name for name in f.list_meta_values("col_name", "Indicator") if re.search(SMUSHED, name, re.IGNORECASE)
    ],
    14: lambda f: [name for name in (*f.named, *f.columns) if re.match("characteristic|ethnicity_", name)],
    15: lambda f: {row["col_type"] for row in f.meta} - {"Filter", "Indicator"},
    16: lambda f: OBSERVATIONAL & set(f.list_meta_values("col_name")),
    17: lambda f: f.list_unfilled("col_name"),
    18: lambda f: _find_repeated(f.list_meta_values("label")),
    19: lambda f: f.list_meta_values("filter_grouping_column", "Indicator"),
    20: lambda f: _find_repeated(f.groups),
    21: lambda f: set(f.groups) - set(f.list_meta_values("col_name")),
    22: lambda f: set(f.groups) - set(f.columns),
    23: lambda f: [
        n for n in f.groups if _find_repeated(re.sub(r"[^A-Za-z0-9]", "", value) for value in f.list_levels(n))
    ],
    24: lambda f: f.list_unfilled("label"),
    25: lambda f: f.list_meta_values("filter_hint", "Indicator"),
    26: lambda f: filter(_is_place, (*f.list_meta_values("col_name", "Filter"), *f.groups)),
    27: lambda f: f.list_meta_values("indicator_dp", "Filter"),
    28: lambda f: [name for name in f.list_meta_values("col_name") if " " in name],
    29: lambda f: _find_repeated(f.list_meta_values("col_name")),
    30: lambda f: f.list_unfilled("indicator_dp", "Indicator"),
    31: lambda f: [value for value in f.list_meta_values("indicator_dp") if re.search(r"\D", value)],
    32: lambda f: f.list_meta_values("indicator_unit", "Filter"),
    33: lambda f: set(f.list_meta_values("indicator_unit")) - UNITS,
    34: lambda f: f.list_meta_values("indicator_grouping", "Filter"),
    35: lambda f: [period for period in f.list_levels("time_period") if not re.fullmatch(r"\d+", period)],
    36: lambda f: f.list_levels("time_identifier") - {"Academic year"},
    37: lambda f: sorted(f.list_levels("time_identifier"))[1:],
    38: lambda f: [name for name in f.list_meta_values("col_name", "Filter") if len(f.list_levels(name)) < 2],
    39: lambda f: f.list_levels("geographic_level") - LEVELS.keys(),
    40: lambda f: (
        {c for level in f.list_levels("geographic_level") & LEVELS.keys() for c in COLUMNS_OF_LEVELS[level]}
        - set(f.columns)
    ),
    41: lambda f: [period for period in f.list_levels("time_period") if len(period) != 6],
    42: lambda f: [
        p for p in f.list_levels("time_period") if p.isdigit() and (int(p[:4]) + 1) % 100 != int(p[4:] or 0)
    ],
    43: _find_without_default,
    44: lambda f: [
        row["col_name"]
        for row in f.meta
        if row["filter_grouping_column"]
        and len(f.list_levels(row["filter_grouping_column"])) > len(f.list_levels(row["col_name"]))
    ],
    45: lambda f: [name for name in f.filter_columns if len(f.list_levels(name)) > 25_000],
    46: lambda f: [item for name in f.filter_columns for item in f.list_levels(name) if item != item.strip()],
    47: lambda f: [
        name
        for name in f.columns
        if (name in OBSERVATIONAL or _is_place(name)) and f.list_levels(name) & {"Total", "total", "All", "all"}
    ],
    48: lambda f: [name for name in f.filter_columns if "" in f.list_levels(name)],
    49: _find_unknown_places,
    50: _find_incomplete_places,
    53: lambda f: [
        level
        for level in ("Regional", "Local authority")
        if 0 < len(set(COLUMNS_OF_LEVELS[level]) & set(f.columns)) < len(COLUMNS_OF_LEVELS[level])
    ],
    54: lambda f: [row for row in f.select_level("Local authority") if not (row["region_code"] and row["region_name"])],
    56: _find_overcompleted,
    57: lambda f: _find_repeated(
        tuple(row[name] for name in f.columns if name in OBSERVATIONAL or name in f.filter_columns) for row in f.data
    ),
    58: lambda f: (_list_cells(f.data) | _list_cells(f.meta)) & NULL_WORDS,
    59: lambda f: _list_cells(f.data) & LEGACY_WORDS,
    60: lambda f: [
        name for name in f.list_meta_values("col_name", "Indicator") if f.list_levels(name) & {"", "~", ":"}
    ],
    61: _find_wrong_names,
    64: _find_too_long,
}
