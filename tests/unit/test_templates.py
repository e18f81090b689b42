"""Templates lead to templates that exist: a renamed file would otherwise be noticed only by whoever reads its page."""

import sys
from pathlib import Path

import pytest
from jinja2 import meta

from ndl_export.pages import kit
from tests.mutations import PACKAGES, ROOT

FOLDERS = sorted(folder for package in PACKAGES for folder in (ROOT / package).rglob("templates"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_what_a_template_includes_exists(folder: Path) -> None:
    environment = kit.make_environment(folder)
    assert environment.loader is not None
    names = [name for name in environment.list_templates() if not name.endswith((".py", ".pyc"))]
    assert names
    for name in names:
        source, _, _ = environment.loader.get_source(environment, name)
        for wanted in meta.find_referenced_templates(environment.parse(source)):
            assert wanted in names, name


def test_templates_are_compiled_once_and_again_when_they_or_the_program_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "page.md").write_text("one {{ 1 + 1 }}")

    def render() -> tuple[str, bytes]:
        rendered = kit.make_environment.__wrapped__(folder).get_template("page.md").render()
        [kept] = (tmp_path / "__pycache__").iterdir()
        return rendered, kept.read_bytes()

    first = render()
    assert first == render()
    assert first[0] == "one 2"
    (folder / "page.md").write_text("two {{ 1 + 1 }}")
    assert render()[0] == "two 2"
    before = render()[1]
    monkeypatch.setattr(kit, "compute_program_sha256", lambda *_: "another program")
    assert render()[1] != before
    [kept] = (tmp_path / "__pycache__").iterdir()
    kept.write_bytes(b"damaged")
    assert render()[0] == "two 2"


def test_templates_are_rendered_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.md").write_text("one")
    (tmp_path / "__pycache__").write_text("a file where the folder should be")
    assert kit.make_environment.__wrapped__(tmp_path / "templates").get_template("page.md").render() == "one"
