"""What is told of counts and of stopped extracts, outside the restricted zone."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.home.errors import describe_unexpected_error
from assets.home.paths import Home
from assets.intake.assets import _build_metadata, _describe_quality, iter_outcomes, iter_progress_lines
from assets.intake.deliveries import ExtractQuality
from assets.intake.quality import HOLD, Finding
from assets.intake.quality_report.profile import Profile
from assets.linkage.report import coarsen_facts
from assets.pseudonymise.findings import RuleCount
from privacy.doors.counts import describe_count, describe_row_share
from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import FAR_FROM_EXPECTED
from sources.councils.dialect import CONTRACT_DIALECT
from sources.diagnosis.wrong_rows import BORN, OtherOrigin
from sources.errors import ExtractStopped
from sources.extract.table import clean_header, match_columns
from tests.support.intake.corpus import COHORT, SOUND

TAKEN = ExtractQuality(
    "leeds", "eyfsp", COHORT, f"{COHORT}.csv", "0" * 64, "a" * 64, {"contract": "b"}, "2025-07-10T00:00:00+00:00",
    {}, 9056, 9056, 12, (), (), Profile(9056, {}, {}), 8985, None,
)  # fmt: skip


def test_counts_and_shares_are_bands() -> None:
    counts = {0: "none", 1: "under a hundred", 99: "under a hundred", 100: "1 to 2 hundred", 999: "5 to 10 hundred"}
    counts |= {1000: "1 to 2 thousand", 26_132: "20 to 50 thousand", 2_000_000_000: "over 1,000 million"}
    assert {count: describe_count(count) for count in counts} == counts
    shares = [describe_row_share(part, 1000) for part in (1, 50, 300, 700, 950, 1000)]
    assert len({*shares}) == 6
    assert not any(letter.isdigit() for letter in "".join(shares))


def test_the_log_holds_no_count_of_an_extract() -> None:
    rule = RuleCount("sex-blank", "warn", "sex is blank.", ("sex",), 457, (1, 2))
    counts = {"rows_read": 4571, "rows_kept": 4523, "rows_warned": 457, "rows_expected": 4612, "rows_last": 4498}
    quality = replace(TAKEN, source="parent_experience", rules=(rule,), **counts)
    told = list(iter_outcomes(quality))
    said = f"{_describe_quality(quality)} {_build_metadata(quality) | {'file_mac': ''}} {told}".replace(COHORT, "")
    assert not {int(found) for found in re.findall(r"\d+", said)} & {*counts.values(), 4571 - 4523}
    shares = [value for outcome in told for value in outcome.numbers.values() if isinstance(value, float)]
    assert all(round(share, 2) == share for share in shares)


def test_the_written_linkage_report_has_no_count_of_children() -> None:
    facts = {
        "children": 784,
        "steps": [{"step": "a", "in_review_band": 3, "linked_one_to_one": 668}],
        "thresholds": [{"links": 668, "gained": 2, "lost": 1}],
        "rows_by_source": {"eyfsp": 788},
        "rows_by_source_and_rule": [{"source": "eyfsp", "rows": 37}],
        "unlinkable": [{"source": "eyfsp", "rows": 12}],
        "negative_control": {"parts": 10, "steps": [{"links": 668, "share_of_links_at_most": 6.668 / 668}]},
        "groups": [{"children": 784, "review": 668, "setting": 477}, {"children": 41, "review": 37, "setting": 0}],
        "weighted": [{"children": 477, "unweighted": 0.7316561844863733, "weighted": {}}],
    }
    said = str(coarsen_facts(facts))
    assert not {"784", "668", "788", "37", "41", "477"} & set(re.findall(r"\d+", said))
    assert max(map(len, re.findall(r"\d\.\d+", said))) <= len("0.0000")


KNOWN = [
    range(1, 150),
    [199, 200, 499, 500, 999, 1000],
    [1999, 2000],
    [4999],
    pytest.param([10_000, 26_132], marks=pytest.mark.slow),
]
"""Numbers of children that somebody may know, as councils and the Department for Education publish them."""


ALIKE = 5
"""So many counts at least give the same."""


def _written(**facts: object) -> dict[str, Any]:
    nothing = {"steps": [], "thresholds": [], "rows_by_source": {}, "unlinkable": [], "groups": [], "weighted": []}
    return coarsen_facts(nothing | {"negative_control": {"steps": []}} | facts)


def _least_alike(written: Iterable[object]) -> int:
    """How many true counts give what is told of the one that the fewest others share."""
    return min(Counter(map(str, written)).values())


@pytest.mark.parametrize("known", KNOWN)
def test_no_count_of_linked_children_can_be_worked_out_from_rates_and_limits(known: Iterable[int]) -> None:
    """By whoever knows how many children there are, and tries every number of linked ones."""
    for children in known:
        parts = range(children + 1)
        groups = [{"children": children, "review": part, "setting": 0} for part in parts]
        weighted = [{"children": children, "unweighted": part / children, "weighted": {}} for part in parts]
        found = _written(groups=groups, weighted=weighted)
        for name in ("groups", "weighted"):
            assert _least_alike(found[name]) >= min(ALIKE, children + 1)


@pytest.mark.parametrize("mistakes", [1, 12, 89, 400])
def test_no_count_of_links_or_rows_can_be_worked_out_from_mistakes_that_are_numbers(mistakes: int) -> None:
    """A rate of mistakes beside their number would otherwise say how many there are of all."""
    sizes = range(mistakes, 6_000)
    thresholds = [{"links": size, "gained": mistakes, "lost": 0} for size in sizes]
    sources = {f"s{size}": size for size in sizes}
    unlinkable = [{"source": name, "rows": mistakes} for name in sources]
    found = _written(thresholds=thresholds, rows_by_source=sources, unlinkable=unlinkable)
    assert _least_alike(found["thresholds"]) >= ALIKE
    assert _least_alike(line | {"source": ""} for line in found["unlinkable"]) >= ALIKE


def test_no_count_of_links_can_be_worked_out_from_limits_of_error() -> None:
    """Where all links may be false, the limit is their number."""
    steps = [
        {"links": n, "subjects": n, "right_units": n, "share_of_links_at_most": 1.0, "false_links_at_most": float(n)}
        for n in range(1, 300)
    ]
    assert _least_alike(_written(negative_control={"steps": steps})["negative_control"]["steps"]) >= 99


@pytest.mark.parametrize("expected", [200, 1000])
def test_no_count_of_rows_can_be_worked_out_from_their_share_of_a_published_number(expected: int) -> None:
    quality = replace(TAKEN, rows_warned=0, rows_expected=expected)
    told = (iter_outcomes(replace(quality, rows_read=kept, rows_kept=kept)) for kept in range(2 * expected))
    shown = Counter(str([(each.sentence, each.numbers) for each in of_size]) for of_size in told)
    assert min(list(shown.values())[1:-1]) >= ALIKE, "every count but none of all, and those beyond what was tried"


def test_headings_are_for_the_sender_alone() -> None:
    header = [f"{name} Qwyjibo" if name in ("upn", "surname") else name for name in SOUND["eyfsp"]]
    with pytest.raises(ExtractStopped) as missing:
        match_columns("leeds/eyfsp/202425.csv", CONTRACTS["eyfsp"], CONTRACT_DIALECT, header)
    with pytest.raises(ExtractStopped) as twice:
        clean_header("leeds/eyfsp/202425.csv", ["a", "Qwyjibo", "Qwyjibo"])
    for stopped in (missing.value, twice.value):
        assert "Qwyjibo" not in str(stopped)
        assert re.search("columns? [0-9]", str(stopped))
        assert "Qwyjibo" in stopped.for_sender


def test_a_path_in_an_error_ends_where_a_sender_names_files() -> None:
    said = describe_unexpected_error(
        PermissionError(13, "Permission denied", "/l/leeds/hv_reviews/202425/CYP001 Qwyjibo.csv")
    )
    assert "(/l/leeds/hv_reviews)" in said
    said = describe_unexpected_error(PermissionError(13, "Permission denied", str(Path("/l/leeds/eyfsp/202425.csv"))))
    assert "(/l/leeds/eyfsp/202425.csv)" in said


def test_what_is_wrong_has_a_line_without_a_number_of_rows() -> None:
    few = Finding(FAR_FROM_EXPECTED.id, None, HOLD, "")
    half = replace(TAKEN, rows_read=4527, rows_kept=4497, findings=(few,))
    year = OtherOrigin(BORN, "2023/24", "2024/25", 9046, 9052, 6)
    other = replace(TAKEN, council="halton", other_origins=(year,))
    doubt = "number of rows: about 50% of expected; under a hundred rows set aside"
    lines = list(iter_progress_lines(Home(Path("/h")), {COHORT}, (half, other), any_stopped=False))
    assert lines[:2] == [
        f"leeds/eyfsp/202425.csv: 2 to 5 thousand rows read; {doubt}",
        "halton/eyfsp/202425.csv: 5 to 10 thousand rows read; this looks like 2023/24, not 2024/25",
    ]
