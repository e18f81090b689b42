"""Who waits for whom: intakes of different councils go side by side, everything else on a cohort one at a time."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from assets.home import home_lock
from assets.home.home_lock import InUse, lock_cohorts, lock_senders
from assets.home.paths import Home

Taking = Callable[[Home], AbstractContextManager[None]]


def intake(*senders: tuple[str, str]) -> Taking:
    return lambda home: lock_senders(home, senders)


def linkage(cohort: str) -> Taking:
    return lambda home: lock_cohorts(home, [cohort])


LEEDS, WIRRAL, LEEDS_BEFORE = intake(("leeds", "202425")), intake(("wirral", "202425")), intake(("leeds", "202324"))
LINKAGE, LINKAGE_BEFORE = linkage("202425"), linkage("202324")
PAIRS = {
    "another council": (LEEDS, WIRRAL, True),
    "the same council": (LEEDS, LEEDS, False),
    "several with it": (LEEDS, intake(("leeds", "202425"), ("wirral", "202425")), False),
    "another cohort of it": (LEEDS, LEEDS_BEFORE, True),
    "linkage after intake": (LEEDS, LINKAGE, False),
    "intake after linkage": (LINKAGE, LEEDS, False),
    "linkage of another cohort": (LINKAGE, LINKAGE_BEFORE, True),
    "linkage of another cohort after intake": (LEEDS, LINKAGE_BEFORE, True),
}


def goes_beside(home: Home, first: Taking, second: Taking) -> bool:
    """Whether another process gets its turn while one has its own."""
    found: list[str] = []

    def other() -> None:
        try:
            with second(home):
                found.append("")
        except InUse as busy:
            found.append(str(busy))

    with first(home):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    with second(home):
        pass
    (said,) = found
    assert not said or str(home.root) in said
    return not said


@pytest.mark.parametrize(("first", "second", "beside"), PAIRS.values(), ids=PAIRS)
def test_who_waits_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Taking, second: Taking, beside: bool
) -> None:
    monkeypatch.setattr(home_lock, "PATIENCE_SECONDS", 0.0)
    assert goes_beside(Home(tmp_path / "home"), first, second) is beside
