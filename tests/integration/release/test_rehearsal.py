"""A release that cannot be finished costs nothing: all of it is made from made-up counts before it is charged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest

from assets.home.paths import Home
from assets.release import rehearsal
from assets.release.fix_release import ReleaseOptions, fix_release
from assets.release.measure import measure_release
from assets.release.release import CohortRelease
from ndl_export.analyst_db import dimensions
from ndl_export.bundle import make
from ndl_export.documents import pages
from ndl_export.files.signing import PUBLIC_KEY_FILE
from privacy.keys import KeyRing
from privacy.release.ledger import Ledger
from tests.support.daily import mark_slow_after
from tests.support.release.homes import COHORT, VERSION, list_charges, make_home, make_release

pytestmark = pytest.mark.rehearsed

COUNCILS = ["halton", "leeds"]
REVISION = "2026.11.1"


@pytest.fixture(scope="module")
def own_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set", demonstration=True)


def _begin(folder: Path) -> Home:
    home = make_home(folder / "home", 200, COUNCILS)
    fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions())
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return _begin(tmp_path)


def _measure(home: Home, keys: KeyRing) -> None:
    measure_release(CohortRelease(home.get_cohort(COHORT), VERSION), keys, COUNCILS, ReleaseOptions())


def _fail(*_: object, **__: object) -> Any:
    raise KeyError("First language: Welsh")


def _miss_a_name(*_: object, **__: object) -> Any:
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string("{{ nobody }}").render()


def _write_calendar(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    calendar = home.root.parent / "calendar.yaml"
    calendar.write_text("releases: [{version: 2026.11.0, date: 2026-10-01}]\n")
    monkeypatch.setenv("READINESS_CALENDAR", str(calendar))


def _damage_earlier(home: Home, _: pytest.MonkeyPatch) -> None:
    earlier = home.release / "2026.10.0"
    earlier.mkdir()
    (earlier / "privacy_statement.json").write_text(json.dumps({"cohorts": [], "families": []}))
    (earlier / "datapackage.json").write_text("{")


FAULTS: dict[str, tuple[Callable[[Home, pytest.MonkeyPatch], object], str]] = {
    "a name that is missing": (
        lambda _, patch: patch.setattr(dimensions, "iter_short_names", _fail),
        r"KeyError: 'First language: Welsh' \(test_rehearsal\.py:\d+\); please report this",
    ),
    "an error in a template": (
        lambda _, patch: patch.setattr(pages, "render_methodology_page", _miss_a_name),
        r"UndefinedError: 'nobody' is undefined",
    ),
    "an earlier release that is damaged": (
        _damage_earlier,
        r"/home/release/2026\.10\.0/site: No such file or directory\. Put back what belongs",
    ),
    "a calendar that is invalid": (_write_calendar, r"release 2026\.11\.0 names the month 2026-11, not 2026-10"),
    "a file where a folder belongs": (
        lambda home, _: (home.release / "site").write_text(""),
        r"/home/release/site: File exists\. Put back what belongs there, and run again",
    ),
    "a folder where a file belongs": (
        lambda home, _: (home.release / "readiness.duckdb").mkdir(),
        r"/home/release/readiness\.duckdb: Is a directory\. Put back what belongs there",
    ),
}


@pytest.mark.parametrize("which", mark_slow_after(1, FAULTS))
def test_what_would_fail_after_the_charge_fails_before_it(
    home: Home, own_keys: KeyRing, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, sentence = FAULTS[which]
    with monkeypatch.context() as spoilt:
        spoil(home, spoilt)
        with pytest.raises(Exception, match=sentence) as stopped:
            _measure(home, own_keys)
    assert "staging-" not in str(stopped.value)
    assert list_charges(home) == []
    assert not list(home.restricted.glob("staging-*"))
    assert not home.rehearsed(VERSION).exists()


@pytest.mark.slow
def test_a_rehearsal_is_made_once_and_leaves_nothing_that_could_be_published(
    home: Home, own_keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real release then has other figures, no word of the rehearsal, and the key of the installation."""
    made: list[dict[str, bytes]] = []
    write, before = make._build_files, sorted(home.root.rglob("*"))

    def watched(*arguments: Any) -> dict[str, bytes]:
        made.append(write(*arguments))
        return made[-1]

    monkeypatch.setattr(make, "_build_files", watched)
    rehearsal.rehearse(CohortRelease(home.get_cohort(COHORT), VERSION))
    assert set(home.root.rglob("*")) - {*before} == {home.rehearsed(VERSION)}
    assert list_charges(home) == []
    bundle = make_release(home, own_keys, COUNCILS)
    rehearsed, real = made  # rehearsed once, made once
    assert rehearsed.keys() == real.keys()
    assert rehearsed["gld_headline.csv"] != real["gld_headline.csv"]
    assert rehearsed[PUBLIC_KEY_FILE] != real[PUBLIC_KEY_FILE] == (bundle / PUBLIC_KEY_FILE).read_bytes()
    assert all(rehearsal.NOTICE in rehearsed[name].decode() for name in ("README.md", "datapackage.json"))
    assert not [name for name, content in real.items() if rehearsal.NOTICE.encode() in content]
    _check_what_is_rehearsed_again(home, own_keys, monkeypatch)


def _check_what_is_rehearsed_again(home: Home, keys: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version beside the published one is; a repeated run, or a changed ledger, is not."""
    rehearsed: list[str] = []
    monkeypatch.setattr(rehearsal, "_make", lambda *about: rehearsed.append(about[0].version))
    _measure(home, keys)
    assert rehearsed == []
    store, options = home.get_cohort(COHORT), ReleaseOptions(share=0.05)
    for _ in range(2):
        fix_release(CohortRelease(store, REVISION), COUNCILS, options)
        rehearsal.rehearse(CohortRelease(store, REVISION))
    assert rehearsed == [REVISION]
    (home.release / "withdrawn.json").write_text(json.dumps({"withdrawn": []}))
    rehearsal.rehearse(CohortRelease(store, REVISION))
    assert rehearsed == [REVISION] * 2


def test_a_rehearsal_never_uses_the_ledger_of_the_settings(
    home: Home, own_keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READINESS_LEDGER", str(tmp_path / "elsewhere.sqlite"))
    fix_release(CohortRelease(home.get_cohort(COHORT), VERSION), COUNCILS, ReleaseOptions())
    monkeypatch.setattr(rehearsal, "make_bundle", _fail)
    with pytest.raises(rehearsal.NotReleasable, match="nothing was charged"):
        _measure(home, own_keys)
    assert Ledger(tmp_path / "elsewhere.sqlite").list_entries() == []
