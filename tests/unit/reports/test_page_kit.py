"""The page kit: what it escapes, what it leaves alone, and that it never makes up a value."""

import re
from pathlib import Path
from xml.etree import ElementTree

import jinja2
import pytest

from ndl_export.pages import kit
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
