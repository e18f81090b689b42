"""Builds the documentation site with Sphinx, with a reference generated from the code (`make site-docs`)."""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

# Autodoc imports modules with `TYPE_CHECKING` set, under which pydantic cannot build the models of these two.
import fastapi  # noqa: F401
import mcp.server  # noqa: F401
from sphinx.application import Sphinx
from sphinx.util.inspect import object_description
from sphinx.util.logging import getLogger

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.check_links import list_broken_links  # noqa: E402 - from the root, which is not the working directory

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
suppress_warnings = ["ref.python"]  # two modules have a type of the same short name
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

html_search_scorer = str(ROOT / "docs/search_scores.js")
html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}

ROOT_PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
"""Pages in the root of the project. A page of the site with the same name in lower case includes each."""


def _link_within_site(_app: object, page: str, source: list[str]) -> None:
    """Rewrites links from `docs/` to pages in the root of the project into links within the site."""
    up = "../" * page.count("/")
    for name in ROOT_PAGES:
        source[0] = source[0].replace(f"]({up}../{name})", f"]({up}{name.lower()})")


def _format_docstring(_app: object, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Shows docstrings as plain text: indented paragraphs literally, and stars and underscores escaped."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(f"::\n\n{it}" if it.startswith("  ") else _escaped(it) for it in paragraphs).split("\n")


def _escaped(paragraph: str) -> str:
    return re.sub(r"`[^`]*`|\*|(?<=\w)_(?!\w)", lambda it: it[0] if len(it[0]) > 1 else f"\\{it[0]}", paragraph)


def _skip_opaque(_app: object, _what: str, _name: str, thing: object, _skip: bool, _options: object) -> bool | None:
    """Skips members without a description: Dagster's asset keys raise an error."""
    try:
        object_description(thing)
    except Exception:
        return True
    return None


def _report_broken_links(app: Sphinx, error: Exception | None) -> None:
    """Warns of every broken link of the finished pages: Sphinx itself checks those that it makes, not other HTML."""
    for problem in [] if error else list_broken_links(Path(app.outdir)):
        getLogger(__name__).warning("%s", problem)


def setup(app: Sphinx) -> None:
    app.connect("source-read", _link_within_site)
    app.connect("autodoc-process-docstring", _format_docstring)
    app.connect("autodoc-skip-member", _skip_opaque)
    app.connect("build-finished", _report_broken_links)
