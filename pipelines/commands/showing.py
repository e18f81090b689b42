"""Output of a report: as text, as one JSON document, or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.console import OUT, answer

if TYPE_CHECKING:
    from pipelines.reports.document import Report

as_html = click.option(
    "--html",
    type=OUT,
    expose_value=False,
    callback=lambda ctx, _, file: ctx.meta.update(html=file),
    help="Write the answer as a page, to read, print or sign, to this file.",
)


def show(report: Report) -> None:
    """Print a report as text or as one JSON document; with --html write it as a page."""
    page = write_page(report)
    answer(report.facts, lambda: f"Page: {page}" if page else report.text())


def write_page(report: Report) -> Path | None:
    """Write a report as a page to the file of --html, and return the file; None without the option."""
    page: Path | None = click.get_current_context().meta["html"]
    if page:
        from privacy.doors import files

        files.write(page, report.page().encode())
    return page
