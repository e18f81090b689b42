from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.release import postgres
from tests.support.release.backends import server


@pytest.fixture(scope="session")
def database_server() -> Iterator[postgres.Server]:
    with server() as started:
        yield started
