from collections.abc import Iterator

import pytest

from tests.support.release import postgres


@pytest.fixture(scope="session")
def database_server() -> Iterator[postgres.Server]:
    with postgres.run_server() as started:
        yield started
