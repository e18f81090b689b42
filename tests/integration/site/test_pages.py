"""What the pages say: the published figures and no others, in well-made HTML that asks nothing of the network."""

import base64
import csv
import hashlib
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element

import duckdb
import numpy as np
import pytest

from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.official import read_official_figures
from ndl_export.tables.geography import list_geographies
from ndl_export.tables.schema import FLAG_MEANINGS, SYMBOLS
from sources.reference.places import PILOT, resolve
from tests.support.export.fake_release import COHORT
from tests.support.site import checks
from tests.support.site.dom import get_words, has_class, parse
from tests.support.site.expected import ELIGIBLE, GROUPS, NOT_ELIGIBLE, ROWS, SEEN, Published, find_places
from tests.support.site.pages import CHART_PAGES, DOCUMENT_PAGES, LATER, PAGES, SITE_FILES, Made

TOGETHER = "Pilot councils"
Panel = tuple[str, str, str, Element]
"""Chart, cohort, area (empty where the rows are areas) and element."""


def panels(made: Made) -> list[Panel]:
    return _panels(made.site)


@cache
def _panels(site: Path) -> list[Panel]:
    found = []
    for page in CHART_PAGES:
        for section in parse((site / f"{page}.html").read_text(encoding="utf-8")).iter("section"):
            for panel in section.iter("div"):
                if has_class(panel, "panel"):
                    name = section.get("aria-labelledby", "")
                    heading = get_words(panel.find("h3")).partition(": ")[0].partition(", 20")[0]
                    area = "" if name in ROWS and ROWS[name] is None else area_of(heading)
                    found.append((name, panel.get("data-cohort", ""), area, panel))
    return found


def area_of(name: str) -> str:
    return TOGETHER if name.startswith("All councils") else name


def body_rows(panel: Element) -> list[Element]:
    (body,) = panel.iter("tbody")
    return list(body)


def own_cells(row: Element) -> list[str]:
    """The cells of a row but those of official statistics."""
    return [get_words(each) for each in row if not has_class(each, "official")]


def test_the_folder_holds_the_same_files_whatever_the_figures(made: Made) -> None:
    """With a page for each council that takes part."""
    of_councils = {f"council-{council}.html" for council in PILOT}
    own = {f"council-{council}.html" for council in made.facts.councils}
    assert {path.name for path in made.site.iterdir()} == set(SITE_FILES) - of_councils | own
    assert set(ROWS) == {name.removesuffix(".csv") for name in SITE_FILES if name.endswith(".csv")}


def check_figures(made: Made, found: list[Panel]) -> None:
    published = Published(made.tables)
    for chart, cohort, area, panel in found:
        rows = body_rows(panel)
        assert len(rows) == ROWS[chart] or ROWS[chart] is None
        for row in rows:
            label, *cells = own_cells(row)
            expected = [
                published.find_cell(place, cohort, area or area_of(label)) for place in find_places(chart, label)
            ]
            assert cells == expected, (chart, area, label)


TOGETHER_ALONE = ("goals-by-meals", "neither-by-group", "lead-time-by-group")


def test_every_figure_is_that_of_the_tables(made: Made) -> None:
    """In every area, each in a row or a panel; some charts are of all councils together alone."""
    found = panels(made)
    check_figures(made, found)
    charts = Counter(chart for chart, *_ in found)
    assert set(charts) == set(ROWS)
    is_complete = len(made.facts.councils) == len(PILOT) and not any(made.facts.missing.values())
    for chart, _, _, panel in found if is_complete else ():
        number_of_areas = len(body_rows(panel)) if ROWS[chart] is None else charts[chart]
        assert number_of_areas == (1 if chart in TOGETHER_ALONE else 10)


def test_two_cohorts_have_panels_of_their_own(two_cohorts: Made) -> None:
    found = panels(two_cohorts)
    assert {cohort for _, cohort, *_ in found} == {COHORT, LATER, ""}
    check_figures(two_cohorts, [panel for panel in found if panel[1]])


def test_over_time_every_cohort_stands_beside_the_others(two_cohorts: Made) -> None:
    """In each area; with England's official figure where there is one, and the break where one lies."""
    published = Published(two_cohorts.tables)
    found = [(chart, area, panel) for chart, cohort, area, panel in panels(two_cohorts) if not cohort]
    assert sorted({chart for chart, *_ in found}) == ["gap-over-time", "gld-over-time"]
    assert {area for _, area, _ in found} == {area.name for area in list_geographies(PILOT)}
    for chart, area, panel in found:
        sources = find_places(chart.replace("over-time", "by-area"), "")
        sources = sources if chart == "gap-over-time" else [sources[0], sources[2]]
        (first, *cells), (second, *later) = ([get_words(each) for each in row] for row in body_rows(panel))
        assert (first, second) == ("2024/25", "2025/26 [b]" if area == TOGETHER else "2025/26")
        assert cells == [published.find_cell(place, COHORT, area) for place in sources]
        gone = area == "Liverpool City Region"
        assert later == [("[x]" if gone else published.find_cell(place, LATER, area)) for place in sources]
        text = get_words(panel)
        assert ("England, official statistics (2024/25: 68.3%)" in text) == (chart == "gld-over-time")
        assert ("There is a break in the series before 2025/26 [b]" in text) == (area == TOGETHER)
    about = two_cohorts.read_page("about")
    assert "2025/26: all councils together are not the same ones as in 2024/25" in about


TOLD = re.compile(
    r"(?:([−\d.,]+(?:%| points)?(?: \[(?:u|linkage)\])?)|withheld as too uncertain)"
    r" \(95% interval ([−\d.,%]+ to [−\d.,%]+)\)"
)


TARGET = re.compile(
    r"(?:Whether )?(?P<aim>[\d.]+)% by \d{4} \([^)]*\) is"
    r" (?:(?P<points>[\d.]+) points away \(95% interval (?P<least>[\d.]+) to (?P<most>[\d.]+)\): (?P<children>[\d,]+)"
    r" more children in a year group of this size \((?P<fewest>[\d,]+) to (?P<greatest>[\d,]+)\)"
    r"|(?P<met>reached)|reached is (?P<unsure>too close to call))\."
)


def test_every_area_is_told_how_far_it_is_from_the_target_as_the_macro_answers(whole: Made) -> None:
    names = {area.code: area.name for area in list_geographies(PILOT)[1:]} | {"": "Pilot councils"}
    with duckdb.connect(str(whole.site.parent.parent / DATABASE_FILE), read_only=True) as con:
        found = con.sql("FROM gld_to_target('Total')").to_arrow_table().to_pylist()
    macro = {(row["area_name"], row["target_percent"]): row for row in found}
    [panel] = [panel for chart, _, _, panel in panels(whole) if chart == "gld-by-area"]
    said = {p.get("data-row", ""): get_words(p) for p in panel.iter("p") if has_class(p, "words")}
    assert set(said) == set(names)
    verdicts = set()
    for code, sentence in said.items():
        [told] = TARGET.finditer(sentence)
        row = macro[names[code], float(told["aim"])]
        verdict = "met" if told["met"] else "cannot say" if told["unsure"] else "not met"
        assert verdict == row["verdict"]
        verdicts.add(verdict)
        if verdict != "not met":
            continue
        away = [float(told[end]) for end in ("points", "least", "most")]
        more = [float(told[end].replace(",", "")) for end in ("children", "fewest", "greatest")]
        slack = 0.51 if row["flag"] == "u" else 0.051
        assert away == pytest.approx([row[f"points_{end}"] for end in ("to_go", "lower_ci", "upper_ci")], abs=slack)
        assert more == pytest.approx([row[f"children_{end}"] for end in ("to_go", "lower_ci", "upper_ci")], abs=1)
    assert verdicts


def test_sentences_tell_figures_of_their_own_panel_with_their_intervals(made: Made) -> None:
    told = 0
    for chart, _, area, panel in panels(made):
        cells = {get_words(cell) for cell in panel.iter("td")}
        said = [get_words(p) for p in panel.iter("p") if has_class(p, "words")] + [
            get_words(d) for d in panel.iter("desc")
        ]
        for sentence in said:
            found = [f"{shown or '[withheld]'} {interval}" for shown, interval in TOLD.findall(sentence)]
            assert set(found) <= cells, (chart, area, sentence)
            assert not re.search(r"\d%|points", TARGET.sub("", TOLD.sub("", sentence))), sentence
            told += len(found)
    assert told > 80 or made.facts.missing


def told(cell: str) -> str:
    """A cell as a sentence tells it."""
    figure, interval = re.fullmatch(r"(.*?(?:%|points|\d)?(?: ?\[\w+\])?) ([−\d.,%]+ to [−\d.,%]+)", cell).groups()
    return f"{figure.replace('[withheld]', 'withheld as too uncertain')} (95% interval {interval})"


FIRST_SENTENCES = {
    "gld-by-area": ([""], slice(1)),
    "gap-by-area": ([""], slice(3)),
    "seen-by": (["Neither"], slice(2)),
    "concern": (["Health visitor only", "Nursery only"], slice(0, None, 2)),
    "concern-gld": (["Both saw, health visitor concerned", "Both saw, nursery concerned"], slice(1, None, 2)),
    "review": (["All five domains"], slice(1)),
    "pathway": (["All five domains at or above the cut-off"], slice(1)),
}
"""By chart, the rows and then the cells, column by column, whose figures its first sentence gives in this order."""


def test_sentences_say_which_figure_is_which(whole: Made) -> None:
    published = Published(whole.tables)
    checked = set()
    for chart, cohort, area, panel in panels(whole):
        if chart in FIRST_SENTENCES:
            rows, shown = FIRST_SENTENCES[chart]
            cells = [
                published.find_cell(place, cohort, area or TOGETHER)
                for row in rows
                for place in find_places(chart, row)
            ]
            first = TARGET.sub("", next(get_words(p) for p in panel.iter("p") if has_class(p, "words")))
            assert [found[0] for found in TOLD.finditer(first)] == [told(cell) for cell in cells[shown]]
            checked.add(chart)
    assert checked == set(FIRST_SENTENCES)


LIKE_THESE = re.compile(r"For (children|responses) like these, ")
COMPARING = re.compile(r"\b(ahead of|behind|ahead|rose|fell|widened|narrowed|would be lowest|could be lowest)\b")


def test_only_conclusions_about_children_like_these_compare(made: Made, two_cohorts: Made) -> None:
    """Nothing else says ahead, behind, rose or fell: text must be a conclusion, and a heading one of its section."""
    told = compared = plain = 0
    for root in (parse(each.read_page(name)) for each in (made, two_cohorts) for name in CHART_PAGES):
        assert sum(get_words(link) == "Two questions, two answers" for link in root.iter("a")) == 1
        for paragraph in root.iter("p"):
            if has_class(paragraph, "alike"):
                assert LIKE_THESE.match(get_words(paragraph))
                told += 1
            elif not has_class(paragraph, "intro"):
                assert not COMPARING.search(get_words(paragraph)), get_words(paragraph)
        for section in root.iter("section"):
            concluded = " ".join(get_words(p) for p in section.iter("p") if has_class(p, "alike"))
            for finding in (
                each for h2 in section.iter("h2") for each in h2.iter("span") if has_class(each, "finding")
            ):
                assert "[" not in get_words(finding)
                found = re.search(
                    r"\b(ahead|behind|rose|fell|widened|narrowed|lowest|most often)\b", get_words(finding)
                )
                assert not found or found[1] in concluded, get_words(finding)
                # a difference with a flag has no number here
                assert found or re.search(r"\d", get_words(finding)), get_words(finding)
                compared += bool(found)
                plain += not found
    assert told > 10
    assert plain or made.facts.missing
    assert compared


def test_a_change_has_the_direction_of_its_interval(two_cohorts: Made) -> None:
    """Nothing is said across a break, or of a figure that is not shown."""
    told = 0
    for chart, cohort, area, panel in panels(two_cohorts):
        if chart != "gld-over-time" or cohort:
            continue
        said = [get_words(p) for p in panel.iter("p") if has_class(p, "alike")]
        shown = all("%" in get_words(row[1]).split(" ")[0] for row in body_rows(panel))
        assert bool(said) == (shown and area != TOGETHER)
        for sentence in said:
            ends = re.search(r"anywhere from ([\d.]+) points lower to ([\d.]+) points higher than 2024/25", sentence)
            assert bool(ends) != bool(re.search("the figure (rose|fell) by between", sentence)), sentence
            told += 1
    assert told > 4


def test_official_figures_stand_beside_their_groups(whole: Made) -> None:
    """England's and the council's own, and nowhere a difference from the council's own."""
    official = {(f.area_name, f.breakdown_topic, f.breakdown, f.sex): f for f in read_official_figures(COHORT)}
    seen = set()
    for chart, _, area, panel in panels(whole):
        if chart != "gld-by-group":
            continue
        heads = [get_words(each).partition(", official")[0] for each in panel.iter("th") if has_class(each, "official")]
        assert heads == ["England", *([area] if (area, "Total", "Total", "Total") in official else [])]
        for row in body_rows(panel):
            cells = [get_words(each) for each in row if has_class(each, "official")]
            found = [official.get((name, *GROUPS[get_words(row[0])])) for name in heads]
            assert cells == [f"{each.percent:.1f}%" if each else "–" for each in found]
            seen.update(each.key for each in found if each)
    assert len(seen) > 80


def test_nothing_follows_from_how_made_up_figures_and_official_ones_compare(whole: Made) -> None:
    files = whole.render_pages(replace(whole.facts, notice="Made up."))
    made_up = {name: files[f"{name}.html"].decode() for name in ("index", "groups")}
    for name, times in (("index", 2), ("groups", 1)):
        assert made_up[name].count("comparing the two shows nothing") >= times
        assert "comparing the two shows nothing" not in whole.read_page(name)
    assert ("ahead of England’s" in whole.read_page("groups"), "ahead of England’s" in made_up["groups"]) == (
        True,
        False,
    )


def test_england_stands_beside_the_councils_with_its_source(whole: Made) -> None:
    """As a line at its figure in the drawing, in the key and below the table; nothing follows for made-up figures."""
    official = {(f.breakdown, f.sex): f.percent for f in read_official_figures(COHORT) if f.area_name == "England"}
    eligible, others = (round(official[group, "Total"], 1) for group in (ELIGIBLE, NOT_ELIGIBLE))
    gap = f"{others - eligible:.1f} points"
    expected = {
        "gld-by-area": [f"{official['Total', 'Total']:.1f}%", "–", "–"],
        "gap-by-area": [f"{eligible:.1f}%", f"{others:.1f}%", gap],
    }
    for chart, _, _, panel in panels(whole):
        if chart not in expected:
            assert not list(panel.iter("tfoot"))
            continue
        [foot] = panel.iter("tfoot")
        assert [get_words(cell) for cell in foot.iter("td")] == expected[chart]
        scale = [number(get_words(tick)) for tick in panel.iter("text") if has_class(tick, "tick")]
        named = [get_words(each).split()[-1] for each in panel.iter("text") if has_class(each, "reference")]
        assert named == (cells := [cell for cell in expected[chart] if "%" in cell])
        for row in (each for each in panel.iter("g") if has_class(each, "row")):
            drawn = [line.get("x1", "").rstrip("%") for line in row.iter("line") if has_class(line, "beside")]
            lines = [scale[0] + (scale[-1] - scale[0]) * float(place) / 100 for place in drawn]
            assert lines == pytest.approx([float(cell.rstrip("%")) for cell in cells], abs=0.02)
        key = " ".join(get_words(each) for each in panel.iter("li"))
        assert all(f": {cell}" in key for cell in expected[chart] if "%" in cell)
        assert "DfE, Early years foundation stage profile results, 2024/25" in get_words(panel)


def test_a_chart_draws_what_its_heading_promises(whole: Made, two_cohorts: Made) -> None:
    """Every chart draws percentages, and the gap is drawn as a gap: between its groups, and over time by itself."""
    spans = 0
    for _, _, _, panel in [*panels(whole), *panels(two_cohorts)]:
        for drawing in (each for each in panel.iter("svg") if has_class(each, "chart")):
            told = [get_words(mark.find("title")) for mark in drawing.iter("g") if mark.find("title") is not None]
            gap = "gap in the good level" in get_words(drawing.find("title"))
            assert all(re.search(r"points|withheld" if gap else r"%", each) for each in told)
    for chart, _, _, panel in panels(whole):
        for row in panel.iter("g"):
            for line in (each for each in row.findall("line") if has_class(each, "span")):
                ends = {each.get("x") for each in row.iter("use")}
                assert chart in ("gap-by-area", "reviews-gld")
                assert {line.get("x1"), line.get("x2")} == ends
                spans += 1
    assert spans > 5


def test_many_councils_are_on_a_map_and_few_are_not(many: Made, whole: Made) -> None:
    assert '<figure class="map">' not in whole.read_page("index")
    root = parse(many.read_page("index"))
    [drawing] = (each for figure in root.iter("figure") if has_class(figure, "map") for each in figure.findall("svg"))
    published = Published(many.tables)
    tiles = {tile.get("data-row", ""): tile for tile in drawing.iter("g")}
    named = {resolve(council).new_la_code: resolve(council).la_name for council in many.facts.councils}
    assert set(tiles) == set(named)
    assert len(list(drawing.iter("use"))) == 153
    classes = dict(re.findall(r'class="sample tile (c\d)".*?</svg> (\d+% to (?:under )?\d+%)', many.read_page("index")))
    for code, name in named.items():
        cell = published.find_cell(find_places("gld-by-area", "")[0], COHORT, name)
        assert get_words(tiles[code].find("title")) == f"{name}: {told(cell)}"
        kind = tiles[code].get("class", "").removeprefix("tile ")
        text = get_words(tiles[code].find("text"))
        if cell.startswith("[withheld]"):
            assert (kind, text) == ("empty", "")
            continue
        figure = float(cell.partition("%")[0])
        low, high = (int(end) for end in re.findall(r"\d+", classes[kind]))
        assert low <= figure < high or figure == high == 100
        assert abs(int(text) - figure) <= 0.55
        assert ("scale" in tiles[code].find("use").get("transform", "")) == ("[u]" in cell)
    assert "Open Innovations (MIT licence)" in get_words(root)


def test_the_overview_leads_with_three_findings_about_each_area(made: Made) -> None:
    """How many were ready, the gap, and who had been seen; those of all councils together are shown."""
    published = Published(made.tables)
    boxes = [box for box in parse(made.read_page("index")).iter("div") if has_class(box, "findings")]
    assert [box.get("data-area") for box in boxes if box.get("hidden") is None] == [""]
    for box in boxes:
        area = next(get_words(each.find("strong")) for each in box.iter("p") if has_class(each, "whose"))
        check_findings(box, area_of(area), published)


def check_findings(box: Element, area: str, published: Published) -> None:
    sources = [
        find_places("gld-by-area", "")[0],
        find_places("gap-by-area", "")[2],
        find_places("seen-by", "Neither")[0],
    ]
    headlines = [each for each in box.iter("div") if has_class(each, "headline")]
    for headline, source in zip(headlines, sources, strict=True):
        expected = published.find_cell(source, COHORT, area)
        if expected.startswith("["):
            assert "the figure is" in get_words(headline), (area, get_words(headline))
            continue
        figure, interval = re.fullmatch(r"(−?[\d.]+(?:%| points)(?: \[(?:u|linkage)\])?) (.*)", expected).groups()
        assert get_words(headline).startswith(f"{figure} ")
        assert f"95% interval {interval}" in get_words(headline)
        assert ("[u]: low reliability" in get_words(headline)) == ("[u]" in figure)
        about = f"about {number(figure.split('%')[0]):.0f} in every 100" if source is sources[0] else ""
        assert about in get_words(headline) or "[u]" in figure
    shares = [published.find_cell(find_places("seen-by", row)[0], COHORT, area).split(" ")[0] for row in SEEN]
    parts = [rect for each in box.iter("svg") if has_class(each, "stack") for rect in each.iter("rect")]
    if any(share.startswith("[") for share in shares):
        assert not parts
        return
    assert [get_words(each).partition(": ")[2].split(" ")[0] for each in headlines[2].iter("li")] == shares
    starts, widths = ([number(rect.get(of, "")) for rect in parts] for of in ("x", "width"))
    values = np.array([number(share) for share in shares])
    assert np.allclose(widths, 100 * values / values.sum(), atol=0.02)
    assert np.allclose(starts, [0, *np.cumsum(widths)[:-1]], atol=0.05)


def test_a_council_has_a_page_that_begins_with_its_own_figures(made: Made) -> None:
    """Then what is beside them: England, official figures of every year, other councils, the target, whom to ask."""
    published, index = Published(made.tables), parse(made.read_page("index"))
    named = {resolve(council).la_name: f"council-{council}" for council in made.facts.councils}
    [listed] = [each for each in index.iter("ul") if has_class(each, "councils")]
    assert {get_words(link): link.get("href") for link in listed.iter("a")} == {
        n: f"{p}.html" for n, p in named.items()
    }
    for name, page in named.items():
        main = next(parse(made.read_page(page)).iter("main"))
        assert get_words(main.find("h1")) == name
        check_findings(next(box for box in main.iter("div") if has_class(box, "findings")), name, published)
        sections = {section.get("aria-labelledby", ""): section for section in main.iter("section")}
        for chart in ("gld-by-area", "gap-by-area", "neither-by-area"):
            rows = body_rows(sections[chart])
            labels = [get_words(row[0]) for row in rows]
            assert labels[0] == name
            assert set(labels[2:]) == set(named) - {name}
            for row in rows:
                label, *cells = own_cells(row)
                assert cells == [
                    published.find_cell(place, COHORT, area_of(label)) for place in find_places(chart, label)
                ]
        official = {
            f"{row[:4]}/{row[4:]}": {
                each.area_name: f"{each.percent:.1f}%"
                for each in read_official_figures(row)
                if {each.breakdown_topic, each.breakdown, each.sex} == {"Total"}
            }
            for row in ("202122", "202223", "202324", "202425")
        }
        told = {
            get_words(row[0]): [get_words(cell) for cell in row[1:]] for row in body_rows(sections["official-series"])
        }
        assert told == {f"20{year[2:]}": [of[name], of["England"]] for year, of in official.items()}
        figure = published.find_cell(find_places("gld-by-area", "")[0], COHORT, name)
        assert bool(TARGET.search(get_words(sections["target"]))) == (not figure.startswith("[x]"))
        assert made.facts.contact in get_words(sections["ask"])


def test_a_council_that_has_not_sent_the_newest_cohort_has_the_one_before(two_cohorts: Made) -> None:
    for council, year in (("halton", "2024/25"), ("leeds", "2025/26")):
        text = get_words(next(parse(two_cohorts.read_page(f"council-{council}")).iter("main")))
        assert re.match(rf".*children who finished Reception in {year} ", text), text[:200]
        assert "[x]. The gap" not in text


UNSURE = re.compile("(?<!The others are )too close|none of the|any of these")


def test_what_stands_out_is_what_may_be_concluded_and_no_more(whole: Made) -> None:
    """Each sentence is that of the council's panel on another page; what the data cannot say is not among them."""
    said: dict[str, set[str]] = {}
    for chart, _, area, panel in panels(whole):
        for paragraph in (p for p in panel.iter("p") if has_class(p, "alike")):
            code = paragraph.get("data-row") or ("" if not area or chart.startswith("parents") else area)
            if not UNSURE.search(get_words(paragraph)):
                said.setdefault(code, set()).add(get_words(paragraph))
    told = 0
    for council in whole.facts.councils:
        section = next(
            each
            for each in parse(whole.read_page(f"council-{council}")).iter("section")
            if each.get("aria-labelledby") == "stands-out"
        )
        place = resolve(council)
        expected = said.get(place.new_la_code, set()) | said.get(place.la_name, set())
        items = [get_words(each)[len(get_words(each.find("strong"))) :].strip() for each in section.iter("li")]
        found = {item for item in expected if any(each.startswith(item) for each in items)}
        assert (len(items), found) == (len(expected), expected)
        told += len(items)
    assert told > 3


def test_marks_stand_where_their_figures_are(made: Made) -> None:
    drawn = 0
    for _chart, _, _, panel in panels(made):
        drawings = [each for each in panel.iter("svg") if has_class(each, "chart")]
        stacked = any(has_class(each, "stack") for each in panel.iter("svg"))
        nothing = re.search(r"No figure is|are not available \[x\]", get_words(panel))
        assert len(drawings) + stacked == (not nothing)
        if not drawings:
            continue
        (drawing,) = drawings
        ticks = [number(get_words(tick)) for tick in drawing.iter("text") if has_class(tick, "tick")]
        low, high = ticks[0], ticks[-1]
        assert np.allclose(np.diff(ticks), (high - low) / (len(ticks) - 1))
        for mark in (group for group in drawing.iter("g") if group.find("title") is not None):
            told = get_words(mark.find("title"))
            interval = re.search(r"95% interval ([\d.,]+)%? to ([\d.,]+)%?\)", told)
            assert interval
            line, point = mark.find("line"), mark.find("use")
            placed = [low + (high - low) * number(line.get(end, "")) / 100 for end in ("x1", "x2")]
            assert np.allclose(placed, [number(end) for end in interval.groups()], atol=0.002 * (high - low) + 0.51)
            assert (point is None) == ("withheld" in told) == has_class(line, "w")
            if point is not None:
                value = re.search(r"(?:^|: )([\d.,]+)%?( \[(?:u|linkage)\])? \(95%", told)
                place = low + (high - low) * number(point.get("x", "")) / 100
                assert abs(place - number(value[1])) <= 0.002 * (high - low)
                assert point.get("href", "").startswith("#h") == bool(re.search(r"\[(u|linkage)\]", told))
            drawn += 1
    assert drawn > 100 or made.facts.missing


def number(text: str) -> float:
    return float(text.replace(",", "").rstrip("%"))


def test_downloads_hold_the_figures_of_their_charts(made: Made) -> None:
    published = Published(made.tables)
    for chart in ROWS:
        with (made.site / f"{chart}.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        alike = ROWS[chart] is None or chart.startswith("reviews")
        count = len(find_places(chart, "")) if alike else 1 if chart == "gld-by-group" else 2
        assert len(lines) % count == 0
        for start in range(0, len(lines), count):
            row = lines[start : start + count]
            area = area_of(row[0]["area"])
            for line, place in zip(row, find_places(chart, row[0]["row"]), strict=True):
                assert line["measure"] == place[1]
                shown = published.find_cell(place, line["cohort"], area)
                unit = {"%": "%", "pp": " points"}.get(line["unit"], "")
                given = [f"{grouped(line['figure'])}{unit}"] if line["figure"] else []
                given += [f"[{line['flag']}]"] if line["flag"] else []
                ends = [
                    grouped(line[end]) + unit.replace(" points", "") for end in ("lower_95", "upper_95") if line[end]
                ]
                assert " ".join([*given, *([" to ".join(ends)] if ends else [])]) == shown
                assert line["flag_meaning"] == (FLAG_MEANINGS[line["flag"]] if line["flag"] else "")


def grouped(text: str) -> str:
    whole, dot, decimals = text.partition(".")
    sign = "−" if whole.startswith("-") and number(text) else ""
    return f"{sign}{abs(int(whole)):,}{dot}{decimals}"


def test_symbols_are_explained_where_they_stand(made: Made) -> None:
    for _, _, _, panel in panels(made):
        text = " ".join(get_words(row) for row in body_rows(panel))
        explained = {get_words(entry) for entry in panel.iter("li") if has_class(entry, "symbol")}
        assert explained == {f"{found} {FLAG_MEANINGS[found[1:-1]]}" for found in re.findall(r"\[[a-z]+\]", text)}
    about = [get_words(entry) for entry in parse(made.read_page("about")).iter("div") if entry.find("dt") is not None]
    assert {f"[{symbol}]{meaning}" for symbol, meaning in SYMBOLS.items()} <= set(about)


@pytest.mark.parametrize("page", PAGES)
def test_asks_nothing_of_the_network(made: Made, page: str) -> None:
    text = made.read_page(page)
    root = parse(text)
    assert not re.search(r"url\(|@import", text)
    if page not in DOCUMENT_PAGES:
        # The address of the release itself is quoted, and loaded by nobody.
        own = text.replace(made.facts.address, "")
        assert not re.search(r"https?:|//[a-z]", own.replace("// ", ""))
    assert {each.tag for each in root.iter() if not each.get("href", "#").startswith("#")} <= {"a", "link"}
    assert not {each.tag for each in root.iter()} & {"iframe", "object", "embed", "base", "img"}
    assert all(each.get("href", "").startswith("#") for each in root.iter("use"))
    assert not [
        name for each in root.iter() for name in each.attrib if name.startswith("on") or name in ("src", "style")
    ]
    (script,) = root.iter("script")
    digest = base64.b64encode(hashlib.sha256((script.text or "").encode()).digest()).decode()
    policy = next(each.get("content", "") for each in root.iter("meta") if each.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


@pytest.mark.parametrize("page", PAGES)
def test_headings_tables_and_drawings_are_made_for_everyone(made: Made, page: str) -> None:
    root = parse(made.read_page(page))
    assert root.get("lang") == "en-GB"
    levels = [int(each.tag[1]) for each in root.iter() if re.fullmatch("h[1-6]", each.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for each in root.iter():
        for name in ("aria-labelledby", "for"):
            assert set(each.get(name, "").split()) <= set(ids)
    assert all(each.get("aria-label") for each in root.iter("section") if each.find("table") is not None)
    for table in root.iter("table"):
        assert page in DOCUMENT_PAGES or get_words(table.find("caption"))
        assert all(head.get("scope") in ("col", "row") for head in table.iter("th"))
        assert len({len(row) for row in table.iter("tr")}) == 1
    for drawing in root.iter("svg"):
        if has_class(drawing, "chart"):
            assert get_words(drawing.find("title"))
            assert get_words(drawing.find("desc"))
        else:
            assert drawing.get("aria-hidden") == "true"
    assert {"header", "nav", "main", "footer"} <= {each.tag for each in root.iter()}
    for part, wanted in (("nav", {"my-child.html", "index.html#find-your-council"}), ("footer", {"my-child.html"})):
        assert wanted <= {link.get("href") for link in next(root.iter(part)).iter("a")}


@pytest.mark.parametrize("place", checks.PLACES)
def test_links_lead_to_files_and_places_that_are_there(made: Made, place: str, tmp_path: Path) -> None:
    linked = checks.find_linked_files(made, place, tmp_path)
    assert len(linked) > 80
    beside = {"readiness.duckdb", "2026.11.0.zip", "2026.11.0.tar"}
    assert linked & beside == (beside if place == "site" else set())


def test_every_file_of_the_bundle_is_linked_and_described(made: Made) -> None:
    page = next(each for each in parse(made.read_page("downloads")).iter("main"))
    linked = {link.get("href", "") for link in page.iter("a")}
    expected = {f"../{path.name}" for path in made.site.parent.iterdir() if path.is_file()}
    assert expected <= linked
    assert {f"{name}.html" for name in DOCUMENT_PAGES} <= linked
    for section in page.iter("section"):
        for entry in (each for part in section.iter("ul") for each in part.iter("li")):
            names = " ".join(get_words(link) for link in entry.iter("a"))
            assert len(get_words(entry)) > len(names) + 8, get_words(entry)


def test_what_is_missing_is_said_on_every_page(without: Made, whole: Made) -> None:
    for page in CHART_PAGES:
        said = "Not complete. Some councils have not sent all records: Halton: no EYFS Profile;"
        assert said in get_words(parse(without.read_page(page)))
        assert "Not complete" not in whole.read_page(page)
    assert "Complete: every council has sent every source" in get_words(parse(whole.read_page("about")))
    assert "All councils but Halton, children who finished" in get_words(parse(without.read_page("index")))


def test_hostile_words_stay_words(whole: Made) -> None:
    publisher, contact = checks.HOSTILE
    files = whole.render_pages(replace(whole.facts, publisher=publisher, contact=contact))
    checks.check_words_stay_words(content for name, content in files.items() if name.endswith(".html"))


@checks.WITH_A_VALIDATOR
def test_a_validator_finds_nothing(made: Made) -> None:
    checks.check_valid(made.site / f"{page}.html" for page in PAGES)


def test_the_page_about_a_child_names_every_review_that_has_a_figure(made: Made) -> None:
    rows = made.tables["health_visitor_reviews"].to_pylist()
    shares = {row["health_review"] for row in rows if row["children_percent"] is not None}
    [items] = [get_words(each).lower() for each in parse(made.read_page("my-child")).iter("ul") if has_records(each)]
    assert {row["health_review"] for row in rows if row["health_review"].lower() in items} == shares


def has_records(listed: Element) -> bool:
    """Whether a list is of the records that are used."""
    return "EYFS Profile" in get_words(listed)
