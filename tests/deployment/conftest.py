"""An installation with a release, and the marker of this folder, which `make test` and `make test-all` leave out."""

from pathlib import Path

import pytest

from tests.support.installation.released import released


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.deployment)
