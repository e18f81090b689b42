"""Extracts that go side by side: in their order, tokens and judgement together, and one's failure is its own."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from assets.intake import context, quality
from assets.pseudonymise.stream_extract import PayloadOnly
from sources.contracts import CONTRACTS

LARGE = context.BYTES_TOGETHER
FOUND: tuple[quality.Finding, ...] = ()


def small(name: str) -> context.Steps[str]:
    try:
        rows = yield PayloadOnly(CONTRACTS["eyfsp"], "", pa.table({"name": [name]}))
    except ValueError:
        return f"{name} failed"
    yield judged(name)
    return f"{name} {rows['name'][0]}"


def long(name: str) -> context.Steps[str]:
    yield judged(name)
    return name


def unchanged(name: str) -> context.Steps[str]:
    return name
    yield judged(name)


def judged(name: str) -> quality.ValidationRequest:
    return quality.ValidationRequest("eyfsp", Path(name), {}, {})


class Shared:
    """What is done for many at once, and for how many."""

    def __init__(self) -> None:
        self.tokenised: list[int] = []
        self.judged: list[int] = []

    @property
    def answers(self) -> dict[type, context.Answer]:
        return {PayloadOnly: self.tokenise_all}

    def tokenise_all(self, wanted: Sequence[PayloadOnly]) -> list[pa.Table]:
        self.tokenised.append(len(wanted))
        if any("bad" in entry.rows["name"].to_pylist() for entry in wanted):
            raise ValueError
        return [entry.rows for entry in wanted]

    def judge(self, extracts: Sequence[quality.ValidationRequest]) -> list[tuple[quality.Finding, ...]]:
        self.judged.append(len(extracts))
        return [FOUND] * len(extracts)


def test_outcomes_come_in_order_and_a_failure_is_the_extracts_own() -> None:
    shared = Shared()
    ways = [(1, small("a")), (LARGE, long("b")), (1, small("bad")), (1, unchanged("c")), (1, small("d"))]
    found = list(context.run_batches(ways, shared.answers, shared.judge))
    assert found == ["a a", "b", "bad failed", "c", "d d"]
    assert sorted(shared.tokenised) == [1, 1, 1, 2], "a large extract is not held in memory with others"
    assert sum(shared.judged) == 3


def test_many_go_together_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "EXTRACTS_TOGETHER", 3)
    shared, names = Shared(), [f"{number}" for number in range(20)]
    found = list(context.run_batches([(1, small(name)) for name in names], shared.answers, shared.judge))
    assert found == [f"{name} {name}" for name in names]
    assert sorted(shared.tokenised) == [2, *[3] * 6]
    assert sum(shared.judged) == len(names)


def test_an_error_while_one_is_put_in_place_is_raised() -> None:
    def fails() -> context.Steps[str]:
        yield judged("a")
        raise OSError("disk full")

    shared = Shared()
    with pytest.raises(OSError, match="disk full"):
        list(context.run_batches([(1, fails()), (1, long("b"))], shared.answers, shared.judge))
