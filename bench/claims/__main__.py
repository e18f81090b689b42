"""Examines `readiness check-claim` and the answers on a release: `python -m bench.claims RELEASE_DIRECTORY`.

    python -m bench.claims RELEASE_DIRECTORY [--seed N] [--only KIND] [--sample N | --questions N]

Sentences and structured claims are made from the newest release's tables and judged; the table counts the verdicts by
kind, and every miss follows. --sample prints sentences with the verdicts that they should get, without judging.
--questions asks so many questions through the answers' own functions, and compares their figures.
"""

import argparse
import random
from pathlib import Path

from bench.claims.judging import judge_claims, judge_questions
from bench.claims.making import Maker


def main() -> None:
    """Run the examiner."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds that begin so")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--questions", type=int, default=0)
    options = parser.parse_args()
    releases = sorted(
        path.parent for path in options.directory.glob("*/gld_headline.parquet") if path.parent.name[0].isdigit()
    )
    maker = Maker(releases[-1], options.seed)
    claims = [each for each in maker.make_all() if each.kind.startswith(options.only)]
    if options.sample:
        for claim in random.Random(options.seed).sample(claims, min(options.sample, len(claims))):
            print(f"{claim.expected:14} | {claim.kind} | {claim.text}")
    elif options.questions:
        judge_questions(options.directory, maker, options.questions)
    else:
        judge_claims(options.directory, claims)


if __name__ == "__main__":
    main()
