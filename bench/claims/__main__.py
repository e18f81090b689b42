"""Examines `readiness check-claim` and the answers on a release: `python -m bench.claims RELEASE_DIRECTORY`.

    python -m bench.claims RELEASE_DIRECTORY [--seed N] [--questions N]

Claims are made from the newest release's tables and judged; the table counts the verdicts by kind, and every miss
follows. --questions asks so many questions through the answers' own functions, and compares their
figures.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from bench.claims.making import CANNOT, SUPPORTED, UNSUPPORTED, Claim, Maker
from ndl_export.answers.claims import check_claim
from ndl_export.answers.published import open_published
from ndl_export.answers.questions import Questions
from ndl_export.answers.vocabulary import NoSuchFigure

_HEADS = (
    "claims",
    "right rejected",
    "unsupported passed",
    "unanswerable answered",
    "wrong figure",
    "refused otherwise",
)
_EITHER = ("inside noise", "rank", "England")
"""Kinds that are as well refused with one verdict as with the other."""


def main() -> None:
    """Run the examiner."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--questions", type=int, default=0)
    options = parser.parse_args()
    newest = max(path.parent for path in options.directory.glob("[0-9]*/gld_headline.parquet"))
    maker = Maker(newest, options.seed)
    if options.questions:
        judge_questions(options.directory, maker, options.questions)
    else:
        judge_claims(options.directory, maker.make_all())


def judge_claims(directory: Path, claims: list[Claim]) -> None:
    """Print a table of verdicts by kind, and every miss."""
    counted: dict[str, Counter[str]] = {}
    missed: list[str] = []
    with open_published(str(directory)) as published:
        questions = Questions(published)
        for claim in claims:
            verdict, results = _judge(questions, claim)
            counted.setdefault(claim.kind, Counter()).update(["claims", *results])
            missed += [
                f"{it}: [{claim.kind}] {claim.parts}\n    expected {claim.expected}, found {verdict}" for it in results
            ]
    print(f"| kind | {' | '.join(_HEADS)} |\n|---|{'---|' * len(_HEADS)}")
    for kind, counts in (*counted.items(), ("all", sum(counted.values(), Counter()))):
        print(f"| {kind} | {' | '.join(str(counts[head]) for head in _HEADS)} |")
    print("\n" + "\n".join(missed))


def _judge(questions: Questions, claim: Claim) -> tuple[str, list[str]]:
    """Return the verdict on a claim, and what is wrong with it."""
    try:
        found = check_claim(questions, claim.parts)
        verdict, figures = found.verdict, found.figures
    except Exception as error:  # an error is a miss too, and the others are still judged
        verdict, figures = f"{type(error).__name__}: {error}", []
    is_refused = verdict in (CANNOT, UNSUPPORTED) and claim.expected != SUPPORTED
    is_right = verdict == claim.expected or (is_refused and any(each in claim.kind for each in _EITHER))
    results = [] if is_right else [_name_result(claim.expected, verdict)]
    # A gap is proved by its two rates.
    is_judged = verdict in (SUPPORTED, UNSUPPORTED) and "gap" not in claim.kind
    return verdict, [*results, *(["wrong figure"] if is_judged and not _hold_figures(figures, claim) else [])]


def _name_result(expected: str, verdict: str) -> str:
    if expected == SUPPORTED:
        return "right rejected"
    passed = "unsupported passed" if expected == UNSUPPORTED else "unanswerable answered"
    return passed if verdict == SUPPORTED else "refused otherwise"


def _hold_figures(figures: list[dict[str, Any]], claim: Claim) -> bool:
    shown = [(each["area_name"], each["value"]) for each in figures if each["value"] is not None]
    found = {(area, round(turned, 1)) for area, value in shown for turned in (value, 100 - value)}
    return all((area, round(value, 1)) in found for area, value in claim.figures)


def judge_questions(directory: Path, maker: Maker, number: int) -> None:
    """Ask questions as a tool's client does, by words for measure, groups and area, and print those answered wrong."""
    counted: Counter[str] = Counter()
    with open_published(str(directory)) as published:
        questions = Questions(published)
        for words, expected in maker.make_questions(number):
            try:
                subject = questions.read_subject(words["measure"], words["area"], words["group"], words["cohort"])
                found: Any = questions.get_figure(subject)["value"]
                result = "right" if found == expected else "wrong"
            except NoSuchFigure as error:
                found, result = error, "refused"
            counted[result] += 1
            if result != "right":
                print(f"{result}: {words}\n    expected {expected}, found {found}")
    print(f"{number} questions: {dict(counted)}")


if __name__ == "__main__":
    main()
