"""Tables on request: asked, signed, charged once, published beside all others and estimated with them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.home.errors import Refused
from assets.home.paths import Home
from assets.release import decision_sheet, measure, requests_to_sign, tabulate
from assets.release.fix_release import ReleaseOptions, fix_release
from assets.release.rehearsal import NotReleasable
from assets.release.release import CohortRelease, Release
from assets.release.requests.check import check_requests
from assets.release.requests.register import find_base_release, read_registered_requests, refuse
from assets.release.requests.request import parse_request
from ndl_export.bundle.verify import verify
from ndl_export.site import layouts
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from privacy.release.approval import WaitsForApproval
from privacy.release.ledger import BudgetExceeded, Ledger, ReleaseConflict
from tests.support.installation.commands import invoke
from tests.support.release import homes
from tests.support.release.homes import COHORT, VERSION, add_cohort, copy_home, list_charges, make_home, make_release
from tests.support.release.requests import OF_EACH_FAMILY, SUPPLEMENT, TODAY, ask, build_request

COUNCILS = ["leeds", "wirral"]
LATER = "2026.11.2"


def _miss_a_name(*_: object) -> Any:
    raise KeyError("Welsh")


def answered(home: Home, keys: KeyRing, names: Sequence[str], version: str = SUPPLEMENT) -> Path:
    return make_release(home, keys, COUNCILS, version, reuse=True, requests=names)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Home:
    """The release; to be read and not written."""
    return homes.make_home_once(
        tmp_path_factory, "asked", lambda folder: make_release(make_home(folder, 3000, COUNCILS), keys, COUNCILS)
    )


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    return copy_home(made, tmp_path)


@pytest.fixture(scope="module")
def supplement(made: Home, keys: KeyRing, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The release, and one that answers a request; to be read and not written."""
    home = copy_home(made, tmp_path_factory.mktemp("answered"))
    answered(home, keys, ask(home, build_request()))
    return home


def test_without_what_was_measured_on_request_it_is_not_recomputed(supplement: Home, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(supplement.release / SUPPLEMENT, tmp_path / SUPPLEMENT))
    (bundle / "on_request.json").unlink()
    with pytest.raises(Refused, match=rf"measured on request in release {SUPPLEMENT}"):
        tabulate.find_differing_tables(bundle)


def test_it_is_a_release_with_every_part_and_one_table_more(supplement: Home) -> None:
    bundle = supplement.release / SUPPLEMENT
    assert verify(bundle).ok, str(verify(bundle))
    assert tabulate.find_differing_tables(bundle) == tabulate.Differing([], [])
    table = pq.read_table(bundle / "gld_by_ethnic_group_and_fsm.parquet")
    assert set(table["ethnic_group"].to_pylist()) >= {"Total", "White"}
    assert list_charges(supplement)[-1] == (COHORT, SUPPLEMENT, "pupil")
    assert read_registered_requests(supplement)["gld_by_ethnic_group_and_fsm"].answered_in == SUPPLEMENT
    record = json.loads((bundle / "privacy_statement.json").read_bytes())
    (further,) = [family for family in record["families"] if "measured_in" in family]
    assert (further["measured_in"], further["tables"]) == (SUPPLEMENT, ["gld_by_ethnic_group_and_fsm"])
    (cohort,) = record["cohorts"]
    own = [family["rho"] for family in record["families"] if family["charged_to"] == "child"]
    assert cohort["privacy_parameters"]["rho"] == pytest.approx(sum(own), abs=1e-6)
    child = next(account for account in cohort["accounts"] if account["unit"] == "child")
    assert child["budget"]["charged_by_this_release_rho"] == pytest.approx(further["rho"], abs=1e-9)
    assert "on request for release 2026.11.1" in (bundle / "privacy_statement.md").read_text()


def test_what_was_published_before_gets_no_wider_and_some_of_it_narrower(supplement: Home) -> None:
    """Of figures without linkage error, whose part in an interval depends on the figures themselves: what the school
    census says of a child has some."""
    before, after = (
        pq.read_table(supplement.release / version / "gld_headline.parquet").to_pandas()
        for version in (VERSION, SUPPLEMENT)
    )
    widths = [each["children_count_upper_ci"] - each["children_count_estimate"] for each in (before, after)]
    exact = before["breakdown_topic"].isin(["Total", "Sex", "Term of birth"])
    assert exact.any()
    assert (widths[1] <= widths[0] + 1e-6)[exact].all()
    # by 1.4 to 2.3 of 40; those by free school meals change by 0.4 of 80 at most, in either direction
    of_group = before["breakdown_topic"] == "Ethnic group"
    assert (widths[1] < widths[0] - 0.5)[of_group].any()


@pytest.mark.slow
def test_two_that_ask_the_same_spend_once(supplement: Home, keys: KeyRing, tmp_path: Path) -> None:
    home = copy_home(supplement, tmp_path)
    before = list_charges(home)
    with pytest.raises(Refused, match=f"asks what gld_by_ethnic_group_and_fsm asks.*release {SUPPLEMENT} answered it"):
        ask(home, build_request("the_same", columns=["fsm", "ethnic_group"], title="In other words"))
    with pytest.raises(Refused, match=f"answered in release {SUPPLEMENT} already"):
        fix_release(
            CohortRelease(home.get_cohort(COHORT), LATER),
            COUNCILS,
            ReleaseOptions(reuse=True, requests=["gld_by_ethnic_group_and_fsm"]),
        )
    with pytest.raises(Refused, match="has the title of gld_by_ethnic_group_and_fsm"):
        ask(home, build_request("a_part_of_it", columns=["ethnic_group"]))
    names = ask(home, build_request("a_part_of_it", columns=["ethnic_group"], title="By ethnic group alone"))
    assert verify(answered(home, keys, names, LATER)).ok
    assert list_charges(home) == before
    assert [table.name for table in _tables(home, LATER)] == ["gld_by_ethnic_group_and_fsm", "a_part_of_it"]


@pytest.mark.slow
@pytest.mark.rehearsed
def test_one_that_is_free_beside_one_that_is_measured_and_both_are_rehearsed(
    home: Home, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would fail on the page of a requested table fails before anything is charged for it."""
    names = ask(home, build_request("by_sen", columns=["sen_provision"], title="By SEN provision"), build_request())
    before = list_charges(home)
    with monkeypatch.context() as spoilt:
        spoilt.setattr(layouts, "_build_requested_chart", _miss_a_name)
        with pytest.raises(NotReleasable, match=r"KeyError: 'Welsh'.*please report this"):
            answered(home, keys, names)
    assert list_charges(home) == before
    bundle = answered(home, keys, names)
    assert list_charges(home) == [*before, (COHORT, SUPPLEMENT, "pupil")]
    assert verify(bundle).ok, str(verify(bundle))
    (further,) = [f for f in json.loads((bundle / "privacy_statement.json").read_bytes())["families"] if "tables" in f]
    assert further["tables"] == ["gld_by_ethnic_group_and_fsm"]


@pytest.mark.slow
def test_later_releases_of_the_same_counts_publish_it_again(
    supplement: Home, keys: KeyRing, key_folder: Path, tmp_path: Path
) -> None:
    home = copy_home(supplement, tmp_path)
    bundle = answered(home, keys, [], LATER)
    assert verify(bundle).ok
    first, again = (
        pq.read_table(home.release / version / "gld_by_ethnic_group_and_fsm.parquet") for version in (SUPPLEMENT, LATER)
    )
    assert first.equals(again)
    for version in (SUPPLEMENT, LATER):
        own = ("--home", home.root, "--keys", key_folder)  # of a demonstration, which signs by itself
        assert invoke("withdraw", version, "--reason", "a mistake", "--yes", *own).exit_code == 0
    register = json.loads((home.release / "requests.json").read_bytes())
    assert [request["status"] for request in register["requests"]] == ["asked"]
    assert [table.name for table in _tables(home, "2026.11.3", keys)] == []


def test_records_that_moved_are_not_measured(home: Home, keys: KeyRing) -> None:
    """Not the same rows: estimated together with the old ones they would be of nobody."""
    names = ask(home, build_request())
    path = home.get_cohort(COHORT).get_confidential_path("pupil")
    pq.write_table(pq.read_table(path).slice(1), path)
    before = list_charges(home)
    with pytest.raises(Refused, match="answer the request from the next release of the cohort"):
        answered(home, keys, names)
    assert list_charges(home) == before


@pytest.mark.slow
def test_who_was_removed_on_request_is_in_no_later_measurement(home: Home, keys: KeyRing) -> None:
    """A removal leaves the deliveries as they were, and a mark in the restricted zone."""
    names = ask(home, build_request())
    path, mark = (
        home.get_cohort(COHORT).get_confidential_path("pupil"),
        home.get_extract("eyfsp", COHORT, "leeds").forgotten,
    )
    pq.write_table(pq.read_table(path).slice(1), path)
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")
    assert verify(answered(home, keys, names)).ok


def test_what_does_not_fit_is_refused_before_anything_is_fixed(home: Home, keys: KeyRing) -> None:
    ledger = home.open_ledger()
    rho = ledger.compute_remaining(COHORT) - 1e-6
    ledger.commit(ledger.reserve(COHORT, "2026.10.0", "pupil", rho, "p", "m"), "f" * 64)
    names = ask(home, build_request())
    before = list_charges(home)
    with pytest.raises(BudgetExceeded):
        fix_release(
            CohortRelease(home.get_cohort(COHORT), SUPPLEMENT), COUNCILS, ReleaseOptions(reuse=True, requests=names)
        )
    assert (Release(home, SUPPLEMENT).read_record(), list_charges(home)) == ({}, before)


def test_nobody_spends_without_a_signature(home: Home, key_folder: Path, tmp_path: Path) -> None:
    names, before = ask(home, build_request()), list_charges(home)
    folder = Path(shutil.copytree(key_folder, tmp_path / "keys"))
    (folder / "demo-approver.pem").unlink()
    with pytest.raises(WaitsForApproval):
        measure.measure_release(
            CohortRelease(home.get_cohort(COHORT), SUPPLEMENT),
            KeyRing.load(folder),
            COUNCILS,
            ReleaseOptions(reuse=True, requests=names),
        )
    assert list_charges(home) == before
    sheet = home.get_decision_sheet_path(SUPPLEMENT, "measurement").read_text()
    assert "Example University" in sheet
    assert "tables on request" in sheet


@pytest.mark.slow
def test_a_release_answers_what_it_was_begun_with(home: Home, keys: KeyRing) -> None:
    names = ask(home, build_request(), build_request("by_sen", columns=["sen_provision"], title="By SEN provision"))
    answered(home, keys, names[:1])
    with pytest.raises(ReleaseConflict, match="was begun to answer gld_by_ethnic_group_and_fsm"):
        fix_release(
            CohortRelease(home.get_cohort(COHORT), SUPPLEMENT), COUNCILS, ReleaseOptions(reuse=True, requests=names)
        )


def test_what_was_refused_or_is_of_another_cohort_is_not_answered(home: Home) -> None:
    """Nor what nobody has asked for."""
    refused, other = ask(home, build_request(), build_request("of_another_cohort", title="Another", cohorts=["202324"]))
    refuse(home, refused, "the same is published by the department", TODAY)
    for name, message in ((refused, "was refused: the same is published"), (other, "does not publish cohort 202324")):
        with pytest.raises((Refused, ReleaseConflict), match=message):
            fix_release(
                CohortRelease(home.get_cohort(COHORT), SUPPLEMENT),
                COUNCILS,
                ReleaseOptions(reuse=True, requests=[name]),
            )
    with pytest.raises(Refused, match="no request is called other"):
        refuse(home, "other", "none", TODAY)


def _tables(home: Home, version: str, keys: KeyRing | None = None) -> list[Any]:
    if keys:
        fix_release(CohortRelease(home.get_cohort(COHORT), version), COUNCILS, ReleaseOptions(reuse=True))
    return list(Release(home, version).read_record().requested)


@pytest.mark.slow
def test_nothing_confidential_decides_what_is_asked_begun_or_signed(
    made: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homes with other children and the same ledger: the same plan, record, answer and sheet."""
    monkeypatch.setattr(Ledger, "find_place", lambda _: "the same")
    outcomes = []
    for number, rows in enumerate((3000, 20)):
        home = copy_home(made, tmp_path / str(number))
        for family in FAMILIES:
            path = home.get_cohort(COHORT).get_confidential_path(family)
            pq.write_table(pq.read_table(path).slice(0, rows), path)
        names = ask(home, *OF_EACH_FAMILY)
        fix_release(
            CohortRelease(home.get_cohort(COHORT), SUPPLEMENT), COUNCILS, ReleaseOptions(reuse=True, requests=names)
        )
        sheet = decision_sheet.render_sheet(home, requests_to_sign.build_measurement_request(Release(home, SUPPLEMENT)))
        plans = [
            home.get_cohort(COHORT).get_request_plan_path(SUPPLEMENT, family).read_bytes()
            for family in ("pupil", "parents")
        ]
        answer = check_requests(home, [parse_request(each) for each in OF_EACH_FAMILY], VERSION)
        outcomes.append(
            (Release(home, SUPPLEMENT).read_record(), plans, sheet, str(answer).replace(str(home.root), ""))
        )
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_a_time_series_answers_for_each_cohort_of_a_request(keys: KeyRing, tmp_path: Path) -> None:
    """Each is charged for itself, and a request of one of them has rows of that one."""
    home, earlier = make_home(tmp_path, 3000, COUNCILS), "202324"
    add_cohort(home, earlier, 2000, COUNCILS)
    for cohort, version, others in ((earlier, "2026.10.0", []), (COHORT, VERSION, [earlier])):
        make_release(home, keys, COUNCILS, version, cohort, others=others)
    names = ask(
        home,
        build_request(cohorts=[earlier, COHORT]),
        build_request("by_sen_and_fsm", columns=["sen_provision", "fsm"], title="Earlier alone", cohorts=[earlier]),
    )
    assert find_base_release(home, names) == (VERSION, [COHORT, earlier])
    bundle = make_release(home, keys, COUNCILS, SUPPLEMENT, reuse=True, others=[earlier], requests=names)
    assert verify(bundle).ok, str(verify(bundle))
    assert tabulate.find_differing_tables(bundle) == tabulate.Differing([], [])
    rows = {name: set(pq.read_table(bundle / f"{name}.parquet")["time_period"].to_pylist()) for name in names}
    assert rows == {"gld_by_ethnic_group_and_fsm": {earlier, COHORT}, "by_sen_and_fsm": {earlier}}
    charged = sorted(list_charges(home)[-2:])
    assert charged == [(cohort, SUPPLEMENT, "pupil") for cohort in (earlier, COHORT)]
