"""A revision spends a share of the policy's split, fixed with the release, within what the cohort has left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.release.fix_release import ReleaseOptions, fix_release
from ndl_export.bundle.verify import verify
from privacy.keys import KeyRing
from privacy.release.ledger import BudgetExceeded, Ledger, ReleaseConflict
from privacy.release.policy import PolicyError, load_policy
from tests.support.release.homes import COHORT, VERSION, home_of, released

COUNCILS = ["leeds"]
REVISION = "2026.11.1"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set", demonstration=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Home:
    """A cohort that has been released once, at the whole of the policy's split."""
    made = home_of(tmp_path_factory.mktemp("home"), 200, COUNCILS)
    released(made, keys, COUNCILS, VERSION)
    return made


def begin(home: Home, version: str, share: float | None) -> None:
    fix_release(home, COHORT, version, COUNCILS, ReleaseOptions(allow_missing=False, share=share))


@pytest.mark.slow
def test_a_revision_fits_at_the_share_that_the_refusal_names(home: Home, keys: KeyRing) -> None:
    before = home.ledger.read_bytes() if isinstance(home.ledger, Path) else b""
    with pytest.raises(BudgetExceeded, match=r"release 2026\.11\.1 \(pupil, health\) .*\(--share 0\.233\)"):
        begin(home, REVISION, None)
    assert before == (home.ledger.read_bytes() if isinstance(home.ledger, Path) else b"")
    begin(home, REVISION, 0.233)
    bundle = released(home, keys, COUNCILS, REVISION)
    assert verify(bundle).ok, str(verify(bundle))
    record = json.loads((bundle / "privacy_statement.json").read_text())
    charged = {each["unit"]: each["budget"]["charged_by_this_release_rho"] for each in record["cohorts"][0]["accounts"]}
    assert charged == {
        "child": pytest.approx(0.215 * 0.233, rel=1e-3),
        "response": pytest.approx(0.15 * 0.233, rel=1e-3),
    }
    assert Ledger(home.ledger).remaining(COHORT, "response") < 1e-3
    assert Ledger(home.ledger).remaining(COHORT) > 0.03
    with pytest.raises(ReleaseConflict, match=r"charged with a share of 0\.233, not 1"):
        begin(home, REVISION, 1.0)
    kept = (bundle / "SHA256SUMS").read_bytes()
    assert released(home, keys, COUNCILS, REVISION) == bundle
    assert released(home, keys, COUNCILS, VERSION).name == VERSION
    assert (bundle / "SHA256SUMS").read_bytes() == kept


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01])
def test_what_is_no_share_is_refused(home: Home, share: float) -> None:
    with pytest.raises(PolicyError, match="over 0 and at most 1"):
        begin(home, "2026.12.0", share)


def test_shares_are_whole_nano_rho_rounded_down() -> None:
    assert load_policy().scaled(0.2).split == {"pupil": 0.037, "health": 0.006, "parents": 0.03}
    assert load_policy().scaled(1e-7).split["pupil"] == 1.8e-8
    with pytest.raises(PolicyError, match="must be positive"):
        load_policy().scaled(1e-9)
