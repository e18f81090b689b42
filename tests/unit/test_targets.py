"""The file of targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.reference.goals import Target, load_targets

HEADINGS = "area_code,percent,year,name,source\n"


def test_the_national_ambition_is_every_areas() -> None:
    assert [(t.area_code, t.percent, t.year) for t in load_targets()] == [(None, 75.0, 2028)]


def test_a_local_target(tmp_path: Path) -> None:
    file = tmp_path / "targets.csv"
    file.write_text(HEADINGS + "E08000035,70,2027,local plan,Leeds\n")
    assert load_targets(file) == (Target("E08000035", 70.0, 2027, "local plan", "Leeds"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("E99999999,70,2027,plan,Leeds", "line 2: area_code"),
        ("E08000035,seventy,2027,plan,Leeds", "line 2: percent and year"),
        ("E08000035,170,2027,plan,Leeds", "line 2: percent is"),
        ("E08000035,70,2027,plan,", "line 2: percent is"),
    ],
)
def test_a_line_that_cannot_be_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "targets.csv"
    file.write_text(HEADINGS + line + "\n")
    with pytest.raises(ValueError, match=said):
        load_targets(file)
