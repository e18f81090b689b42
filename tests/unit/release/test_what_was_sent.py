"""Reviews that nobody sends, as noisy counts show them."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.release import tabulate
from ndl_export.bundle.checks import build_table_layouts, find_table_faults
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support.export.fake_release import COHORT, fake_tables

NAME, UPPER = "health_visitor_reviews", "children_percent_upper_ci"


def narrow(table: pa.Table, **levels: str) -> pa.Table:
    """Return the table with rows of these levels whose share of children is from 0 to 2.9%."""
    here = pc.equal(table["breakdown_topic"], "Total")
    for column, level in ({"review_timing": "Done"} | levels).items():
        here = pc.and_(here, pc.equal(table[column], level))
    for column, value in (("children_percent", 0.0), ("children_percent_lower_ci", 0.0), (UPPER, 2.9)):
        position = table.column_names.index(column)
        table = table.set_column(position, table.field(column), pc.if_else(here, value, table[column]))
    return table


def test_a_review_that_hardly_any_child_had_is_not_available_instead_of_0_percent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = fake_tables()
    reviews = narrow(tables[NAME], area_name="Pilot councils", health_review="Antenatal visit")
    tables[NAME] = narrow(reviews, area_name="Halton", health_review="Twelve month review")
    monkeypatch.setattr(tabulate, "tabulate", lambda _: tables)
    own: Any = SimpleNamespace(cohort=COHORT, plans={})
    release = tabulate.MeasuredRelease([own], PILOT, load_policy().reliability, {COHORT: {}})
    sent, found = tabulate.tabulate_what_was_sent(release)
    known = {kind: set(councils) for kind, councils in sent.missing[COHORT].items() if "12M" in kind or "ANV" in kind}
    assert known == {"hv_reviews/ANV": set(PILOT), "hv_reviews/12M": {"halton"}}
    layouts = build_table_layouts(PILOT, (COHORT,), sent.missing)
    assert find_table_faults(found, layouts) == []
    for review, away in (
        ("Antenatal visit", {*found[NAME]["area_name"].to_pylist()}),
        ("Twelve month review", {"Pilot councils", "Liverpool City Region", "Halton"}),
    ):
        rows = found[NAME].filter(pc.equal(found[NAME]["health_review"], review)).to_pylist()
        assert {row["area_name"] for row in rows if row["children_percent_flag"] == "x"} == away
