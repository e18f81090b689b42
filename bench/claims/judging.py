"""Puts claims and questions to the product's own functions and counts what came of them."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.claims.making import CANNOT, SUPPORTED, UNSUPPORTED, Claim, Maker
from ndl_export.answers.published import open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.vocabulary import NotPublished

_MISSES = ("right rejected", "unsupported passed", "unanswerable answered", "wrong figure")
_OTHER = "refused otherwise"
_WORST = (SUPPORTED, CANNOT, UNSUPPORTED)


def judge_claims(directory: Path, claims: list[Claim]) -> None:
    """Print a table of verdicts by kind, and every miss."""
    product = import_module("ndl_export.answers.claims")
    counted: dict[str, Counter[str]] = {}
    missed: list[str] = []
    with open_published(str(directory)) as published:
        questions = Questions(published)
        for claim in claims:
            _judge(claim, claim.kind, partial(product.check_sentence, questions, claim.text), counted, missed)
            if claim.mapping:
                kind = f"structured: {claim.kind}"
                _judge(claim, kind, partial(product.check_claim, questions, claim.mapping), counted, missed)
    _print_table(counted)
    print("\n" + "\n".join(missed))


def _judge(
    claim: Claim, kind: str, check: Callable[[], Any], counted: dict[str, Counter[str]], missed: list[str]
) -> None:
    try:
        verdict, figures = _read_verdict(check())
    except Exception as error:  # an error is a miss too, and the others are still judged
        verdict, figures = f"{type(error).__name__}: {error}", []
    results = [_name_result(claim.expected, verdict)]
    if claim.figures and verdict in (SUPPORTED, UNSUPPORTED) and not _hold_figures(figures, claim):
        results.append("wrong figure")
    counts = counted.setdefault(kind, Counter())
    counts.update(["claims", *results])
    said = claim.text if not kind.startswith("structured") else claim.mapping
    missed += [f"{each}: [{kind}] {said}\n    expected {claim.expected}, found {verdict}" for each in results if each]


def _read_verdict(found: Any) -> tuple[str, list[dict[str, Any]]]:
    """Return the verdict on a whole sentence, which is as good as its worst part, and its figures."""
    parts = found if isinstance(found, list | tuple) else [found]
    figures = [figure for part in parts for figure in part.to_dict().get("figures", [])]
    verdicts = [str(part.verdict) for part in parts]
    return max(verdicts, key=_WORST.index) if verdicts else CANNOT, figures


def _hold_figures(figures: list[dict[str, Any]], claim: Claim) -> bool:
    found = {
        (each["area_name"], round(turned, 1))
        for each in figures
        if each["value"] is not None
        for turned in (each["value"], 100 - each["value"])
    }
    return all((area, round(value, 1)) in found for area, value in claim.figures)


def _name_result(expected: str, verdict: str) -> str:
    if verdict == expected:
        return ""
    if expected == SUPPORTED:
        return "right rejected"
    if verdict == SUPPORTED:
        return "unsupported passed" if expected == UNSUPPORTED else "unanswerable answered"
    return _OTHER


def _print_table(counted: dict[str, Counter[str]]) -> None:
    heads = ("claims", *_MISSES, _OTHER)
    counted["all"] = sum(counted.values(), Counter())
    print(f"| kind | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for kind, counts in counted.items():
        print(f"| {kind} | {' | '.join(str(counts[head]) for head in heads)} |")


def judge_questions(directory: Path, maker: Maker, number: int) -> None:
    """Ask questions as a tool's client does, by words for measure, groups and area, and print those answered wrong."""
    wrong = refused = 0
    with open_published(str(directory)) as published:
        questions = Questions(published)
        asked = list(maker.make_questions(number))
        for text, words, expected in asked:
            try:
                subject = questions.read_subject(words["measure"], words["area"], words["group"], words["cohort"])
                found: Any = questions.get_figure(subject)["value"]
            except NotPublished as error:
                found = str(error)
            is_refused = isinstance(found, str)
            refused, wrong = refused + is_refused, wrong + (not is_refused and found != expected)
            if found != expected:
                print(f"{text}\n    {words}\n    expected {expected}, found {found}")
    print(f"{len(asked)} questions: {wrong} wrong figures, {refused} refused")
