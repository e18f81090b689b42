"""What a release is asked for is checked before anything is charged, and on a cohort's first release its accuracy."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets.release.anchors import published_charges
from assets.release.fix_release import LEAST_SHARE, ReleaseOptions, fix_release
from assets.release.measure import measure_family, publish_bundle
from assets.release.planning import NotAccurateEnough
from assets.release.record import read_record
from ndl_export.bundle.verify import verify
from ndl_export.facts.release_facts import InvalidVersion, Version
from ndl_export.tables import FAMILIES
from pipelines.cli import main
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger, LedgerCorrupt, ReleaseConflict
from tests.support.release.homes import COHORT, VERSION, home_of, released

COUNCILS = ["leeds"]


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing.create(tmp_path / "keys", demonstration=True)


@pytest.mark.parametrize(
    ("version", "is_new"),
    [
        *(("2026.11.0", True), ("2026.12.3", True), ("2027.11.0", True), ("2020.01.0", True)),
        *(("2027.12.0", False), ("9999.12.0", False), ("2019.12.0", False), ("0001.01.0", False)),
    ],
)
def test_versions_are_of_about_now(version: str, is_new: bool) -> None:
    refused = nullcontext() if is_new else pytest.raises(InvalidVersion, match="begun in November 2026 cannot be of")
    with refused:
        Version.parse(version).check_is_new(dt.date(2026, 11, 26))


@pytest.mark.parametrize("options", [("--release", "9999.12.0"), ("--share", "0.0000001"), ("--share", "nan")])
def test_the_command_refuses_before_it_takes_anything_in(tmp_path: Path, options: tuple[str, ...]) -> None:
    places = [
        "--landing",
        str(tmp_path / "landing"),
        "--home",
        str(tmp_path / "home"),
        "--keys",
        str(tmp_path / "keys"),
    ]
    (tmp_path / "landing" / "leeds").mkdir(parents=True)
    done = CliRunner().invoke(main, ["run", *places, "--create-keys", "--cohort", COHORT, *options])
    assert done.exit_code == 1
    assert done.output.startswith("readiness: a release")
    assert "[1/" not in done.output
    assert Ledger(tmp_path / "home" / "ledger.sqlite").entries() == []


def test_a_first_release_is_worth_its_share_and_a_revision_need_not_be(tmp_path: Path) -> None:
    home = home_of(tmp_path, 50, COUNCILS)
    asked = ReleaseOptions(allow_missing=False, share=0.01)
    with pytest.raises(NotAccurateEnough, match="not worth their budget"):
        fix_release(home, COHORT, VERSION, COUNCILS, asked)
    assert read_record(home, VERSION) == {}
    ledger = Ledger(home.ledger)
    ledger.approve(COHORT, 0.3)
    ledger.commit(ledger.reserve(COHORT, "2026.10.0", "pupil", 0.1, "p", "m"), "f" * 64)
    assert fix_release(home, COHORT, VERSION, COUNCILS, asked) == [COHORT]


@pytest.mark.parametrize("name", [VERSION, f"{VERSION}.zip"])
def test_a_release_whose_place_is_taken_is_not_begun(tmp_path: Path, name: str) -> None:
    home = home_of(tmp_path, 50, COUNCILS)
    home.release.mkdir(parents=True, exist_ok=True)
    (home.release / name).write_bytes(b"")
    with pytest.raises(ReleaseConflict, match="is there, and cohort 202425 was not measured for it"):
        fix_release(home, COHORT, VERSION, COUNCILS, ReleaseOptions(allow_missing=False))


@pytest.mark.slow
def test_the_least_share_can_be_published_and_a_lost_ledger_stops_all(tmp_path: Path, keys: KeyRing) -> None:
    home = home_of(tmp_path, 50, COUNCILS)
    released(home, keys, COUNCILS, VERSION)
    revision = "2026.11.1"
    fix_release(home, COHORT, revision, COUNCILS, ReleaseOptions(allow_missing=False, share=LEAST_SHARE))
    for family in FAMILIES:
        measure_family(home, COHORT, keys, family, revision, COUNCILS)
    report = verify(publish_bundle(home, COHORT, keys, revision, COUNCILS))
    assert report.ok, str(report)
    assert {charge.release for charge in published_charges(home, keys)} == {VERSION, revision}
    for path in home.root.glob("ledger.sqlite*"):
        path.unlink()
    fix_release(home, COHORT, "2026.12.0", COUNCILS, ReleaseOptions(allow_missing=False))
    with pytest.raises(LedgerCorrupt, match="another ledger, or an old copy"):
        measure_family(home, COHORT, keys, "pupil", "2026.12.0", COUNCILS)
    assert Ledger(home.ledger).charges() == []
