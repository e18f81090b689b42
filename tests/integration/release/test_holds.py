"""What a release is held for before any charge: each rule, and what it takes to accept a hold."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.intake.deliveries import StoppedExtract
from assets.intake.quality_report.profile import ColumnProfile, Profile
from assets.linkage.arrivals import note_landing
from assets.linkage.inputs import Extract, LinkageRecord, write_record
from assets.linkage.population_overlap import SAMPLE, _estimate_shared, read_overlaps
from assets.release import fix_release, hold_rules, holds
from assets.release.decision_sheet import render_sheet
from assets.release.fix_release import ReleaseOptions
from assets.release.measure import measure_release
from assets.release.release import CohortRelease, Release
from assets.release.requests_to_sign import build_measurement_request
from assets.release.sign_off import WaitsForAcceptance
from privacy.keys import KeyRing
from privacy.release.approval import MayNotSign, WaitsForApproval
from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import FAR_FROM_EXPECTED, FAR_FROM_LAST
from sources.reference.code_lists import REVIEW_CODES
from sources.reference.published_figures import find_published_rows
from tests.support.installation.commands import invoke
from tests.support.release.homes import (
    COHORT,
    VERSION,
    build_quality,
    make_home,
    note_compared,
    note_taken,
)
from tests.support.release.people import ANNA, BRAM, Signer, change_people, read_page, sign_page, write_policy

pytestmark = pytest.mark.usefixtures("people_sign")

COUNCILS = ["halton", "knowsley", "leeds", "sefton", "wirral"]
HOLD = "wirral/eyfsp/rows-far-from-expected"
FEWER = "1,954 of about 3,209 children"
RIGHT = "A school of ours moved to Cheshire."


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", 50, COUNCILS)


def put(home: Home, *about: Any, **numbers: Any) -> None:
    """The result of an intake, with the rules that it broke."""
    note_taken(home, build_quality(*about, **numbers))


def put_wirral(home: Home, rows: int = 1954, mac: str = "a") -> None:
    put(home, "wirral", "eyfsp", rows, mac, FAR_FROM_EXPECTED.id, expected=3209)


def names(home: Home, cohort: str = COHORT) -> list[str]:
    return [hold.name for hold in hold_rules.iter_holds(home.get_cohort(cohort))]


def open_holds(home: Home) -> list[str]:
    return [hold.name for hold in holds.read_state(home, [COHORT]).open]


def closed_holds(home: Home) -> list[str]:
    return [hold.name for hold, _ in holds.read_state(home, [COHORT]).closed]


def command(home: Home, *options: str, who: Signer | None = ANNA, what: str = "accept") -> Result:
    """As somebody types it who reads the page first."""
    asked = [what, "--cohort", COHORT]
    if who is None or what == "approve":
        return sign_page(home, [*asked, *options], who)
    return sign_page(home, asked, who, *options)


def accept(home: Home, *options: str, who: Signer | None = ANNA, reason: str = RIGHT) -> Result:
    return command(home, "--hold", HOLD, "--reason", reason, *options, who=who)


def status(home: Home) -> str:
    landing = home.root.parent / "landing"
    landing.mkdir(exist_ok=True)
    asked = invoke("status", "--landing", landing, "--home", home.root, "--cohort", COHORT)
    assert asked.exit_code == 0
    return asked.output


def measure(home: Home, keys: KeyRing) -> None:
    measure_release(CohortRelease(home.get_cohort(COHORT), VERSION), keys, COUNCILS, ReleaseOptions())


def test_nothing_is_charged_or_signed_until_a_named_person_accepts_each_by_name(home: Home, keys: KeyRing) -> None:
    put_wirral(home)
    with pytest.raises(WaitsForAcceptance, match=r"about 60% of the rows that are expected.*readiness accept") as held:
        measure(home, keys)
    assert not [number for number in ("1,954", "1954", "3,209") if number in str(held.value)]
    assert HOLD in str(held.value)
    signed = command(home, "--release", VERSION, what="approve")
    assert signed.exit_code == 4
    assert "is held, and nothing was charged" in signed.output
    sheet_alone = command(home, "--release", VERSION, who=None, what="approve")
    assert (sheet_alone.exit_code, f"({HOLD})" in sheet_alone.output) == (0, True)
    assert "held, so it cannot be signed yet: Wirral, EYFS Profile: about 60%" in sheet_alone.output
    assert FEWER in home.get_decision_sheet_path(VERSION, "measurement").read_text()
    assert f"({HOLD})" in status(home)
    accepted = accept(home)
    assert HOLD not in status(home)
    assert "as privacy lead" in accepted.output
    assert not [name for name in ANNA.name.split() if name in accepted.output]
    with pytest.raises(WaitsForApproval, match="before it is measured"):
        measure(home, keys)
    assert home.open_ledger().list_entries() == []
    assert "cannot be signed yet" not in command(home, "--release", VERSION, who=None, what="approve").output
    assert command(home, "--release", VERSION, what="approve").exit_code == 0
    sheet = home.get_decision_sheet_path(VERSION, "measurement").read_text()
    assert f"{ANNA.name}, {ANNA.role}" in sheet
    assert RIGHT in sheet
    measure(home, keys)
    assert home.open_ledger().list_entries()


def test_other_reviews_than_the_council_file_says_hold_a_release(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    councils = tmp_path / "councils"
    councils.mkdir()
    monkeypatch.setenv("READINESS_COUNCILS", str(councils))

    def put_reviews(stated: str, *numbers: int) -> list[hold_rules.Hold]:
        sources = f"{{hv_reviews: {{reviews: [{stated}]}}}}" if stated else "{}"
        (councils / "leeds.yaml").write_text(f"council: leeds\nsources: {sources}\n")
        profile = ColumnProfile(sum(numbers), dict(zip(REVIEW_CODES, numbers, strict=True)))
        quality = build_quality("leeds", "hv_reviews", sum(numbers))
        note_taken(home, replace(quality, profile=Profile(sum(numbers), {"review": profile}, {})))
        return [hold for hold in hold_rules.iter_holds(home.get_cohort(COHORT)) if "reviews" in hold.cause]

    after_birth = "NBV, 6-8W, 12M, 2-2.5Y"
    assert put_reviews(after_birth, 19, 900, 900, 20, 2000) == []
    assert put_reviews(after_birth, 0, 0, 0, 0, 99) == []  # so few show nothing
    assert put_reviews("", 0, 0, 0, 0, 2000) == []  # nothing is stated
    (only_the_last,) = put_reviews(after_birth, 0, 0, 0, 19, 2000)
    said = "none or hardly any of “New birth visit”, “Six to eight week review”, “Twelve month review”, and the council"
    assert said in only_the_last.sentence
    assert not [number for number in ("19", "2000", "2,000") if number in only_the_last.numbers]
    (fewer_stated,) = put_reviews("NBV, 6-8W, 2-2.5Y", 0, 0, 0, 19, 2000)
    assert fewer_stated.signed != only_the_last.signed  # accepted with what the file says
    (one_more,) = put_reviews(after_birth, 20, 900, 900, 900, 2000)
    assert "it has many of “Antenatal visit”, and the council file says otherwise" in one_more.sentence


def test_an_acceptance_is_of_the_file_that_was_in_and_of_every_fact_about_it(home: Home, keys: KeyRing) -> None:
    put_wirral(home)
    accept(home)
    assert command(home, "--release", VERSION, what="approve").exit_code == 0
    for mac, rules, numbers in (
        ("a", [FAR_FROM_LAST.id], {"expected": 3209, "last": 4000}),
        ("a", [], {"expected": 3300}),
        ("b", [], {"expected": 3209}),
    ):
        put(home, "wirral", "eyfsp", 1954, mac, FAR_FROM_EXPECTED.id, *rules, **numbers)
        assert HOLD in open_holds(home)
    note_compared(home, 1.0, "b", "wirral/eyfsp")
    with pytest.raises(WaitsForAcceptance):
        measure(home, keys)
    accept(home, reason="The second file says the same.")
    assert open_holds(home) == []
    with pytest.raises(WaitsForApproval, match="this differs: what was accepted of what is held"):
        measure(home, keys)
    sent = dict.fromkeys(CONTRACTS, COUNCILS)
    write_record(
        home.get_cohort(COHORT), LinkageRecord(COUNCILS, sent, {"wirral/eyfsp": Extract("b", "other rows of it")})
    )
    assert open_holds(home) == [HOLD]


def test_who_is_not_named_or_whose_key_signs_releases_accepts_nothing(
    home: Home, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wirral(home)
    publisher = Signer("Release Machine", "machine", keys.signing_key)
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [ANNA, publisher])))
    stranger = accept(home, who=Signer.create("Somebody Else"))
    assert (stranger.exit_code, "belongs to no recorded signer" in stranger.output) == (1, True)
    accept(home, who=publisher)
    begun = pytest.raises(WaitsForAcceptance)
    with begun:
        measure(home, keys)
    accept(home, who=ANNA)
    assert open_holds(home) == []
    monkeypatch.setenv("READINESS_POLICY", str(write_policy(tmp_path / "policy.yaml", [BRAM])))
    change_people(home, ANNA)
    assert open_holds(home) == [HOLD]


def test_what_was_delivered_after_the_list_was_read_is_not_accepted(home: Home) -> None:
    put_wirral(home)
    key = ANNA.write_key_file(home.root.parent / "people")
    asked = ("accept", "--home", home.root, "--cohort", COHORT, "--hold", HOLD, "--reason", RIGHT, "--key", key)
    read = read_page(command(home, who=None).output)
    put_wirral(home, rows=1200, mac="b")
    for options, message in ((read, "the page is not the one that was read"), ((), "--sheet SHA256")):
        refused = invoke(*asked, *options)
        assert (refused.exit_code != 0, message in refused.output) == (True, True)
    assert closed_holds(home) == []


def test_one_signature_made_elsewhere_is_of_every_hold_that_was_selected_and_of_no_other(
    home: Home, keys: KeyRing, tmp_path: Path
) -> None:
    for council in ("halton", "leeds", "wirral"):
        put(home, council, "eyfsp", 1954, "a", FAR_FROM_EXPECTED.id, expected=3209)
    cause = ["--cause", "rows-far-from-expected", "--reason", RIGHT]
    two = [*cause, "--council", "halton", "--council", "wirral"]
    to_sign = command(home, *two, who=None).output.partition("File to sign: ")[2].split("\n")[0]
    signing = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(ANNA.write_key_file(tmp_path)), "-in", to_sign]
    subprocess.run([*signing, "-out", str(tmp_path / "signature")], check=True, capture_output=True)
    signed = ("--signature", str(tmp_path / "signature"))
    for other in (cause, [*cause, "--council", "halton"], ["--hold", HOLD, "--reason", RIGHT]):
        assert "the signature is of something else" in command(home, *other, *signed, who=None).output
    code = (tmp_path / "signature").read_bytes().hex()
    with pytest.raises(MayNotSign):
        holds.accept_configured(home.get_cohort(COHORT), keys, ["leeds/eyfsp/rows-far-from-expected"], RIGHT, code)
    assert closed_holds(home) == []
    assert command(home, *two, *signed, who=None).exit_code == 0
    assert closed_holds(home) == [f"{each}/eyfsp/rows-far-from-expected" for each in ("halton", "wirral")]
    put_wirral(home, mac="b")  # another file: the acceptance lapses of it alone
    assert closed_holds(home) == ["halton/eyfsp/rows-far-from-expected"]


def test_in_a_demonstration_its_own_key_alone_accepts(
    home: Home, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_POLICY", "")
    put_wirral(home)
    put(home, "halton", "eyfsp", 1305, expected=1305)  # at its real size, so that Wirral's is held
    assert keys.demonstration_key
    with pytest.raises(WaitsForAcceptance):
        measure(home, keys)
    for key in (Ed25519PrivateKey.generate(), keys.signing_key):
        assert accept(home, who=Signer("Demo", "demonstration", key)).exit_code == 1
    assert closed_holds(home) == []
    assert "Accepted" in accept(home, who=Signer("Demo", "demonstration", keys.demonstration_key)).output
    assert open_holds(home) == []


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
def test_a_reason_is_a_line_that_the_sheet_can_repeat(home: Home, reason: str) -> None:
    put_wirral(home)
    assert accept(home, reason=reason).exit_code == 1
    assert closed_holds(home) == []


def test_dagsters_configuration_takes_a_signature_and_no_other_word(home: Home, keys: KeyRing) -> None:
    put_wirral(home)
    printed = accept(home, "--for-dagster").output
    assert closed_holds(home) == []
    assert ANNA.name not in printed
    code = printed.partition("signature: ")[2].strip().strip("'")
    forged = code[:-1] + ("1" if code[-1] == "0" else "0")
    for reason, signature in ((RIGHT, ""), ("another reason", code), (RIGHT, forged), (RIGHT, "yes")):
        with pytest.raises(MayNotSign):
            holds.accept_configured(home.get_cohort(COHORT), keys, [HOLD], reason, signature)
    for _ in range(2):
        holds.accept_configured(home.get_cohort(COHORT), keys, [HOLD], RIGHT, code)
    ((_, acceptance),) = holds.read_state(home, [COHORT]).closed
    assert (acceptance.name, acceptance.reason) == (ANNA.name, RIGHT)


@pytest.mark.parametrize(
    ("councils", "rows", "is_held"),
    [(5, 600, True), (5, 700, False), (5, 1400, False), (5, 1600, True), (3, 100, False)],
)
def test_a_source_without_a_published_number_is_laid_beside_the_other_councils(
    home: Home, councils: int, rows: int, is_held: bool
) -> None:
    """If there are enough others."""
    for number, council in enumerate(COUNCILS[:councils]):
        put(home, council, "eyfsp", 1000 + number)
        put(home, council, "hv_reviews", 1000 + number)
    assert names(home) == []
    put(home, "leeds", "hv_reviews", rows)
    assert names(home) == (["leeds/hv_reviews/rows-far-from-other-councils"] if is_held else [])


@pytest.mark.parametrize(("rows", "is_held"), [(600, True), (900, False), (1300, True)])
def test_a_profile_without_an_expected_number_is_laid_beside_the_census(home: Home, rows: int, is_held: bool) -> None:
    put(home, "leeds", "school_census", 1000)
    put(home, "leeds", "eyfsp", rows)
    assert names(home) == (["leeds/eyfsp/profile-far-from-census"] if is_held else [])
    put(home, "leeds", "eyfsp", rows, expected=rows)
    assert names(home) == []


@pytest.mark.usefixtures("at_usual_moment")
def test_a_source_that_was_due_or_taken_in_and_is_not_in(home: Home) -> None:
    later = "203031"
    sent = dict.fromkeys(CONTRACTS, COUNCILS) | {"hv_reviews": COUNCILS[1:], "parent_experience": []}
    for cohort in (COHORT, later):
        write_record(home.get_cohort(cohort), LinkageRecord(COUNCILS, sent))
    assert names(home) == ["halton/hv_reviews/due-and-missing"]  # nobody has sent the survey: there was none
    assert names(home, later) == []  # not due yet
    record(home, Processing.INTAKE, "hv_reviews", later, "halton", file_mac="a")
    assert names(home, later) == ["halton/hv_reviews/due-and-missing"]


def test_what_lies_in_landing_and_nobody_reads(home: Home, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    folder = landing / "halton" / "hv_reviews"
    folder.mkdir(parents=True)
    (folder / "Reviews of Amelia Thornton.dat").write_text("x")
    note_landing(home, landing)
    (hold,) = hold_rules.iter_holds(home.get_cohort(COHORT))
    assert hold.name == "halton/hv_reviews/not-read"
    assert "1 file of halton/hv_reviews is not read" in hold.sentence
    assert "Thornton" not in home.landing_seen.read_text() + hold.sentence
    (folder / "Reviews of Amelia Thornton.dat").write_text("another")
    note_landing(home, landing)
    (other,) = hold_rules.iter_holds(home.get_cohort(COHORT))
    assert (other.name, other.about != hold.about) == (hold.name, True)
    (folder / "Reviews of Amelia Thornton.dat").unlink()
    note_landing(home, landing)
    assert names(home) == []


def test_a_newer_delivery_that_was_stopped_is_held_until_one_is_taken(home: Home) -> None:
    """By its note, or where that is gone by the log."""
    note = StoppedExtract("leeds", "eyfsp", COHORT, "202425.csv", "b", "2026-11-02T00:00:00+00:00", "why", "why")
    deliveries.note_stopped(home, note)
    put(home, "sefton", "parent_experience", 1000, "a")
    record(home, Processing.STOPPED, "parent_experience", COHORT, "sefton", file_mac="b")
    stopped = [f"{each}/newer-delivery-stopped" for each in ("leeds/eyfsp", "sefton/parent_experience")]
    assert sorted(names(home)) == stopped
    put(home, "sefton", "parent_experience", 1000, "c")
    assert names(home) == stopped[:1]


def test_a_replacement_of_other_children_or_that_cannot_be_compared_is_held(home: Home) -> None:
    """The sample is gone or of other keys, the note is of another delivery, or is gone or damaged."""
    put(home, "leeds", "eyfsp", 1000, "older")
    assert names(home) == []
    put(home, "leeds", "eyfsp", 1000, "new")
    not_compared = ["leeds/eyfsp/not-compared"]
    assert names(home) == not_compared
    for shared, mac, found in (
        (None, "new", not_compared),
        (0.99, "older", not_compared),
        (0.79, "new", ["leeds/eyfsp/other-children-than-before"]),
        (0.81, "new", []),
    ):
        note_compared(home, shared, mac, "leeds/eyfsp")
        assert names(home) == found
    home.get_cohort(COHORT).overlaps.write_text("{")
    assert names(home) == not_compared
    put(home, "leeds", "parent_experience", 10, "older")
    put(home, "leeds", "parent_experience", 10, "new")  # has no children to compare
    assert names(home) == not_compared
    for path in home.get_extract("parent_experience", COHORT, "leeds").history.glob("*.json"):
        path.unlink()  # nor rows
    assert names(home) == [*not_compared, "leeds/parent_experience/not-compared"]


def test_what_people_signed_is_what_later_deliveries_are_compared_with(home: Home, keys: KeyRing) -> None:
    put(home, "wirral", "eyfsp", 3209, "older")
    put(home, "wirral", "eyfsp", 3209, "newer")
    note_compared(home, 1.0, "newer", "wirral/eyfsp")
    with pytest.raises(WaitsForApproval):
        measure(home, keys)
    assert read_overlaps(home.get_cohort(COHORT))["wirral/eyfsp"].compared_with == "older"
    assert command(home, "--release", VERSION, what="approve").exit_code == 0
    measure(home, keys)
    assert read_overlaps(home.get_cohort(COHORT))["wirral/eyfsp"].compared_with == "newer"


@pytest.mark.parametrize("damage", ["removed", "cut short", "of another delivery", "without the log"])
def test_an_extract_whose_result_is_gone_is_held(home: Home, damage: str) -> None:
    put_wirral(home)
    sent = dict.fromkeys(CONTRACTS, COUNCILS)
    write_record(home.get_cohort(COHORT), LinkageRecord(COUNCILS, sent, {"wirral/eyfsp": Extract("a", "s")}))
    assert names(home) == [HOLD]
    place = home.get_extract("eyfsp", COHORT, "wirral").quality
    match damage:
        case "removed":
            place.unlink()
        case "cut short":
            place.write_bytes(place.read_bytes()[:-2])
        case "of another delivery":
            deliveries.keep(place, build_quality("wirral", "eyfsp", 3209, "b"))
        case _:
            for path in home.restricted.glob("processing_log*"):
                path.unlink()
    assert "wirral/eyfsp/result-missing" in names(home)


def test_landing_that_nobody_looked_at_is_held(home: Home, tmp_path: Path) -> None:
    for damage in (home.landing_seen.unlink, lambda: home.landing_seen.write_text("{")):
        damage()
        assert names(home) == ["landing/not-looked-at"]
        (tmp_path / "landing").mkdir(exist_ok=True)
        note_landing(home, tmp_path / "landing")
        assert names(home) == []


def test_a_council_that_is_left_out_is_held(home: Home) -> None:
    put(home, "wirral", "eyfsp", 1000)
    put(home, "liverpool", "eyfsp", 1000)
    assert names(home) == ["liverpool/no-longer-taking-part"]


def test_one_cause_is_one_hold(home: Home, tmp_path: Path) -> None:
    """Half of a Profile: fewer rows and children than before, and so more of everything else for each child. A misnamed
    file: it is not read, and what it holds is missing."""
    store = home.get_cohort(COHORT)
    for council in COUNCILS:
        put(home, council, "eyfsp", 1000)
        for source in ("hv_reviews", "early_years_census", "parent_experience"):
            put(home, council, source, 1000)
    put(home, "leeds", "eyfsp", 250, "b", FAR_FROM_EXPECTED.id, FAR_FROM_LAST.id, expected=1000, last=1000)
    note_compared(home, 0.25, "b", "leeds/eyfsp")
    (hold,) = hold_rules.iter_holds(store)
    assert hold.name == "leeds/eyfsp/rows-far-from-expected"
    assert "of the rows that are expected" in hold.sentence
    assert "about 20% of the rows of the last delivery" in hold.sentence
    assert hold.numbers.endswith("250 of about 1,000 children last time")
    note_compared(home, 0.05, "b", "leeds/eyfsp")
    (other,) = hold_rules.iter_holds(store)
    assert other.name == "leeds/eyfsp/other-children-than-before"
    note_compared(home, 0.25, "b", "leeds/eyfsp")
    sent = dict.fromkeys(CONTRACTS, COUNCILS) | {"hv_reviews": COUNCILS[1:]}
    write_record(store, LinkageRecord(COUNCILS, sent))
    folder = tmp_path / "landing" / "halton" / "hv_reviews"
    folder.mkdir(parents=True)
    (folder / "reviews.dat").write_text("x")
    note_landing(home, tmp_path / "landing")
    (missing, _) = sorted(hold_rules.iter_holds(store), key=lambda each: each.name)
    assert missing.name == "halton/hv_reviews/not-read"
    assert "not in" in missing.sentence


def test_a_cause_is_accepted_for_several_councils_with_one_reason(home: Home) -> None:
    for council in ("halton", "leeds", "wirral"):
        put(home, council, "eyfsp", 1954, "a", FAR_FROM_EXPECTED.id, expected=3209)
    put(home, "leeds", "parent_experience", 500, "a", FAR_FROM_LAST.id, last=1000)
    listed = command(home, who=None).output
    assert "rows-far-from-expected: 3 holds, 3 councils" in listed
    assert "rows-far-from-last: 1 hold, 1 council" in listed
    assert "EYFS Profile: " not in listed  # council and source have columns of their own
    assert not [number for number in ("1,954", "1954", "3,209", "500") if number in listed]
    cause = ["--cause", "rows-far-from-expected", "--reason", RIGHT]
    assert command(home, *cause, "--council", "sefton").exit_code == 1
    assert command(home, "--council", "halton", "--reason", RIGHT).exit_code == 2
    assert command(home, "--cause", "no-such", "--reason", RIGHT).exit_code == 1
    assert closed_holds(home) == []
    assert command(home, *cause, "--council", "halton", "--council", "wirral").exit_code == 0
    assert closed_holds(home) == [f"{each}/eyfsp/rows-far-from-expected" for each in ("halton", "wirral")]
    assert command(home, *cause).exit_code == 0
    assert open_holds(home) == ["leeds/parent_experience/rows-far-from-last"]


def test_an_expectation_other_than_the_published_number_is_read_and_signed(home: Home) -> None:
    """Whoever says that a tenth is expected makes two holds disappear: those who sign see it, and sign it."""
    published = find_published_rows("eyfsp", "wirral")
    assert published
    put(home, "wirral", "eyfsp", published, expected=published)
    fix_release.fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions())
    usual = build_measurement_request(Release(home, VERSION))
    assert "Expected numbers of rows" not in render_sheet(home, usual)
    put(home, "wirral", "eyfsp", 320, expected=320)
    tenth = build_measurement_request(Release(home, VERSION))
    sheet = render_sheet(home, tenth)
    assert f"Wirral 320 (published {published:,})" in sheet
    assert tenth["cohorts"][COHORT].pop("expected_rows") not in (None, "")
    assert tenth == usual
    assert command(home, "--release", VERSION, what="approve").exit_code == 0
    put(home, "wirral", "eyfsp", 320, expected=330)
    with pytest.raises(WaitsForApproval, match="this differs: the operator's expected numbers of rows"):
        measure_release(
            CohortRelease(home.get_cohort(COHORT), VERSION),
            KeyRing.create(home.root.parent / "other"),
            COUNCILS,
            ReleaseOptions(),
        )


@pytest.mark.parametrize("size", [300, 20_000])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_samples_of_tokens_say_how_many_children_are_shared(size: int, share: float) -> None:
    drawn = np.random.default_rng(5).integers(0, 2**63, 3 * size, dtype=np.uint64)
    before, now = drawn[:size], np.r_[drawn[: int(share * size)], drawn[size : 2 * size]]

    def sample(tokens: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
        return {"t_upn": (np.sort(tokens)[:SAMPLE], len(tokens))}

    assert _estimate_shared(sample(before), sample(now)) == pytest.approx(share, abs=0.06)
    assert _estimate_shared({}, sample(now)) is None
    others = {"t_surname_dob": (np.sort(now)[:SAMPLE], len(now))}
    same = {"t_upn": (np.sort(before)[:SAMPLE], len(before))}
    renamed = _estimate_shared(sample(before) | {"t_surname_dob": sample(before)["t_upn"]}, same | others)
    assert renamed == pytest.approx(share, abs=0.06)  # the numbers of before, on other children


def test_small_made_up_extracts_of_a_demonstration_are_not_laid_beside_published_numbers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where every one of them is small, and nobody was ever named."""
    put(home, "leeds", "eyfsp", 900, "a", FAR_FROM_EXPECTED.id, expected=8985)
    put(home, "wirral", "eyfsp", 300, "a", FAR_FROM_EXPECTED.id, expected=3209)
    everyone = ["leeds/eyfsp/rows-far-from-expected", HOLD]
    assert sorted(names(home)) == everyone
    monkeypatch.setenv("READINESS_POLICY", "")
    assert names(home) == []
    put(home, "halton", "eyfsp", 1305, expected=1305)
    assert sorted(names(home)) == everyone


def test_a_hold_that_is_not_there_is_not_accepted_ahead(home: Home) -> None:
    put(home, "wirral", "eyfsp", 3300, expected=3209)
    refused = accept(home)
    assert (refused.exit_code, "is not held" in refused.output) == (1, True)
    assert "Nothing is held" in command(home, who=None).output
