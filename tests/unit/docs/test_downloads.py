"""Users of R and Excel are sent to the file with every row, which has no symbols among its figures."""

from __future__ import annotations

import re

from ndl_export.tables import TABLES
from ndl_export.tables.csv_files import ALL_ROWS
from tests.support import PROJECT

TEMPLATES = PROJECT / "ndl_export"
SENT = {
    "docs/reading-over-https.md": r"read\.csv\(\"[^\"]*/(\w+\.csv)\"|address of `(\w+\.csv)`",
    "ndl_export/documents/bundle_files.csv": r",(\S+\.csv),\"[^\"]*for Excel, R",
    "docs/bundle.md": r"`(\S+\.csv)` \| everyone with Excel, R",
    "ndl_export/analyst_db/templates/questions.py": r"R and Excel\s+take `(\S+\.csv)`",
    "ndl_export/site/templates/parts.html.j2": r"\.\./(\{\{[^\"]*\.csv)\" download>(?:<span.*?</span>)?CSV, for Excel",
}
"""Where they are sent from, and how."""


def test_users_of_r_and_excel_are_sent_to_every_row() -> None:
    for page, how in SENT.items():
        found = ["".join(each) for each in re.findall(how, (PROJECT / page).read_text(encoding="utf-8"))]
        assert found, page
        assert all(each.endswith(ALL_ROWS) for each in found), (page, found)


def test_nobody_is_sent_to_the_files_for_explore_education_statistics() -> None:
    """These leave out areas without an official code."""
    tables = "|".join(TABLES)
    for page in (*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *TEMPLATES.rglob("*.j2")):
        text = page.read_text(encoding="utf-8")
        assert not re.search(rf"(?:read\.csv|read_csv)\([^)]*/(?:{tables})\.csv", text), page
