"""Mutations can be planted, although nothing plants them daily."""

import pytest

from tests.mutations import MUTATIONS, ROOT, find_places


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_found_once_and_its_tests_exist(name: str) -> None:
    assert len(find_places(MUTATIONS[name])) == 1
    assert [path for path in MUTATIONS[name].tests.split() if not (ROOT / path).exists()] == []
