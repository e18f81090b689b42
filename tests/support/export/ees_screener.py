"""The rules of the Department for Education's data screener, one check per rule.

Numbers are those of `ees_reference/rules.csv`. Each check yields what breaks its rule in a pair of files; warnings of
the screener count as failures. Rules that cannot be checked here are in `NOT_CHECKED` with the reason.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Row = dict[str, str]

REFERENCE = Path(__file__).parent / "ees_reference"
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
MONTHS = "January February March April May June July August September October November December".split()
TIME_FAMILIES = (
    ("Autumn and spring term",),
    ("Autumn term", "Spring term", "Summer term"),
    ("Financial year",),
    ("Academic year",),
    ("Tax year",),
    tuple(f"Financial year Q{quarter}" for quarter in range(1, 5)),
    ("Part 1 (April to September)", "Part 2 (October to March)"),
    ("Calendar year",),
    ("Reporting year",),
    tuple(f"Week {week}" for week in range(1, 53)),
    tuple(MONTHS),
)
FOUR_DIGITS = {name for family in TIME_FAMILIES[7:] for name in family}
UNITS = {"", "%", "pp", "£", "£m", "numberstring"}
NULL_WORDS = {"NULL", "Null", "null", "NA", "na"}
LEGACY_WORDS = {"N/A", "n/a", ".", "..", "-"}
OUTSIDE = {
    "Not applicable",
    "Unknown",
    "Outside of England",
    "Outside of the United Kingdom",
    "Outside of England and unknown",
    "Outside of the United Kingdom and unknown",
}
"""Names that may have the code z at any level."""

LOW_LEVELS = {"School", "Provider", "Institution"}
IGNORED = {"Institution", "Planning area"}
CHECKED_FOR_NA = {"Opportunity area", "MAT", "Sponsor", "School", "Provider", "Police force area"}
INSIDE = {
    "Regional": {
        "Local authority",
        "Local authority district",
        "Local skills improvement plan area",
        "Parliamentary constituency",
        "Local enterprise partnership",
        "English devolved area",
        "Opportunity area",
        "Ward",
        "Planning area",
        "Police force area",
    },
    "Local authority": {
        "Local authority district",
        "Parliamentary constituency",
        "Ward",
        "Planning area",
        "Police force area",
    },
    "Local authority district": {"Ward", "Police force area"},
    "Local skills improvement plan area": {"Local authority district", "Planning area"},
}
"""Lower levels, in addition to `LOW_LEVELS`, on whose rows a level's columns may be filled."""

NOT_CHECKED = {
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
    def filters(self) -> list[Row]:
        return [row for row in self.meta if row.get("col_type") == "Filter"]

    @property
    def indicators(self) -> list[Row]:
        return [row for row in self.meta if row.get("col_type") == "Indicator"]

    @property
    def groups(self) -> list[str]:
        return [row["filter_grouping_column"] for row in self.meta if row.get("filter_grouping_column")]

    @property
    def named(self) -> list[str]:
        """Return the columns named in the metadata that the data file has."""
        return [*(row.get("col_name", "") for row in self.meta), *self.groups]

    @property
    def filter_columns(self) -> list[str]:
        names = dict.fromkeys([*(row["col_name"] for row in self.filters), *self.groups])
        return [name for name in names if name in self.columns]

    @property
    def indicator_columns(self) -> list[str]:
        return [row["col_name"] for row in self.indicators if row["col_name"] in self.columns]

    def levels(self, column: str) -> set[str]:
        return {row[column] for row in self.data} if column in self.columns else set()

    def filled(self, columns: Iterable[str]) -> set[tuple[str, ...]]:
        """Return the combinations of values of those columns that exist, if any value is filled."""
        names = [name for name in columns if name in self.columns]
        return {values for row in self.data if any(values := tuple(row[name] for name in names))}


Check = Callable[[Files], Iterator[str]]
CHECKS: dict[int, Check] = {}


def screen(data: Path, meta: Path) -> list[str]:
    """Return every rule that the pair of files breaks, as 'number: what'; empty if it passes."""
    return faults(read(data, meta))


def read(data: Path, meta: Path) -> Files:
    (columns, rows), (meta_columns, meta_rows) = _read(data), _read(meta)
    return Files(data.name, meta.name, columns, rows, meta_columns, meta_rows)


def faults(files: Files) -> list[str]:
    return [f"{number}: {what}" for number, check in sorted(CHECKS.items()) for what in check(files)]


def _read(path: Path) -> tuple[list[str], list[Row]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


@cache
def reference(name: str) -> tuple[Row, ...]:
    return tuple(_read(REFERENCE / f"{name}.csv")[1])


@cache
def level_columns() -> dict[str, tuple[str, ...]]:
    """Return the code, name and second code columns of each geographic level, as far as it has them."""
    fields = ("code_field", "name_field", "code_field_secondary")
    return {
        row["geographic_level"]: tuple(row[field] for field in fields if row[field] != "NA")
        for row in reference("geography_matrix")
    }


def observational() -> set[str]:
    return DATA_NEEDED | {column for columns in level_columns().values() for column in columns}


def rule(number: int) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[number] = check
        return check

    return register


def each(found: Iterable[str], what: str) -> Iterator[str]:
    """Yield a sentence that names what was found, if anything was."""
    if names := sorted(set(found)):
        yield f"{what}: {', '.join(names[:5])}"


@rule(1)
def filename_spaces(files: Files) -> Iterator[str]:
    yield from each((name for name in (files.data_name, files.meta_name) if " " in name), "spaces in file name")


@rule(2)
def filename_special(files: Files) -> Iterator[str]:
    names = (files.data_name, files.meta_name)
    yield from each((n for n in names if not re.fullmatch(r"[\w -]+(\.meta)?\.csv", n, re.ASCII)), "special characters")


@rule(3)
def filenames_match(files: Files) -> Iterator[str]:
    if files.meta_name != files.data_name.removesuffix(".csv") + ".meta.csv":
        yield f"{files.meta_name} is not named after {files.data_name}"


@rule(4)
def meta_columns_needed(files: Files) -> Iterator[str]:
    yield from each(META_NEEDED - set(files.meta_columns), "metadata columns missing")


@rule(5)
def meta_columns_known(files: Files) -> Iterator[str]:
    yield from each(set(files.meta_columns) - META_NEEDED - META_OPTIONAL, "metadata columns unknown")


@rule(6)
def data_columns_needed(files: Files) -> Iterator[str]:
    yield from each(DATA_NEEDED - set(files.columns), "data columns missing")


@rule(7)
def columns_to_rows(files: Files) -> Iterator[str]:
    if len(files.columns) - len(DATA_NEEDED) < len(files.meta):
        yield "more metadata rows than data columns"


@rule(8)
def meta_in_data(files: Files) -> Iterator[str]:
    yield from each({name for name in files.named if name} - set(files.columns), "not in the data")


@rule(9)
def data_in_meta(files: Files) -> Iterator[str]:
    varying = {name for name in files.columns if len(files.levels(name)) > 1}
    yield from each(varying - observational() - set(files.named), "not in the metadata")


@rule(10)
def column_spaces(files: Files) -> Iterator[str]:
    yield from each((name for name in files.columns if " " in name), "spaces in column names")


@rule(11)
def column_snake_case(files: Files) -> Iterator[str]:
    yield from each((name for name in files.columns if re.search(r"[^a-z0-9_]", name)), "not snake case")


@rule(12)
def column_start(files: Files) -> Iterator[str]:
    yield from each((name for name in files.columns if not re.match("[a-z]", name)), "no small letter at the start")


@rule(13)
def indicators_smushed(files: Files) -> Iterator[str]:
    smushed = (row["col_name"] for row in files.indicators if re.search(SMUSHED, row["col_name"], re.IGNORECASE))
    yield from each(smushed, "indicators named after filter items")


@rule(14)
def characteristic(files: Files) -> Iterator[str]:
    yield from each({"characteristic", "characteristic_group"} & {*files.named, *files.columns}, "to be named")


@rule(15)
def col_type(files: Files) -> Iterator[str]:
    yield from each({row.get("col_type", "") for row in files.meta} - {"Filter", "Indicator"}, "col_type")


@rule(16)
def observational_in_meta(files: Files) -> Iterator[str]:
    yield from each(observational() & {row.get("col_name", "") for row in files.meta}, "time or place in the metadata")


@rule(17)
def col_name_blank(files: Files) -> Iterator[str]:
    if any(not row.get("col_name") for row in files.meta):
        yield "blank col_name"


@rule(18)
def label_twice(files: Files) -> Iterator[str]:
    yield from each(_twice(row.get("label", "") for row in files.meta), "labels that come twice")


@rule(19)
def group_of_indicator(files: Files) -> Iterator[str]:
    yield from _only_of(files.indicators, "filter_grouping_column", "an indicator has a filter group")


@rule(20)
def group_twice(files: Files) -> Iterator[str]:
    yield from each(_twice(files.groups), "filter groups used twice")


@rule(21)
def group_is_filter(files: Files) -> Iterator[str]:
    yield from each(set(files.groups) - {row.get("col_name", "") for row in files.meta}, "groups without a row")


@rule(22)
def group_in_data(files: Files) -> Iterator[str]:
    yield from each(set(files.groups) - set(files.columns), "groups that are not in the data")


@rule(23)
def group_stripped(files: Files) -> Iterator[str]:
    alike = (
        group for group in files.groups if len({_stripped(v) for v in files.levels(group)}) < len(files.levels(group))
    )
    yield from each(alike, "groups whose levels differ in signs alone")


@rule(24)
def label_blank(files: Files) -> Iterator[str]:
    if any(not row.get("label") for row in files.meta):
        yield "blank label"


@rule(25)
def hint_of_indicator(files: Files) -> Iterator[str]:
    yield from _only_of(files.indicators, "filter_hint", "an indicator has a hint")


@rule(26)
def filter_like_place(files: Files) -> Iterator[str]:
    names = [*(row["col_name"] for row in files.filters), *files.groups]
    yield from each((name for name in names if _like_place(name)), "filters that look like geography")


@rule(27)
def decimals_of_filter(files: Files) -> Iterator[str]:
    yield from _only_of(files.filters, "indicator_dp", "a filter has decimals")


@rule(28)
def col_name_spaces(files: Files) -> Iterator[str]:
    yield from each((row["col_name"] for row in files.meta if " " in row.get("col_name", "")), "spaces in col_name")


@rule(29)
def col_name_twice(files: Files) -> Iterator[str]:
    yield from each(_twice(row.get("col_name", "") for row in files.meta), "col_name that comes twice")


@rule(30)
def decimals_set(files: Files) -> Iterator[str]:
    yield from each((row["col_name"] for row in files.indicators if not row.get("indicator_dp")), "no indicator_dp")


@rule(31)
def decimals_whole(files: Files) -> Iterator[str]:
    yield from each(
        (r["indicator_dp"] for r in files.meta if re.search(r"\D", r.get("indicator_dp", ""))), "indicator_dp"
    )


@rule(32)
def unit_of_filter(files: Files) -> Iterator[str]:
    yield from _only_of(files.filters, "indicator_unit", "a filter has a unit")


@rule(33)
def unit_known(files: Files) -> Iterator[str]:
    yield from each({row.get("indicator_unit", "") for row in files.meta} - UNITS, "indicator_unit")


@rule(34)
def grouping_of_filter(files: Files) -> Iterator[str]:
    yield from _only_of(files.filters, "indicator_grouping", "a filter has an indicator grouping")


@rule(35)
def period_digits(files: Files) -> Iterator[str]:
    yield from each((p for p in files.levels("time_period") if not re.fullmatch(r"\d+", p)), "time_period")


@rule(36)
def identifier_known(files: Files) -> Iterator[str]:
    known = {name for family in TIME_FAMILIES for name in family}
    yield from each(files.levels("time_identifier") - known, "time_identifier")


@rule(37)
def identifier_mix(files: Files) -> Iterator[str]:
    found = files.levels("time_identifier")
    if found and not any(found <= set(family) for family in TIME_FAMILIES):
        yield f"time identifiers of more than one family: {', '.join(sorted(found))}"


@rule(38)
def filter_singular(files: Files) -> Iterator[str]:
    yield from each((r["col_name"] for r in files.filters if len(files.levels(r["col_name"])) < 2), "one level only")


@rule(39)
def level_known(files: Files) -> Iterator[str]:
    yield from each(files.levels("geographic_level") - level_columns().keys(), "geographic_level")


@rule(40)
def level_columns_there(files: Files) -> Iterator[str]:
    needed = {c for level in files.levels("geographic_level") for c in level_columns().get(level, ())}
    yield from each(needed - set(files.columns), "columns of levels missing")


@rule(41)
def period_length(files: Files) -> Iterator[str]:
    for identifier, period in files.filled(("time_identifier", "time_period")):
        if len(period) != (4 if identifier in FOUR_DIGITS else 6):
            yield f"{period} for {identifier}"


@rule(42)
def period_consecutive(files: Files) -> Iterator[str]:
    six = (period for period in files.levels("time_period") if re.fullmatch(r"\d{6}", period))
    yield from each((p for p in six if (int(p[:4]) + 1) % 100 != int(p[4:])), "years that do not follow each other")


@rule(43)
def filter_default(files: Files) -> Iterator[str]:
    wanted = {row["col_name"]: row.get("filter_default") or "Total" for row in files.filters}
    wanted = dict.fromkeys(files.groups, "Total") | wanted
    yield from each((name for name, level in wanted.items() if level not in files.levels(name)), "no default")


@rule(44)
def group_levels(files: Files) -> Iterator[str]:
    for row in files.filters:
        group = row.get("filter_grouping_column", "")
        if group and len(files.levels(group)) > len(files.levels(row["col_name"])):
            yield f"{group} has more levels than {row['col_name']}"


@rule(45)
def filter_items(files: Files) -> Iterator[str]:
    yield from each((name for name in files.filter_columns if len(files.levels(name)) > 25_000), "too many items")


@rule(46)
def filter_white_space(files: Files) -> Iterator[str]:
    items = (item for name in files.filter_columns for item in files.levels(name))
    yield from each((item for item in items if item != item.strip()), "white space around items")


@rule(47)
def totals_of_places(files: Files) -> Iterator[str]:
    columns = [name for name in files.columns if name in observational() or _like_place(name)]
    totals = {"Total", "total", "All", "all"}
    yield from each((name for name in columns if files.levels(name) & totals), "totals in columns of time or place")


@rule(48)
def filter_blanks(files: Files) -> Iterator[str]:
    yield from each((name for name in files.filter_columns if "" in files.levels(name)), "blank items in")


@rule(49)
def places_known(files: Files) -> Iterator[str]:
    for level, known in known_places().items():
        columns = level_columns()[level]
        if set(columns) <= set(files.columns):
            for found in files.filled(columns):
                outside = found[0] == "z" and found[1] in OUTSIDE
                if found not in known and not outside and found[:2] != ("x", "Not available"):
                    yield f"{found} is not in the look-up of {level}"


@rule(50)
def level_completed(files: Files) -> Iterator[str]:
    for level, columns in level_columns().items():
        there = [column for column in columns[:2] if column in files.columns]
        if any(not row[c] for row in files.data if row.get("geographic_level") == level for c in there):
            yield f"{level} rows without code or name"


@rule(51)
def rows_ignored(files: Files) -> Iterator[str]:
    levels = files.levels("geographic_level")
    if levels and levels <= IGNORED:
        yield "all rows are of levels that are not shown"
    if {"School", "Provider"} <= levels:
        yield "schools and providers in one file"


@rule(52)
def one_code_a_name(files: Files) -> Iterator[str]:
    for level in ("Opportunity area", "MAT", "Sponsor"):
        pairs = {
            tuple(row.get(column, "") for column in level_columns()[level])
            for row in files.data
            if row.get("geographic_level") == level
        }
        for position, what in ((0, "codes"), (1, "names")):
            yield from each(_twice(pair[position] for pair in pairs), f"{level}: {what} that stand for several")


@rule(53)
def all_columns_of_level(files: Files) -> Iterator[str]:
    for level in ("Regional", "Local authority"):
        there = set(level_columns()[level]) & set(files.columns)
        if there and there != set(level_columns()[level]):
            yield f"{level} has not all of its columns"


@rule(54)
def region_of_council(files: Files) -> Iterator[str]:
    if "region_code" in files.columns:
        for level in ("Local authority", "Local authority district"):
            rows = [row for row in files.data if row.get("geographic_level") == level]
            if any(not (row["region_code"] and row.get("region_name")) for row in rows):
                yield f"{level} rows without region"


@rule(55)
def not_available(files: Files) -> Iterator[str]:
    for level in CHECKED_FOR_NA & files.levels("geographic_level"):
        for code, name in files.filled(level_columns()[level][:2]):
            if (code == "x") != (name == "Not available"):
                yield f"{level}: code {code} with name {name}"


@rule(56)
def overcompleted(files: Files) -> Iterator[str]:
    for level, columns in level_columns().items():
        allowed = {level, *INSIDE.get(level, ()), *(LOW_LEVELS if level != "Institution" else ())}
        there = [column for column in columns if column in files.columns]
        if level != "National":
            rows = (row for row in files.data if row.get("geographic_level") not in allowed)
            yield from each(
                (r["geographic_level"] for r in rows if any(r[c] for c in there)), f"{level} filled on rows of"
            )


@rule(57)
def rows_twice(files: Files) -> Iterator[str]:
    keys = [name for name in files.columns if name in observational() or name in files.filter_columns]
    twice = [key for key, times in Counter(tuple(row[k] for k in keys) for row in files.data).items() if times > 1]
    if twice:
        yield f"rows that come twice: {twice[0]}"


@rule(58)
def null_words(files: Files) -> Iterator[str]:
    yield from each(_cells(files.data) & NULL_WORDS | _cells(files.meta) & NULL_WORDS, "null words")


@rule(59)
def legacy_words(files: Files) -> Iterator[str]:
    yield from each(_cells(files.data) & LEGACY_WORDS, "old symbols")


@rule(60)
def indicator_entries(files: Files) -> Iterator[str]:
    yield from each((n for n in files.indicator_columns if files.levels(n) & {"", "~", ":"}), "blank or odd cells in")


@rule(61)
def harmonised_names(files: Files) -> Iterator[str]:
    accepted: dict[str, set[str]] = {}
    for row in reference("harmonised_col_names"):
        accepted.setdefault(row["col_name_search_string"], set()).add(row["col_name_harmonised"])
    for part, names in accepted.items():
        yield from each(
            (name for name in files.named if part in name and name not in names), f"not the name for {part}"
        )


@rule(62)
def ethnicity_values(files: Files) -> Iterator[str]:
    there = [name for name in ("ethnicity_major", "ethnicity_minor") if name in files.columns]
    known = {tuple(row[name] for name in there) for row in reference("ethnicity")}
    if there:
        unknown = files.filled(there) - known - {("Unknown",) * len(there), ("Total",) * len(there)}
        yield from each((" / ".join(values) for values in unknown), "ethnic groups")


@rule(63)
def ethnicity_groups(files: Files) -> Iterator[str]:
    groups = (value for value in files.levels("characteristic_group") if "ethnic" in value.lower())
    standard = {"Ethnicity Major", "Ethnicity Minor", "Ethnicity Detailed", "Minority Ethnic"}
    yield from each(set(groups) - standard, "characteristic_group")


@rule(64)
def api_lengths(files: Files) -> Iterator[str]:
    yield from each((name for name in files.columns if len(name) > 50), "long column names")
    yield from each((row["label"] for row in files.meta if len(row.get("label", "")) > 100), "long labels")
    codes = {c for columns in level_columns().values() for c in columns if c.endswith(("_code", "_urn", "_id"))}
    yield from each((code for name in codes for code in files.levels(name) if len(code) > 30), "long codes")
    names = {columns[-1 if len(columns) == 1 else 1] for columns in level_columns().values()}
    items = {item for name in (*files.filter_columns, *names) for item in files.levels(name)}
    yield from each((item for item in items if len(item) > 120), "long items")


@rule(66)
def ethnicity_characteristics(files: Files) -> Iterator[str]:
    if {"characteristic", "characteristic_group"} <= set(files.columns):
        known = {row[name] for row in reference("ethnicity") for name in row}
        ours = {r["characteristic"] for r in files.data if "ethnic" in r["characteristic_group"].lower()}
        yield from each(ours - known, "characteristic")


@cache
def known_places() -> dict[str, set[tuple[str, ...]]]:
    """Return the accepted code, name and, for local authorities, old code, by level."""
    files = {
        "National": "country",
        "Regional": "regions",
        "Local authority": "las",
        "English devolved area": "english_devolved_areas",
    }
    return {
        level: {tuple(row[column] for column in level_columns()[level]) for row in reference(name)}
        for level, name in files.items()
    }


def _only_of(rows: Iterable[Row], column: str, what: str) -> Iterator[str]:
    yield from each((row[column] for row in rows if row.get(column)), what)


def _twice(values: Iterable[str]) -> list[str]:
    return [value for value, times in Counter(values).items() if times > 1]


def _cells(rows: list[Row]) -> set[str]:
    return {cell for row in rows for cell in row.values()}


def _stripped(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", value)


def _like_place(name: str) -> bool:
    return re.search(LOOKS_LIKE_PLACE, name, re.IGNORECASE) is not None
