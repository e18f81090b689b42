"""Judges a claim about published figures: supported, not supported, or cannot be said from the releases.

A value is supported if it agrees with the published figure at the stated precision, and a comparison if the macros find
the difference larger than noise and chance would explain. A verdict comes with its rule, the figures, and a sentence
that can be said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ndl_export.answers.questions import Answer, Questions, Subject, is_england
from ndl_export.answers.sentences import AS_GIVEN, Wording, count_decimals, oppose
from ndl_export.answers.vocabulary import COUNTED, TOGETHER, NoSuchFigure, Statistic
from ndl_export.pages.number_format import format_number, join_words
from ndl_export.site.inference import Difference
from ndl_export.tables.schema import Flag
from privacy.doors.shipped import read_yaml
from sources.reference.cohorts import Cohort

SUPPORTED, NOT_SUPPORTED, CANNOT_BE_SAID = "supported", "not supported", "cannot be said"
LONGEST_NAME = 200
"""Longest name or phrase of a claim, in characters."""
_CHANGES = ("rose", "fell", "unchanged")
_RELATIVE = 0.03
"""Share of a number by which a figure may differ from it if it is quoted as about, nearly or just over."""
_ANY_CLAIM = frozenset(("area", "cohort", "group", "measure", "release"))
_SIZES = frozenset(("points", "percent", "times"))
_NUMBERS = frozenset(("value", *_SIZES))
_OF_NUMBERS = frozenset(("about", "decimals"))
_OF_VALUES = frozenset(("value", "unit", "least", *_OF_NUMBERS))
_DIRECTED = frozenset(("comparison", "than", *_SIZES, *_OF_NUMBERS))
_JUDGED: dict[str, frozenset[str]] = {
    "value": _OF_VALUES | {"interval"},
    "added": _OF_VALUES | {"added"},
    "target": frozenset(("target",)),
    "rank": frozenset(("rank",)),
    **dict.fromkeys(("highest", "lowest"), frozenset(("comparison", "rank"))),
    **dict.fromkeys(("higher", "lower", "rose", "fell"), _DIRECTED),
    **dict.fromkeys(("same", "unchanged"), frozenset(("comparison", "than"))),
}
"""Parts that are judged in a claim of each kind, with those of any claim. Any other part that is given is refused."""
_ROUNDING = 1e-9
"""Error of binary fractions, so that 0.3 is three tenths."""
_REFUSED = ("child", "cause", "forecast")
"""Parts with which a claim is refused, whatever else it says."""


class InvalidClaim(ValueError):
    """A claim that does not have the form of `Claim`; the message names the field."""


class Other(BaseModel):
    """The other side of a comparison: only the area, group or cohort that differs."""

    model_config = ConfigDict(extra="forbid", str_max_length=LONGEST_NAME)
    area: str | None = Field(default=None, description="The other area, or 'England' for its official figure.")
    group: str | list[str] | None = Field(default=None, description="The other group of children.")
    cohort: str | None = Field(default=None, description="The other school year.")


class Claim(BaseModel):
    """A claim: a figure with a value, a comparison, a rank or a target."""

    model_config = ConfigDict(extra="forbid", str_max_length=LONGEST_NAME, allow_inf_nan=False)
    area: str | None = Field(default=None, description="A council, an area of several, or 'all councils'.")
    cohort: str | None = Field(
        default=None, description="School year in which Reception ended: '2024/25'; else the newest."
    )
    group: str | list[str] = Field(
        default=[], description="Groups of children, goals or answers: 'girls', 'FSM', 'writing'."
    )
    measure: str | None = Field(default=None, description="What was measured: 'ready for school', 'expected level'.")
    release: str | None = Field(default=None, description="The quoted release.")
    value: float | None = Field(
        default=None, description="The figure: 57.4; 57.40 as text has two decimals, 57% its unit."
    )
    least: float | None = Field(default=None, description="Lower end of a range up to the value.")
    decimals: int | None = Field(default=None, ge=0, le=10, description="Decimals that the value was quoted with.")
    unit: Literal["%", "points", "children", "responses", "goals"] | None = Field(
        default=None, description="Unit of the value."
    )
    about: Literal["exactly", "about", "nearly", "just over", "more than", "less than"] = Field(
        default="exactly", description="How the value or the size of the difference is quoted."
    )
    interval: tuple[float, float] | None = Field(default=None, description="The quoted 95% interval.")
    comparison: Literal["higher", "lower", "same", "highest", "lowest", "rose", "fell", "unchanged"] | None = Field(
        default=None, description="How the figure compares."
    )
    than: Other | None = Field(default=None, description="What differs on the other side of the comparison.")
    points: float | None = Field(default=None, description="Size of the difference in percentage points.")
    percent: float | None = Field(default=None, description="Size of the difference in per cent.")
    times: float | None = Field(default=None, description="Size of the difference as a multiple.")
    rank: int | None = Field(default=None, ge=1, description="Place among councils.")
    added: list[str] = Field(default=[], max_length=200, description="Areas or groups whose sum is claimed.")
    target: Literal["met", "not met"] | None = Field(default=None, description="Whether the target was met.")
    cause: str | None = Field(default=None, description="The words that say why it is so: always refused.")
    forecast: str | None = Field(default=None, description="The words about the future: always refused.")
    child: str | None = Field(default=None, description="The words about a single child: always refused.")

    @model_validator(mode="before")
    @classmethod
    def _read_value(cls, stated: Any) -> Any:
        """Take unit and decimals from a value that is text, if they are not stated: `57.40%`."""
        value = stated.get("value") if isinstance(stated, Mapping) else None
        if not isinstance(value, str) or not (found := re.fullmatch(r"([\d,]+(?:\.(\d*))?)\s*(%?)", value.strip())):
            return stated
        read = {"value": found[1].replace(",", ""), "decimals": len(found[2] or "")}
        return {**({"unit": "%"} if found[3] else {}), **read, **{k: v for k, v in stated.items() if k != "value"}}

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        """Raise ValueError for a part that would not be judged: without it, the claim would be another one."""
        given = {name for name, of in type(self).model_fields.items() if getattr(self, name) != of.default}
        if given & {*_REFUSED}:
            return self
        if unfit := given - _ANY_CLAIM - _JUDGED[self.kind]:
            raise ValueError(
                f"{', '.join(sorted(unfit))}: not part of a claim of the kind {self.kind!r}; claim it apart"
            )
        if (lost := given & (_OF_VALUES - {"value"})) and not given & _NUMBERS:
            raise ValueError(f"{', '.join(sorted(lost))}: there is no number that it could be about")
        if len(given & _SIZES) > 1 or given >= {"about", "least"}:
            raise ValueError("the number is stated in two ways; claim each apart")
        numbers = [each for each in (getattr(self, name) for name in _NUMBERS) if each is not None]
        if self.decimals is not None and any(round(each, self.decimals) != each for each in numbers):
            raise ValueError("decimals: the number has more")
        other = self.than.model_dump(exclude_none=True) if self.than else {}
        if self.comparison in _CHANGES and other.keys() - {"cohort"}:
            raise ValueError("than: a change is between cohorts")
        if is_england(other.get("area", "")) and len(other) > 1:
            raise ValueError("than: England’s official figure is of all children in the same cohort")
        return self

    @property
    def kind(self) -> str:
        """The kind of the claim, which decides what else is judged: a key of `_JUDGED`."""
        stated = "added" if self.added else "target" if self.target else self.comparison
        return stated or ("rank" if self.rank is not None else "value")

    @property
    def groups(self) -> list[str]:
        """The groups as a list."""
        return [self.group] if isinstance(self.group, str) else self.group or []


@dataclass(frozen=True)
class ClaimJudgement:
    """The verdict on a claim, the rule that decides, the figures, and what can be said instead.

    `judged` is the claim as a full sentence, as it was read.
    """

    verdict: str
    rule: str
    reason: str
    corrected: str = ""
    figures: list[dict[str, Any]] = field(default_factory=list)
    judged: str = ""


_RULES: dict[str, tuple[str, str]] = {
    rule: (verdict, reason)
    for verdict, rules in read_yaml(Path(__file__).parent / "rules.yaml").items()
    for rule, reason in rules.items()
}


def _decide(rule: str, answer: Answer | None = None, verdict: str = "", **words: object) -> ClaimJudgement:
    """Return a judgement by a rule of `rules.yaml`; what can be said is the answer's sentence."""
    usual, reason = _RULES[rule]
    evidence = (answer.sentence, answer.figures) if answer else ()
    return ClaimJudgement(verdict or usual, rule, reason.format(**words), *evidence)


def agrees(value: float, stated: float, decimals: int, about: str) -> bool:
    """Return whether a figure is a number that is stated with some decimals, exactly or as `about` says.

    A number that is not exact may be off by a share of itself, and by half of its last place at most: 0.5 for 61, and
    30 for 1,000.
    """
    if about == "exactly":
        return abs(value - stated) <= 0.5 * 10.0**-decimals + _ROUNDING
    whole = f"{abs(stated):.0f}"
    # The zeros at the end of 1,000 are not places that it is stated to.
    place = 10.0 ** (-decimals or len(whole) - len(whole.rstrip("0")))
    off = min(_RELATIVE * abs(stated), place / 2) + _ROUNDING
    below, above = {"about": (off, off), "nearly": (off, -_ROUNDING), "just over": (-_ROUNDING, off)}[about]
    return stated - below <= value <= stated + above


def check_claim(questions: Questions, claim: Mapping[str, Any] | Claim) -> ClaimJudgement:
    """Judge one claim. Raises `InvalidClaim` if it does not have the form of `Claim`."""
    try:
        stated = claim if isinstance(claim, Claim) else Claim.model_validate(claim)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise InvalidClaim(where + first["msg"].removeprefix("Value error, ")) from None
    judge = _Judge(questions, stated)
    try:
        judgement = judge.judge()
    except NoSuchFigure as error:
        judgement = ClaimJudgement(CANNOT_BE_SAID, "not published", str(error))
    return replace(judgement, judged=judge.restate())


def _count_written(number: float) -> int:
    """Return the decimals that a number needs."""
    return len(f"{number:.10f}".rstrip("0").partition(".")[2])


@dataclass(frozen=True)
class _Judge:
    """A claim with the releases that it is checked against."""

    questions: Questions
    claim: Claim

    def judge(self) -> ClaimJudgement:
        claim = self.claim
        for rule in _REFUSED:
            if wording := getattr(claim, rule):
                return _decide(rule, self._answer_anyway(), wording=wording)
        current = self.questions.published.current
        if claim.release is not None and claim.release != current.get(self.questions.read_cohort(claim.cohort)):
            return _decide("other release", release=claim.release, held=", ".join(self.questions.published.bundles))
        if claim.added:
            return self._judge_sum()
        if claim.area is None:
            return self._judge_without_area()
        if is_england(claim.area):
            return self._judge_england_value()
        no_start = claim.comparison in _CHANGES and not (claim.than and claim.than.cohort)
        if no_start and self._find_previous_cohort() is None:
            return _decide("one cohort", self._answer_anyway(), held=self._list_cohorts())
        subject = self._read_subject()
        if claim.target:
            return self._judge_target(subject)
        if claim.kind in ("rank", "highest", "lowest"):
            return self._judge_rank(subject)
        if claim.comparison:
            return self._judge_comparison(subject, claim.than or Other())
        return self._judge_value(subject)

    def _read_subject(self, **changed: Any) -> Subject:
        claim = self.claim.model_copy(update=changed)
        subject = self.questions.read_subject(claim.measure, claim.area or "", claim.groups, claim.cohort)
        if claim.unit in ("children", "responses") and claim.value is not None:
            return replace(subject, statistic=self._count(subject.statistic))
        return subject

    def _count(self, statistic: Statistic) -> Statistic:
        """Return the statistic that counts the children of a percentage."""
        counted = COUNTED.get(statistic.measure, statistic.measure)
        if counted != statistic.measure and statistic.opposite:
            raise NoSuchFigure("The number of children who did not is not published; the number who did is.")
        return replace(statistic, measure=counted)

    def _answer_anyway(self) -> Answer | None:
        if not self.claim.area or is_england(self.claim.area):
            return None
        try:
            return self.questions.answer_figure(self._read_subject())
        except NoSuchFigure:
            return None

    def _list_cohorts(self) -> str:
        return ", ".join(Cohort(each).label for each in self.questions.published.current)

    def _find_previous_cohort(self) -> str | None:
        cohorts = list(self.questions.published.current)
        at = cohorts.index(self.questions.read_cohort(self.claim.cohort))
        return cohorts[at - 1] if at else None

    def _judge_without_area(self) -> ClaimJudgement:
        try:
            subject = self._read_subject(area=TOGETHER)
        except NoSuchFigure as error:
            return _decide("no area", nearest=f" {error}")
        answer = self.questions.answer_figure(subject)
        return _decide("no area", answer, nearest="")

    # The claim as it was read

    def restate(self) -> str:
        """Return the claim as a full sentence."""
        claim, wording = self.claim, self._word()
        if claim.added:
            measure = "children_count" if claim.unit == "children" else "gld_children_percent"
            wording = self._word(measure=measure, **({} if claim.area else {"area": claim.added[0]}))
            together = f"{join_words(claim.added)} together"
            wording = replace(wording, who=together) if claim.area else replace(wording, area=together)
        sentences = []
        if claim.rank is not None or claim.comparison in ("highest", "lowest"):
            sentences.append(wording.rank(claim.rank or 1, "lowest" if claim.comparison == "lowest" else "highest"))
        elif claim.comparison:
            sentences.append(wording.compare(claim.comparison, self._word_other(), self._describe_size()))
        if claim.target:
            sentences.append(wording.judge_target(self._describe_target(), claim.target))
        if claim.value is not None or not sentences:
            ends = ""
            if claim.interval:
                decimals = max(map(_count_written, claim.interval))
                low, high = (format_number(end, decimals) for end in claim.interval)
                ends = f" (95% interval {low} to {high})"
            sentences.insert(0, wording.state(self._quote(claim.value, claim.unit or wording.unit), ends))
        words = {"The cause given": claim.cause, "The time given": claim.forecast, "The child": claim.child}
        return " ".join((*sentences, *(f"{what}: “{each}”." for what, each in words.items() if each)))

    def _word(self, **changed: Any) -> Wording:
        """Return the words of what the claim is about, as they were given if the releases do not have it."""
        claim = self.claim.model_copy(update=changed)
        is_national = claim.area is None or is_england(claim.area)
        area = "England" if claim.area else "an area that is not named"
        try:
            wording = self.questions.word(self._read_subject(**changed | ({"area": TOGETHER} if is_national else {})))
            return replace(wording, area=area) if is_national else wording
        except NoSuchFigure:
            cohort = claim.cohort or Cohort(max(self.questions.published.current, default="000001")).label
            who, did = join_words(claim.groups) or "children", f"“{claim.measure}”"
            return Wording(AS_GIVEN, who, did, "", area if is_national else str(claim.area), cohort, claim.unit or "")

    def _word_other(self) -> Wording:
        changed = (self.claim.than or Other()).model_dump(exclude_none=True)
        if self.claim.comparison in _CHANGES and "cohort" not in changed:
            before = self._find_previous_cohort()
            return replace(self._word(**changed), cohort=Cohort(before).label if before else "the cohort before")
        return self._word(**changed)

    def _quote(self, value: float | None, unit: str) -> str:
        """Return a value as it is quoted: `nearly 60%`, `between 50% and 60%`."""
        if value is None:
            return "a share" if unit == "%" else "a number"
        about = "" if self.claim.about == "exactly" else f"{self.claim.about} "
        decimals = self._count_decimals(value)
        suffix = {"%": "%", "pp": " percentage points", "points": " percentage points"}.get(unit, "")
        least = f"between {self.claim.least:g}{suffix} and " if self.claim.least is not None else about
        return f"{least}{value:,.{decimals}f}{suffix}"

    def _describe_size(self) -> str:
        claim = self.claim
        sizes = ((claim.points, "points"), (claim.percent, "%"))
        stated = [f"by {self._quote(size, unit)}" for size, unit in sizes if size is not None]
        return " and ".join([*stated, *([f"{claim.times:g} times as much"] if claim.times is not None else [])])

    def _describe_target(self) -> str:
        try:
            rows = self.questions.find_target(self._read_subject())
        except NoSuchFigure:
            return "a good level of development"
        return join_words(f"{row['target_percent']:g}% by {row['target_year']} ({row['target']})" for row in rows)

    # Values

    def _judge_value(self, subject: Subject) -> ClaimJudgement:
        claim, answer = self.claim, self.questions.answer_figure(subject)
        [figure] = answer.figures
        shown = oppose(figure) if subject.statistic.opposite else figure
        if shown["value"] is None:
            return _decide("no figure", answer, meaning=figure["flag_meaning"])
        if figure["flag"] == Flag.UNRELIABLE and claim.interval is None:
            return _decide("unreliable", answer)
        return self._judge_shown(shown, answer)

    def _judge_shown(self, shown: Mapping[str, Any], answer: Answer) -> ClaimJudgement:
        """Judge every part of a value: its unit, its interval and the number."""
        claim = self.claim
        unit = "pp" if claim.unit == "points" else claim.unit
        if unit and not shown["unit"].startswith(unit):
            return _decide("unit", answer, unit=claim.unit, right=shown["unit"])
        ends = zip((shown["lower"], shown["upper"]), sorted(claim.interval or ()), strict=False)
        last_place = 10.0 ** -count_decimals(shown)
        if any(end is None or abs(end - limit) > last_place for end, limit in ends):
            return _decide("interval", answer)
        if claim.value is None:
            return _decide("no claim")
        return self._judge_number(claim.value, shown, answer)

    def _judge_number(
        self, stated: float, shown: Mapping[str, Any], answer: Answer, rule: str = "value", slack: float = 0
    ) -> ClaimJudgement:
        """Judge a stated number by a figure and its interval; `rule` is that of a right number.

        `slack` is what the figure may be off by its own rounding.
        """
        value, about, least = shown["value"], self.claim.about, self.claim.least
        lower = value if shown["lower"] is None else shown["lower"]
        upper = value if shown["upper"] is None else shown["upper"]
        if about == "more than":
            is_inside, is_certain = value > stated, lower > stated
        elif about == "less than":
            is_inside, is_certain = value < stated, upper < stated
        elif least is not None:
            is_inside, is_certain = least <= value <= stated, least <= lower and upper <= stated
        else:
            near = (value + each for each in (0, -slack, slack))
            decimals = self._count_decimals(stated)
            is_inside, is_certain = False, any(agrees(each, stated, decimals, about) for each in near)
        return _decide(rule if is_certain else "inside noise" if is_inside else "other value", answer)

    def _count_decimals(self, stated: float) -> int:
        """Return the decimals that a number is quoted with."""
        return _count_written(stated) if self.claim.decimals is None else self.claim.decimals

    def _judge_england_value(self) -> ClaimJudgement:
        together = self._read_subject(area=TOGETHER)
        answer = self.questions.answer_figure(together)
        try:
            official = self.questions.find_beside_england(together)["england"]
        except NoSuchFigure:
            return _decide("england", answer)
        official = 100 - official if together.statistic.opposite else official
        if self.claim.value is None or self.claim.about != "exactly":
            return _decide("england", answer)
        shown = {"value": round(official, 1), "lower": None, "upper": None, "unit": "%"}
        sentence = Answer(f"England’s official figure is {official:.1f}%. {answer.sentence}", answer.figures)
        return self._judge_shown(shown, sentence)

    # Comparisons

    def _judge_comparison(self, subject: Subject, than: Other) -> ClaimJudgement:
        if self.claim.times is not None:
            return _decide("ratio", self.questions.answer_figure(subject))
        if than.area is not None and is_england(than.area):
            answer = self.questions.answer_beside_england(subject)
        else:
            answer = self.questions.answer_comparison(subject, self._read_other(subject, than))
            if any(figure["value"] is None for figure in answer.figures):
                return _decide("no figure", answer, meaning="one of the two is not shown")
            if any(figure["flag"] == Flag.UNRELIABLE for figure in answer.figures):
                return _decide("unreliable", answer)
        if isinstance(answer.difference, Difference):
            return self._judge_difference(answer.difference, answer)
        return _decide("not compared", answer, why=answer.difference)

    def _judge_difference(self, found: Difference, answer: Answer) -> ClaimJudgement:
        claim = self.claim
        wanted = {"higher": "ahead", "rose": "ahead", "lower": "behind", "fell": "behind"}.get(claim.comparison or "")
        if wanted is None:
            return _decide("same", answer, NOT_SUPPORTED if found.is_certain else CANNOT_BE_SAID)
        if not found.is_certain:
            return _decide("inside noise", answer)
        if found.verdict != wanted:
            return _decide("other way", answer)
        points = abs(answer.points or 0)
        if claim.percent is not None:
            return _decide("points", answer, points=format_number(points, count_decimals(*answer.figures)))
        if claim.points is not None:
            lower, upper = sorted((abs(found.lower), abs(found.upper)))
            shown = {"value": points, "lower": lower, "upper": upper}
            # A published difference is taken before rates are rounded, so its last place may be off by one.
            slack = 10.0 ** -count_decimals(*answer.figures)
            return self._judge_number(claim.points, shown, answer, "difference", slack)
        return _decide("difference", answer)

    def _read_other(self, subject: Subject, than: Other) -> Subject:
        changed = than.model_dump(exclude_none=True)
        if self.claim.comparison in _CHANGES:
            changed.setdefault("cohort", self._find_previous_cohort())
        other = self._read_subject(**changed)
        if self.claim.comparison in _CHANGES and other.cohort > subject.cohort:
            raise NoSuchFigure("A change is from an earlier cohort: `than` is the earlier one.")
        if other == subject:
            raise NoSuchFigure("The claim compares a figure with itself.")
        return other

    def _judge_rank(self, subject: Subject) -> ClaimJudgement:
        ranks = self.questions.rank_areas(subject.statistic, subject.cohort)
        answer = self.questions.answer_ranking(subject.statistic, subject.cohort)
        row = next((each for each in ranks if each["area_code"] == subject.area_code), None)
        if row is None:
            return _decide("no rank", answer)
        lowest = self.claim.comparison == "lowest"
        wanted = self.claim.rank or 1
        best, worst = row["best_rank"], row["worst_rank"]
        if lowest:
            best, worst = len(ranks) + 1 - worst, len(ranks) + 1 - best
        if best == worst == wanted:
            return _decide("rank", answer)
        rule = "rank not certain" if best <= wanted <= worst else "other rank"
        return _decide(rule, answer, best=row["best_rank"], worst=row["worst_rank"])

    def _judge_target(self, subject: Subject) -> ClaimJudgement:
        answer = self.questions.answer_figure(subject)
        verdicts = {row["verdict"] for row in self.questions.find_target(subject)}
        if verdicts == {self.claim.target}:
            return _decide("target", answer)
        return _decide("target", answer, NOT_SUPPORTED if verdicts <= {"met", "not met"} else CANNOT_BE_SAID)

    def _judge_sum(self) -> ClaimJudgement:
        areas = [self.claim.area] if self.claim.area else []
        added, measure = self.claim.added, self._read_added_measure()
        try:
            in_areas = [self.questions.read_area(each) for each in added]
        except NoSuchFigure:
            in_areas = []
        if not in_areas and not areas:
            return _decide("no area", nearest="")
        if (in_areas and areas) or (not in_areas and self.claim.groups):
            raise NoSuchFigure("Areas are added up for a group, or groups in an area: state only one of them besides.")
        try:
            parts = (added, self.claim.groups) if in_areas else (areas, added)
            answer = self.questions.answer_sum(*parts, self.claim.cohort)
        except NoSuchFigure as error:
            overlapping = "added up" in str(error) or "within another" in str(error)
            return ClaimJudgement(NOT_SUPPORTED if overlapping else CANNOT_BE_SAID, "sum", str(error))
        return self._judge_shown(answer.added[measure], answer)

    def _read_added_measure(self) -> str:
        """Return the measure whose sum is claimed. Raises `NoSuchFigure` if it is not one that is added up."""
        if self.claim.measure is None:
            return "children_count" if self.claim.unit == "children" else "gld_children_percent"
        found = self.questions.read_subject(self.claim.measure, TOGETHER).statistic
        if found.measure not in ("children_count", "gld_children_percent") or found.signature or found.opposite:
            raise NoSuchFigure("Only children, and their good level of development, are added up.")
        return found.measure
