"""A release that fails at any stage after its first charge is finished later from what was drawn."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.home.paths import Home
from assets.release import bundle, measure
from ndl_export.bundle import make, release_directory
from ndl_export.bundle.verify import verify
from privacy.keys import KeyRing
from privacy.release import session
from tests.support.release.homes import list_charges, make_home, make_release

COUNCILS = ["halton", "leeds"]
STAGES = [
    (session, "promote_drawn"),
    (measure, "measure_family"),
    (bundle, "tabulate_what_was_sent"),
    (make, "_build_files"),
    (make.whole_files, "stage_files"),
    (make, "hash_sums"),
    (make, "_write_archives"),
    (release_directory, "publish_site"),
    (release_directory, "update_database"),
    (release_directory, "publish_api"),
    (release_directory, "_build_catalogue"),
    (make, "_discard"),
    (measure, "publish_register"),
]
"""What a release calls after its first charge, in order."""


class Killed(BaseException):
    """The end of a process that nothing catches."""


def _full_disk() -> OSError:
    return OSError(28, "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Killed, _full_disk], ids=["killed", "disk full"])
def test_a_release_is_finished_from_what_was_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], BaseException]
) -> None:
    """The process dies at one stage after the other, and the same version is run again each time."""
    home, keys = make_home(tmp_path / "home", 200, COUNCILS), KeyRing.create(tmp_path / "keys", demonstration=True)
    # the same noisy counts give the same tables and files, so each is made once
    for module, name in (
        (bundle, "tabulate_what_was_sent"),
        (bundle, "compute_noise_covariance"),
        (make, "_build_files"),
    ):
        _make_once(monkeypatch, module, name)
    drawn: dict[Path, bytes] = {}
    for module, name in STAGES:
        with monkeypatch.context() as broken:
            reached = _break(broken, home, module, name, fault)
            with pytest.raises((Killed, OSError)):
                make_release(home, keys, COUNCILS)
        assert reached, name
        now = {path: path.read_bytes() for path in _iter_drawn(home)}
        assert drawn.items() <= now.items(), name
        drawn = now
    bundle_folder = make_release(home, keys, COUNCILS)
    assert (report := verify(bundle_folder)).ok, str(report)
    assert len(list_charges(home)) == len(set(list_charges(home))) == len(drawn) == 3
    assert {path: path.read_bytes() for path in _iter_drawn(home)} == drawn
    assert not list(home.held.iterdir())
    left = [*home.release.glob(".*"), *home.restricted.glob("staging-*"), *home.restricted.glob("drawn/*")]
    assert left == []


def _make_once(patch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    real, made = getattr(module, name), list[Any]()
    patch.setattr(module, name, lambda *about: (made or made.append(real(*about)) or made)[0])


def _break(
    patch: pytest.MonkeyPatch, home: Home, module: Any, name: str, fault: Callable[[], BaseException]
) -> list[bool]:
    """Let a function fail once the release is charged; return a list that says so when it did."""
    real, reached = getattr(module, name), list[bool]()

    def failing(*arguments: Any, **named: Any) -> Any:
        if list_charges(home):
            reached.append(True)
            raise fault()
        return real(*arguments, **named)

    patch.setattr(module, name, failing)
    return reached


def _iter_drawn(home: Home) -> Iterator[Path]:
    yield from home.restricted.glob("measurements/*/*/*.json")
