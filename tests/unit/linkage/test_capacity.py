"""Memory: a linkage that would take more than there is does not start, and one that runs out says so."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from assets.linkage import link as capacity
from sources.reference.places import load_places
from tests.support import PROJECT

_MEASURED = re.compile(r"^\| [\d.]+ \| ([\d,]+) \| ([\d,]+) \| \d+ \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)


def test_the_line_is_that_of_what_was_measured() -> None:
    """The page has the curve; the run of England peaked at 2.68 GiB."""
    page = (PROJECT / "docs" / "scale.md").read_text(encoding="utf-8")
    curve = [[float(cell.replace(",", "")) for cell in line] for line in _MEASURED.findall(page)]
    assert len(curve) >= 5
    for children, rows, _, peak in curve:
        assert capacity.estimate_gib(rows) == pytest.approx(peak, rel=0.03)
        assert rows / children == pytest.approx(capacity.ROWS_A_CHILD, rel=0.06)
    assert 2.68 < capacity.estimate_run_gib(list(load_places())) < 3.5


def test_a_linkage_too_large_for_this_process_is_refused_without_a_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = tmp_path / "extract.parquet"
    pyarrow.parquet.write_table(pa.table({"row": pa.nulls(3_141_592)}), extract)
    monkeypatch.setattr(capacity, "get_memory_gib", lambda: 2.0)
    with pytest.raises(capacity.NotEnoughMemory, match=r"takes up to 2\.5 GiB .* may use 2\.0") as refused:
        capacity.check_suffices([extract])
    assert not re.search(r"3[.,]?1", str(refused.value))
    monkeypatch.setattr(capacity, "get_memory_gib", lambda: 4.0)
    capacity.check_suffices([extract])
