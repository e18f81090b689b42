"""Great Expectations: its suites as files, with every rule that they can judge, and the process that runs them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assets.intake import deliveries, quality
from sources.contracts import CONTRACTS, Role, Severity
from sources.contracts.extract_rules import list_extract_rules, select_payload_rules
from tests.support import PROJECT, waiting
from tests.support.daily import mark_slow_after
from tests.support.intake.desk import COHORT, Desk, build_eyfsp

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
    wanted = {rule.id for rule in (*list_extract_rules(contract), *select_payload_rules(contract))}
    for column in contract.select_role(Role.PAYLOAD):
        wanted |= {f"{column.name}-codes"} if column.codes else set()
        wanted |= {f"{column.name}-filled"} if column.blank is Severity.REJECT else set()
    assert wanted <= rules


def test_results_lie_beside_the_report_without_a_value(desk: Desk) -> None:
    desk.land(build_eyfsp(*({"urn": str(100_000 + index)} for index in range(30))))
    desk.take()
    said = (desk.home.get_cohort(COHORT).get_reports_folder("leeds") / "eyfsp.expectations.json").read_text(
        encoding="utf-8"
    )
    found = json.loads(said)
    failed = [entry["rule"] for entry in found["results"] if not entry["passed"]]
    assert failed == ["rows-far-from-expected"]
    assert not found["success"]
    assert "Thornton" not in said
    assert "unexpected_list" not in said


def test_a_rule_across_columns_is_judged_on_what_was_kept(desk: Desk) -> None:
    from tests.support.intake.desk import build_reviews

    desk.land(build_reviews({"asq3_months": ""}, {"asq3_months": ""}, {}), "hv_reviews")
    quality_of = desk.take("hv_reviews")
    (finding,) = [each for each in quality_of.findings if each.rule == "asq3-score-without-age"]
    assert (finding.passed, finding.severity, finding.unexpected_rows) == (False, "warning", 2)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path

from assets.intake import quality
from assets.intake.quality import ValidationRequest
from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import list_extract_rules


def of_one_extract():
    facts = {rule.fact: 0.1 for rule in list_extract_rules(CONTRACTS["eyfsp"]) if rule.fact != "rows_repeated"}
    return [ValidationRequest("eyfsp", Path(sys.argv[1]), facts, {})]


def process():
    return quality._get_worker()._process


quality.start_worker()
exec(sys.argv[2])
"""
COMPARE = """
found = quality.judge_in_worker(of_one_extract())
print("great_expectations" in sys.modules)
print(found == quality.judge(of_one_extract()), any(not finding.passed for finding in found[0]))
"""


@pytest.fixture
def kept(desk: Desk) -> Path:
    """The rows of an extract that was taken in."""
    desk.land(build_eyfsp(*({"urn": str(100_000 + index)} for index in range(30))))
    assert isinstance(desk.take(), deliveries.ExtractQuality)
    return desk.home.get_extract("eyfsp", COHORT, "leeds").pseudonymised


def start(tmp_path: Path, kept: Path | str, body: str) -> subprocess.Popen[str]:
    """A process that begins to judge and does `body`. Its output ends when all processes have that write to it."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, script, str(kept), body],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"},  # of libraries, where it judges
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_output(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=waiting.PATIENCE)[0].splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(("before", "is_loaded"), [("", "False"), ("process().kill()", "True")])
def test_it_finds_what_would_be_found_here_which_is_judged_here_only_if_it_ended(
    tmp_path: Path, kept: Path, before: str, is_loaded: str
) -> None:
    assert read_output(start(tmp_path, kept, f"{before}{COMPARE}")) == [is_loaded, "True True"]


@pytest.mark.slow
def test_an_error_in_it_is_met_again_here_and_told_as_any_other(tmp_path: Path, kept: Path) -> None:
    lines = read_output(start(tmp_path, kept.with_name("none.parquet"), COMPARE))
    assert lines[0] == "Traceback (most recent call last):"
    assert "quality.py" in "".join(lines)
    assert lines[-1].startswith("FileNotFoundError: ")


@pytest.mark.parametrize("end", mark_slow_after(2, ["os.kill(os.getpid(), signal.SIGKILL)", "", "raise SystemExit(1)"]))
def test_it_ends_with_the_process_that_began_it(tmp_path: Path, end: str) -> None:
    assert read_output(start(tmp_path, "", f"print(process().poll() is None, flush=True); {end}")) == ["True"]


def test_an_interruption_from_the_keyboard_ends_both(tmp_path: Path) -> None:
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background process ignores it
    process = start(tmp_path, "", f"{heard}; print('begun', flush=True); time.sleep(3600)")
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    assert read_output(process)[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT


def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    stopped = "os.kill(process().pid, signal.SIGSTOP); quality.GRACE_SECONDS = 0.5; print('stopped', flush=True)"
    process = start(tmp_path, "", stopped)
    assert read_output(process) == ["stopped"]
    assert process.returncode == 0
