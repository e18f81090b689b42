"""Words and what they stand for: areas, cohorts, measures and categories of the published tables.

Published names come from the analyst database, and other names in common use from the declarations of the families and
`vocabulary.yaml`. A statistic is a measure of one row of a table: it is found only if one row fits the words exactly.
"""

import contextlib
import difflib
import re
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ndl_export.analyst_db.child_groups import EVERYONE, list_comparisons
from ndl_export.analyst_db.words import WORDS
from ndl_export.answers.published import Published
from ndl_export.facts.on_request import merge_tables
from ndl_export.tables import Table
from ndl_export.tables.model import BREAKDOWN_FILTER, TOPIC_FILTER
from privacy.doors.shipped import read_yaml

_READY = ("gld_children_percent",)
_STATED: dict[str, Any] = read_yaml(Path(__file__).parent / "vocabulary.yaml")
_WITH_LABEL = frozenset(_STATED["with_label"])
COUNTED: dict[str, str] = {name: words["count"] for name, words in _STATED["measures"].items() if "count" in words}
"""Measure that counts the children or responses of a percentage, by the percentage's measure."""
_PLAIN = frozenset(("children_percent", "children_count"))
TOGETHER = "All councils together"
"""Name in the database of the area of all councils that take part."""
_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_]+(?:['’][^\W\d_]+)?|½|%")
_READINGS = 6
_NOT_SEARCHED = frozenset(
    "a an and are at by did do does for from how in is many much of or the to was were what which with".split()
)
_COMPARISON = "Comparison"

_OF_MEASURES = ("measure", "opposite")
_NOUNS = frozenset("child children pupil kid youngster who are were is the a with".split())
"""Words that add nothing to the name of a group of children."""

Category = tuple[str, str]
"""Label of a filter or topic, and one of its categories: `("Sex", "Female")`."""
Signature = frozenset[Category]


class NoSuchFigure(Exception):
    """The releases do not hold the figure; the message names the nearest figure that they do hold."""


@dataclass(frozen=True)
class Statistic:
    """A measure of one row of a published table, or with `opposite`, 100% less that measure."""

    table: str
    measure: str
    levels: tuple[str, ...]
    signature: Signature
    opposite: bool = False

    @property
    def positive(self) -> "Statistic":
        """The statistic itself if it is the opposite of one."""
        return replace(self, opposite=False)

    @property
    def categories(self) -> str:
        """Its categories in words: `Writing, Female`; empty for all children."""
        return ", ".join(category for _, category in sorted(self.signature))

    @property
    def keys(self) -> list[str]:
        """Its categories with their labels: `Sex: Female`."""
        return [": ".join(category) for category in sorted(self.signature)]


@dataclass(frozen=True)
class Meaning:
    """One thing that words may stand for; `value` is a code, a name or a `Category`, by `kind`."""

    kind: str
    value: Any


def split_tokens(text: str) -> list[str]:
    """Return words, numbers and percent signs in lower case, without possessive endings."""
    text = text.lower().replace("&", " and ").replace("½", ".5")
    return [re.sub(r"['’]s$", "", token).replace("’", "'") for token in _TOKEN.findall(text)]


def _stem(token: str) -> str:
    """Return a word without the ending of its plural."""
    return token[:-1] if len(token) > 3 and token.endswith("s") and not token.endswith("ss") else token


_NOT_ALONE_STEMS = frozenset(" ".join(map(_stem, split_tokens(name))) for name in _STATED["not_alone"])


def list_categories(meanings: Iterable[Meaning]) -> list[list[Category]]:
    """Return the categories that words stand for, each with its alternatives."""
    together = [each.value for each in meanings if each.kind == "several"]
    if together:
        return [[category] for category in together[0]]
    alternatives = [each.value for each in meanings if each.kind == "category"]
    return [alternatives] if alternatives else []


class Vocabulary:
    """All names of the releases, and the rows that they lead to."""

    def __init__(self, published: Published) -> None:
        self.published = published
        self._terms: dict[tuple[str, ...], dict[Meaning, None]] = defaultdict(dict)
        for words, kind, value in self._iter_names():
            if tokens := tuple(split_tokens(words)):
                self._terms[tokens].setdefault(Meaning(kind, value))

    def _iter_names(self) -> Iterator[tuple[str, str, Any]]:
        """Yield each name, the kind of thing that it names, and the thing."""
        for row in self.published.query("FROM dimension.name WHERE kind IN ('area', 'cohort', 'group')"):
            if row["meaning"] == EVERYONE:
                yield row["called"], "all", EVERYONE
            elif row["kind"] == "group":
                yield row["called"], "category", _split_key(row["meaning"])
            else:
                yield row["called"], row["kind"], row["meaning"]
        for label, category in self.categories:
            yield category, "category", (label, category)
            yield f"{label}: {category}", "category", (label, category)
        for row in self.published.query("SELECT filter_label, category, short_name FROM dimension.short_name"):
            if (row["filter_label"], row["category"]) in self.categories:
                yield row["short_name"], "category", (row["filter_label"], row["category"])
        for label, synonyms in WORDS.synonyms.items():
            for category, called in synonyms.items():
                yield from ((name, "category", (label, category)) for name in called)
        for each in _STATED["several"]:
            yield from self._iter_several(each["categories"], each["names"])
        for measure in _STATED["opposites"]:
            yield f"not {measure}", "opposite", measure
        for kind, measures in (("measure", self._measure_names), ("opposite", _STATED["opposites"])):
            for measure, names in measures.items():
                for name in names:
                    yield name, kind, measure

    def _iter_several(self, keys: list[str], names: list[str]) -> Iterator[tuple[str, str, tuple[Category, ...]]]:
        """Yield names of several categories at once; with `{answer}`, one name for each category of the last label."""
        *others, last = map(_split_key, keys)
        answers = [last[1]]
        if last[1] == "{answer}":
            answers = [category for label, category in self.categories if label == last[0]]
        for name, answer in product(names, answers):
            yield name.format(answer=answer), "several", (*others, (last[0], answer))

    @cached_property
    def _measure_names(self) -> dict[str, list[str]]:
        names = {name: list(words["names"]) for name, words in _STATED["measures"].items()}
        for row in self.published.query("SELECT DISTINCT measure, label FROM dimension.measure"):
            names.setdefault(row["measure"], []).extend((row["label"], row["measure"]))
        return names

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Every table of the releases, requested ones last."""
        return merge_tables(table for release in self.published.bundles.values() for table in release.requested)

    @cached_property
    def statistics(self) -> list[Statistic]:
        """The statistics of the current releases, by table; without measures that apply to a row in no area."""
        rows = self.published.query(
            """SELECT table_name, levels, list(measure) AS measures FROM (
                   SELECT f.table_name, f.levels, f.measure
                   FROM releases.figure AS f LEFT JOIN releases.current AS c
                     ON c.time_period = f.time_period AND c.release_version = f.release_version
                   GROUP BY ALL HAVING count(c.release_version) > 0 AND bool_or(f.flag IS DISTINCT FROM 'z'))
               GROUP BY ALL ORDER BY ALL"""
        )
        return [
            Statistic(name, measure.name, tuple(row["levels"]), _build_signature(table, row["levels"]))
            for name, table in self.tables.items()
            for row in rows
            if row["table_name"] == name
            for measure in table.measures
            if measure.name in row["measures"]
        ]

    @cached_property
    def _by_signature(self) -> dict[Signature | None, list[Statistic]]:
        found: dict[Signature | None, list[Statistic]] = defaultdict(list)
        for each in self.statistics:
            found[each.signature].append(each)
        return found

    @cached_property
    def categories(self) -> frozenset[Category]:
        """Every category that a row has."""
        return frozenset(category for each in self.statistics for category in each.signature)

    def read_words(self, words: str, *kinds: str) -> tuple[Meaning, ...]:
        """Return what words stand for as a whole. Raises `NoSuchFigure`, which names the nearest words."""
        tokens = tuple(split_tokens(words))
        stems = tuple(_stem(token) for token in tokens)
        without_nouns = tuple(stem for stem in stems if stem not in _NOUNS)
        named = (self._terms.get(tokens, ()), *(self._by_stem.get(each, ()) for each in (stems, without_nouns)))
        found = next((own for each in named if (own := tuple(m for m in each if m.kind in kinds))), ())
        if not found:
            known = [name for meaning, names in self._names_of.items() if meaning.kind in kinds for name in names]
            near = difflib.get_close_matches(" ".join(tokens), dict.fromkeys(known), n=3, cutoff=0.3)
            nearest = f" Nearest: {', '.join(near)}." if near else ""
            what = " or ".join(dict.fromkeys("measure" if each in _OF_MEASURES else "group" for each in kinds))
            raise NoSuchFigure(f"The release has no {what} called “{words}”.{nearest}")
        return found

    def read_question(self, question: str) -> list[Statistic]:
        """Return the statistics that the names in a question lead to; none if they lead to no row."""
        measures: dict[str, set[str]] = {}
        groups: list[list[Category]] = []
        tokens = [_stem(token) for token in split_tokens(question)]
        at = 0
        while at < len(tokens):
            end, meanings = self._find_name(tokens, at)
            for kind in ("measure", "opposite"):
                if values := {each.value for each in meanings if each.kind == kind}:
                    measures.setdefault(kind, set()).update(values)
            named = list_categories(meanings)
            groups += [each for each in named if each not in groups]
            at = max(end, at + 1)
        plain = measures.get("measure", set())
        opposite = measures.get("opposite", set())
        labels = {label for group in groups for label, _ in group}
        # Of a group of children that is named without a measure, people mean how ready it was.
        usual = [(), _READY] if labels - self._characteristics else [_READY, ()]
        for meant in map(frozenset, [*filter(None, (plain | opposite, plain)), *usual]):
            if meant or groups:
                with contextlib.suppress(NoSuchFigure):
                    return self.find_statistics(meant, groups, bool(opposite & meant))
        return []

    @cached_property
    def _characteristics(self) -> set[str]:
        """Labels of the groups of children whose good level of development is counted exactly."""
        return {label for each in self.statistics if each.table == "gld_headline" for label, _ in each.signature}

    def _find_name(self, tokens: Sequence[str], at: int) -> tuple[int, list[Meaning]]:
        """Return the token after the longest name that begins at a token, and what it stands for; `at` if none does."""
        for end in range(min(len(tokens), at + self._longest), at, -1):
            name = tuple(tokens[at:end])
            if name in self._by_stem and " ".join(name) not in _NOT_ALONE_STEMS:
                return end, self._by_stem[name]
        return at, []

    @cached_property
    def _by_stem(self) -> dict[tuple[str, ...], list[Meaning]]:
        found: dict[tuple[str, ...], list[Meaning]] = defaultdict(list)
        for name, meanings in self._terms.items():
            asked = [each for each in meanings if each.kind in ("measure", "opposite", "category", "several")]
            if asked and not (len(name) == 1 and name[0].isdigit()):
                found[tuple(map(_stem, name))] += asked
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_stem))

    def find_statistics(
        self, measures: Collection[str], groups: Iterable[Collection[Category]], opposite: bool = False
    ) -> list[Statistic]:
        """Return the statistics that measures and categories fit exactly.

        `groups` has the alternatives for each category that was named. If no measure is named, it is the share of
        children (or responses) in the row's table. Raises `NoSuchFigure`, which names what comes nearest.
        """
        if not self.published.current:
            raise NoSuchFigure("Every release here is withdrawn.")
        found: dict[tuple[str, Signature], Statistic] = {}
        groups = _find_comparison(measures, groups)
        said_with = {_STATED["populations"].get(other) for other in measures}
        measures = {each for each in measures if each not in said_with and (each not in _PLAIN or len(measures) == 1)}
        labels = {label for group in groups for label, _ in group}
        for measure, (label, instead) in _STATED["replaced"].items():
            measures = {instead if each == measure and label in labels else each for each in measures}
        for measure, words in _STATED["as_categories"].items():
            if measure in measures and labels.intersection(words["labels"]):
                key = words["opposite" if opposite else "is"]
                measures, opposite = measures - {measure}, False
                groups.append([_split_key(key)])
        meant = measures or set(_STATED["shares"])
        chosen = list(map(frozenset, product(*groups)))
        for picked in chosen:
            signature = _complete_signature(picked, measures)
            for each in self._by_signature.get(signature, ()):
                if each.measure in meant:
                    # If several tables have it, the first one supplies it, as in `gld_by_group`.
                    found.setdefault((each.measure, each.signature), replace(each, opposite=opposite))
        if not found:
            raise NoSuchFigure(self._describe_nearest(meant, chosen))
        return list(found.values())

    def list_names(self, statistic: Statistic) -> list[str]:
        """Return all names of a statistic's measure and categories."""
        label = self.tables[statistic.table].get_measure(statistic.measure).label
        names = [label]
        for kind in ("measure", "opposite"):
            names += self._names_of[Meaning(kind, statistic.measure)]
        for category in sorted(statistic.signature):
            names += [": ".join(category), *self._names_of[Meaning("category", category)]]
        return names

    @cached_property
    def _names_of(self) -> dict[Meaning, list[str]]:
        found: dict[Meaning, list[str]] = defaultdict(list)
        for name, meanings in self._terms.items():
            for meaning in meanings:
                found[meaning].append(" ".join(name))
        return found

    def _describe_nearest(self, measures: Collection[str], signatures: list[Signature]) -> str:
        near = dict.fromkeys(
            f"{self.tables[each.table].get_measure(each.measure).label}: {_format_signature(each.signature)}"
            for signature in signatures
            for each in self.statistics
            if each.measure in measures and signature < each.signature and len(each.signature - signature) == 1
        )
        wanted = " or ".join(_format_signature(each) for each in signatures if each) or "all children"
        some = "; ".join(list(near)[:_READINGS])
        return f"The release has no such figure for {wanted}." + (f" Nearest: {some}." if some else "")


class NameIndex:
    """Full-text index of every published statistic, by the words of its table, its measure and its categories."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        # Statistics with fewer categories first, and rates before counts.
        self._statistics = sorted(
            vocabulary.statistics,
            key=lambda each: (len(each.signature), "count" in each.measure, "linked" in each.measure),
        )
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        # With Porter's stemmer, a search for `goal` finds `goals`.
        self._database.execute("CREATE VIRTUAL TABLE statistic USING fts5(exact, other, tokenize = 'porter')")
        rows = map(self._describe, self._statistics)
        self._database.executemany("INSERT INTO statistic VALUES (?, ?)", rows)

    def search(self, words: str, limit: int = 10) -> list[Statistic]:
        """Return the statistics that fit best: those that names in the words lead to, then those with all the words."""
        read = self._vocabulary.read_question(words)
        found = [*read, *(each for each in self._search_words(words, limit) if each not in read)]
        return found[:limit]

    def _search_words(self, words: str, limit: int) -> list[Statistic]:
        tokens = [f'"{token}"' for token in split_tokens(words) if token not in _NOT_SEARCHED]
        if not tokens:
            return []
        # The first query that finds anything counts: all words in names, then all words in names or descriptions (the
        # plainest statistic first), then any of the words (the best match first).
        every = " ".join(tokens)
        for query, order in ((f"exact : ({every})", "rowid"), (every, "rowid"), (" OR ".join(tokens), "rank")):
            found = self._database.execute(
                f"SELECT rowid FROM statistic WHERE statistic MATCH ? ORDER BY {order} LIMIT ?", (query, limit)
            ).fetchall()
            if found:
                break
        return [self._statistics[number - 1] for (number,) in found]

    def _describe(self, statistic: Statistic) -> tuple[str, str]:
        """Return the names of a statistic, and the words that describe it."""
        table = self._vocabulary.tables[statistic.table]
        names = " ; ".join(self._vocabulary.list_names(statistic))
        return names, f"{table.title} {table.description} {table.get_measure(statistic.measure).description}"


_SHARE = "{value} of {who} in {area} {did} in {cohort}"
_ANY = "{area}, {categories}, {cohort}: {value}"


def word_statistic(statistic: Statistic) -> dict[str, str]:
    """Return the sentence that states a figure of a statistic (`said`), and words for it.

    They are the children (`who`), such as `girls (First language: English)`, what they did (`did`), and all
    `categories`.
    """
    stated = _STATED["measures"].get(statistic.measure, {"said": _ANY})
    words = {
        label: f"{label}: {category}" if label in _WITH_LABEL else category
        for label, category in sorted(statistic.signature)
    }
    measured = [label for label in words if label in stated.get("what", ())]
    noun = _STATED["nouns"].get(words.get("Sex"), "children")
    groups = [label for label in words if label not in measured and (label != "Sex" or noun == "children")]
    of = dict(statistic.signature)
    described = {label: _STATED["children"].get(f"{label}: {of[label]}") for label in groups}
    noun = " ".join((noun, *filter(None, described.values())))
    groups = [words[label] for label in groups if not described[label]]
    named = {"what": ", ".join(words[label] for label in measured) or statistic.categories}
    named |= {"categories": statistic.categories or "all children"}
    who = stated.get("who", "{who}").format(who=f"{noun} ({', '.join(groups)})" if groups else noun)
    did = stated.get("opposite" if statistic.opposite else "did", statistic.measure)
    own = [_STATED["groups"].get(": ".join(each)) for each in statistic.signature if each[0] in measured]
    if statistic.measure == "children_percent" and not statistic.opposite and len(own) == 1 and own[0]:
        did = own[0]
    return {
        "said": stated.get("said", _SHARE),
        "who": who,
        "did": did.format(**named),
        "categories": named["categories"],
    }


def _split_key(key: str) -> Category:
    """Return the label and the category of a key such as `Sex: Female`."""
    label, _, category = key.partition(": ")
    return label, category


def _build_signature(table: Table, levels: Iterable[str]) -> Signature:
    """Return the categories of a row that are not totals; a breakdown has the label of its topic."""
    by_name = dict(zip((each.name for each in table.filters), levels, strict=True))
    topic = by_name.get(TOPIC_FILTER.name, EVERYONE)
    labels = {each.name: topic if each.name == BREAKDOWN_FILTER.name else each.label for each in table.filters}
    return frozenset(
        (labels[name], level) for name, level in by_name.items() if level != EVERYONE and name != TOPIC_FILTER.name
    )


def _find_comparison(measures: Collection[str], groups: Iterable[Collection[Category]]) -> list[list[Category]]:
    """Return the groups; a published difference between two of them replaces both."""
    listed = [list(group) for group in groups]
    keys = {": ".join(group[0]) for group in listed}
    for each in list_comparisons() if "gld_difference_points" in measures else ():
        if {each.first, each.second} <= keys:
            listed = [group for group in listed if ": ".join(group[0]) not in (each.first, each.second)]
            return [*listed, [(_COMPARISON, each.comparison)]]
    return listed


def _complete_signature(signature: Signature, measures: Collection[str]) -> Signature | None:
    """Return the categories and those that they imply, or None if two of them belong to one filter."""
    labels = {label for label, _ in signature}
    if len(labels) < len(signature):
        return None
    for label, implied in _STATED["implied"].items():
        other, category = _split_key(implied)
        if label in labels and other not in labels and "children_count" not in measures:
            signature |= {(other, category)}
    return signature


def _format_signature(signature: Signature) -> str:
    return ", ".join(f"{label}: {category}" for label, category in sorted(signature)) or "all children"
