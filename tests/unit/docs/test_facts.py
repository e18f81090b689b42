"""A number that several documents state has one source, and every document that states it says the same.

Sources are the code and its settings, `privacy/release/measured.yaml` for what was measured, and pages that a benchmark
writes. Each fact is found by its wording, whatever the number in it, so a second value fails wherever it is written.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from scipy.stats import norm

from ndl_export.tables import TABLES, geography
from privacy.release import mechanism, policy, statement
from privacy.returns.agreement import NewChildren
from privacy.returns.facts import LEAST_ABSENT_SHARE, SURE_PROBABILITY
from sources.contracts.extract_rules import HOLD_ABOVE, HOLD_BELOW
from sources.reference.code_lists import DOMAINS, GOALS
from sources.reference.places import PILOT, load_places
from tests.support import PROJECT

POLICY = policy.load_policy(PROJECT / "privacy" / "policy.yaml")
CHILD, RESPONSE = POLICY.accounts["child"], POLICY.accounts["response"]
SPENT, SPENT_BY_RESPONSES = (sum(account.split.values()) for account in (CHILD, RESPONSE))
QUESTIONS = statement.compute_inference(SPENT)["questions"]
KEPT: Mapping[str, int] = yaml.safe_load((PROJECT / "privacy/retention.yaml").read_text(encoding="utf-8"))
MEASURED: Mapping[str, Any] = yaml.safe_load((PROJECT / "privacy/release/measured.yaml").read_text(encoding="utf-8"))
ONE_RECORD, ONE_COUNCIL = MEASURED["one_record"], MEASURED["one_council"]
PYTHONS = re.findall(r"3\.\d+", tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"])
OLDEST_CLIENT = (PROJECT / "tests/support/export/standard_validators/duckdb-oldest.txt").read_text()
OLDEST_DUCKDB = re.findall(r"duckdb==(\d+\.\d+)", OLDEST_CLIENT)[0]
WORDS = "none one two three four five six seven eight nine ten eleven twelve".split()
"""Numbers as documents write the small ones."""
N = r"(\d[\d,]*(?:\.\d+)?|(?:" + "|".join(WORDS[1:]) + r")\b)"
OF_OTHER_POLICIES = {"docs/accuracy.md", "docs/privacy-derivation.md", "docs/tables-on-request.md"}
"""Pages with budgets that are not the policy's: compared, an example, and asked for. Each has a test of its own."""


class Fact(NamedTuple):
    """A number, by the sentences that state it: where `pattern` is found, each `N` in it is one of `values`.

    `least` is how many documents state it, so that a pattern which finds nothing any more is noticed.
    """

    name: str
    pattern: str
    values: set[float]
    least: int = 1
    not_in: frozenset[str] | set[str] = frozenset()


RHOS = {
    *(value for account in (CHILD, RESPONSE) for value in (account.cap_rho, *account.split.values())),
    *(each["rho"] for each in QUESTIONS),
    *(SPENT + SPENT_BY_RESPONSES, CHILD.cap_rho + RESPONSE.cap_rho, CHILD.cap_rho - SPENT),
    *(RESPONSE.cap_rho - SPENT_BY_RESPONSES, ONE_RECORD["rho_at_most"]),
}
EPSILONS = {float(f"{mechanism.compute_epsilon(rho, POLICY.delta):.2f}") for rho in RHOS}
GUESSES = {50, *(each["guessed_in_100"] for each in QUESTIONS)}
FACTS = (
    Fact("rho", rf"\brho (?:of |= ?|at most |of at most )?{N}(?!\.?\d| allows)", RHOS, 2, OF_OTHER_POLICIES),
    Fact("rho by unit", rf"\| a (?:child|response of a parent) \| {N} \| {N}:? ", RHOS),
    Fact("rho of a question", rf"\| (?:whether|in which) [^|]*\| {N} \| \d+ of 100", RHOS),
    Fact("rho for a person", rf"the sum: rho {N} \(epsilon [\d.]+\) for one release, and {N} ", RHOS),
    Fact("epsilon", rf"\bepsilon (?:of |= ?|is )?{N}", EPSILONS, 1, OF_OTHER_POLICIES),
    Fact("epsilon, compared", rf"\| {POLICY.split['pupil']:g} \({N}\) \|", EPSILONS),
    Fact("delta", r"\bdelta (?:of |= ?|is )?(1(?:\.0)?e-\d+)", {POLICY.delta}),
    Fact("best guess", rf"\bright in {N} (?:of|in) 100", GUESSES, 2),
    Fact("one record: records", rf"Of (?:the )?{N} records (?:chosen|,)", {ONE_RECORD["records"]}),
    Fact(
        "one record: no other row", rf"{N}% changed no (?:other )?row", {ONE_RECORD["changed_no_other_row_percent"]}, 2
    ),
    Fact("one record: one row", rf"{N}% (?:changed )?at most one", {ONE_RECORD["changed_at_most_one_percent"]}, 2),
    Fact("one record: most rows", rf"none more than {N}", {ONE_RECORD["most_rows_changed"]}, 2),
    Fact("one record: rho", rf"cost a rho of at most {N}", {ONE_RECORD["rho_at_most"]}, 2),
    Fact("flag u", rf"of its interval within 0 to 100 is above {N} points", {POLICY.reliability.unreliable_half_width}),
    Fact("usable", rf"at most {N} points wide either way", {POLICY.reliability.unreliable_half_width}),
    Fact("withheld", rf"[Rr]ates are withheld above {N} points", {POLICY.reliability.withheld_half_width}),
    Fact("denominator", rf"below {N} standard errors", {POLICY.reliability.denominator_standard_errors}),
    Fact("regions", rf"[Mm]ore than {N} councils|[Mm]ore than {N} take part", {geography.REGIONS_ABOVE}, 4),
    Fact("pilot councils", rf"\b{N} pilot councils", {len(PILOT)}, 3),
    Fact("authorities", rf"\b{N} authorities|England, {N} councils|England \({N} councils", {len(load_places())}, 2),
    Fact("goals", rf"\b{N} early learning goals", {len(GOALS)}, 2),
    Fact("domains", rf"\b{N} domains", {len(DOMAINS)}),
    Fact("tables", rf"of the {N} tables", {len(TABLES)}, not_in={"docs/privacy-derivation.md"}),
    Fact("cohort kept", rf"{N} months after its academic year", {KEPT["cohort_months"]}),
    Fact("landing kept", rf"landing files for {N} days", {KEPT["landing_days"]}),
    Fact("unpublished kept", rf"{N} months after Reception|school year, {N} if", {KEPT["unpublished_months"]}, 2),
    Fact("quarantine kept", rf"quarantine for {N} days", {KEPT["quarantine_days"]}),
    Fact("superseded kept", rf"superseded deliveries for {N} days", {KEPT["superseded_days"]}),
    Fact("Dagster kept", rf"Dagster's storage for {N} days", {KEPT["dagster_days"]}),
    Fact("backups kept", rf"backups for {N} days|retention policy\]\([^)]*\), {N} days", {KEPT["backup_days"]}, 2),
    Fact("new rows", rf"disclosed after {N} days|first {N} days", {NewChildren().after_days}, 2),
    Fact("new rows, weeks", rf"disclosed after {N} weeks|unchanged, for {N} weeks", {NewChildren().after_days / 7}, 2),
    Fact("told if sure", rf"links? of {N}(?: \(\[| and above)", {SURE_PROBABILITY}, 2),
    Fact("absence told", rf"if (?:at least )?{N}% of (?:the|their) rows", {100 * LEAST_ABSENT_SHARE}, 2),
    Fact(
        "dates found by a council",
        rf"other councils' Profile children \(?{N}%|{N}% of the other councils' Profile children",
        {ONE_COUNCIL["exact_dates_percent"], round(ONE_COUNCIL["exact_dates_percent"])},
        2,
    ),
    Fact("held below", rf"fewer than {N}% or more than", {100 * HOLD_BELOW}),
    Fact("held above", rf"or more than {N}% of the", {100 * HOLD_ABOVE}),
    Fact("oldest Python", rf"Python {N} (?:to 3|or newer)", {float(PYTHONS[0])}, 2),
    Fact("newest Python", r"Python 3\.\d+ to (3\.\d+)", {float(PYTHONS[1]) - 0.01}, 2),
    Fact("oldest DuckDB", rf"DuckDB {N} (?:or newer|and later|and newer|on\b)", {float(OLDEST_DUCKDB)}, 3),
)


@cache
def documents() -> dict[str, str]:
    """Every document, template and file of sentences, by its path, as running text."""
    folders = ("assets", "docs", "ndl_export", "privacy")
    found = chain(
        PROJECT.glob("*.md"),
        *((PROJECT / folder).rglob(kind) for folder in folders for kind in ("*.md", "*.j2", "*.yaml", "*.html")),
    )
    texts = {str(path.relative_to(PROJECT)): _running(path) for path in found if path.name != "CHANGELOG.md"}
    sentences = statement.read_sentences()
    return texts | {"the privacy statement": " ".join([*sentences["outside_the_guarantee"], sentences["charges"]])}


def _running(path: Path) -> str:
    """Text without line ends, marks of comments and of emphasis."""
    text = re.sub(r"\n\s*#\s|\*\*", " ", path.read_text(encoding="utf-8"))
    return " ".join(text.split())


def _number(written: str) -> float:
    return float(WORDS.index(written)) if written in WORDS else float(written.replace(",", ""))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_every_document_states_one_value(fact: Fact) -> None:
    stated = {
        (path, _number(each))
        for path, text in documents().items()
        for match in (re.finditer(fact.pattern, text) if path not in fact.not_in else ())
        for each in match.groups()
        if each
    }
    wrong = [each for each in stated if not any(each[1] == pytest.approx(value, rel=1e-6) for value in fact.values)]
    assert wrong == [], f"{fact.name} is {fact.values}"
    assert len({path for path, _ in stated}) >= fact.least


def test_the_page_on_linkage_has_the_table_of_the_same_run() -> None:
    row = re.search(r"\| all \| (\d+) \|((?: \d+ \|)+) ([\d.]+) \|", documents()["docs/linkage.md"])
    rows = [int(each) for each in re.findall(r"\d+", row[2])]
    assert (int(row[1]), float(row[3])) == (ONE_RECORD["records"], ONE_RECORD["rho_at_most"])
    assert sum(rows) == ONE_RECORD["records"]
    assert round(100 * rows[0] / sum(rows)) == ONE_RECORD["changed_no_other_row_percent"]
    assert round(100 * sum(rows[:2]) / sum(rows)) == ONE_RECORD["changed_at_most_one_percent"]
    assert max(changed for changed, records in enumerate(rows) if records) == ONE_RECORD["most_rows_changed"]


def test_what_parents_are_told_of_the_worst_case() -> None:
    """A category of a child who is known to be counted is one row replaced by another: twice the rho."""
    words, page = documents()["docs/what-is-protected.md"], documents()["docs/privacy.md"]
    for each in QUESTIONS:
        assert each["guessed_in_100"] == np.ceil(100 * norm.cdf(np.sqrt(2 * each["rho"]) / 2))
    presence, category = (each["guessed_in_100"] for each in QUESTIONS[:2])
    assert re.search(rf"one release publishes they could be right in {presence} of 100", words)
    assert re.search(rf"There they could be right in {category} of 100", words)
    for each in QUESTIONS:
        assert f"| {each['rho']:g} | {each['guessed_in_100']} of 100 | {each['found_in_100']} of 100 |" in page
