"""Sentences about an area that may be quoted: claims that the judge supports, in the words of its verdicts.

Each is a claim in parts, so anybody can have it judged again. What the figures cannot say is listed in words too.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ndl_export.answers.claims import SUPPORTED, check_claim
from ndl_export.answers.questions import Questions, Subject
from ndl_export.answers.sentences import count_decimals
from ndl_export.answers.vocabulary import TOGETHER, NoSuchFigure, Statistic
from ndl_export.facts import description
from ndl_export.facts.release_facts import PublishedRelease
from ndl_export.pages.number_format import join_parts
from ndl_export.site.inference import Difference
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY

_VALUES: tuple[tuple[str | None, str | None], ...] = (
    ("ready for school", None),
    ("number of children ready for school", None),
    ("ready for school", "FSM"),
    ("ready for school", "not FSM"),
    (None, "seen by both"),
    (None, "seen by neither"),
)
"""Measure and group of every figure that is quoted."""
_GROUPS = (("FSM", "not FSM"), ("girls", "boys"))
"""Groups that are compared."""
_COMPARED = tuple(("ready for school", group) for pair in _GROUPS for group in pair)
_READY = {"measure": "ready for school"}
_HIGHER = {"ahead": "higher", "behind": "lower"}


@dataclass(frozen=True)
class QuotableSentence:
    """A sentence that may be quoted, with its interval; `claim` are its parts, and `figures` what it rests on."""

    sentence: str
    claim: dict[str, Any]
    figures: list[dict[str, Any]]


@dataclass(frozen=True)
class Quotes:
    """What may be said about an area in its newest cohort, and what the figures cannot say."""

    area_code: str
    area_name: str
    release: PublishedRelease
    said: list[QuotableSentence]
    unsaid: list[str]

    @property
    def facts(self) -> dict[str, Any]:
        """What the file of a bundle's sentences says about the area."""
        own = {name: getattr(self, name) for name in ("area_code", "area_name", "unsaid", "source", "proof")}
        return own | {"said": [asdict(quote) for quote in self.said]}

    @property
    def proof(self) -> str:
        """Address of the document that proves the figures."""
        return f"{self.release.address.rpartition('/')[0]}/{description.API_FOLDER}/proofs/{self.area_code}.json"

    @property
    def source(self) -> str:
        """What is quoted with each sentence: where it is from, its proof, and the notice of the release if any."""
        return join_parts(f"Source: {self.release.citation}. Proof: {self.proof}", self.release.notice)


def list_all_quotes(questions: Questions) -> dict[str, Quotes]:
    """Return the sentences about each area that a current release has figures for."""
    if questions.published.current:
        questions.load_figures(_iter_statistics(questions))
    found = {code: list_quotes(questions, code) for code in questions.areas}
    return {code: each for code, each in found.items() if each}


def _iter_statistics(questions: Questions) -> Iterator[Statistic]:
    for measure, group in (*_VALUES, *_COMPARED):
        # a release whose noise leaves a group no figure does not have its statistic
        with suppress(NoSuchFigure):
            yield questions.read_subject(measure, TOGETHER, [group] if group else ()).statistic


def list_quotes(questions: Questions, area_code: str) -> Quotes | None:
    """Return the sentences about an area, or None if no current release has figures for it."""
    quoted = _Quoted(questions, area_code)
    try:
        release = questions.published.bundles[questions.published.current[quoted.cohort]]
        found = [*quoted.iter_candidates()]
    except NoSuchFigure:
        return None
    said = [each for each in found if isinstance(each, QuotableSentence)]
    unsaid = [each for each in found if isinstance(each, str)]
    return Quotes(area_code, quoted.area, release, said, list(dict.fromkeys(unsaid)))


@dataclass(frozen=True)
class _Quoted:
    """An area whose sentences are made."""

    questions: Questions
    area_code: str

    @cached_property
    def area(self) -> str:
        """Its name in a claim."""
        is_together = self.area_code == self.questions.read_area(TOGETHER)
        return TOGETHER if is_together else self.questions.get_area_name(self.area_code)

    @cached_property
    def cohort(self) -> str:
        """The newest cohort that the area has a figure for. Raises `NoSuchFigure` if it has a row in none."""
        statistic = self.questions.read_subject("ready for school", self.area).statistic
        found = [
            figure["time_period"]
            for figure in self.questions.list_series(statistic, self.area_code)
            if figure["value"] is not None or figure["time_period"] == min(self.questions.published.current)
        ]
        if not found:
            raise NoSuchFigure(f"No current release has figures for {self.area}.")
        return max(found)

    @property
    def _about(self) -> dict[str, Any]:
        return {"area": self.area, "cohort": Cohort(self.cohort).label}

    def iter_candidates(self) -> Iterator[QuotableSentence | str]:
        """Yield every sentence, and what cannot be said in words."""
        for measure, group in _VALUES:
            yield from self._quote_value(measure, group)
        for one, other in _GROUPS:
            # whichever of the two is not published is named by `_quote_value`
            with suppress(NoSuchFigure):
                yield from self._compare(one, self._read("ready for school", other), {"group": other})
        everyone = self._read("ready for school")
        if self.area != TOGETHER:
            together = Subject(everyone.statistic, self.questions.read_area(TOGETHER), self.cohort)
            yield from self._compare(None, together, {"area": TOGETHER})
        earlier = [each for each in self.questions.published.current if each < self.cohort]
        if earlier:
            before = Subject(everyone.statistic, self.area_code, earlier[-1])
            yield from self._compare(None, before, {"cohort": Cohort(earlier[-1]).label})
        yield from self._quote_rank(everyone)
        yield from self._quote_target(everyone)
        if not self.questions.published.bundles[self.questions.published.current[self.cohort]].notice:
            yield from self._compare_with_england(everyone)

    def _read(self, measure: str | None, *groups: str) -> Subject:
        return self.questions.read_subject(measure, self.area, groups, self.cohort)

    def _judge(self, parts: dict[str, Any], further: str = "") -> QuotableSentence | str:
        """Return the quotation of a claim, or why it cannot be said."""
        judgement = check_claim(self.questions, self._about | parts)
        if judgement.verdict != SUPPORTED:
            return f"Not to be said: “{judgement.judged}” {judgement.reason}"
        return QuotableSentence(
            " ".join(filter(None, (judgement.judged, further))), self._about | parts, judgement.figures
        )

    def _quote_value(self, measure: str | None, group: str | None) -> Iterator[QuotableSentence | str]:
        try:
            subject = self._read(measure, *filter(None, [group]))
            answer = self.questions.answer_figure(subject)
        except NoSuchFigure as error:
            yield str(error)
            return
        [figure] = answer.figures
        if figure["value"] is None or figure["lower"] is None:
            yield answer.sentence
            return
        places = count_decimals(figure)
        decimals = 0 if figure["unit"] == "children" else places
        parts = {"measure": measure or subject.statistic.measure, "group": [group] if group else []}
        quoted = {"value": figure["value"], "decimals": decimals, "unit": figure["unit"]}
        interval = [round(figure[end], places) for end in ("lower", "upper")]
        judged = self._judge(parts | quoted | {"interval": interval})
        # The answer's own sentence has the flag as well.
        yield (
            QuotableSentence(answer.sentence, judged.claim, judged.figures)
            if isinstance(judged, QuotableSentence)
            else judged
        )

    def _compare(self, group: str | None, other: Subject, than: dict[str, Any]) -> Iterator[QuotableSentence | str]:
        groups = [group] if group else []
        one = self._read("ready for school", *groups)
        try:
            answer = self.questions.answer_comparison(one, other)
        except NoSuchFigure as error:
            yield str(error)
            return
        if any(each["value"] is None for each in answer.figures):
            # That a figure is withheld is said already.
            return
        if not isinstance(answer.difference, Difference):
            yield answer.difference
        elif not answer.difference.is_certain:
            yield answer.may_conclude[0]
        else:
            comparison = _HIGHER[answer.difference.verdict]
            size = {"points": abs(answer.points or 0), "decimals": count_decimals(*answer.figures)}
            parts = _READY | {"group": groups, "comparison": comparison, "than": than} | size
            yield self._judge(parts, answer.may_conclude[0])

    def _quote_rank(self, subject: Subject) -> Iterator[QuotableSentence | str]:
        ranks = self.questions.rank_areas(subject.statistic, subject.cohort)
        row = next((each for each in ranks if each["area_code"] == self.area_code), None)
        if row is None or len(ranks) < 2:
            return
        best, worst = row["best_rank"], row["worst_rank"]
        if best < worst:
            yield f"{self.area} could be in any place from {best} to {worst} of {len(ranks)}: too close to call."
            return
        claim = {"comparison": "lowest"} if best == len(ranks) else {"comparison": "highest", "rank": best}
        yield self._judge(_READY | claim, self.questions.answer_figure(subject).sentence)

    def _quote_target(self, subject: Subject) -> Iterator[QuotableSentence | str]:
        rows = [row for row in self.questions.find_target(subject) if row["verdict"] != "no figure"]
        answer = self.questions.answer_figure(subject)
        further = " ".join((*self.questions.describe_targets(rows), answer.sentence))
        verdicts = {row["verdict"] for row in rows}
        if len(verdicts) == 1 and verdicts <= {"met", "not met"}:
            yield self._judge(_READY | {"target": rows[0]["verdict"]}, further)
        elif rows:
            yield further

    def _compare_with_england(self, subject: Subject) -> Iterator[QuotableSentence | str]:
        try:
            answer = self.questions.answer_beside_england(subject)
        except NoSuchFigure:
            return
        if isinstance(answer.difference, Difference) and answer.difference.is_certain:
            parts = _READY | {"comparison": _HIGHER[answer.difference.verdict], "than": {"area": COUNTRY[1]}}
            yield self._judge(parts, answer.may_conclude[0])
        else:
            yield answer.may_conclude[0]
