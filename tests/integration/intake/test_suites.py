"""The suites of Great Expectations as files: current, loadable by it, and of every rule that they can judge."""

from __future__ import annotations

import json

import pytest

from assets.intake import quality
from sources.contracts import CONTRACTS, Role, Severity
from sources.contracts.extract_rules import extract_rules, select_payload_rules
from tests.support.intake.desk import COHORT, Desk, eyfsp

UPDATE = "python -m assets.intake.quality writes them"


@pytest.mark.slow
def test_the_files_are_those_of_the_contracts() -> None:
    held = {path.name: path.read_text(encoding="utf-8") for path in quality.SUITES.glob("*.json")}
    assert held == quality.build_suite_files(), UPDATE


@pytest.mark.parametrize("source", CONTRACTS)
def test_great_expectations_loads_them_and_every_rule_is_there(source: str) -> None:
    (gx, _, _), rules = quality._load_great_expectations(), set[str]()
    for part in ("rows", "extract"):
        content = json.loads((quality.SUITES / f"{source}.{part}.json").read_text(encoding="utf-8"))
        suite = gx.ExpectationSuite(**content)
        rules |= {expectation.meta["rule"] for expectation in suite.expectations}
    contract = CONTRACTS[source]
    wanted = {rule.id for rule in (*extract_rules(contract), *select_payload_rules(contract))}
    for column in contract.with_role(Role.PAYLOAD):
        wanted |= {f"{column.name}-codes"} if column.codes else set()
        wanted |= {f"{column.name}-filled"} if column.blank is Severity.REJECT else set()
    assert wanted <= rules


def test_results_lie_beside_the_report_without_a_value(desk: Desk) -> None:
    desk.land(eyfsp(*({"urn": str(100_000 + index)} for index in range(30))))
    desk.take()
    said = (desk.home.cohort(COHORT).reports("leeds") / "eyfsp.expectations.json").read_text(encoding="utf-8")
    found = json.loads(said)
    failed = [entry["rule"] for entry in found["results"] if not entry["passed"]]
    assert failed == ["rows-far-from-expected"]
    assert not found["success"]
    assert "Thornton" not in said
    assert "unexpected_list" not in said


def test_a_rule_across_columns_is_judged_on_what_was_kept(desk: Desk) -> None:
    from tests.support.intake.desk import reviews

    desk.land(reviews({"asq3_months": ""}, {"asq3_months": ""}, {}), "hv_reviews")
    quality_of = desk.take("hv_reviews")
    (finding,) = [each for each in quality_of.findings if each.rule == "asq3-score-without-age"]
    assert (finding.passed, finding.severity, finding.unexpected_rows) == (False, "warning", 2)
