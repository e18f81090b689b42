"""`readiness request`: what answers a request, from public facts alone, before anything is spent."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

from assets.home.paths import Home
from assets.release.requests.planning import estimate_accuracy
from assets.release.requests.released import find_release
from assets.release.requests.request import Request, read_request, request_of
from ndl_export.check.content_checks import build_table_layouts
from ndl_export.facts.noisy_counts import write_noisy_counts
from ndl_export.facts.on_request import OnRequest
from ndl_export.tables.rows import Layout
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from pipelines.cli import main
from privacy.release.ledger import Ledger
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support import PROJECT
from tests.support.release.homes import COHORT, VERSION
from tests.support.release.sizes import known, noisy_counts

ASKED = read_request(PROJECT / "docs" / "requests" / "gld_by_ethnic_group_and_fsm.yaml")

WAITING = read_request(PROJECT / "docs" / "requests" / "waiting_time_by_send.yaml")


WITHHELD_GROUP = "Other ethnic group"


def public_home(folder: Path) -> Home:
    """Create a home whose first release spent the policy's split."""
    home, policy = Home(folder), load_policy()
    folder.mkdir(exist_ok=True)
    ledger = Ledger(home.ledger)
    for unit, account in policy.accounts.items():
        ledger.approve(COHORT, account.cap_rho, unit=unit)
        for family, rho in account.split.items():
            charge = ledger.reserve(COHORT, VERSION, family, rho, "p" * 64, "m" * 64, unit=unit)
            ledger.commit(charge, "f" * 64)
    bundle = home.release / VERSION
    bundle.mkdir(parents=True)
    facts = {"version": VERSION, "cohorts": [COHORT], "councils": list(PILOT), "missing": {}}
    (bundle / "datapackage.json").write_text(json.dumps(facts))
    (bundle / "privacy_statement.json").write_text("{}")
    base = known(PILOT).base
    write_noisy_counts(bundle, {COHORT: noisy_counts(base)}, VERSION)
    plans = {(COHORT, family): plan.to_json() for family, plan in base.items()}
    for name, rows in build_table_layouts(tuple(PILOT), (COHORT,), plans=plans).items():
        pq.write_table(_without_figures(rows), bundle / f"{name}.parquet")
    OnRequest().write(bundle, VERSION)
    return home


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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return public_home(tmp_path_factory.mktemp("public") / "home")


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(made.root, tmp_path / "home")))


def request(**changes: Any) -> Request:
    return request_of(ASKED.document() | changes)


def check(home: Home, *asked: Request | Path, options: tuple[str, ...] = ()) -> Result:
    files = [each if isinstance(each, Path) else written(home.root.parent, each) for each in asked]
    return CliRunner().invoke(main, ["request", "check", *map(str, files), "--home", str(home.root), *options])


def written(folder: Path, asked: Request) -> Path:
    path = folder / f"{asked.name}-{asked.sha256[:8]}.yaml"
    path.write_text(yaml.safe_dump(asked.document(), sort_keys=False), "utf-8")
    return path


def facts(home: Home, *asked: Request | Path, status: int = 0) -> dict[str, Any]:
    result = check(home, *asked, options=("--json",))
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def only(home: Home, asked: Request | Path, status: int = 0) -> dict[str, Any]:
    """The answer of one request for its one cohort."""
    ((answer,),) = (each["cohorts"] for each in facts(home, asked, status=status)["requests"])
    found: dict[str, Any] = answer
    return found


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
    spent, before = Ledger(home.ledger).entries(), facts(home, ASKED, WAITING)
    for family in ("pupil", "parents"):
        table = home.cohort(COHORT).confidential(family)
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_bytes(b"no table at all")
    with opened() as paths:
        assert facts(home, ASKED, WAITING) == before
    assert Ledger(home.ledger).entries() == spent
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
    known = find_release(made, [merged], None).read_known(COHORT)
    exact = estimate_accuracy(merged, known.together("pupil"), known.sizes_of("pupil"), load_policy())
    assert exact is not None
    assert answer["known"]["share_within"] == exact.share_within(5.0) == 1.0


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


def test_without_a_release_of_the_cohort_there_is_nothing_to_ask_of(made: Home, tmp_path: Path) -> None:
    later = check(made, request(cohorts=["202526"]))
    assert later.exit_code == 1
    assert "no release in" in later.stderr
    assert "2026.11.0 has 202425" in later.stderr
    assert check(made, ASKED, options=("--release", "2031.01.0")).exit_code == 1
    assert "no release has been made" in check(Home(tmp_path / "empty"), ASKED).stderr
