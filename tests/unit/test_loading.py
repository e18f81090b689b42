"""While libraries load, nothing is looked through for garbage, nor is what was loaded later on."""

import gc
from contextlib import suppress

from assets.home.software import pause_garbage_collection


def test_garbage_is_looked_for_again_whatever_comes_of_it() -> None:
    with suppress(ImportError), pause_garbage_collection():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    with pause_garbage_collection():
        loaded = [object()]
    later = [object()]
    seen = {id(each) for each in gc.get_objects()}
    gc.unfreeze()
    assert gc.isenabled()
    assert id(loaded) not in seen
    assert id(later) in seen
