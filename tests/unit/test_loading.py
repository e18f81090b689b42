"""While libraries load nothing is looked through for garbage."""

from __future__ import annotations

import gc

import pytest

from assets.home.software import pause_garbage_collection


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_looked_for_again_whatever_comes_of_it(fails: bool) -> None:
    try:
        with pause_garbage_collection():
            assert not gc.isenabled()
            if fails:
                raise ImportError
    except ImportError:
        assert fails
    assert gc.isenabled()


def test_what_was_loaded_is_not_looked_through_later() -> None:
    with pause_garbage_collection():
        loaded = [object()]
    later = [object()]
    seen = {id(each) for each in gc.get_objects()}
    gc.unfreeze()
    assert id(loaded) not in seen
    assert id(later) in seen
