"""The option that names a release: for the pipeline's commands, of which the councils' tool has none."""

from __future__ import annotations

import click

from pipelines.commands.console import Checked


def _version(text: str) -> str:
    from ndl_export.facts.release_facts import Version

    Version.parse(text)
    return text


VERSION = Checked("version", _version)

release = click.option(
    "--release",
    "version",
    type=VERSION,
    help="Version such as 2026.11.0; by default the cohort's own, or this month's.",
)
