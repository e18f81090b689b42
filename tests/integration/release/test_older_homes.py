"""A home made when seven files described a linkage and a release: read once, converted, and repeated to the byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from assets.home.paths import Home
from assets.linkage.inputs import NotLinked, read_record, record_of_tables
from assets.release import record
from assets.release.measure import publish_bundle
from assets.release.record import CohortRecord, NotBegun
from ndl_export.bundle.make import contents
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger
from tests.support.release.homes import COHORT, VERSION, home_of, released

pytestmark = pytest.mark.slow

COUNCILS = ["halton", "leeds"]
OLDER_RELEASE = "2025.11.0"


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _as_before(home: Home) -> None:
    """Take both records apart into the files that earlier code wrote."""
    linked = json.loads(home.linkage_record(COHORT).read_text())
    _write(home.linked(COHORT) / "taking_part.json", linked["taking_part"])
    _write(home.linked(COHORT) / "sent.json", linked["sent"])
    _write(home.linked(COHORT) / "made_from.json", linked["extracts"])
    home.linkage_record(COHORT).unlink()
    record = json.loads(home.release_record(VERSION).read_text())
    file = f"release={VERSION}.json"
    _write(home.restricted / "series" / file, {cohort: fixed["measured_in"] for cohort, fixed in record.items()})
    for cohort, fixed in record.items():
        for kind in ("share", "missing", "measured_from"):
            _write(home.restricted / kind / f"cohort={cohort}" / file, fixed[kind])
    shutil.rmtree(home.restricted / "releases")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set", demonstration=True)


@pytest.fixture(scope="module")
def released_before(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Home:
    """A home as earlier code left it, with a release; to be copied, not written."""
    home = home_of(tmp_path_factory.mktemp("home"), 100, COUNCILS)
    released(home, keys, COUNCILS)
    _as_before(home)
    return home


@pytest.fixture
def older(released_before: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(released_before.root, tmp_path / "home", symlinks=True)))


def _files(home: Home) -> set[str]:
    """Those of linkages and releases."""
    found = {str(path.relative_to(home.restricted)) for path in home.restricted.rglob("*.json")}
    return {file for file in found if not file.startswith(("measurements/", "processing_log"))}


def test_a_release_of_before_is_repeated_to_the_byte_and_charges_nothing(older: Home, keys: KeyRing) -> None:
    before, charged = contents(older.release / VERSION), Ledger(older.ledger).entries()
    shutil.rmtree(older.release)
    assert contents(released(older, keys, COUNCILS)) == before
    assert Ledger(older.ledger).entries() == charged
    kept = {
        f"linked/cohort={COHORT}/linkage_record.json",
        *(f"releases/{of}={VERSION}.json" for of in ("day", "release")),
    }
    assert _files(older) == kept
    assert not {"series", "share", "missing", "measured_from"} & {path.name for path in older.restricted.iterdir()}


def test_a_conversion_that_broke_off_is_finished(older: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it breaks off: what was known before is known afterwards, and nothing else."""

    class Killed(BaseException):
        pass

    expected = None
    for steps in range(5):
        monkeypatch.undo()
        home = Home(Path(shutil.copytree(older.root, older.root.with_name(f"broken{steps}"), symlinks=True)))
        left, unlink = [steps], Path.unlink

        def killed(path: Path, missing_ok: bool = False, left: list[int] = left, unlink: Any = unlink) -> None:
            if not path.name.endswith(".unfinished"):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", killed)
        for read in (lambda home=home: read_record(home, COHORT), lambda home=home: record.read_record(home, VERSION)):
            try:
                read()
            except Killed:
                left[0] = steps
        monkeypatch.undo()
        found = read_record(home, COHORT), record.read_record(home, VERSION)
        expected = expected or found
        assert found == expected
        assert len(_files(home)) == 2


def test_what_was_never_fixed_before_has_its_default(tmp_path: Path) -> None:
    """Homes made before there were series, shares and a note of deliveries."""
    home = Home(tmp_path)
    _write(home.restricted / "missing" / f"cohort={COHORT}" / f"release={OLDER_RELEASE}.json", {"eyfsp": ["leeds"]})
    expected = CohortRecord(OLDER_RELEASE, 1.0, {"eyfsp": ("leeds",)}, {})
    assert record.read_record(home, OLDER_RELEASE) == {COHORT: expected}
    _write(home.linked(COHORT) / "sent.json", {"eyfsp": ["leeds"], "school_census": ["halton"]})
    assert read_record(home, COHORT).taking_part == COUNCILS


def test_a_linkage_that_broke_off_before_is_still_none(older: Home) -> None:
    (older.linked(COHORT) / "sent.json").unlink()
    with pytest.raises(NotLinked, match="run the linkage first"):
        record_of_tables(older, COHORT)
    assert read_record(older, COHORT).taking_part == COUNCILS


def test_a_release_whose_record_is_lost_is_not_published(older: Home, keys: KeyRing) -> None:
    """What was missing when it was measured would be stated wrongly."""
    record.read_record(older, VERSION)
    older.release_record(VERSION).unlink()
    with pytest.raises(NotBegun, match=r"restore .*release=2026\.11\.0\.json from a backup"):
        publish_bundle(older, COHORT, keys, VERSION, COUNCILS)
