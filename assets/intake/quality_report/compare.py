"""Compares an extract with the last delivery and with published figures, and flags differences worth a look.

A difference is worth a look if it is larger than `POINTS` and chance would cause it less than once in a thousand. The
test is two-sided and normal: two shares with pooled variance for the last delivery, and one share against a fixed value
for a published figure. A report makes about a hundred comparisons, so a threshold of one in twenty would raise false
alarms in every report.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from assets.intake.deliveries import ExtractQuality
from assets.intake.quality_report.profile import AFTER, BEFORE, ColumnProfile, Profile, Share, compute_bin_edges
from ndl_export.pages.number_format import format_month, format_percent, format_points, format_rows
from sources.contracts import CONTRACTS, Kind, SourceContract, people
from sources.contracts.sources import LANGUAGE_CODES
from sources.reference import published_figures
from sources.reference.code_lists import AREAS_OF_LEARNING, MAJOR_GROUP
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

Facts = dict[str, Any]

POINTS = 0.05
"""Smallest difference between two shares that is worth a look (5 percentage points)."""
FALL = 0.05
"""Fall in a column's filled share since the last delivery that is worth a look (5 percentage points)."""
STANDARD_ERRORS = 3.29
"""Standard errors that chance exceeds with a two-sided probability of one in a thousand (normal distribution)."""
SIZE_SAME_YEAR, SIZE_OTHER_YEAR = 0.05, 0.10
"""Relative difference from the published number of children that is worth a look."""
SIZE_LAST = 0.10
"""Relative change in the number of rows since the last delivery that is worth a look."""

RULE = (
    f"A share is worth a look when it differs by more than {POINTS * 100:.0f} percentage points and by more than chance"
    " explains in all but one of a thousand files of this size. Against a published figure, this is shown only if the"
    " figure is the council's own, or for sex and term of birth, which hardly differ between councils."
    f" A number of rows is worth a look when it has changed by more than {SIZE_LAST:.0%} since the last delivery; a"
    f" number of children when it is more than {SIZE_SAME_YEAR:.0%} from the published number of the same year, or"
    f" {SIZE_OTHER_YEAR:.0%} from that of another."
)

MEASURES = {
    "gld": "Good level of development",
    "all_goals": "All 17 goals",
    **{area: f"{name}, all goals" for area, name in AREAS_OF_LEARNING.items()},
    "asq3_complete": "Two-year reviews with an ASQ-3 age and all five scores",
}

_SAME_EVERYWHERE = (published_figures.SEX, published_figures.TERM_OF_BIRTH)
_CODE_GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "sex": (published_figures.SEX, {"F": "Female", "M": "Male"}),
    people.TERM_OF_BIRTH.name: (published_figures.TERM_OF_BIRTH, {term: term for term in people.TERM_OF_BIRTH.groups}),
    "fsm_eligible": (
        published_figures.FSM,
        {"Y": "Eligible for free school meals", "N": "Not eligible for free school meals"},
    ),
    "ethnicity": (published_figures.ETHNIC_GROUP, MAJOR_GROUP),
    "sen_provision": (
        published_figures.SEN,
        {
            "N": "No SEN provision",
            "K": "SEN support / SEN without an EHC plan",
            "E": "Education, health and care plan",
        },
    ),
    "first_language": (published_figures.FIRST_LANGUAGE, LANGUAGE_CODES),
}
"""Topic of the published breakdown for each column, and the group for each code. Other codes count as not known."""
MEASURE_TOPICS = {"eyfsp": "Children at the expected level", "hv_reviews": "Reviews"}
"""Topic of a source's measures. All other topics are breakdowns, whose shares add up to one."""
_OF_ALL_CHILDREN = ("eyfsp", "school_census")
"""Sources that cover every child of the cohort, so that totals and breakdowns are comparable with published ones."""
_DERIVED_LABELS = {people.IMD_QUINTILE.name: {"1": "1 (most deprived)", "5": "5 (least deprived)"}}


def has_changed(now: Share, last: Share) -> bool:
    """Return whether a share's change since the last delivery is worth a look."""
    if not now.of or not last.of:
        return False
    common = (now.rows + last.rows) / (now.of + last.of)
    error = math.sqrt(common * (1 - common) * (1 / now.of + 1 / last.of))
    return abs(now.rows / now.of - last.rows / last.of) > max(POINTS, STANDARD_ERRORS * error)


def is_departure(now: Share, from_share: float) -> bool:
    """Return whether a share's distance from a published one is worth a look."""
    if not now.of:
        return False
    error = math.sqrt(from_share * (1 - from_share) / now.of)
    return abs(now.rows / now.of - from_share) > max(POINTS, STANDARD_ERRORS * error)


def compare(now: ExtractQuality, last: ExtractQuality | None) -> Facts:
    """Return the parts of an extract's report that compare it with the last delivery and with published figures."""
    found: Facts = {
        "completeness": list(_iter_completeness(now, last)),
        "number_of_children": _compare_number_of_children(now),
        "figures": _compare_with_published(now, last),
        "values": list(_iter_values(now, last)),
        "rule_for_a_look": RULE,
    }
    return found | {"worth_a_look": list(_iter_worth_a_look(now, last, found))}


def _compare_with_published(now: ExtractQuality, last: ExtractQuality | None) -> list[Facts]:
    """Return, in report order, the file's measures and the breakdowns that have published figures, with comparisons."""
    contract, place, cohort = CONTRACTS[now.source], get_place(now.council), Cohort(now.cohort)
    figures = published_figures.find_expected_level(place, cohort) if contract.name == "eyfsp" else {}
    rows, before = [], last.profile.measures if last else {}
    for name, share in now.profile.measures.items():
        topic = MEASURE_TOPICS[contract.name]
        rows.append(_build_comparison(topic, MEASURES[name], share, before.get(name), figures.get(name)))
    for column, (topic, groups) in _CODE_GROUPS.items():
        has = column in contract or (column == people.TERM_OF_BIRTH.name and people.TERM_OF_BIRTH in contract.derived)
        if has and (topic in _SAME_EVERYWHERE or contract.name in _OF_ALL_CHILDREN):
            published = published_figures.find_shares(place, cohort, topic, dict.fromkeys(groups.values()))
            mine = _compute_mix(now.profile, column, groups)
            theirs = _compute_mix(last.profile, column, groups) if last else {}
            rows += [_build_comparison(topic, name, mine[name], theirs.get(name), published.get(name)) for name in mine]
    return rows


def _compare_number_of_children(now: ExtractQuality) -> Facts | None:
    """Return the file's rows compared with the published number of children, or None if none is published."""
    place, cohort, rows = get_place(now.council), Cohort(now.cohort), now.rows_kept
    figure = published_figures.find_number_of_children(place, cohort) if now.source in _OF_ALL_CHILDREN else None
    if not figure:
        return None
    allowed = SIZE_SAME_YEAR if figure.cohort == cohort else SIZE_OTHER_YEAR
    return {
        "rows": rows,
        "published": int(figure.value),
        "area": figure.area,
        "cohort": figure.cohort.label,
        "share": rows / figure.value,
        "worth_a_look": abs(rows / figure.value - 1) > allowed,
    }


def _build_comparison(
    topic: str, label: str, now: Share, last: Share | None, figure: published_figures.PublishedValue | None
) -> Facts:
    # another area's figure says little about this council, except for shares that hardly differ anywhere
    judged = figure is not None and (figure.own or topic in _SAME_EVERYWHERE)
    return {
        "topic": topic,
        "label": label,
        "rows": now.rows,
        "of": now.of,
        "share": now.value,
        "last_share": last.value if last else None,
        "changed": bool(last and has_changed(now, last)),
        "published_share": figure.value if figure else None,
        "published_area": figure.area if figure else None,
        "published_cohort": figure.cohort.label if figure else None,
        "departs": bool(figure and judged and is_departure(now, figure.value)),
    }


def _compute_mix(profile: Profile, column: str, groups: Mapping[str, str]) -> dict[str, Share]:
    """Return the share of each group among the rows of all groups."""
    counts = dict.fromkeys(groups.values(), 0)
    for key, number in profile.columns[column].groups.items() if column in profile.columns else ():
        if key in groups:
            counts[groups[key]] += number
    total = sum(counts.values())
    return {name: Share(count, total) for name, count in counts.items()}


def _iter_completeness(now: ExtractQuality, last: ExtractQuality | None) -> Iterator[Facts]:
    """Yield, for each payload column, how many rows have a value, now and in the last delivery."""
    before = last.profile.columns if last else {}
    for name, column in now.profile.columns.items():
        share = column.filled / now.profile.rows if now.profile.rows else None
        earlier = before.get(name)
        last_share = earlier.filled / last.profile.rows if last and earlier and last.profile.rows else None
        named = name_column(now, name)
        note = None
        if share is not None and last_share is not None and last_share - share > FALL:
            note = f"{named['heading']} is filled in {format_percent(share)} of rows."
            note += f" In the last delivery it was filled in {format_percent(last_share)}."
        yield {**named, "filled": column.filled, "share": share, "last_share": last_share, "note": note}


def name_column(now: ExtractQuality, column: str) -> dict[str, str]:
    """Return a column's name in the contract, heading in the file, and description."""
    contract = CONTRACTS[now.source]
    derived = {each.name: each for each in contract.derived}.get(column)
    heading = derived.heading if derived else now.headings.get(column, column)
    return {"column": column, "heading": heading, "description": (derived or contract[column]).description}


def _iter_values(now: ExtractQuality, last: ExtractQuality | None) -> Iterator[Facts]:
    """Yield, for each payload column with groups, the share of each group, now and in the last delivery."""
    contract, same_cohort = CONTRACTS[now.source], last is not None and last.cohort == now.cohort
    for name, column in now.profile.columns.items():
        if not column.groups:
            continue
        kind = contract[name].kind if name in contract else Kind.CODE
        # dates in another cohort are about a year apart
        comparable = last is not None and (same_cohort or kind is not Kind.DATE)
        earlier = last.profile.columns.get(name) if last and comparable else None
        yield {
            **name_column(now, name),
            "kind": str(Kind.CODE if kind is Kind.TEXT else kind),
            "filled": column.filled,
            "last_filled": earlier.filled if earlier else None,
            "edges": list(compute_bin_edges(contract[name])) if kind in (Kind.INTEGER, Kind.DECIMAL) else None,
            "groups": _build_groups(_group_by_label(contract, name, column), _group_by_label(contract, name, earlier)),
        }


def _build_groups(now: Mapping[str, Share], last: Mapping[str, Share]) -> list[Facts]:
    return [
        {
            "label": label,
            "rows": share.rows,
            "share": share.value,
            "last_share": last[label].value if label in last else None,
            "changed": label in last and has_changed(share, last[label]),
        }
        for label, share in now.items()
    ]


def _group_by_label(contract: SourceContract, name: str, column: ColumnProfile | None) -> dict[str, Share]:
    """Return the share of each group by its label in the report. Codes with the same label are added up."""
    if column is None:
        return {}
    counts: Counter[str] = Counter()
    for count, label in zip(column.groups.values(), _label_groups(contract, name, list(column.groups)), strict=True):
        counts[label] += count
    return {label: Share(count, column.filled) for label, count in counts.items()}


def _label_groups(contract: SourceContract, name: str, keys: list[str]) -> list[str]:
    if name not in contract:
        return [_DERIVED_LABELS.get(name, {}).get(key, key) for key in keys]
    described = contract[name]
    match described.kind:
        case Kind.CODE:
            codes = described.codes or {}  # codes with the same meaning share a label, as in `Yes (Y, 1)`
            together = {label: ", ".join(code for code in codes if codes[code] == label) for label in codes.values()}
            return [f"{label} ({together[label]})" for label in codes.values()]
        case Kind.DATE:
            inner = keys[1:-1]
            outside = {BEFORE: f"Before {format_month(inner[0])}", AFTER: f"After {format_month(inner[-1])}"}
            return [outside.get(key) or format_month(key) for key in keys]
        case Kind.INTEGER | Kind.DECIMAL:
            *lower, end = ends = compute_bin_edges(described)
            labels = [f"{low:g} to under {high:g}" for low, high in zip(lower[:-1], ends[1:], strict=False)]
            return [*labels, f"{lower[-1]:g} to {end:g}"]
        case Kind.TEXT:
            return keys


def _iter_worth_a_look(now: ExtractQuality, last: ExtractQuality | None, found: Facts) -> Iterator[str]:
    """Yield sentences on numbers of rows, filled columns, values and measures that have changed or are unusual."""
    if last and abs(now.rows_read - last.rows_read) > SIZE_LAST * last.rows_read:
        yield f"The file has {format_rows(now.rows_read)}. The last delivery had {last.rows_read:,}."
    if (size := found["number_of_children"]) and size["worth_a_look"]:
        yield (
            f"We kept {format_rows(size['rows'])}. The published number of children in {size['area']} for"
            f" {size['cohort']} is"
            f" {size['published']:,}, so the file has {format_percent(size['share'])} of that number."
        )
    yield from (entry["note"] for entry in found["completeness"] if entry["note"])
    was = "In the last delivery it was"
    for column in found["values"]:
        if changed := [group for group in column["groups"] if group["changed"]]:
            # rounded, so that floating-point error does not break ties
            group = max(changed, key=lambda each: round(abs(each["share"] - each["last_share"]), 9))
            share, last_share = format_percent(group["share"]), format_percent(group["last_share"])
            yield f"{column['heading']}: {group['label']} is {share} of filled rows. {was} {last_share}."
    for figure in found["figures"]:
        if figure["changed"] and figure["topic"] in MEASURE_TOPICS.values():
            yield f"{figure['label']}: {format_percent(figure['share'])}. {was} {format_percent(figure['last_share'])}."
    yield from _iter_departures(found["figures"])


def _iter_departures(figures: Sequence[Facts]) -> Iterator[str]:
    """Yield a sentence for each measure that departs from its published figure, and at most one for each breakdown."""
    for topic, group in groupby(figures, key=lambda figure: figure["topic"]):
        departing = [figure for figure in group if figure["departs"]]
        departing.sort(key=lambda figure: -abs(figure["share"] - figure["published_share"]))
        for figure in departing if topic in MEASURE_TOPICS.values() else departing[:1]:
            more = figure["share"] > figure["published_share"]
            yield (
                f"{figure['label']}: {format_percent(figure['share'])} in your file. Published for"
                f" {figure['published_area']}, {figure['published_cohort']}:"
                f" {format_percent(figure['published_share'])}. Yours is"
                f" {format_points(abs(figure['share'] - figure['published_share']))} points"
                f" {'higher' if more else 'lower'}."
            )
