"""While libraries load nothing is looked through for garbage."""

from __future__ import annotations

import gc

import pytest

from assets.home.loading import loading


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_looked_for_again_whatever_comes_of_it(fails: bool) -> None:
    try:
        with loading():
            assert not gc.isenabled()
            if fails:
                raise ImportError
    except ImportError:
        assert fails
    assert gc.isenabled()
