"""What an intake tells on the console."""

from dataclasses import replace
from pathlib import Path

from assets.home.paths import Home
from assets.intake.assets import iter_progress_lines
from assets.intake.deliveries import ExtractQuality
from assets.intake.quality import HOLD, Finding
from assets.intake.quality_report.profile import Profile
from sources.contracts.extract_rules import FAR_FROM_EXPECTED
from sources.diagnosis.wrong_rows import BORN, OtherOrigin
from tests.support.intake.corpus import COHORT

SOUND = ExtractQuality(
    "leeds", "eyfsp", COHORT, f"{COHORT}.csv", "0" * 64, "a" * 64, {"contract": "b"}, "2025-07-10T00:00:00+00:00",
    {}, 9056, 9056, 12, (), (), Profile(9056, {}, {}), 8985, None,
)  # fmt: skip


def test_what_is_wrong_has_a_line_without_a_number_of_rows() -> None:
    few = Finding(FAR_FROM_EXPECTED.id, "", None, HOLD, False, None, "")
    half = replace(SOUND, rows_read=4527, rows_kept=4497, findings=(few,))
    year = OtherOrigin(BORN, "2023/24", "2024/25", 9046, 9052, 6)
    other = replace(SOUND, council="halton", other_origins=(year,))
    doubt = "number of rows: about 50% of expected; under a hundred rows set aside"
    lines = list(iter_progress_lines(Home(Path("/h")), {COHORT}, (half, other), any_stopped=False))
    assert lines[:2] == [
        f"leeds/eyfsp/202425.csv: 2 to 5 thousand rows read; {doubt}",
        "halton/eyfsp/202425.csv: 5 to 10 thousand rows read; this looks like 2023/24, not 2024/25",
    ]
