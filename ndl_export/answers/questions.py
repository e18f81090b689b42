"""Answers questions about published releases, with figures, an interval and what may be concluded.

Figures come from the view `releases.figure`. Differences, ranks, sums and targets come from the macros of the analyst
database, and are worded as on the release page.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.analyst_db.facts import get_unit
from ndl_export.answers.published import Published, Row
from ndl_export.answers.sentences import (
    Wording,
    count_decimals,
    format_ends,
    format_interval,
    format_value,
    format_with_interval,
    oppose,
)
from ndl_export.answers.vocabulary import NoSuchFigure, Statistic, Vocabulary, list_categories, word_statistic
from ndl_export.api.documents import FIGURES, IS_CURRENT, JSON
from ndl_export.facts.description import OGL_ADDRESS, OGL_NAME
from ndl_export.facts.row_hashes import prove_rows
from ndl_export.pages.number_format import capitalise, end_sentence, format_decimal, join_parts, join_words
from ndl_export.site import inference
from ndl_export.tables.geography import LOCAL_AUTHORITY
from ndl_export.tables.schema import Flag
from privacy.doors.shipped import read_yaml
from privacy.doors.sql import quote_text
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY, Place, load_places

_CONCLUSIONS: dict[str, dict[str, list[str]]] = read_yaml(Path(__file__).parent / "conclusions.yaml")
NEVER_CONCLUDED = _CONCLUSIONS["always"]["may_not"]
"""Conclusions that no answer supports."""
_SQL = re.compile(r"(?:; its official figures| All names)?: FROM [\w.]+\w(?: WHERE [^.]*| says [^.]*)?")
_TOOLS = "Ask `list_releases` for areas and cohorts, and `search` for measures and groups."
"""What replaces the hints of the macros' messages, which are queries."""
_GROUPS = ("several", "category")
_MOST_KEPT = 1000
"""Comparisons kept in memory, each of all pairs of areas: 24,000 rows for 153 councils."""


@dataclass(frozen=True)
class Answer:
    """A sentence, the published figures that it rests on, and what may and may not be concluded from them."""

    sentence: str
    figures: list[dict[str, Any]]
    may_conclude: list[str] = field(default_factory=list)
    may_not_conclude: list[str] = field(default_factory=list)
    difference: inference.Difference | str = ""
    """The difference of a comparison, or the reason why there is none."""
    points: float | None = None
    """The difference of the two figures as published."""
    added: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For a sum: its percentage and the number of children with their intervals, by measure."""

    @property
    def verdict(self) -> str:
        """The verdict of a comparison; empty for other answers."""
        if isinstance(self.difference, inference.Difference):
            return self.difference.verdict
        return "cannot say" if self.difference else ""


@dataclass(frozen=True)
class Subject:
    """A statistic of an area and a cohort: what a figure is about."""

    statistic: Statistic
    area_code: str
    cohort: str


class Questions:
    """Answers questions about the releases. Every method raises `NoSuchFigure` if they cannot answer."""

    def __init__(self, published: Published) -> None:
        self.published, self.vocabulary = published, Vocabulary(published)
        # Kept, because a macro compares all areas at once, and a query of all figures takes a tenth of a second.
        self._list_pairs = lru_cache(_MOST_KEPT)(self._ask_macro)
        self._figures: dict[tuple[Statistic, str], dict[str, dict[str, Any]]] = {}

    # Words

    def read_subject(
        self, measure: str | None, area: str, groups: Sequence[str] = (), cohort: str | None = None
    ) -> Subject:
        """Return the subject that words name. Raises `NoSuchFigure` if they fit no statistic, or several."""
        meanings = self.vocabulary.read_words(measure, "measure", "opposite", *_GROUPS) if measure else ()
        measures = {each.value for each in meanings if each.kind not in _GROUPS}
        opposite = any(each.kind == "opposite" for each in meanings)
        named = list_categories(meanings) if not measures else []
        for group in groups:
            named += list_categories(self.vocabulary.read_words(group, "all", *_GROUPS))
        found = self.vocabulary.find_statistics(measures, named, opposite)
        if len(found) > 1:
            readings = "; ".join(f"{each.table}.{each.measure} ({each.categories})" for each in found)
            raise NoSuchFigure(f"It can be read in {len(found)} ways: {readings}.")
        return Subject(found[0], self.read_area(area), self.read_cohort(cohort))

    def read_area(self, words: str) -> str:
        """Return the code of the area that words name, even as `the Wirral`."""
        words = words.strip().removeprefix("the ")
        place = _load_places_by_name().get(words.lower())
        if place and place.new_la_code not in self.areas:
            raise NoSuchFigure(describe_elsewhere(place.la_name))
        return str(self._list_pairs("SELECT meaning_of('area', ?) AS found", words)[0]["found"])

    def read_cohort(self, words: str | None) -> str:
        """Return the cohort that words name, or the newest."""
        return str(self._list_pairs("SELECT cohort_or_newest(?) AS found", words)[0]["found"])

    def _ask_macro(self, sql: str, *values: Any) -> list[Row]:
        try:
            return self.published.query(sql, *values)
        except duckdb.InvalidInputException as error:
            # The macros' own messages, which name the nearest matches; who asks here has tools in place of SQL.
            said = str(error).removeprefix("Invalid Input Error: ").partition("\n")[0]
            plain = _SQL.sub("", said)
            raise NoSuchFigure(plain if plain == said else f"{end_sentence(plain)} {_TOOLS}") from None

    # Figures

    def load_figures(self, statistics: Iterable[Statistic]) -> None:
        """Read the figures of statistics in all areas and current cohorts with one query."""
        wanted = {(each.table, each.measure, each.levels): each.positive for each in statistics}
        if not wanted:
            return
        rows = self.published.query(
            f"""SELECT {JSON} AS figure, "table", measure, levels, time_period, area_code
            FROM ({FIGURES}) AS f WHERE {IS_CURRENT}
              AND ("table", measure, levels) IN ({", ".join(["(?, ?, ?)"] * len(wanted))})
            ORDER BY f.time_period, f.is_all_together DESC, f.area_name""",
            *(value for table, measure, levels in wanted for value in (table, measure, list(levels))),
        )
        self._figures |= {(each, cohort): {} for each in wanted.values() for cohort in self.published.current}
        for row in rows:
            statistic = wanted[row["table"], row["measure"], tuple(row["levels"])]
            self._figures[statistic, row["time_period"]][row["area_code"]] = json.loads(row["figure"])

    def list_figures(self, statistic: Statistic, cohort: str) -> dict[str, dict[str, Any]]:
        """Return the figures of a statistic in a cohort by code of the area, all councils together first."""
        if (statistic.positive, cohort) not in self._figures:
            if len(self._figures) > _MOST_KEPT:
                self._figures.clear()
            self.load_figures([statistic])
        return self._figures.get((statistic.positive, cohort), {})

    def list_series(self, statistic: Statistic, area_code: str) -> list[dict[str, Any]]:
        """Return the figures of a statistic in an area, one for each cohort that has one."""
        found = (self.list_figures(statistic, cohort).get(area_code) for cohort in self.published.current)
        return [figure for figure in found if figure]

    def get_figure(self, subject: Subject) -> dict[str, Any]:
        """Return the figure of a subject. Raises `NoSuchFigure` if its area has no such row."""
        found = self.list_figures(subject.statistic, subject.cohort)
        if subject.area_code not in found:
            of_cohorts = (self.list_figures(subject.statistic, cohort) for cohort in self.published.current)
            areas = dict.fromkeys(each["area_name"] for figures in of_cohorts for each in figures.values())
            area, cohort = self.get_area_name(subject.area_code), Cohort(subject.cohort).label
            raise NoSuchFigure(
                f"{area} has no such figure in {cohort}: it would be too uncertain, or was not measured. Areas"
                f" that have it: {join_words(areas) or 'none'}."
            )
        return found[subject.area_code]

    def get_area_name(self, code: str) -> str:
        """Return the name of an area, or words for all councils together."""
        row = self.areas[code]
        return "all councils that take part, together," if row["is_all_together"] else str(row["area_name"])

    @cached_property
    def areas(self) -> dict[str, Row]:
        """The areas of the releases, by code."""
        return {row["area_code"]: row for row in self.published.query("FROM dimension.area")}

    def cite(self, version: str) -> dict[str, Any]:
        """Return a release's citation, licence and notice."""
        release = self.published.bundles[version]
        licence = {"name": OGL_NAME, "address": OGL_ADDRESS}
        return {"release": version, "citation": release.citation, "licence": licence, "notice": release.notice or None}

    def prove(self, figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return figures with their evidence: their rows, and the hashes that lead to the releases' signatures."""
        rows: dict[str, list[tuple[str, int]]] = {}
        try:
            for figure in figures:
                version = self.published.bundles[figure["release"]].version
                rows.setdefault(version, []).append((str(figure["table"]), int(figure["row"])))
            evidence = [prove_rows(self.published.folder / version, wanted) for version, wanted in rows.items()]
        except (ValueError, TypeError, OSError, KeyError):
            raise NoSuchFigure(
                "There is no such row in the releases, or the release holds no hashes of rows."
            ) from None
        notices = dict.fromkeys(self.published.bundles[version].notice for version in rows)
        return {"figures": list(figures), "notice": join_parts(*notices), "evidence": evidence}

    # Answers

    def answer_figure(self, subject: Subject) -> Answer:
        """Answer what a figure is."""
        figure = self.get_figure(subject)
        shown = oppose(figure) if subject.statistic.opposite else figure
        may, may_not = self._conclude_figure(shown)
        return Answer(self.describe_figure(subject, figure), [figure], [*may, *self._judge_published(subject)], may_not)

    def _judge_published(self, subject: Subject) -> list[str]:
        """Return both answers about a published difference: is it more than the noise, and than noise and chance?"""
        if subject.statistic.measure != "gld_difference_points":
            return []
        comparison = subject.statistic.levels[1]
        rows = self._list_pairs("FROM gld_differences_judged(?, cohort := ?)", comparison, subject.cohort)
        return [
            f"For the children in this year’s data, by more than the noise: {row['more_than_noise']}. For children like"
            f" these, by more than noise and chance: {row['more_than_noise_and_chance']}."
            for row in rows
            if row["area_code"] == subject.area_code and row["more_than_noise"]
        ]

    def word(self, subject: Subject) -> Wording:
        """Return the words of a subject's figure."""
        words = word_statistic(subject.statistic)
        measure = self.vocabulary.tables[subject.statistic.table].get_measure(subject.statistic.measure)
        area, cohort = self.get_area_name(subject.area_code), Cohort(subject.cohort).label
        return Wording(**words, area=area, cohort=cohort, unit=get_unit(measure))

    def describe_figure(self, subject: Subject, figure: dict[str, Any]) -> str:
        """Return a figure as a sentence, with its interval and flag."""
        wording = self.word(subject)
        shown = oppose(figure) if subject.statistic.opposite else figure
        if figure["value"] is None:
            whose = f"{wording.categories} in {wording.area} in {wording.cohort}"
            return f"There is no figure for {whose}: {figure['flag_meaning']}."
        flag = f" [{figure['flag']}: {figure['flag_meaning']}]" if figure["flag"] else ""
        return wording.state(format_value(shown), f"{format_interval(shown)}{flag}")

    def _conclude_figure(self, figure: dict[str, Any]) -> tuple[list[str], list[str]]:
        if figure["value"] is None:
            return _list_conclusions("no figure")
        kinds = ["figure" if figure["lower"] is not None else "no interval"]
        kinds += ["uncertain"] if figure["flag"] == Flag.UNRELIABLE else []
        return _list_conclusions(*kinds, **format_ends(figure))

    def find_difference(self, one: Subject, other: Subject) -> inference.Difference | str:
        """Return the difference of two subjects, or the reason why there is none."""
        if one.statistic.measure != other.statistic.measure or one.statistic.table != other.statistic.table:
            return "Figures of different measures or tables are not compared: they are of different children or things."
        is_within = one.area_code == other.area_code
        if not is_within and one.cohort != other.cohort:
            return "Two areas in two cohorts are not compared: compare areas in one cohort, or cohorts of one area."
        macro, key, keys, values = self._choose_macro(one.statistic, other.statistic)
        query = (
            f"SELECT verdict, lower_end, upper_end, basis, area_code, less_area_code FROM {macro}"
            f" WHERE {key} = ? AND less_{key} = ?"
        )
        listed = self._list_pairs(query, *values, is_within, one.cohort, other.cohort, *keys)
        areas = one.area_code, other.area_code
        found = next((row for row in listed if (row["area_code"], row["less_area_code"]) == areas), None)
        if found is None or found["verdict"] is None:
            return capitalise(found["basis"]) + "." if found else "One of the two figures is not published."
        sign = -1 if one.statistic.opposite else 1
        lower, upper = sorted((sign * found["lower_end"], sign * found["upper_end"]))
        turned: dict[str, str] = {"ahead": "behind", "behind": "ahead"} if sign < 0 else {}
        return inference.Difference(lower, upper, turned.get(str(found["verdict"]), str(found["verdict"])))

    def _choose_macro(self, one: Statistic, other: Statistic) -> tuple[str, str, Sequence[Any], Sequence[Any]]:
        """Return the macro that compares two statistics, the column of their keys, the keys, and its first values."""
        groups = [self._get_group(one), self._get_group(other)]
        if all(groups):
            return "gld_compared(?, ?, ?, ?, ?)", "group_key", groups, groups
        levels = [one.levels, other.levels]
        return "figures_compared(?, ?, ?, ?, ?, ?, ?)", "levels", levels, [one.table, one.measure, *levels]

    def _get_group(self, statistic: Statistic) -> str | None:
        """Return the key in `gld_by_group` of the statistic's group of children, if it has one."""
        if statistic.measure == "gld_difference_points":
            return statistic.levels[1]
        if statistic.measure != "gld_children_percent":
            return None
        key = ": ".join(*statistic.signature) if len(statistic.signature) == 1 else EVERYONE
        return key if len(statistic.signature) < 2 and (statistic.table, key) in self._groups else None

    @cached_property
    def _groups(self) -> frozenset[tuple[str, str]]:
        rows = self.published.query(
            "SELECT c.table_name, g.group_key FROM dimension.child_group AS g JOIN dimension.characteristic AS c"
            " USING (characteristic)"
        )
        return frozenset((row["table_name"], row["group_key"]) for row in rows)

    def answer_comparison(self, one: Subject, other: Subject) -> Answer:
        """Answer whether one subject is ahead of the other: another area, group or cohort of the same measure."""
        figures = [self.get_figure(one), self.get_figure(other)]
        found = self.find_difference(one, other)
        sentences = map(self.describe_figure, (one, other), figures)
        if isinstance(found, str):
            return Answer(" ".join((*sentences, found)), figures, *_list_conclusions("no figure"), found)
        conclusion = self.describe_difference(one, other)
        may, may_not = _list_conclusions("difference", conclusion=conclusion)
        values = [each["value"] for each in figures]
        # A difference may be published where one of its two figures is withheld.
        points = None if None in values else round(values[0] - values[1], count_decimals(*figures))
        return Answer(" ".join((*sentences, conclusion)), figures, may, may_not, found, points)

    def describe_difference(self, one: Subject, other: Subject) -> str:
        """Return the release page's sentence on the difference of two subjects, or why there is none."""
        found = self.find_difference(one, other)
        if isinstance(found, str):
            return found
        if one.cohort != other.cohort:
            moved = f"the figure {inference.ROSE_OR_FELL[found.verdict]}" if found.is_certain else ""
            return inference.describe_change(
                Cohort(one.cohort).label, Cohort(other.cohort).label, found, "the figure", moved
            )
        if one.area_code != other.area_code:
            names = self.get_area_name(one.area_code), self.get_area_name(other.area_code)
        else:
            words = self.word(one), self.word(other)
            if words[0].who != words[1].who:
                names = f"“{words[0].who}”", f"“{words[1].who}”"
            else:
                names = f"“{words[0].categories}”", f"“{words[1].categories}”"
        return inference.describe_difference(names[0].rstrip(","), names[1].rstrip(","), found)

    def rank_areas(self, statistic: Statistic, cohort: str) -> list[Row]:
        """Return councils by figure, the highest first, each with the best and the worst rank that it may have."""
        macro, key, _, values = self._choose_macro(statistic, statistic)
        figure = "percent" if key == "group_key" else "figure"
        sign = -1 if statistic.opposite else 1
        ahead, behind = map(quote_text, ("ahead", "behind") if sign > 0 else ("behind", "ahead"))
        return self._list_pairs(
            f"""SELECT area_code, any_value(area_name) AS area_name, any_value({figure}) AS value,
                       count(*) FILTER (verdict = {behind}) + 1 AS best_rank,
                       count(*) + 1 - count(*) FILTER (verdict = {ahead}) AS worst_rank
                FROM {macro} WHERE is_council AND less_is_council AND points IS NOT NULL
                GROUP BY area_code ORDER BY {sign} * value DESC, area_name""",
            *(*values, False, cohort, cohort),
        )

    def answer_ranking(self, statistic: Statistic, cohort: str) -> Answer:
        """Answer how councils rank in a statistic."""
        ranks = self.rank_areas(statistic, cohort)
        if len(ranks) < 2:
            raise NoSuchFigure("Fewer than two councils have this figure, so there is nothing to rank.")
        figures = self.list_figures(statistic, cohort)
        councils = [each for each in figures.values() if each["geographic_level"] == LOCAL_AUTHORITY]
        places = "; ".join(
            f"{row['area_name']} {format_decimal(row['value'], count_decimals(figures[row['area_code']]))},"
            f" rank {row['best_rank']}" + (f" to {row['worst_rank']}" if row["worst_rank"] > row["best_rank"] else "")
            for row in ranks
        )
        may, may_not = _list_conclusions(
            "rank", conclusion=f"For children like these, the ranks that cannot be ruled out: {places}."
        )
        return Answer(may[0], councils, may, may_not)

    def answer_trend(self, statistic: Statistic, area_code: str) -> Answer:
        """Answer how a statistic of an area moved from cohort to cohort."""
        figures = self.list_series(statistic, area_code)
        if len(figures) < 2:
            held = join_words(Cohort(each["time_period"]).label for each in figures) or "none"
            raise NoSuchFigure(
                f"A change needs two cohorts, and the releases have {self.get_area_name(area_code)} in: {held}. The"
                " nearest that can be said is the figure of that cohort."
            )
        subjects = [Subject(statistic, area_code, each["time_period"]) for each in figures]
        may = [self.describe_difference(now, before) for before, now in pairwise(subjects)]
        sentences = map(self.describe_figure, subjects, figures)
        return Answer(" ".join((*sentences, *may)), figures, may, _list_conclusions("difference", conclusion="")[1])

    def answer_sum(self, areas: Sequence[str], groups: Sequence[str], cohort: str | None = None) -> Answer:
        """Answer what the good level of development is for areas or groups added together."""
        row = self._ask_macro(
            "FROM gld_sum(?, ?, cohort := ?)", " + ".join(areas), " + ".join(groups) or EVERYONE, cohort
        )[0]
        if row["gld_percent"] is None:
            raise NoSuchFigure(capitalise(row["basis"]) + ".")
        codes = [self.read_area(area) for area in areas]
        figures = []
        for group in groups or [EVERYONE]:
            subject = self.read_subject("gld_children_percent", areas[0], [group], cohort)
            found = self.list_figures(subject.statistic, row["time_period"])
            figures += [figure for code, figure in found.items() if code in codes]
        total = {"value": row["gld_percent"], "lower": row["lower_ci"], "upper": row["upper_ci"], "unit": "%"}
        children = {"value": row["children"], "lower": row["children_lower_ci"], "upper": row["children_upper_ci"]}
        children |= {"unit": "children"}
        counted = format_with_interval(children)
        about = f"{row['area_name']}, {row['child_group']}, {Cohort(row['time_period']).label}"
        sentence = f"{about}: {format_with_interval(total)}, of {counted}."
        added = {"gld_children_percent": total, "children_count": children}
        return Answer(sentence, figures, *_list_conclusions("sum", **format_ends(total)), added=added)

    def find_beside_england(self, subject: Subject) -> Row:
        """Return the comparison of a good level of development with England's official figure."""
        statistic = subject.statistic
        rows = []
        if statistic.table == "gld_headline" and statistic.measure == "gld_children_percent":
            rows = self._list_pairs(
                "SELECT area_code, verdict, percent, england, lower_end, upper_end, source FROM gld_against_england(?)"
                " WHERE [breakdown_topic::VARCHAR, breakdown::VARCHAR, sex::VARCHAR] = ?",
                *(subject.cohort, statistic.levels),
            )
        rows = [row for row in rows if row["area_code"] == subject.area_code]
        if not rows or rows[0]["verdict"] is None:
            raise NoSuchFigure("There is no official figure of England for it, so it cannot be compared with England.")
        return rows[0]

    def answer_beside_england(self, subject: Subject) -> Answer:
        """Answer whether a subject is ahead of England's official figure."""
        row, figure = self.find_beside_england(subject), self.get_figure(subject)
        found = inference.Difference(row["lower_end"], row["upper_end"], row["verdict"])
        if subject.statistic.opposite:
            raise NoSuchFigure("England is compared by the good level of development itself: ask for that.")
        conclusion = inference.describe_difference(self.get_area_name(subject.area_code).rstrip(","), COUNTRY[1], found)
        official = f"England’s official figure is {row['england']:.1f}% ({row['source']})."
        may, may_not = _list_conclusions("difference", conclusion=conclusion)
        sentence = " ".join((self.describe_figure(subject, figure), official, conclusion))
        return Answer(sentence, [figure], may, may_not, found, round(row["percent"] - row["england"], 1))

    def answer_target(self, subject: Subject) -> Answer:
        """Answer how far a subject is from each target of its area."""
        answer = self.answer_figure(subject)
        rows = [row for row in self.find_target(subject) if row["verdict"] != "no figure"]
        distances = self.describe_targets(rows)
        sentence = " ".join((answer.sentence, *distances))
        return replace(answer, sentence=sentence, may_conclude=[*answer.may_conclude, *distances])

    def describe_targets(self, rows: Iterable[Row]) -> list[str]:
        """Return the release page's sentence on each row of `find_target`."""
        return [inference.describe_target(_build_distance(row)) for row in rows]

    def find_target(self, subject: Subject) -> list[Row]:
        """Return how far a subject is from each target of its area."""
        group = self._get_group(subject.statistic)
        if group is None or subject.statistic.measure == "gld_difference_points":
            raise NoSuchFigure("Targets are for the good level of development of an area or a group of its children.")
        rows = self._list_pairs("FROM gld_to_target(?, cohort := ?)", group, subject.cohort)
        return [row for row in rows if row["area_code"] == subject.area_code]


@cache
def _load_places_by_name() -> dict[str, Place]:
    """Return every English authority by its name in lower case."""
    return {place.la_name.lower(): place for place in load_places().values()}


def describe_elsewhere(area: str) -> str:
    """Return why an area of England that takes no part has no figures."""
    return f"{area} takes no part in these releases: there are no figures about its children."


def is_england(area: str) -> bool:
    """Return whether an area is the whole country, which no release is about."""
    return area.strip().lower() in (name.lower() for name in COUNTRY)


def _build_distance(row: Row) -> inference.Distance:
    """Return a row of `gld_to_target` in the form that the release page uses."""
    points, children = (
        (row[f"{unit}_to_go"], row[f"{unit}_lower_ci"], row[f"{unit}_upper_ci"]) for unit in ("points", "children")
    )
    return inference.Distance(
        row["target_percent"], row["target_year"], row["target"], row["verdict"], points, children, row["flag"]
    )


def _list_conclusions(*kinds: str, **words: str) -> tuple[list[str], list[str]]:
    """Return what may be concluded from answers of these kinds, and what may not."""
    may = [each.format(**words) for kind in kinds for each in _CONCLUSIONS[kind]["may"]]
    may_not = [each.format(**words) for kind in kinds for each in _CONCLUSIONS[kind]["may_not"]]
    return may, [*may_not, *NEVER_CONCLUDED]
