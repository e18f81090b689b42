"""Reports from Markdown: what a value says, however it is written, is words within a line."""

from pipelines.reports.document import WIDTH, Report, format_text, read_sections, write_text

HOSTILE = "# one\n| two | three |\n## four \\| five"


def test_a_value_begins_no_title_sentence_or_cell() -> None:
    finding = {"what": HOSTILE, "state": "look", "sentence": f"{HOSTILE} <b>"}
    text = write_text("installation.md.j2", found=[finding], software=HOSTILE)
    plain = " ".join(HOSTILE.split())
    outcome, *sections = read_sections(text)
    assert outcome.title == f"Installation of readiness {plain}"
    assert [section.title for section in sections] == ["To look at", "All that was examined"]
    (grid,) = sections[0].grids
    assert grid.rows == [["what", "state", "found"], [plain, "look", f"{plain} <b>"]]
    page = Report("installation", text, {}).render_page()
    assert "four \\| five &lt;b&gt;" in page


def test_text_fits_a_terminal_and_numbers_are_flushed_right() -> None:
    row = f"| {'a word of many ' * 9} | 1,234 | 5 |"
    text = f"# Title\nOutcome.\n## Part\n{'sentence ' * 20}\n### Caption\n| a | b | c |\n| --- | ---: | ---: |\n{row}\n"
    shown = format_text(text).splitlines()
    assert max(map(len, shown)) <= WIDTH
    assert shown[:5] == ["Title", "", "Outcome.", "", "Part"]
    assert shown[5].startswith("  sentence")
    assert shown[8] == "  Caption:"
    assert shown[9].split() == ["a", "b", "c"]
    assert shown[10].endswith("1,234  5")
