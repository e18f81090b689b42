"""Fixtures that pseudonymise and link clear text as the pipeline does."""

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest

from privacy.keys import KeyRing
from privacy.linkage.link import LinkResult, link
from tests.support.linkage.populations import tokenised

Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "set")


@pytest.fixture(scope="session")
def tokenise(keys: KeyRing) -> Callable[[Frames], dict[str, pa.Table]]:
    """Return a function: contract-named frames by source -> token tables by source."""

    return lambda frames: tokenised(frames, keys)


@pytest.fixture(scope="session")
def linked(tokenise: Callable[[Frames], dict[str, pa.Table]]) -> Callable[[Frames], LinkResult]:
    """Return a function: contract-named frames by source -> the result of linking them."""
    return lambda frames: link(tokenise(frames))
