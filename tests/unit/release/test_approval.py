"""What counts as a person's signature, and what does not."""

import dataclasses
import datetime as dt
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, strategies as st

from privacy.doors import clock
from privacy.release.approval import MayNotSign, SignOffs, WaitsForApproval
from privacy.release.canonical import compute_sha256, encode_canonical_json
from privacy.release.ledger import Ledger, LedgerCorrupt, format_approval_note
from privacy.release.policy import SignOff, Stage, format_public_key
from privacy.release.signature_log import SignatureLog, parse_signature
from privacy.release.signed_lines import Allowed, Approval, hash_text_page, parse_line
from tests.support.daily import limit_examples
from tests.support.release.people import ANNA, BRAM, Signer, sign_off

COHORT, SHEET = "202425", "5" * 64
RELEASE_KEY = Ed25519PrivateKey.generate()
PUBLIC = format_public_key(RELEASE_KEY.public_key())
DEMONSTRATION_KEY = Ed25519PrivateKey.generate()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
NOBODY = SignOff({"measurement": 1, "publication": 1}, ())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def request_of(ledger: Ledger, release: str = "2026.11.0", **changes: Any) -> dict[str, Any]:
    cohort = {
        "measured_in": release,
        "share": 1.0,
        "plans": {"pupil": "a" * 64},
        "inputs": {"leeds/eyfsp": "b" * 64},
        "missing": {},
        "charged_besides_nano_rho": 0,
    }
    return {
        "stage": "measurement",
        "release": release,
        "ledger": ledger.get_identity(),
        "policy_sha256": "c" * 64,
        "cohorts": {COHORT: cohort | changes},
    }


def signed(ledger: Ledger, who: Signer, policy: SignOff, request: dict[str, Any]) -> None:
    SignatureLog(ledger, policy).sign(request, COHORT, SHEET, who.key)


def allowed(ledger: Ledger, policy: SignOff, request: dict[str, Any], sheet: str = SHEET) -> None:
    SignatureLog(ledger).record_keys(RELEASE_KEY)
    SignatureLog(ledger, policy).allow(request, sheet, RELEASE_KEY)


def change_to(ledger: Ledger, policy: SignOff, *signers: Signer) -> None:
    """Put the people of a policy in the place of those recorded, who sign that."""
    change = SignOffs(ledger).build_change_of_people(policy)
    assert change
    for signer in signers:
        SignatureLog(ledger, policy).sign(change, "", hash_text_page(change), signer.key)


def test_a_named_persons_signature_lets_it_go_on_and_is_kept(ledger: Ledger) -> None:
    request = request_of(ledger)
    with pytest.raises(WaitsForApproval, match="1 person before it is measured, and has none"):
        allowed(ledger, sign_off(ANNA), request)
    assert SignOffs(ledger).list_allowed(Stage.MEASUREMENT, "2026.11.0") == []
    signed(ledger, ANNA, sign_off(ANNA), request)
    allowed(ledger, sign_off(ANNA), request)
    (found,) = SignOffs(ledger).list_allowed(Stage.MEASUREMENT, "2026.11.0")
    assert (found.person.name, found.approval.sheet_sha256, found.request) == (ANNA.name, SHEET, request)
    assert SignOffs(ledger).is_allowed(request, PUBLIC)
    assert not SignOffs(ledger).is_allowed(request_of(ledger, share=0.5), PUBLIC)


def test_a_person_counts_once(ledger: Ledger) -> None:
    """Neither for the same line again, nor under another's key, nor by a line that says that she allowed it alone."""
    policy, request = sign_off(ANNA, BRAM, measurement=2), request_of(ledger)
    signed(ledger, ANNA, policy, request)
    with pytest.raises(MayNotSign, match="a person counts once"):
        signed(ledger, ANNA, policy, request)
    line = ledger.sign_offs()[-1]
    ledger.add_sign_off(line.content)
    ledger.add_sign_off(json.dumps(json.loads(line.content) | {"key": BRAM.person.key}))
    forge_allowed(ledger, request, line.entry_hash)
    assert not SignOffs(ledger).is_allowed(request, PUBLIC)
    with pytest.raises(WaitsForApproval, match=r"2 people before it is measured, and has 1.*does not verify"):
        allowed(ledger, policy, request)
    signed(ledger, BRAM, policy, request)
    allowed(ledger, policy, request)
    assert len(SignOffs(ledger).list_allowed(Stage.MEASUREMENT, "2026.11.0")) == 2


def test_a_key_that_the_policy_does_not_name_signs_nothing(ledger: Ledger) -> None:
    lines = len(ledger.sign_offs())
    with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
        SignatureLog(ledger, sign_off(ANNA)).sign(request_of(ledger), COHORT, SHEET, Ed25519PrivateKey.generate())
    assert not [line for line in ledger.sign_offs()[lines:] if json.loads(line.content)["kind"] == "approval"]


def test_the_key_that_signs_releases_is_no_approvers(ledger: Ledger) -> None:
    """Also where an unsigned file alone gives a person's key as that of a release, which denies her nothing else."""
    publisher, request = Signer("Bram Thistlewood", "publisher", RELEASE_KEY), request_of(ledger)
    policy = sign_off(ANNA, publisher)
    signed(ledger, publisher, policy, request)
    with pytest.raises(WaitsForApproval, match="the key that signs releases, which may not sign them off"):
        allowed(ledger, policy, request)
    SignatureLog(ledger).record_keys(RELEASE_KEY)
    with pytest.raises(MayNotSign, match="the key that signs releases"):
        signed(ledger, publisher, policy, request)
    signed(ledger, ANNA, policy, request)
    with pytest.raises(WaitsForApproval, match="the key that signs releases"):
        SignatureLog(ledger, policy).allow(request, SHEET, RELEASE_KEY, ANNA.person.key)
    allowed(ledger, policy, request)


def test_who_was_removed_since_does_not_count_and_what_she_allowed_stays_allowed(ledger: Ledger) -> None:
    before, request = request_of(ledger, share=0.5), request_of(ledger)
    for each in (before, request):
        signed(ledger, ANNA, sign_off(ANNA), each)
    allowed(ledger, sign_off(ANNA), before)
    change_to(ledger, sign_off(BRAM), ANNA)
    with pytest.raises(WaitsForApproval, match="a key that belongs to no recorded signer"):
        allowed(ledger, sign_off(BRAM), request)
    (found,) = SignOffs(ledger).list_allowed(Stage.MEASUREMENT, "2026.11.0")
    assert (found.person.name, found.request, SignOffs(ledger).is_allowed(before, PUBLIC)) == (
        ANNA.name,
        before,
        True,
    )


def test_whose_time_is_over_does_not_count(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    until = Signer("Anna Quillfeather", "privacy lead", ANNA.key, until=dt.date(2026, 11, 30))
    policy, request = sign_off(until), request_of(ledger)
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC))
    signed(ledger, until, policy, request)
    allowed(ledger, policy, request)
    monkeypatch.setattr(clock, "now", lambda: dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
    assert SignOffs(ledger).is_allowed(request, PUBLIC), "it was allowed in her time"
    with pytest.raises(WaitsForApproval, match="by the privacy lead does not count, because the time of the"):
        allowed(ledger, policy, request_of(ledger))
    with pytest.raises(MayNotSign, match="the time of the privacy lead is over"):
        signed(ledger, until, policy, request_of(ledger, share=0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.2}, r"the share \(1\.0, now 0\.2\)"),
        ({"plans": {"pupil": "d" * 64}}, "the plan of pupil"),
        ({"inputs": {"leeds/eyfsp": "d" * 64}}, "differs: leeds/eyfsp"),
        ({"inputs": {"leeds/eyfsp": "b" * 64, "wirral/eyfsp": "b" * 64}}, "differs: wirral/eyfsp"),
        ({"missing": {"eyfsp": ["wirral"]}}, "which councils have sent nothing"),
        ({"charged_besides_nano_rho": 1}, "what other releases have charged"),
        ({"release": "2026.11.1"}, r"differs: the release \(2026\.11\.0\)"),
        ({"policy_sha256": "d" * 64}, "differs: the policy"),
        ({"stage": "publication"}, "before it is published, and has none"),
        ({"sheet": "6" * 64}, "differs: the decision sheet"),
    ],
)
def test_what_moved_since_is_said(ledger: Ledger, change: dict[str, Any], message: str) -> None:
    """An approval is of one release, policy, stage, page and everything that is measured."""
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    now = request_of(ledger)
    now |= {
        name: value for name, value in change.items() if name in ("release", "policy_sha256", "stage", "sha256sums")
    }
    now["cohorts"][COHORT] |= {name: value for name, value in change.items() if name in now["cohorts"][COHORT]}
    with pytest.raises(WaitsForApproval, match=message) as waiting:
        allowed(ledger, sign_off(ANNA), now, change.get("sheet", SHEET))
    assert ANNA.name not in str(waiting.value)


def test_an_approval_of_another_ledger_is_worth_nothing(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.sqlite")
    signed(other, ANNA, sign_off(ANNA), request_of(other))
    ledger.get_identity()
    ledger.add_sign_off(other.sign_offs()[-1].content)
    with pytest.raises(WaitsForApproval, match="differs: the ledger"):
        allowed(ledger, sign_off(ANNA), request_of(ledger))


@pytest.mark.parametrize(
    "forge",
    [
        lambda line, now: line | {"request": now},
        lambda line, now: line | {"sheet_sha256": "6" * 64},
        lambda line, now: line | {"request": now, "key": BRAM.person.key},
        lambda line, now: line | {"signature": "00" * 64},
    ],
)
def test_a_forged_line_does_not_count(ledger: Ledger, forge: Callable[..., dict[str, Any]]) -> None:
    policy, now = sign_off(ANNA, BRAM), request_of(ledger, share=0.5)
    signed(ledger, ANNA, policy, request_of(ledger))
    line = json.loads(ledger.sign_offs()[-1].content)
    ledger.add_sign_off(json.dumps(forge(line, now)))
    with pytest.raises(WaitsForApproval):
        allowed(ledger, policy, now)


# --- What whoever can write to the ledger puts into it


def forge(ledger: Ledger, kind: str, **content: Any) -> str:
    return ledger.add_sign_off(json.dumps({"kind": kind, **content})).entry_hash


def forge_approval(ledger: Ledger, request: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """A genuine signature of a key that nobody named, and a line that says that it allowed the request."""
    own = Approval("", "", request, COHORT, SHEET).sign_with(key)
    return forge_allowed(ledger, request, forge(ledger, **dataclasses.asdict(own)))


def forge_allowed(ledger: Ledger, request: dict[str, Any], *lines: str, sheet: str = SHEET) -> str:
    """State that lines allowed a request and its page, signed with a key that nobody knows."""
    stated = Allowed("", "", lines, compute_sha256(encode_canonical_json(request)), sheet)
    return forge(ledger, **dataclasses.asdict(stated.sign_with(Ed25519PrivateKey.generate())))


@pytest.mark.parametrize("stage", [Stage.MEASUREMENT, Stage.PUBLICATION])
def test_a_fresh_key_that_is_said_to_have_allowed_a_release_allows_nothing(ledger: Ledger, stage: Stage) -> None:
    SignatureLog(ledger, sign_off(ANNA))
    request = request_of(ledger) | {"stage": stage.value}
    forge_approval(ledger, request, Ed25519PrivateKey.generate())
    forge_allowed(ledger, request, "f" * 64)
    books = SignOffs(ledger)
    assert not books.is_allowed(request, PUBLIC)
    assert books.list_allowed(stage, "2026.11.0") == []
    assert books.list_signed() == []
    assert [each.person.role for each in books.approvals] == ["somebody who is not recorded"]
    with pytest.raises(WaitsForApproval, match="and has none"):
        allowed(ledger, sign_off(ANNA), request)


@pytest.mark.parametrize("stage", ["measurement", "publication", "withdrawal"])
def test_a_genuine_signature_under_another_page_allows_nothing(ledger: Ledger, stage: str) -> None:
    """Anna read another page; somebody who can write to the ledger adds the line that says what was allowed."""
    request = request_of(ledger) | {"stage": stage, "reason": "wrong"}
    SignatureLog(ledger).record_keys(RELEASE_KEY)
    signed(ledger, ANNA, sign_off(ANNA), request)
    line = ledger.sign_offs()[-1].entry_hash
    page = hash_text_page(request) if stage == "withdrawal" else "6" * 64
    for sheet in (SHEET, page):
        forge_allowed(ledger, request, line, sheet=sheet)
    assert not SignOffs(ledger).is_allowed(request, PUBLIC)
    assert not [*SignOffs(ledger).iter_withdrawals()]
    with pytest.raises(WaitsForApproval, match="the decision sheet"):
        allowed(ledger, sign_off(ANNA), request, page)


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger with one signature, to which lines are added."""
    ledger = Ledger(tmp_path_factory.mktemp("forged") / "ledger.sqlite")
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    return ledger


@limit_examples(60)
@given(
    line=st.one_of(
        st.text(),
        st.dictionaries(st.sampled_from(["kind", "approvals", "request", "sheet_sha256", "people", "key"]), JSON).map(
            json.dumps
        ),
        st.builds(
            lambda kind, rest: json.dumps({"kind": kind} | rest),
            st.sampled_from(["approval", "allowed", "people", "demonstration", "release key", "acceptance", "ledger"]),
            st.dictionaries(st.sampled_from(["approvals", "request_sha256", "key", "people", "persons"]), JSON),
        ),
    )
)
def test_no_line_that_somebody_adds_stops_a_release(forged: Ledger, line: str) -> None:
    before = len(SignOffs(forged).ignored)
    forged.add_sign_off(line)
    allowed(forged, sign_off(ANNA), request_of(forged))
    books = SignOffs(forged)
    assert books.is_allowed(request_of(forged), PUBLIC)
    assert len(books.ignored) == before + (parse_line(line) is None)


def test_who_names_herself_in_the_policy_signs_nothing(ledger: Ledger) -> None:
    """Neither by the policy file, nor by a line in the ledger that names her."""
    mallory = Signer.create("Mallory Unnamed")
    SignatureLog(ledger, sign_off(ANNA, BRAM, measurement=2))
    request = request_of(ledger)
    for policy in (sign_off(mallory), sign_off(ANNA, BRAM, mallory)):
        with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
            signed(ledger, mallory, policy, request)
        forge(ledger, "people", **policy.build_document())
        forge_approval(ledger, request, mallory.key)
        assert not SignOffs(ledger).is_allowed(request, PUBLIC)
        with pytest.raises(WaitsForApproval, match="2 people before it is measured, and has none"):
            allowed(ledger, policy, request)


def test_a_line_that_calls_a_persons_key_the_one_that_signs_releases_denies_her_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Neither one that states it alone, nor one that the key signed for another ledger, nor another's signature."""
    SignatureLog(ledger, sign_off(ANNA))
    elsewhere, request = Ledger(tmp_path / "other.sqlite"), request_of(ledger)
    SignatureLog(elsewhere).record_keys(ANNA.key)
    of_elsewhere = json.loads(elsewhere.sign_offs()[-1].content)
    SignatureLog(ledger).record_keys(RELEASE_KEY)
    own = json.loads(ledger.sign_offs()[-1].content)
    forge(ledger, "release key", key=ANNA.person.key)
    for line in (of_elsewhere, of_elsewhere | {"ledger": ledger.get_identity()}, own | {"key": ANNA.person.key}):
        ledger.add_sign_off(json.dumps(line))
    signed(ledger, ANNA, sign_off(ANNA), request)
    allowed(ledger, sign_off(ANNA), request)
    assert SignOffs(ledger).release_keys == {format_public_key(RELEASE_KEY.public_key())}


def test_signatures_that_begin_anew_under_the_old_identity_are_noticed(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever drops the triggers and writes the chain again, with herself as the first person, keeps the entries, since
    what is published states these."""
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    ledger.approve(COHORT, 1.0, format_approval_note(ledger.sign_offs()[-1:]))
    ledger.verify_chain()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("DROP TRIGGER sign_offs_never_delete")
        connection.execute("DELETE FROM sign_offs WHERE seq > 1")
    for read in (
        lambda: SignatureLog(ledger, sign_off(BRAM)),
        lambda: SignOffs(ledger),
        ledger.verify_chain,
    ):
        with pytest.raises(LedgerCorrupt, match="was cut short or begun anew"):
            read()


def test_a_change_of_people_takes_as_many_of_those_before_as_ever_sign(ledger: Ledger) -> None:
    carla = Signer.create("Carla Openwood")
    before, after = sign_off(ANNA, BRAM, publication=2), sign_off(BRAM, carla, measurement=2)
    SignatureLog(ledger, before)
    change_to(ledger, after, ANNA)
    assert SignOffs(ledger).recorded.sign_off == SignOff.parse(before.build_document())
    with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
        SignatureLog(ledger, after).sign(SignOffs(ledger).build_change_of_people(after) or {}, "", SHEET, carla.key)
    change_to(ledger, after, BRAM)
    assert SignOffs(ledger).build_change_of_people(after) is None
    signed(ledger, carla, after, request_of(ledger))
    with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
        signed(ledger, ANNA, after, request_of(ledger))


def test_a_change_of_people_that_was_signed_once_is_not_put_back_later(ledger: Ledger) -> None:
    only_anna, only_bram = sign_off(ANNA), sign_off(BRAM)
    SignatureLog(ledger, only_anna)
    change_to(ledger, only_bram, ANNA)
    change_to(ledger, only_anna, BRAM)
    forge(ledger, "people", **only_bram.build_document())
    assert SignOffs(ledger).recorded.people == (ANNA.person,)


def test_a_policy_that_names_nobody_leaves_those_who_are_recorded(ledger: Ledger) -> None:
    SignatureLog(ledger, sign_off(ANNA))
    SignatureLog(ledger, NOBODY)
    assert SignOffs(ledger).build_change_of_people(NOBODY) is None
    signed(ledger, ANNA, NOBODY, request_of(ledger))
    allowed(ledger, NOBODY, request_of(ledger))


def test_lines_that_are_none_are_passed_over(ledger: Ledger) -> None:
    ledger.get_identity()
    for line in (
        {"kind": "approval"},
        {"kind": "approval", "request": "x", "cohort": "", "sheet_sha256": "", "key": "", "signature": ""},
        {"kind": "approval", "request": {}, "cohort": "", "sheet_sha256": "", "key": 1, "signature": 2},
        {"kind": "approval", "request": {}, "cohort": "", "sheet_sha256": "", "key": [], "signature": ""},
        {"kind": "allowed"},
        {"kind": "allowed", "approvals": 7},
        {"kind": "people"},
        {"kind": "people", "people": [{"until": 7}], "persons": {}},
        {"kind": "demonstration"},
        {"kind": "release key"},
        {"kind": "release key", "ledger": "", "key": [], "signature": ""},
        {},
    ):
        ledger.add_sign_off(json.dumps(line))
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    allowed(ledger, sign_off(ANNA), request_of(ledger))
    assert len(SignOffs(ledger).list_allowed(Stage.MEASUREMENT, "2026.11.0")) == 1


# --- Signed elsewhere


@pytest.mark.parametrize("text", ["", "yes", b"x" * 63, "00" * 63, b"\xff" * 65])
def test_what_is_no_signature_is_refused(text: str | bytes) -> None:
    with pytest.raises(MayNotSign, match="this is no Ed25519 signature"):
        parse_signature(text)


# --- Demonstrations


def demonstrate(
    ledger: Ledger, policy: SignOff, request: dict[str, Any], key: Ed25519PrivateKey = DEMONSTRATION_KEY
) -> None:
    SignatureLog(ledger).record_keys(RELEASE_KEY, format_public_key(key.public_key()))
    SignatureLog(ledger, policy).sign(request, COHORT, SHEET, key)
    allowed(ledger, policy, request)


def test_a_demonstration_goes_on_and_says_so(ledger: Ledger) -> None:
    demonstrate(ledger, NOBODY, request_of(ledger))
    (found,) = SignOffs(ledger).list_allowed(Stage.MEASUREMENT, "2026.11.0")
    assert found.is_demonstration
    with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
        demonstrate(ledger, NOBODY, request_of(ledger, share=0.5), Ed25519PrivateKey.generate())


def test_no_demonstration_where_people_are_named_or_ever_were(ledger: Ledger) -> None:
    """Neither a new signature of its key, nor one from before they were named."""
    before = request_of(ledger)
    SignatureLog(ledger).record_keys(RELEASE_KEY, format_public_key(DEMONSTRATION_KEY.public_key()))
    SignatureLog(ledger, NOBODY).sign(before, COHORT, SHEET, DEMONSTRATION_KEY)
    for policy in (sign_off(ANNA), NOBODY):
        with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
            demonstrate(ledger, policy, request_of(ledger, share=0.5))
        with pytest.raises(WaitsForApproval, match="a key that belongs to no recorded signer"):
            allowed(ledger, policy, before)


def test_a_real_extract_ends_a_demonstration_for_good(ledger: Ledger) -> None:
    demonstrate(ledger, NOBODY, request_of(ledger))
    SignatureLog(ledger).record_real_extract("leeds/eyfsp/202425")
    with pytest.raises(MayNotSign, match="belongs to no recorded signer"):
        demonstrate(ledger, NOBODY, request_of(ledger, share=0.5))
    forge(ledger, "demonstration", key=format_public_key(DEMONSTRATION_KEY.public_key()))
    assert SignOffs(ledger).recorded.people == ()
    assert SignOffs(ledger).is_allowed(request_of(ledger), PUBLIC), "what was published before stays what it is"
