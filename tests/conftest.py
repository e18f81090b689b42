"""What holds for every test.

- hypothesis never fails a property for being slow on a busy machine. `make test` asks for the profile `daily`.
- Tests that need a program are counted at the end where they were skipped (`tests.support.areas`).
- A command that a test runs in its own process does not say how long it takes: what it says is compared.
- absl, which comes with mbi, closes what was standard error when it was imported, as soon as logging is set up anew. In
  a test that would be pytest's own file, and every test after it would fail; so it is told of the real one.
- Keys of publishers are remembered in a folder of the tests, not in that of whoever runs them.
- The clock begins at one moment in all processes of the tests, whatever the date: their extracts are of a cohort whose
  data may be held then, and no test runs over midnight unless it means to. Times of files stay those of the machine.
  `READINESS_TEST_MOMENT` sets another moment (`tests.support.dates`).
- Releases are rehearsed only in tests that are marked `rehearsed` (`tests.support.rehearsals`).
- A shell that starts the tests in the background has them ignore SIGINT, and Dagster then makes a run ignore SIGTERM as
  well: processes that a test ends would run on for ever. Here SIGINT interrupts, however the tests are started.
"""

import datetime as dt
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipelines.commands import console
from privacy.doors import clock
from privacy.keys import KeyRing
from tests.support.areas import pytest_configure, pytest_runtest_makereport, pytest_terminal_summary
from tests.support.daily import EXAMPLES_PERCENT
from tests.support.once import make_once

settings.register_profile("readiness", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("daily", settings.get_profile("readiness"), max_examples=EXAMPLES_PERCENT)
settings.load_profile("readiness")

_MOMENT, _USUAL_MOMENT = "READINESS_TEST_MOMENT", "2026-11-26T12:00:00+00:00"
_BEGAN = dt.datetime.fromisoformat(os.environ.setdefault("READINESS_TEST_BEGAN", clock.now().isoformat()))


def get_test_clock() -> Callable[[], dt.datetime]:
    """Return a clock that began at the moment in the environment, or the usual one, when the tests began."""
    moved = dt.datetime.fromisoformat(os.environ.get(_MOMENT, _USUAL_MOMENT)) - _BEGAN
    return lambda: dt.datetime.now(dt.UTC) + moved


clock.read_machine_time = get_test_clock()

signal.signal(signal.SIGINT, signal.default_int_handler)
console.SILENCE_SECONDS = threading.TIMEOUT_MAX
if importlib.util.find_spec("absl"):
    importlib.import_module("absl.logging").get_absl_handler().python_handler.setStream(sys.__stderr__)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # only where it is loaded: most tests need nothing of it
    if "assets.release.rehearsal" in sys.modules:
        rehearsals = importlib.import_module("tests.support.rehearsals")
        rehearsals.rehearse_in_this_process(item.get_closest_marker("rehearsed") is not None)


@pytest.fixture(scope="module")
def at_usual_moment() -> Iterator[None]:
    """The clock begins at the usual moment, whatever was chosen: for tests that need a cohort of a certain age."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_MOMENT, _USUAL_MOMENT)
        patch.setattr(clock, "read_machine_time", get_test_clock())
        yield


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "keys", lambda folder: KeyRing.create(folder / "set")) / "set"


@pytest.fixture(scope="session")
def keys(key_folder: Path) -> KeyRing:
    return KeyRing.load(key_folder)


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))
