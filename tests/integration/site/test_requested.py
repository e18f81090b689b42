"""Pages of tables on request: the published figures and no others, wherever readers come from."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pyarrow as pa
import pytest

from ndl_export.bundle.verify import verify
from ndl_export.facts.on_request import RequestedTable
from ndl_export.site import layouts, pages
from ndl_export.tables.geography import list_geographies
from ndl_export.tables.rows import list_rows
from sources.reference.places import PILOT
from tests.support.export import requested
from tests.support.export.fake_release import COHORT, fake_tables
from tests.support.site import checks, dom, expected
from tests.support.site.pages import Made, conclude

OF_SEN, OF_REVIEWS = "request-sen-by-meals", "request-reviewed-by-sex"
TOGETHER = "All councils together"


def panels(page: str) -> dict[tuple[str, str], Element]:
    """By area and cohort."""
    found = (each for each in dom.parse(page).iter("div") if dom.has_class(each, "panel"))
    return {(dom.get_words(each.find("h3")).partition(", 20")[0], each.get("data-cohort", "")): each for each in found}


def figures(panel: Element) -> dict[str, list[str]]:
    """The cells of each row of its table, by what the row is called."""
    (body,) = panel.iter("tbody")
    return {label: cells for label, *cells in ([dom.get_words(each) for each in row] for row in body)}


def published(request: RequestedTable, data: pa.Table, measures: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """The cells of each row by area, from the table; rows by their levels but the totals."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in data.to_pylist():
        area = TOGETHER if row["geographic_level"] == "Pilot councils" else row["area_name"]
        levels = [row[entry.name] for entry in request.table.filters]
        label = ", ".join(level for level in levels if level != "Total") or "All children"
        found.setdefault(area, {})[label] = [expected.format_cell(row, measure) for measure in measures]
    return found


def test_every_figure_is_that_of_the_table(on_request: Made) -> None:
    shown = {area: figures(panel) for (area, _), panel in panels(on_request.read_page(OF_SEN)).items()}
    measures = ("gld_children_percent", "gld_children_count", "children_count")
    assert shown == published(requested.SEN, on_request.tables[requested.SEN.name], measures)
    assert {len(own) for own in shown.values()} == {36}
    assert len(shown) == len(list_geographies(PILOT))


def test_a_table_of_all_councils_together_shows_them_and_says_that_there_are_no_others(on_request: Made) -> None:
    page = on_request.read_page(OF_REVIEWS)
    shown = {area: figures(panel) for (area, _), panel in panels(page).items()}
    assert shown == published(
        requested.REVIEWS, on_request.tables[requested.REVIEWS.name], ("children_percent", "reviewed_children_count")
    )
    assert list(shown) == [TOGETHER]
    assert "The table has no other figures." in dom.get_words(dom.parse(page))
    assert "<select" not in page


@pytest.mark.slow
def test_downloads_hold_the_figures_of_the_page_and_verify_compares_them(on_request: Made, tmp_path: Path) -> None:
    file = on_request.site / f"{OF_SEN}.csv"
    lines = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert len(lines) == 3 * 36 * len(list_geographies(PILOT))
    facts = on_request.facts
    stated = facts.councils, facts.cohorts, facts.missing, facts.on_request.tables
    made = pages.build_site_downloads(layouts.ReleasedFigures(on_request.tables, *stated))
    assert made[file.name] == file.read_bytes()
    assert verify(on_request.site.parent).faults == ()


def test_words_of_the_request_stand_on_its_page_and_on_the_release_page(on_request: Made) -> None:
    asked = ("University of Leeds, Children's Centre", "20 November 2026", "who's served by it", "2026.12.0")
    own, index = (dom.get_words(dom.parse(on_request.read_page(name))) for name in (OF_SEN, "index"))
    assert all(each in text for text in (own, index) for each in asked)
    assert requested.SEN.table.title in own
    sections = dom.parse(on_request.read_page("index")).iter("section")
    linked = {link.get("href") for s in sections if s.get("aria-labelledby") == "on-request" for link in s.iter("a")}
    for name, page in ((requested.SEN.name, OF_SEN), (requested.REVIEWS.name, OF_REVIEWS)):
        assert {f"{page}.html", *(f"../{name}{end}" for end in (".parquet", ".csv", "_all_rows.csv"))} <= linked


@pytest.mark.parametrize("place", checks.PLACES)
def test_every_link_leads_to_something_that_is_there(on_request: Made, place: str, tmp_path: Path) -> None:
    linked = checks.find_linked_files(on_request, place, tmp_path)
    assert {f"{OF_SEN}.html", f"{OF_REVIEWS}.html", f"{OF_REVIEWS}.csv", f"{requested.SEN.name}.meta.csv"} <= linked
    assert place == "site" or {path.name for path in on_request.site.parent.iterdir() if path.is_file()} <= linked
    register = {"requests.html", "requests.json"}
    assert linked & register == (register if place == "site" else set())


@checks.WITH_A_VALIDATOR
def test_a_validator_finds_nothing(on_request: Made) -> None:
    register = on_request.site.parent.parent / "site" / "requests.html"
    checks.check_valid([register, *(on_request.site / f"{n}.html" for n in (OF_SEN, OF_REVIEWS, "index", "downloads"))])


def made_again(asked: Sequence[RequestedTable], others: Made, **missing: tuple[str, ...]) -> dict[str, bytes]:
    """The pages of a release with these tables, of which there is no bundle; `missing` has councils by source."""
    facts, tables = requested.build_facts_with(asked, missing=missing), fake_tables(missing=missing, requested=asked)
    return pages.build_site_files(facts, tables, others.others, [*others.others], conclude(facts, tables), {})


def test_hostile_words_stay_words(on_request: Made) -> None:
    asked_by, purpose = checks.HOSTILE
    files = made_again((replace(requested.SEN, asked_by=asked_by, purpose=purpose),), on_request)
    checks.check_words_stay_words(files[name] for name in (f"{OF_SEN}.html", "index.html"))


@pytest.mark.slow
def test_a_long_table_has_no_chart_and_one_too_long_for_a_page_shows_all_together(
    on_request: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requested.build_requested({**requested.SEN_BY_MEALS, "name": "by_sex", "columns": ["fsm", "sex"]})

    def page(name: str = "request-by-sex") -> str:
        return made_again((asked, requested.SEN), on_request)[f"{name}.html"].decode()

    for text, is_long in ((page(), False), (page(OF_SEN), True)):
        assert 'class="chart' in text
        assert ('class="roomy"' in text, "<details open>" in text) == (is_long, is_long)
    monkeypatch.setattr(layouts, "LONGEST_LABEL", max(map(len, layouts.label_rows(requested.SEN.table))) - 1)
    undrawn = [page(OF_SEN)]
    monkeypatch.setattr(layouts, "MOST_DRAWN", 8)
    for text in (*undrawn, page()):
        assert 'class="chart' not in text
        assert "<details open>" in text
        assert len(panels(text)) == len(list_geographies(PILOT))
    monkeypatch.setattr(layouts, "MOST_ROWS", 8 * len(list_geographies(PILOT)))
    files = made_again((asked,), on_request)
    assert [area for area, _ in panels(files["request-by-sex.html"].decode())] == [TOGETHER]
    assert files["request-by-sex.csv"].decode().count("\n") == 1 + 3 * 9


def test_no_council_that_has_not_sent_its_records_has_figures(on_request: Made) -> None:
    page = made_again((requested.SEN,), on_request, eyfsp=("halton",))[f"{OF_SEN}.html"].decode()
    shown = panels(page)
    assert "These figures are not available [x]" in dom.get_words(shown["Halton", COHORT])
    assert ("All councils but Halton", COHORT) in shown


def test_rows_are_told_apart_whatever_their_levels_are_called() -> None:
    assert list(layouts.label_rows(requested.REVIEWS.table)) == ["All children", "Female", "Male"]
    own = layouts.label_rows(requested.SEN.table)
    assert own[f"No SEN provision, {requested.MEALS}, Female"] == ("No SEN provision", requested.MEALS, "Female")
    columns = [
        {"attribute": "fsm", "name": "meals", "label": "Meals", "levels": {"Yes": ["Eligible for free school meals"]}},
        {"attribute": "sex", "label": "A girl", "levels": {"Yes": ["Female"]}},
    ]
    alike = {**requested.SEN_BY_MEALS, "columns": columns}
    table = requested.build_requested(alike).table
    assert list(layouts.label_rows(table)) == ["All children", "A girl: Yes", "Meals: Yes", "Meals: Yes, A girl: Yes"]
    for each in (requested.SEN.table, table, requested.build_requested(requested.REVIEWED, "health").table):
        assert list(layouts.label_rows(each).values()) == [row.levels for row in list_rows(each, all_together=True)]
