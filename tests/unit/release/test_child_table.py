"""Counts are exact, one contribution a child, and say nothing when they fail."""

import hmac
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import compute_published_counts
from privacy.release.child_table import ChildTableError, compute_input_mac, count_cells
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.workload import Cube, Selector
from tests.support.daily import limit_examples
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import build_small_family, draw_small_table, make_small_plan

KEY = b"k" * 32


def replaced(table: pa.Table, column: str, values: list[object]) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values))


@limit_examples(25)
@given(rows=st.integers(1, 60), seed=st.integers(0, 99), data=st.data())
def test_one_row_moves_every_marginal_by_one_and_all_of_them_by_rho(rows, seed, data):
    plan, table = make_small_plan(), draw_small_table(rows, seed)
    gone = data.draw(st.integers(0, rows - 1))
    neighbour = table.filter(pa.array([i != gone for i in range(rows)]))
    here, there = (measure(plan, count_cells(t, plan), NoNoise()).noisy for t in (table, neighbour))
    distances = {a: math.sqrt(((here[a] - there[a]) ** 2).sum()) for a in plan.sigmas}
    assert all(distance == 1 for distance in distances.values())
    assert sum(d**2 / (2 * plan.sigmas[a] ** 2) for a, d in distances.items()) <= compute_charge(plan) <= plan.rho


def test_a_file_and_a_table_count_alike(tmp_path):
    plan, table = make_small_plan(), draw_small_table(500)
    path = tmp_path / "it's a child table.parquet"
    pq.write_table(table, path)
    for one, other in zip(count_cells(table, plan).values(), count_cells(path, plan).values(), strict=True):
        assert one.dtype == np.int64
        assert one.sum() == 500
        assert (one == other).all()


@pytest.mark.parametrize("odd", [None, "Grimsby", 101])
def test_a_value_outside_the_domain_is_refused_and_not_repeated(odd):
    """A numeric column is compared as text."""
    values = [odd] * 20 if isinstance(odd, int) else ["fsm 0"] * 19 + [odd]
    with pytest.raises(ChildTableError, match="column 'fsm' holds a value outside its public domain") as refused:
        count_cells(replaced(draw_small_table(20), "fsm", values), make_small_plan())
    assert str(odd) not in str(refused.value)


@pytest.mark.parametrize("ids", [[1, 1, 2], [1, 2, None]])
def test_a_child_that_counts_twice_is_refused(ids):
    with pytest.raises(ChildTableError, match="a child counts once"):
        count_cells(replaced(draw_small_table(3), "child_id", ids), make_small_plan())


def test_a_missing_column_is_named():
    with pytest.raises(ChildTableError, match="no column 'gld'"):
        count_cells(draw_small_table(3).drop_columns(["gld"]), make_small_plan())


def test_an_empty_table_gives_every_cell():
    plan = make_small_plan()
    sources = {rows: count_cells(draw_small_table(rows), plan) for rows in (0, 1, 400)}
    shapes = {rows: {a: c.shape for a, c in counts.items()} for rows, counts in sources.items()}
    assert shapes[0] == shapes[1] == shapes[400]
    estimates = Estimates(plan, measure(plan, sources[0], OpenDPNoise(compute_charge(plan))))
    axes = {n: Selector.for_each(build_small_family().get_attribute(n)) for n in ("council", "fsm", "gld")}
    published = compute_published_counts(estimates, Cube(axes))
    assert published.value.shape == (4, 3, 2)
    assert np.isfinite(published.lower).all()
    assert np.isfinite(published.upper).all()


def test_the_mac_knows_the_content_and_nothing_else():
    table = draw_small_table(200)
    mac = compute_input_mac(table, KEY)
    shuffled = table.take(np.random.default_rng(0).permutation(200)).select(table.column_names[::-1])
    renumbered = replaced(shuffled, "child_id", list(range(1000, 1200)))
    assert compute_input_mac(renumbered, KEY) == mac
    assert compute_input_mac(table, b"l" * 32) != mac
    assert compute_input_mac(table.slice(1), KEY) != mac
    assert compute_input_mac(pa.concat_tables([table, table.slice(0, 1)]), KEY) != mac
    assert compute_input_mac(table, KEY, columns=["council", "gld"]) != mac
    assert compute_input_mac(table.drop_columns(["dots"]), KEY, columns=["gld", "council"]) == compute_input_mac(
        table, KEY, columns=["council", "gld"]
    )


def test_the_mac_is_of_the_rows_as_sorted_lines_of_json():
    rows = [[value, other] for value in ODD for other in (*ODD, None)] * 3
    lines = sorted(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in rows)
    expected = hmac.digest(KEY, b"\n".join([b"a", b"b", *lines, b""]), "sha256").hex()
    a, b = zip(*rows, strict=True)
    assert compute_input_mac(pa.table({"child_id": range(len(rows)), "b": b, "a": a}), KEY) == expected


ODD = ["", "x", "x y", 'x","y', "\\", "\n", "\t", "é", "😀", "null", "xé", "x😀", "[", "]"]


def test_the_mac_does_not_confuse_missing_with_text_nor_one_column_with_two():
    def mac(**columns: list[str | None]) -> str:
        return compute_input_mac(pa.table({"child_id": [1], **columns}), KEY)

    assert len({mac(a=[None]), mac(a=["null"]), mac(a=[""]), mac(a=["x"], b=["y"]), mac(a=['x","y'], b=[""])}) == 5
    with pytest.raises(ValueError, match="32 bytes"):
        compute_input_mac(draw_small_table(1), b"short")
