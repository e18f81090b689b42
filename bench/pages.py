"""Renders a page of measurements from the template beside the script that measured them."""

import datetime as dt
import os
import platform
from importlib.metadata import version
from pathlib import Path

import jinja2


def render(template: Path, **facts: object) -> str:
    """Return the page. Templates also know `today`, the `machine`, and `version` of a package."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    environment.globals |= {"today": dt.date.today(), "machine": machine, "version": version}
    return environment.from_string(template.read_text(encoding="utf-8")).render(facts)
