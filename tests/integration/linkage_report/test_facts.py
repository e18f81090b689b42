"""The linkage report: each fact against what it counts, and a page without a token, a child or a row."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from assets.home.paths import Home
from assets.linkage.dual_system import compute_bounds
from assets.linkage.report import (
    HEADLINE,
    JOINTLY,
    coarsen_facts,
    compute_weighted_rates,
    compute_wilson_interval,
    count_links_by_group,
    render,
)
from assets.linkage.tokens import open_tokens
from ndl_export.tables import FAMILIES, pupil
from privacy.keys import KeyRing
from privacy.linkage import model
from privacy.linkage.link import link
from privacy.linkage.missed import TOO_MANY
from privacy.linkage.report import LinkageReport
from privacy.normalise import load_name_bands
from privacy.pseudonyms import TOKEN_COLUMNS
from tests.support import report_pages
from tests.support.browser import IN_A_BROWSER, start_browser
from tests.support.linkage import stress
from tests.support.linkage.linked_home import CHILDREN, COHORT
from tests.support.linkage.populations import Frames, tokenise_frames

LINKED, MISSED = pupil.ASQ3.categories[0], pupil.NO_REVIEW


def test_every_row_and_link_is_counted_and_patterns_of_the_review_band_add_up(
    facts: dict[str, Any], home: Home, frames: Frames
) -> None:
    links = pq.read_table(home.get_cohort(COHORT).links).to_pandas()
    assert facts["children"] == links.child_id.nunique()
    counted = {(line["source"], line["match_rule"]): line["rows"] for line in facts["rows_by_source_and_rule"]}
    assert counted == links.groupby(["source", "match_rule"]).size().to_dict()
    assert facts["rows_by_source"] == {source: len(frame) for source, frame in sorted(frames.items())}
    one_to_one = {step["step"]: step["linked_one_to_one"] for step in facts["steps"]}
    for low, now, high in zip(*[iter(facts["thresholds"])] * 3, strict=True):
        assert low["links"] >= now["links"] == one_to_one[now["step"]] >= high["links"]
        assert (now["threshold"], now["gained"], now["lost"]) == (facts["threshold"], 0, 0)
    assert sum(line["pairs"] for line in facts["review_patterns"]) == sum(s["in_review_band"] for s in facts["steps"])

    assert facts["review_patterns"]
    for pattern in facts["review_patterns"]:
        low, high = facts["review_band"]
        assert low <= pattern["posterior_low"] <= pattern["posterior_high"] <= high
        total = pattern["prior_bits"] + sum(e["bits"] for e in pattern["comparisons"]) + pattern["correction"]
        assert total == pytest.approx(pattern["weight"])
        assert model.convert_to_probability(pattern["weight"]) == pytest.approx(pattern["posterior"])
        assert all(entry["level"] for entry in pattern["comparisons"])


@pytest.mark.parametrize(("events", "trials"), [(0, 7), (7, 7), (3, 10), (820, 1_000)])
def test_intervals_are_wilsons(events: int, trials: int) -> None:
    expected = binomtest(events, trials).proportion_ci(0.95, "wilson")
    assert compute_wilson_interval(events / trials, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def _children(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Write a children's table: eligible girls at a good level with a review, but for what each row changes."""
    usual = {each.name: each.categories[0] for each in FAMILIES["pupil"].attributes} | {"council": "leeds"}
    usual |= {"entitlement": pupil.NOT_LINKED_TO_SETTING, "dots": pupil.format_dots_category(pupil.HV_ONLY, pupil.NONE)}
    path = folder / "children.parquet"
    pq.write_table(pa.Table.from_pylist([usual | row for row in rows]), path)
    return path


def test_weighting_and_rates_by_hand(tmp_path: Path) -> None:
    """Eligible: 4 children, 2 linked, both at a good level. Not eligible: 5, all linked, 1 at a good level.

    Unweighted 3 of 7; with weights 2 and 1, (2 + 2 + 1) of 9.
    """
    other = {"fsm": "Not eligible for free school meals"}
    rows = [{}, {}, {"asq3": MISSED}, {"asq3": MISSED}, other, *[other | {"gld": "No"}] * 4]
    (line,) = compute_weighted_rates(_children(tmp_path, rows))
    assert (line["table"], line["category"], line["children"]) == ("readiness_pathway", LINKED, 7)
    assert line["unweighted"] == pytest.approx(3 / 7)
    assert line["weighted"]["Free school meal eligibility"] == pytest.approx(5 / 9)
    assert line["weighted"][JOINTLY] == pytest.approx(5 / 9)
    assert line["weighted"]["Sex"] == pytest.approx(3 / 7)
    lines = count_links_by_group(_children(tmp_path, [{}, {}, {"asq3": MISSED, "sex": "Male"}]))
    found = {(line["topic"], line["group"]): line for line in lines}
    assert found["All", "All children"]["review"] == 2
    assert found["Sex", "Male"]["review"] == 0
    assert found["Council", "Leeds"]["children"] == 3
    assert found["Sex", "Unknown"]["children"] == 0


def test_bounds_on_neither_by_hand(tmp_path: Path) -> None:
    """Of 1,000 pupils, 700 are linked to both services (60 by a weak link to a setting) and 100 to each one only.

    If the 50 reviews and 20 settings' records without a pupil were all missed links, 30 children would remain in
    "Neither". If the services saw children independently, 100 x 100 / 700 would be seen by neither.
    """
    seen = [(1.0, 0.7)] * 60 + [(1.0, 1.0)] * 640 + [(1.0, None)] * 100 + [(None, 1.0)] * 100 + [(None, None)] * 100
    rows, links = [], []
    for number, (review, setting) in enumerate(seen):
        rows.append(
            {
                "child_id": str(number),
                "asq3": MISSED if review is None else LINKED,
                "entitlement": pupil.NOT_LINKED_TO_SETTING if setting is None else pupil.ENTITLEMENT.categories[0],
            }
        )
        links += [(str(number), "eyfsp", 1.0), (str(number), "hv_reviews", review)]
        links.append((str(number), "early_years_census", setting))
    links += [(f"review {n}", "hv_reviews", 1.0) for n in range(50)]
    links += [(f"setting {n}", "early_years_census", 1.0) for n in range(20)]
    known = [link for link in links if link[2] is not None]
    columns = ("child_id", "source", "match_probability")
    path = tmp_path / "links.parquet"
    pq.write_table(pa.table(dict(zip(columns, map(list, zip(*known, strict=True)), strict=True))), path)
    bounds = compute_bounds(_children(tmp_path, rows), path, 1_250)
    weak, strong, strongest = bounds["by_threshold"]
    shares = [weak[name] for name in HEADLINE]
    assert shares == [0.7, 0.1, 0.1, 0.1]
    assert [strong[name] for name in HEADLINE] == [strongest[name] for name in HEADLINE] == [0.64, 0.16, 0.1, 0.1]
    assert (weak["independent"], strong["independent"]) == (0.01, 0.02)
    assert bounds["without_a_pupil"] == {"review": 0.05, "setting": 0.02}
    assert bounds["neither_at_least"] == 0.03
    assert bounds["of_published"] == 0.8


def test_rows_with_too_little_to_compare_and_upns_of_two_pupils(keys: KeyRing) -> None:
    """Three reviews lose all but a surname and sex, two all but common names; two pupils have one UPN."""
    frames = stress.draw_extracts(600, seed=2)
    frames["school_census"].loc[0, "upn"] = frames["school_census"].upn[1]
    reviews = frames["hv_reviews"]
    reviews[["forename", "postcode"]] = reviews[["forename", "postcode"]].astype(object)
    reviews.loc[:4, "date_of_birth"] = pd.NaT
    reviews.loc[:4, ["postcode", "nhs_number"]] = None
    reviews.loc[:2, "forename"] = None
    bands = (load_name_bands("surname"), load_name_bands("given_name"))
    reviews.loc[3:4, ["surname", "forename"]] = [min(names, key=names.__getitem__) for names in bands]
    report = LinkageReport()
    link(tokenise_frames(frames, keys), watchers=[report])
    found = {line["lacks"]: line for line in report.counted["unlinkable"] if line["source"] == "hv_reviews"}
    alone = found["surname, forename, date of birth, postcode"]
    assert (alone["rows"], alone["rows_with_own_number"]) == (3, 0)
    assert found["date of birth, postcode"]["rows"] == 2
    assert not any(line["lacks"] == "" for line in report.counted["unlinkable"])
    assert report.counted["shared_upns"] == 1


def test_says_how_many_links_are_missed_how_far_groups_differ_and_how_wide_intervals_will_be(
    page: str, home: Home
) -> None:
    report = json.loads(home.get_cohort(COHORT).linkage_report.read_text(encoding="utf-8"))
    assert list(report["headline"]) == [pupil.BOTH, pupil.HV_ONLY, pupil.SETTING_ONLY, pupil.NEITHER]
    assert all(width > 0 for width in report["headline"].values())
    for line in report["missed_links"].values():
        assert line["lower"] <= line["share"] <= line["upper"]
        assert [group["topic"] for group in line["groups"]] == ["council", "ethnic group"]
        for group in line["groups"]:
            assert group["ends"][0]["share"] <= line["share"] + 0.001 <= group["ends"][1]["share"] + 0.002
    assert "By ethnic group: from" in page
    assert "95% intervals of the numbers of children seen by each service" in page
    assert "will be flagged" not in page
    report["missed_links"]["review"]["share"] = TOO_MANY
    assert "Published figures about linked children will be flagged: above 5.0%" in render(report)


def test_is_what_the_facts_give_self_contained_and_readable_by_everyone(page: str, facts: dict[str, Any]) -> None:
    assert render(coarsen_facts(facts)) == page
    report_pages.check_asks_nothing_of_the_network(page)
    report_pages.check_can_be_read_by_everyone(page)
    for anchor in (
        "steps",
        "false",
        "thresholds",
        "bounds",
        "groups",
        "weighted",
        "unlinkable",
        "review",
        "weights",
        "examples",
    ):
        assert f'<summary><h2 id="{anchor}">' in page
    text = "".join(report_pages.parse_page(page).itertext())
    assert all(level in text for levels in model.LEVELS.values() for level in levels)


@IN_A_BROWSER
def test_fits_a_telephone_and_a_desk_and_all_of_it_is_printed(page: str, tmp_path: Path) -> None:
    report_pages.check_fits_a_telephone_and_a_desk(page)
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    with start_browser() as browser:
        shown = browser.new_page()
        shown.goto(path.as_uri())
        assert not shown.locator("table").first.is_visible()
        shown.emulate_media(media="print")
        assert all(table.is_visible() for table in shown.locator("table").all())


def test_no_token_no_child_and_no_row_is_in_it(home: Home, frames: Frames, keys: KeyRing, page: str) -> None:
    """Nothing as long as a token or a child_id, and no token that the extracts hold."""
    tokens: set[str] = set()
    for source, frame in frames.items():
        for council in frame.council.unique():
            rows = open_tokens(home.get_extract(source, COHORT, council), keys).read()
            tokens.update(str(value) for name in rows.column_names if name in TOKEN_COLUMNS for value in rows[name])
    assert len(tokens) > CHILDREN
    for text in (page, home.get_cohort(COHORT).linkage_report.read_text(encoding="utf-8")):
        assert not re.search(r"\b[0-9a-f]{32}\b", text)
        assert not tokens & set(re.findall(r"(?<![\d.])\d{8,}(?![\d.])", text))
        assert "source_row" not in text
