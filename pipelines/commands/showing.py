"""Output of a report: as text, as one JSON document, or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.console import OUT, answer

if TYPE_CHECKING:
    from pipelines.reports.document import Report

as_html = click.option("--html", type=OUT, help="Write the answer as a page, to read, print or sign, to this file.")


def show(report: Report, *, as_json: bool, html: Path | None) -> None:
    """Print a report as text or as one JSON document, and write it as a page if a file for it is named."""
    if html:
        from privacy.doors import files

        files.write(html, report.page().encode())
    answer(report.facts, lambda: f"Page: {html}" if html else report.text(), as_json=as_json)
