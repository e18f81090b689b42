"""What counts as a person's signature, and what does not."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privacy.release import approval
from privacy.release.approval import (
    MayNotSign,
    SignOffs,
    WaitsForApproval,
    allow,
    note_people,
    sign,
    sign_as_demonstration,
)
from privacy.release.ledger import Ledger, LedgerCorrupt
from privacy.release.policy import PolicyError, SignOff, Stage, public_text
from tests.support.release.people import ANNA, BRAM, Signer, sign_off

COHORT, SHEET = "202425", "5" * 64
RELEASE_KEY = Ed25519PrivateKey.generate()
DEMONSTRATION_KEY = Ed25519PrivateKey.generate()
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
        "ledger": ledger.identity(),
        "policy_sha256": "c" * 64,
        "cohorts": {COHORT: cohort | changes},
    }


def signed(ledger: Ledger, who: Signer, policy: SignOff, request: dict[str, Any]) -> None:
    sign(ledger, policy, request, COHORT, SHEET, who.key)


def allowed(ledger: Ledger, policy: SignOff, request: dict[str, Any], **keys: str) -> None:
    allow(ledger, policy, request, public_text(RELEASE_KEY.public_key()), **keys)


def test_nothing_goes_on_that_nobody_signed(ledger: Ledger) -> None:
    with pytest.raises(WaitsForApproval, match=r"by 1 person, and has none: nothing was charged or drawn$"):
        allowed(ledger, sign_off(ANNA), request_of(ledger))
    assert SignOffs(ledger).allowed(Stage.MEASUREMENT, "2026.11.0") == []


def test_a_named_persons_signature_lets_it_go_on_and_is_kept(ledger: Ledger) -> None:
    request = request_of(ledger)
    signed(ledger, ANNA, sign_off(ANNA), request)
    allowed(ledger, sign_off(ANNA), request)
    (found,) = SignOffs(ledger).allowed(Stage.MEASUREMENT, "2026.11.0")
    assert (found.approval.name, found.approval.sheet_sha256, found.request) == (ANNA.name, SHEET, request)
    assert SignOffs(ledger).is_allowed(request)
    assert not SignOffs(ledger).is_allowed(request_of(ledger, share=0.5))


def test_a_person_counts_once(ledger: Ledger) -> None:
    policy, request = sign_off(ANNA, BRAM, measurement=2), request_of(ledger)
    signed(ledger, ANNA, policy, request)
    with pytest.raises(MayNotSign, match="a person counts once"):
        signed(ledger, ANNA, policy, request)
    with pytest.raises(WaitsForApproval, match="by 2 people, and has 1"):
        allowed(ledger, policy, request)
    signed(ledger, BRAM, policy, request)
    allowed(ledger, policy, request)
    assert len(SignOffs(ledger).allowed(Stage.MEASUREMENT, "2026.11.0")) == 2


def test_a_line_that_is_put_in_again_counts_once(ledger: Ledger) -> None:
    policy, request = sign_off(ANNA, BRAM, measurement=2), request_of(ledger)
    signed(ledger, ANNA, policy, request)
    ledger.add_sign_off(ledger.sign_offs()[-1].content)
    with pytest.raises(WaitsForApproval, match="has 1"):
        allowed(ledger, policy, request)


@pytest.mark.parametrize("key", [Ed25519PrivateKey.generate(), RELEASE_KEY, DEMONSTRATION_KEY])
def test_a_key_that_the_policy_does_not_name_signs_nothing(ledger: Ledger, key: Ed25519PrivateKey) -> None:
    lines = len(ledger.sign_offs())
    with pytest.raises(MayNotSign, match="names nobody with this key"):
        sign(ledger, sign_off(ANNA), request_of(ledger), COHORT, SHEET, key)
    assert not [line for line in ledger.sign_offs()[lines:] if json.loads(line.content)["kind"] == "approval"]


def test_the_key_that_signs_releases_is_no_approvers(ledger: Ledger) -> None:
    publisher = Signer("Anna Quillfeather", "privacy lead", RELEASE_KEY)
    request = request_of(ledger)
    signed(ledger, publisher, sign_off(publisher), request)
    with pytest.raises(WaitsForApproval, match="the key that signs releases, which may not sign them off"):
        allowed(ledger, sign_off(publisher), request)


def test_who_was_removed_since_does_not_count(ledger: Ledger) -> None:
    request = request_of(ledger)
    signed(ledger, ANNA, sign_off(ANNA), request)
    with pytest.raises(WaitsForApproval, match="a key that the policy does not name any more"):
        allowed(ledger, sign_off(BRAM), request)


def test_whose_time_is_over_does_not_count(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    until = Signer("Anna Quillfeather", "privacy lead", ANNA.key, until=dt.date(2026, 11, 30))
    policy, request = sign_off(until), request_of(ledger)
    monkeypatch.setattr(approval, "_now", lambda: dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC))
    signed(ledger, until, policy, request)
    allowed(ledger, policy, request)
    monkeypatch.setattr(approval, "_now", lambda: dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
    with pytest.raises(WaitsForApproval, match="by the privacy lead, whose time is over"):
        allowed(ledger, policy, request_of(ledger))
    with pytest.raises(MayNotSign, match="time of the privacy lead is over"):
        signed(ledger, until, policy, request_of(ledger, share=0.5))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"share": 0.2}, r"the share \(1\.0, now 0\.2\)"),
        ({"plans": {"pupil": "d" * 64}}, "the plan of pupil"),
        ({"inputs": {"leeds/eyfsp": "d" * 64}}, "differs: leeds/eyfsp"),
        ({"inputs": {"leeds/eyfsp": "b" * 64, "wirral/eyfsp": "b" * 64}}, "differs: wirral/eyfsp"),
        ({"missing": {"eyfsp": ["wirral"]}}, "which councils have sent nothing"),
        ({"charged_besides_nano_rho": 1}, "what other releases have charged"),
    ],
)
def test_what_moved_since_is_said(ledger: Ledger, change: dict[str, Any], said: str) -> None:
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    with pytest.raises(WaitsForApproval, match=said) as waiting:
        allowed(ledger, sign_off(ANNA), request_of(ledger, **change))
    assert ANNA.name not in str(waiting.value)


def test_an_approval_is_of_one_release_one_policy_and_one_point(ledger: Ledger) -> None:
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    with pytest.raises(WaitsForApproval, match=r"differs: the release \(2026\.11\.0\)"):
        allowed(ledger, sign_off(ANNA), request_of(ledger, "2026.11.1"))
    with pytest.raises(WaitsForApproval, match="differs: the policy"):
        allowed(ledger, sign_off(ANNA), request_of(ledger) | {"policy_sha256": "d" * 64})
    bundle = {"stage": "publication", "release": "2026.11.0", "ledger": ledger.identity(), "sha256sums": "e" * 64}
    with pytest.raises(WaitsForApproval, match="the approval of its publication by 1 person, and has none"):
        allowed(ledger, sign_off(ANNA), bundle)


def test_an_approval_of_another_ledger_is_worth_nothing(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.sqlite")
    signed(other, ANNA, sign_off(ANNA), request_of(other))
    ledger.identity()
    ledger.add_sign_off(other.sign_offs()[-1].content)
    with pytest.raises(WaitsForApproval, match="differs: the ledger"):
        allowed(ledger, sign_off(ANNA), request_of(ledger))


@pytest.mark.parametrize(
    "forge",
    [
        lambda line, now: line | {"request": now},
        lambda line, now: line | {"role": "somebody else"},
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


def test_that_something_was_allowed_is_believed_for_signatures_alone(ledger: Ledger) -> None:
    request = request_of(ledger)
    forged = {"kind": "allowed", "stage": "measurement", "release": "2026.11.0", "approvals": ["f" * 64]}
    ledger.add_sign_off(json.dumps(forged | {"request_sha256": "f" * 64}))
    assert not SignOffs(ledger).is_allowed(request)


def test_what_was_signed_can_neither_be_changed_nor_removed(ledger: Ledger, tmp_path: Path) -> None:
    signed(ledger, ANNA, sign_off(ANNA), request_of(ledger))
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        for statement in ("UPDATE sign_offs SET content = '{}'", "DELETE FROM sign_offs"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
        connection.execute("DROP TRIGGER sign_offs_never_update")
        connection.execute("UPDATE sign_offs SET content = '{}' WHERE seq = 1")
    with pytest.raises(LedgerCorrupt, match="signature 1 of the ledger was altered"):
        ledger.verify_chain()


# --- Demonstrations


def demonstrate(ledger: Ledger, policy: SignOff, request: dict[str, Any]) -> None:
    key = public_text(DEMONSTRATION_KEY.public_key())
    sign_as_demonstration(ledger, policy, request, COHORT, SHEET, DEMONSTRATION_KEY)
    allowed(ledger, policy, request, demonstration_key=key)


def test_a_demonstration_goes_on_and_says_so(ledger: Ledger) -> None:
    demonstrate(ledger, NOBODY, request_of(ledger))
    (found,) = SignOffs(ledger).allowed(Stage.MEASUREMENT, "2026.11.0")
    assert found.approval.is_demonstration
    with pytest.raises(WaitsForApproval, match="a demonstration's key, which does not count here"):
        allowed(ledger, NOBODY, request_of(ledger))


def test_no_demonstration_where_people_are_named_or_ever_were(ledger: Ledger) -> None:
    with pytest.raises(MayNotSign, match="people sign this installation's releases"):
        demonstrate(ledger, sign_off(ANNA), request_of(ledger))
    note_people(ledger, sign_off(ANNA))
    with pytest.raises(MayNotSign, match="people sign this installation's releases"):
        demonstrate(ledger, NOBODY, request_of(ledger))


def test_a_demonstrations_signature_ends_to_count_when_people_are_named(ledger: Ledger) -> None:
    request = request_of(ledger)
    demonstrate(ledger, NOBODY, request)
    key = public_text(DEMONSTRATION_KEY.public_key())
    for policy in (sign_off(ANNA), NOBODY):
        with pytest.raises(WaitsForApproval, match="a demonstration's key, which does not count here"):
            allowed(ledger, policy, request, demonstration_key=key)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ((ANNA, Signer.new("anna  QUILLFEATHER")), "a person stands there once"),
        ((ANNA, Signer("Somebody Else", "clerk", ANNA.key)), "a key is one person's"),
    ],
)
def test_a_policy_names_a_person_once(people: tuple[Signer, ...], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        sign_off(*people)


def test_a_policy_names_as_many_as_must_sign() -> None:
    with pytest.raises(PolicyError, match="2 persons must sign, and only 1 may"):
        sign_off(ANNA, publication=2)
