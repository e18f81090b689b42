"""`readiness request`: what answers a request, from public facts alone, before anything is spent."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result

from assets.home.paths import Home
from assets.release.requests.planning import find_release
from assets.release.requests.request import TEMPLATE, Request, parse_request, read_request
from ndl_export.bundle.checks import build_table_layouts
from ndl_export.facts.noisy_counts import NoisyCounts, build_noisy_files
from ndl_export.facts.on_request import OnRequest, RequestedTable, RequestMeasurement
from ndl_export.facts.release_facts import WITHDRAWN_FILE
from ndl_export.tables.rows import Layout
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from pipelines.reports.document import WIDTH
from privacy.release.mechanism import combine_plans
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support import PROJECT
from tests.support.installation.commands import invoke
from tests.support.release.homes import COHORT, VERSION
from tests.support.release.sizes import build_known, build_noisy_counts

EXAMPLES = sorted((PROJECT / "docs" / "requests").glob("*.yaml"))
ASKED = read_request(PROJECT / "docs" / "requests" / "gld_by_ethnic_group_and_fsm.yaml")

WAITING = read_request(PROJECT / "docs" / "requests" / "waiting_time_by_send.yaml")


WITHHELD_GROUP = "Other ethnic group"


def public_home(folder: Path, councils: Sequence[str] = PILOT) -> Home:
    """Create a home whose first release spent the policy's split."""
    home, policy = Home(folder), load_policy()
    folder.mkdir(exist_ok=True)
    ledger = home.open_ledger()
    for unit, account in policy.accounts.items():
        ledger.approve(COHORT, account.cap_rho, unit=unit)
        for family, rho in account.split.items():
            charge = ledger.reserve(COHORT, VERSION, family, rho, "p" * 64, "m" * 64, unit=unit)
            ledger.commit(charge, "f" * 64)
    add_release(home, VERSION, councils)
    return home


def add_release(home: Home, version: str, councils: Sequence[str] = PILOT, on_request: OnRequest | None = None) -> Path:
    """Add a release without a charge, and return the bundle's folder."""
    bundle = home.release / version
    bundle.mkdir(parents=True)
    facts = {"version": version, "cohorts": [COHORT], "councils": list(councils), "missing": {}}
    (bundle / "datapackage.json").write_text(json.dumps(facts))
    (bundle / "privacy_statement.json").write_text("{}")
    base = build_known(councils).base
    files = build_noisy_files({COHORT: build_noisy_counts(base)}, version)
    plans = {(COHORT, family): plan.encode_json() for family, plan in base.items()}
    for name, rows in build_table_layouts(tuple(councils), (COHORT,), plans=plans).items():
        pq.write_table(_without_figures(rows), bundle / f"{name}.parquet")
    for name, content in (files | (on_request or OnRequest()).build_files(version)).items():
        (bundle / name).write_bytes(content)
    return bundle


def _without_figures(rows: Layout) -> pa.Table:
    """Return the keys and flags of a table, in which only the rates of one group are withheld, in councils."""
    keys = rows.keys
    in_council = pc.is_valid(keys["la_name"])
    group = pc.is_in(keys["breakdown"], pa.array([WITHHELD_GROUP])) if "breakdown" in keys.column_names else None
    withheld = pc.if_else(pc.and_(in_council, group), Flag.WITHHELD.value, None) if group is not None else None
    nothing = pa.nulls(len(keys), pa.string())
    flags = {
        get_column_name(each, ColumnRole.FLAG): nothing if each.is_count or withheld is None else withheld
        for each in rows.table.measures
    }
    return pa.table({name: keys[name] for name in keys.column_names} | flags)


def answered(request: Request, plan: Plan, version: str) -> OnRequest:
    """Return what a release states about a request that it answered by a measurement; the counts are zeros."""
    table = RequestedTable(
        request.definition, request.family, request.cohorts, version, request.asked_by, "2026-11-27", request.purpose
    )
    counts = {names: np.zeros(plan.family.get_shape(names), dtype=np.int64) for names in plan.sigmas}
    return OnRequest(
        (table,), {RequestMeasurement(COHORT, request.family, version): NoisyCounts(plan.encode_json(), counts)}
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """To be read, not written."""
    return public_home(tmp_path_factory.mktemp("public") / "home")


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(made.root, tmp_path / "home")))


def request(**changes: Any) -> Request:
    return parse_request(ASKED.build_document() | changes)


def check(home: Home, *asked: Request | Path, options: tuple[str, ...] = ()) -> Result:
    files = [each if isinstance(each, Path) else written(home.root.parent, each) for each in asked]
    return invoke("request", "check", *files, "--home", home.root, *options)


def written(folder: Path, asked: Request) -> Path:
    path = folder / f"{asked.name}-{asked.sha256[:8]}.yaml"
    path.write_text(yaml.safe_dump(asked.build_document(), sort_keys=False), "utf-8")
    return path


def facts(home: Home, *asked: Request | Path, status: int = 0) -> dict[str, Any]:
    result = check(home, *asked, options=("--json",))
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def only(home: Home, asked: Request | Path, status: int = 0) -> dict[str, Any]:
    """The answer of one request for its one cohort."""
    ((answer,),) = (each["cohorts"] for each in facts(home, asked, status=status)["requests"])
    return answer


@contextmanager
def opened() -> Iterator[list[str]]:
    """Every path that is opened or listed meanwhile."""
    paths: list[str] = []
    watching = [True]

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir", "sqlite3.connect"):
            paths.append(str(arguments[0]))

    sys.addaudithook(note)
    yield paths
    watching.clear()


def test_no_confidential_file_is_opened_and_the_answer_is_the_same_whatever_they_hold(home: Home) -> None:
    """A request can be neither refused nor shaped by data."""
    spent, before = home.open_ledger().list_entries(), facts(home, ASKED, WAITING)
    for family in ("pupil", "parents"):
        table = home.get_cohort(COHORT).get_confidential_path(family)
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_bytes(b"no table at all")
    with opened() as paths:
        assert facts(home, ASKED, WAITING) == before
    assert home.open_ledger().list_entries() == spent
    inside = {path for path in paths if path.startswith(str(home.root))}
    assert any(path.endswith("noise_plan_pupil.json") for path in inside)
    assert not [path for path in inside if not path.startswith((str(home.release), str(home.ledger)))]


def test_the_cost_is_that_of_the_plan_and_fits_what_is_left(made: Home) -> None:
    answer = only(made, ASKED)
    measured = answer["measured"]
    assert answer["answer"] == "fits"
    assert answer["left_rho"] == pytest.approx(0.085)
    assert 0 < measured["rho"] < answer["left_rho"]
    assert measured["nano_rho"] == round(measured["rho"] * 1e9)
    assert measured["epsilon_before"] < measured["epsilon_after"] < measured["epsilon_before"] + measured["epsilon"]
    assert measured["share_within"] >= ASKED.accuracy.share_of_rates
    assert (answer["known"], answer["published"]["figures"]) == (None, 0)


def test_what_is_published_is_said_with_its_tables(made: Home) -> None:
    """All of it; a part of it, where the release leaves rows out; none, where other groups are meant."""
    by_fsm = request(name="gld_by_fsm", columns=["fsm"])
    answer = only(made, by_fsm)
    assert (answer["answer"], answer["measured"]) == ("published", None)
    tables = ["gld_headline", "readiness_pathway", "funded_entitlement"]
    assert answer["published"] == {"figures": 2, "of": 2, "tables": tables}
    loose = {"half_width_points": 5.0, "share_of_rates": 0.5}
    by_council = only(made, request(name="by_council", columns=["ethnic_group"], geography="councils", accuracy=loose))
    assert 0 < by_council["published"]["figures"] < by_council["published"]["of"] == 5 * 10
    levels = {"All with a score": ["One domain below the cut-off", "Two or more domains below the cut-off"]}
    other = only(made, request(name="other", columns=[{"attribute": "asq3", "levels": levels}]))
    assert other["published"]["figures"] == 0


def test_what_is_known_is_free_and_as_exact_as_it_says(made: Home) -> None:
    """Levels that no table of the release has, added up from what was measured."""
    levels = {"White": ["White"], "Any other": ["Asian / Asian British", "Other ethnic group"]}
    merged = request(name="merged", columns=[{"attribute": "ethnic_group", "levels": levels}])
    answer = only(made, merged)
    assert (answer["answer"], answer["measured"], answer["alternatives"]) == ("free", None, [])
    known = find_release(made, [merged], None).read_known(load_policy(), COHORT)
    exact = known.estimate(merged)
    assert answer["known"]["share_within"] == exact.compute_share_within(5.0) == 1.0


@pytest.mark.slow
def test_what_costs_less_is_listed_the_cheapest_first_and_is_what_it_says(made: Home) -> None:
    accuracy = {"half_width_points": 5.0, "share_of_rates": 0.7}
    by_council = request(columns=["imd_quintile", "fsm"], geography="councils", accuracy=accuracy)
    answer = only(made, by_council)
    costs = [each["rho"] for each in answer["alternatives"]]
    assert costs == sorted(costs)
    assert costs[-1] < answer["measured"]["rho"]
    by_words = {each["instead"]: each for each in answer["alternatives"]}
    assert by_words.keys() >= {
        *("for all councils together", "within 7.5 points", "within 10 points"),
        *("without IMD quintile", "without Free school meal eligibility", "with every column in two levels"),
    }
    together = only(made, request(columns=["imd_quintile", "fsm"], accuracy=accuracy))
    assert by_words["for all councils together"]["rho"] == together["measured"]["rho"]
    assert by_words["without IMD quintile"]["rho"] == 0


def test_what_does_not_fit_ends_with_the_budget_and_says_what_all_that_is_left_would_give(made: Home) -> None:
    dear = request(geography="councils", accuracy={"half_width_points": 5.0, "share_of_rates": 0.55})
    answer = only(made, dear, status=3)
    assert answer["answer"] == "does not fit"
    assert answer["measured"]["rho"] > answer["left_rho"]
    assert answer["with_all_that_is_left"]["share_within"] < 0.55
    assert answer["alternatives"]
    assert all(each["rho"] <= answer["left_rho"] for each in answer["alternatives"])
    never = request(accuracy={"half_width_points": 0.1, "share_of_rates": 1.0})
    answer = only(made, never, status=3)
    assert (answer["answer"], answer["measured"]) == ("out of reach", None)
    assert 0 < answer["with_all_that_is_left"]["share_within"] < 1
    shown = " ".join(check(made, never).output.split())
    assert "no budget of a cohort pays for this accuracy" in shown
    assert "With all that is left, rho 0.08500: " in shown


@pytest.mark.slow
def test_several_that_fit_alone_may_not_fit_together(made: Home) -> None:
    shares = {"sen_provision": 0.67, "imd_quintile": 0.8}
    both = [
        request(
            name=f"by_{name}",
            columns=["fsm", name],
            geography="councils",
            accuracy={"half_width_points": 5.0, "share_of_rates": share},
        )
        for name, share in shares.items()
    ]
    found = facts(made, *both, status=3)
    assert [each["cohorts"][0]["answer"] for each in found["requests"]] == ["fits", "fits"]
    assert not found["together"][0]["fits"]


@pytest.mark.slow
def test_a_table_that_was_answered_before_is_published_and_its_counts_are_known(home: Home) -> None:
    """The newest release that stands is asked; another one by its version."""
    base = find_release(home, [ASKED], None).read_known(load_policy(), COHORT)
    plan = base.plan_requests([ASKED])["pupil"]
    assert plan.sha256 == only(home, ASKED)["measured"]["plan_sha256"]
    add_release(home, "2026.11.1", on_request=answered(ASKED, plan, "2026.11.1"))
    now = facts(home, ASKED)
    assert now["release"] == "2026.11.1"
    answer = now["requests"][0]["cohorts"][0]
    assert answer["answer"] == "published"
    assert answer["published"]["tables"] == [ASKED.name]
    refused = check(home, request(geography="councils"))
    assert refused.exit_code == 1
    assert f"release 2026.11.1 has another table called {ASKED.name}" in refused.stderr
    known = find_release(home, [ASKED], None).read_known(load_policy(), COHORT)
    assert known.combine("pupil").sigmas == combine_plans(base.base["pupil"], [plan]).sigmas
    assert json.loads(check(home, ASKED, options=("--json", "--release", VERSION)).stdout)["release"] == VERSION
    withdrawn = {"withdrawn": [{"version": "2026.11.1", "date": "2026-11-28", "reason": "wrong"}]}
    (home.release / WITHDRAWN_FILE).write_text(json.dumps(withdrawn))
    assert facts(home, ASKED)["release"] == VERSION


@pytest.mark.slow
def test_synthetic_children_give_a_guess_where_nothing_is_known(home: Home) -> None:
    folder = home.release / "synthetic_children" / VERSION
    folder.mkdir(parents=True)
    white, asian = "White", "Asian / Asian British"
    eligible, others = "Eligible for free school meals", "Not eligible for free school meals"
    rows = [(white, eligible, "Yes"), (white, eligible, "No"), (white, others, "Yes"), (asian, eligible, "No")]
    columns = dict(zip(("ethnic_group", "fsm", "gld"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table({"cohort": [COHORT] * 4, **columns}), folder / "synthetic_children.parquet")
    held_out = {"attributes": ["sex", "gld"], "compared": 3, "median": 2.6, "ninetieth": 7.0, "noise": 0.5}
    (folder / "datapackage.json").write_text(json.dumps({"held_out": [held_out]}))
    guess = only(home, ASKED)["synthetic"]
    by_levels = {tuple(row["levels"]): (row["of"], row["percent"]) for row in guess["rows"]}
    assert len(by_levels) == 10
    assert (by_levels[white, eligible], by_levels[white, others]) == ((2, 50.0), (1, 100.0))
    assert by_levels["Other ethnic group", eligible] == (0, None)
    counts = only(home, request(name="counts", figure=None))["synthetic"]["rows"]
    assert [row["percent"] for row in counts if row["levels"] == [white, eligible]] == [66.67]
    shown = " ".join(check(home, ASKED).output.split())
    assert "off by up to 2.6 points, and one in ten by 7.0 or more" in shown
    assert "a guess, not a finding: where" in shown
    assert guess["statement"] == f"synthetic_children/{VERSION}/synthetic_children_quality.html"
    assert only(home, WAITING)["synthetic"] is None
    lacking = request(name="lacking", columns=["first_concern"], figure=None)
    assert only(home, lacking)["synthetic"] is None


def test_the_answer_fits_a_terminal_and_is_a_page(made: Home, tmp_path: Path) -> None:
    shown = check(made, ASKED, WAITING)
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= WIDTH
    for word in ("Nothing was spent", "it costs rho", "and fits", "All together", "readiness synthesise"):
        assert word in " ".join(shown.output.split())
    page = tmp_path / "answer.html"
    assert check(made, ASKED, options=("--html", str(page))).exit_code == 0
    assert "What would cost less" in page.read_text("utf-8")
    assert "restricted" not in page.read_text("utf-8")


def test_a_file_that_is_no_request_ends_as_input_with_all_that_is_wrong(made: Home, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: X\nfamily: teachers\n", "utf-8")
    refused = check(made, wrong, tmp_path / "none.yaml", TEMPLATE)
    assert refused.exit_code == 1
    for line in ("wrong.yaml:1:7: name: ", "wrong.yaml:2:9: family: is one of", "none.yaml:1:1: there is no such file"):
        assert line in refused.stderr
    assert refused.stdout == ""


def test_without_a_release_of_the_cohort_there_is_nothing_to_ask_of(made: Home, tmp_path: Path) -> None:
    later = check(made, request(cohorts=["202526"]))
    assert later.exit_code == 1
    assert "no release in" in later.stderr
    assert "2026.11.0 has 202425" in later.stderr
    assert check(made, ASKED, options=("--release", "2031.01.0")).exit_code == 1
    assert "no release has been made" in check(Home(tmp_path / "empty"), ASKED).stderr


def test_new_writes_the_template_once(tmp_path: Path) -> None:
    printed = invoke("request", "new")
    assert printed.stdout == TEMPLATE.read_text("utf-8")
    out = tmp_path / "request.yaml"
    for status in (0, 1):
        assert invoke("request", "new", "--out", out).exit_code == status
    assert read_request(out) == read_request(TEMPLATE)
