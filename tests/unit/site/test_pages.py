"""The page kit, which escapes what it is given and never makes up a value, and the map of tiles."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import jinja2
import pytest

from ndl_export.pages import kit
from ndl_export.pages.charts import TILE_ROW, TILE_WIDTH, build_tile_map
from sources.reference.places import load_places, load_tiles
from tests.support import PROJECT

HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; \x00\u202e"


def test_no_text_can_become_markup(tmp_path: Path) -> None:
    """Neither as text nor in an attribute, nor through the parts of the kit; only what a template writes is markup."""
    (tmp_path / "page.html.j2").write_text(
        '{% import "kit/parts.html.j2" as parts %}<div class="{{ hostile }}">{{ hostile }}'
        "{{ parts.bullets([hostile]) }}"
        "{% call parts.table(hostile, [hostile] * 5, 4, hostile) %}{{ parts.row(hostile, hostile) }}{% endcall %}"
        '{{ parts.facts({hostile: hostile}, "a") }}{{ parts.contents({"a": hostile}) }}<b>{{ "&" }}</b></div>'
    )
    page = kit.render(tmp_path, "page.html.j2", hostile=HOSTILE)
    root = ElementTree.fromstring(page)
    assert "<b>&amp;</b>" in page
    assert "\u202e" not in page
    assert "script" not in {element.tag for element in root.iter()}
    assert {name for element in root.iter() for name in element.attrib} <= {
        *("class", "scope", "role", "tabindex", "aria-label", "href")
    }
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\u202e", "")
    assert root.get("class") == shown
    texts = [element.text for element in root.iter() if element.tag in ("li", "caption", "th", "td", "dt", "dd")]
    assert len(texts) >= 10
    assert {text for text in texts if text} == {shown}


def test_a_value_that_is_not_given_is_no_blank(tmp_path: Path) -> None:
    (tmp_path / "page.html.j2").write_text("<p>{{ facts.missing }}</p>")
    with pytest.raises(jinja2.UndefinedError):
        kit.render(tmp_path, "page.html.j2", facts={})


def test_nothing_but_the_release_pages_own_script_and_documents_go_into_a_page_as_they_are() -> None:
    """Documents come from `site.documents`, which escapes their markup (tests/integration/site/test_documents.py)."""
    found = {
        f"{path.name}: {line.strip()}"
        for package in ("assets", "ndl_export")
        for path in (PROJECT / package).rglob("*.j2")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bsafe\b.*}}|\bautoescape\b|\bMarkup\b", line)
    }
    assert found == {
        "base.html.j2: <script>{{ script | safe }}</script>",
        "document.html.j2: {{ document.body | safe }}",
        "synthetic.html.j2: {{ document.body | safe }}",
    }


def show(value: float | None) -> Any:
    """A figure without an interval."""
    return SimpleNamespace(value=value, unreliable=False, lower=None, upper=None, with_interval=f"about {value}")


def kinds(*values: float | None) -> tuple[list[str], list[str]]:
    """The classes of figures with these values, and those of the legend in words."""
    codes = dict(zip(load_tiles(), values, strict=False))
    found = build_tile_map(load_tiles(), {code: (code, show(value)) for code, value in codes.items()})
    return [kind for _, _, kind, *_ in found.tiles], [words for _, words in found.classes]


def test_every_authority_has_a_tile_and_no_two_overlap() -> None:
    assert load_tiles().keys() == {each.new_la_code for each in load_places().values()}
    assert len(set(load_tiles().values())) == len(load_tiles())
    assert len({(column + row) % 2 for column, row in load_tiles().values()}) == 1
    drawn = build_tile_map(load_tiles(), {code: ("", show(50.0)) for code in load_tiles()})
    assert all(TILE_WIDTH / 2 <= x <= drawn.width - TILE_WIDTH / 2 for _, (x, _), *_ in drawn.tiles)
    assert all(22 <= y <= drawn.height - 22 for _, (_, y), *_ in drawn.tiles)
    assert TILE_ROW < TILE_WIDTH
    first, second, *others = load_tiles()
    assert len(build_tile_map(load_tiles(), {code: ("", show(50.0)) for code in (first, second)}).blank) == len(others)


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
