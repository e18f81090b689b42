"""Templates lead to templates that exist: a renamed file would otherwise be noticed only by whoever reads its page."""

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
