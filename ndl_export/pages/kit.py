"""Rendering: one jinja2 environment for each folder of templates, with the kit's own templates as `kit/<name>`.

Values are escaped in HTML, so text from a council cannot become markup. They are not escaped in Markdown, SQL and text.
Lists, tables and the notice of Markdown pages are built here too.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any
from xml.sax.saxutils import escape

import jinja2
from jinja2.bccache import Bucket
from markupsafe import Markup

from ndl_export.pages import charts, number_format
from privacy.doors import clock
from privacy.doors.program import compute_program_sha256
from privacy.doors.sql import quote_identifier, quote_text

_OWN = Path(__file__).parent / "templates"
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ONE_AT_A_TIME = Lock()
"""Held while rendering: rendering in parallel saves no time, and each thread would compile the templates again."""
_SPECIAL_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""Characters that YAML, unlike JSON, forbids or reads as a line break."""
_DIRECTION_MARKS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that make text appear in a different order from the one it is written in."""


def render(folder: Path, name: str, **values: object) -> str:
    """Render the template `name` of `folder` with `values`; characters that XML forbids are replaced.

    Raises jinja2.UndefinedError if the template uses a value that is not given.
    """
    with _ONE_AT_A_TIME:
        rendered = make_environment(folder).get_template(name).render(values)
    return _DIRECTION_MARKS.sub("", _NOT_IN_XML.sub("\ufffd", rendered))


class _KeptBytecode(jinja2.BytecodeCache):
    """Compiled templates, kept in `__pycache__` as Python keeps its modules: compiling them takes 0.7 s of a run."""

    def __init__(self, folder: Path) -> None:
        # not in the folder itself, all of whose files are templates
        self._folder = folder.parent / "__pycache__"

    def get_source_checksum(self, source: str) -> str:
        """Return a checksum that changes with the template, this module and jinja2."""
        return super().get_source_checksum(source) + compute_program_sha256(("ndl_export/pages",), ("jinja2",))

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError), self._locate(bucket).open("rb") as kept:
            bucket.load_bytecode(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if sys.dont_write_bytecode:
            return
        place = self._locate(bucket)
        whole = place.with_suffix(f".{os.getpid()}")
        # an installation may be read only
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            with whole.open("wb") as written:
                bucket.write_bytecode(written)
            whole.replace(place)

    def _locate(self, bucket: Bucket) -> Path:
        return self._folder / f"{bucket.key}.jinja"


@cache
def make_environment(folder: Path) -> jinja2.Environment:
    """Return the environment that renders the templates of `folder`."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.FileSystemLoader(folder), jinja2.PrefixLoader({"kit": jinja2.FileSystemLoader(_OWN)})]
        ),
        # Not `select_autoescape`, which goes by the last suffix and would not escape `.html.j2`.
        autoescape=lambda name: not (name or "").endswith((".md", ".md.j2", ".sql", ".txt")),
        # A value that is not given must be an error, never a blank on a page.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        bytecode_cache=_KeptBytecode(folder),
    )
    made.filters |= number_format.FILTERS | {
        # Consecutive lines with the same value of `key`. jinja2's `groupby` would sort them.
        "runs": lambda lines, key: [(value, list(run)) for value, run in groupby(lines, key=itemgetter(key))],
        "sql": quote_text,
        "identifier": quote_identifier,
        "json": _format_json,
        # Not the escapes of HTML, which also replace quotation marks.
        "xml": lambda text: Markup(escape(text)),
        "cell": lambda text: text.replace("|", "\\|"),
    }
    made.globals |= {"charts": charts, "describe_simulation": clock.describe_simulation}
    return made


def _format_json(value: Any) -> Markup:
    """Return a value as JSON that is also YAML, for templates of records."""
    text = json.dumps(value, ensure_ascii=False)
    return Markup(_SPECIAL_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def add_notice(text: str, notice: str) -> str:
    """Return the page with the notice, if not empty, as its first line."""
    return f"**{notice}**\n\n{text}" if notice else text


def format_bullets(lines: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def format_grid(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; vertical bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *body]
    # A bar in a cell would begin another cell.
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
