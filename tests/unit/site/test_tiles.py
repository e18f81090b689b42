"""The map of tiles: each council in a place of its own, each figure in its class."""

from dataclasses import dataclass

import pytest

from ndl_export.pages.charts import TILE_ROW, TILE_WIDTH, build_tile_map
from sources.reference.places import load_places, load_tiles


@dataclass(frozen=True)
class Shown:
    value: float | None
    unreliable: bool = False
    lower: float | None = None
    upper: float | None = None

    @property
    def with_interval(self) -> str:
        return f"about {self.value}"


def kinds(*values: float | None) -> tuple[list[str], list[str]]:
    """The classes of figures with these values, and those of the legend in words."""
    codes = dict(zip(load_tiles(), values, strict=False))
    found = build_tile_map(load_tiles(), {code: (code, Shown(value)) for code, value in codes.items()})
    return [kind for _, _, kind, *_ in found.tiles], [words for _, words in found.classes]


def test_every_authority_has_a_tile_and_no_two_overlap() -> None:
    assert load_tiles().keys() == {each.new_la_code for each in load_places().values()}
    assert len(set(load_tiles().values())) == len(load_tiles())
    assert len({(column + row) % 2 for column, row in load_tiles().values()}) == 1
    drawn = build_tile_map(load_tiles(), {code: ("", Shown(50.0)) for code in load_tiles()})
    assert all(TILE_WIDTH / 2 <= x <= drawn.width - TILE_WIDTH / 2 for _, (x, _), *_ in drawn.tiles)
    assert all(22 <= y <= drawn.height - 22 for _, (_, y), *_ in drawn.tiles)
    assert TILE_ROW < TILE_WIDTH
    first, second, *others = load_tiles()
    assert len(build_tile_map(load_tiles(), {code: ("", Shown(50.0)) for code in (first, second)}).blank) == len(others)


@pytest.mark.parametrize(
    ("values", "found", "legend"),
    [
        ((60.0, 64.9, 65.0), ["c0", "c0", "c1"], ["60% to under 65%", "65% to under 70%"]),
        ((55.0, 84.9), ["c0", "c5"], ["55% to under 60%", "80% to under 85%"]),
        ((41.0, 88.0), ["c0", "c4"], ["40% to under 50%", "80% to under 90%"]),
        ((0.0, 100.0, None), ["c0", "c4", "empty"], ["0% to under 20%", "80% to 100%"]),
        ((97.0, 100.0), ["c0", "c0"], ["95% to 100%", "95% to 100%"]),
        ((None,), ["empty"], ["0% to under 5%", "0% to under 5%"]),
    ],
)
def test_classes_begin_at_round_numbers(values: tuple[float, ...], found: list[str], legend: list[str]) -> None:
    given, told = kinds(*values)
    assert given == found
    assert [told[0], told[-1]] == legend
    assert len(told) <= 6
