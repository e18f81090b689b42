"""The quality report that goes back to the sender of an extract, and to a council about all its extracts of a cohort.

First the facts, as JSON-ready dictionaries (`extract`, `council`, with `compare` for the last delivery and published
figures), then the page (`page` and its templates, on the page kit). Everything here is a function of what intake found:
nothing reads an extract, a folder or the clock. Counts, shares, rule names, row numbers and codes of the contract go
into a report; a value of a row never does.
"""

from assets.intake.quality_report.council import council_report
from assets.intake.quality_report.extract import extract_report, stopped_report
from assets.intake.quality_report.page import render, render_council

__all__ = ["council_report", "extract_report", "render", "render_council", "stopped_report"]
