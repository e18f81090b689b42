"""The page of the model's parameters is up to date, and says where each comes from."""

from __future__ import annotations

from bench.linkage import estimate
from bench.linkage.estimate import page
from privacy.linkage import model
from tests.support import PROJECT

DOCS = PROJECT / "docs"


def test_the_page_is_up_to_date() -> None:
    said = (DOCS / "linkage-parameters.md").read_text(encoding="utf-8")
    assert said == page(), "docs/linkage-parameters.md is out of date: make docs"


def test_every_level_stands_on_it_with_its_origin() -> None:
    lines = page().splitlines()
    for comparison, levels in model.parameters()["comparisons"].items():
        for level, (m, u) in levels.items():
            how = "set by hand" if level in estimate.SET.get(comparison, {}) else "counted"
            assert any(line.startswith(f"| {level} | {m:.7g} | {u:.7g} |") and how in line for line in lines), level
    assert str(estimate.SEED) in page()


def test_the_pages_name_each_other() -> None:
    for name in ("linkage.md", "linkage-model-card.md", "linkage-parameters.md"):
        said = (DOCS / name).read_text(encoding="utf-8")
        others = {"linkage.md", "linkage-model-card.md", "linkage-parameters.md"} - {name}
        assert all(other in said for other in others), name
