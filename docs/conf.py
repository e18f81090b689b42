"""The documentation site: Sphinx over these pages, with the reference made from the code (`make site-docs`)."""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.util.inspect import object_description

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "School readiness"
author = "The school readiness project"
project_copyright = "Code: MIT licence"
version = release = version_of("readiness")
language = "en-GB"

extensions = [
    "myst_parser",
    "sphinx_click",
    "sphinx_design",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
]
exclude_patterns = ["notebook", "reference/code/*/modules.rst"]
suppress_warnings = ["ref.python"]  # a type of a short name, which two modules have
myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 4
default_role = "code"
highlight_language = "text"
smartquotes = False
autodoc_default_options = {"no-value": True}
autodoc_member_order = "bysource"
toc_object_entries = False
apidoc_automodule_options = {"members"}
apidoc_max_depth = 1
apidoc_modules = [
    {"path": str(ROOT / package), "destination": f"reference/code/{package}"}
    for package in ("sources", "privacy", "assets", "ndl_export", "pipelines")
]

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}

OF_THE_FIRST_FOLDER = {name: f"{name.lower()}" for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}
"""Pages of the project's first folder, and the pages of the site that show them."""


def _within_the_site(_app: object, page: str, source: list[str]) -> None:
    """Lead to a page of the site where a page in `docs/` leads to one of the first folder."""
    up = "../" * page.count("/")
    for name, shown_by in OF_THE_FIRST_FOLDER.items():
        source[0] = source[0].replace(f"]({up}../{name})", f"]({up}{shown_by})")


def _plain(_app: object, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Docstrings are plain text: what is indented after an empty line is shown as it stands, and a star is a star."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(f"::\n\n{it}" if it.startswith("  ") else _escaped(it) for it in paragraphs).split("\n")


def _escaped(paragraph: str) -> str:
    return re.sub(r"`[^`]*`|\*|(?<=\w)_(?!\w)", lambda it: it[0] if len(it[0]) > 1 else f"\\{it[0]}", paragraph)


def _has_no_text(_app: object, _what: str, _name: str, thing: object, _skip: bool, _options: object) -> bool | None:
    """Leave out what cannot be written down: Dagster's keys of assets raise an error."""
    try:
        object_description(thing)
    except Exception:
        return True
    return None


def setup(app: object) -> None:
    app.connect("source-read", _within_the_site)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _plain)  # type: ignore[attr-defined]
    app.connect("autodoc-skip-member", _has_no_text)  # type: ignore[attr-defined]
