"""Great Expectations over pseudonymised extracts: one suite over their rows, one over what is said of each extract.

Both are built from the source contract, and run once over many extracts: a run costs a fifth of a second whatever it
looks at. The suites see payload only. Results are reduced to counts: no value of a row leaves this module.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from sources.contracts import CONTRACTS, Column, Kind, Role, Severity, SourceContract
from sources.extract.table import SOURCE_ROW

MAX_REJECTED_SHARE = 0.2
"""An extract with a larger share of rejected rows is stopped: the file, not its rows, is wrong."""
MIN_COMPLETE_SHARE = 0.9
"""Below this share of filled cells a column is reported as thin."""
MIN_SHARE_OF_LAST = 0.5
"""An extract with fewer rows than this share of the last delivery is stopped: it looks cut off."""
NEAR_LAST = (0.9, 1.1)
NEAR_PUBLISHED = (0.85, 1.15)
"""Shares of the last delivery and of the published number of children between which a row count is as expected."""

_EXTRACT = "extract"
_ROWS_AT_ONCE = 1 << 20
_ONE_AT_A_TIME = threading.Lock()
"""Great Expectations' context is shared and not made for threads."""
_OF_ROWS = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""The one result format that stores no offending values."""
_OF_EXTRACTS = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [_EXTRACT],
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
}
"""Says which extracts fail: what this suite looks at are counts and shares, not values."""


@dataclass(frozen=True)
class Finding:
    """One expectation and its outcome."""

    expectation: str
    column: str | None
    severity: str
    passed: bool
    unexpected_rows: int | None
    sentence: str


@dataclass(frozen=True)
class Judged:
    """What an extract is judged by: its kept rows (Parquet) and facts about them.

    `rows_of_last` and `rows_of_published` are its rows as a share of the last delivery's and of the published number of
    children; None where there is nothing to compare with.
    """

    kept: Path
    rows_kept: int
    rejected_share: float
    rows_of_last: float | None
    rows_of_published: float | None


@dataclass(frozen=True)
class _Expected:
    """An expectation under a name that is unique in its suite, and the sentence for when it fails."""

    name: str
    expectation: Any
    sentence: str


def judge(contract: SourceContract, extracts: Sequence[Judged]) -> list[tuple[Finding, ...]]:
    """Run the contract's suites over extracts of one source; findings by extract, in their order."""
    with _ONE_AT_A_TIME:
        complete = [dict[str, int]() for _ in extracts]
        of_rows: list[dict[str, Finding]] = [{} for _ in extracts]
        for piece in _pieces(contract, extracts):
            _count_filled(piece, complete)
            for extract, findings in _judge_rows(contract, piece).items():
                of_rows[extract] = {name: _both(of_rows[extract].get(name), f) for name, f in findings.items()}
        of_extracts = _judge_extracts(contract, extracts, complete)
    return [(*of_extracts[index].values(), *of_rows[index].values()) for index in range(len(extracts))]


def _pieces(contract: SourceContract, extracts: Sequence[Judged]) -> Iterator[pa.Table]:
    """Payload of the extracts and `extract` (their index), about `_ROWS_AT_ONCE` rows at a time."""
    coded = [column.name for column in contract.columns if column.kind is Kind.CODE]
    names = [SOURCE_ROW, *(column.name for column in contract.with_role(Role.PAYLOAD))]
    waiting: list[pa.Table] = []
    for index, extract in enumerate(extracts):
        file = pyarrow.parquet.ParquetFile(extract.kept, read_dictionary=coded)
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
            waiting.append(pa.table(batch).append_column(_EXTRACT, pa.repeat(index, batch.num_rows)))
            if sum(part.num_rows for part in waiting) >= _ROWS_AT_ONCE:
                yield pa.concat_tables(waiting).unify_dictionaries()
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting).unify_dictionaries()


def _count_filled(piece: pa.Table, complete: list[dict[str, int]]) -> None:
    """Add the number of filled cells by column to each extract's."""
    names = [name for name in piece.column_names if name != _EXTRACT]
    counts = piece.group_by(_EXTRACT).aggregate([(name, "count") for name in names]).to_pylist()
    for row in counts:
        filled = complete[row[_EXTRACT]]
        for name in names:
            filled[name] = filled.get(name, 0) + row[f"{name}_count"]


def _judge_rows(contract: SourceContract, piece: pa.Table) -> dict[int, dict[str, Finding]]:
    """Findings by extract of the piece; each is judged by itself only where they do not all pass together."""
    extracts = piece[_EXTRACT].unique().to_pylist()
    findings = _run(_row_suite(contract.name), piece.to_pandas(), _OF_ROWS)
    if len(extracts) == 1 or all(finding.passed for finding, _ in findings.values()):
        return {extract: {name: finding for name, (finding, _) in findings.items()} for extract in extracts}
    return {
        extract: found
        for extract in extracts
        for found in _judge_rows(contract, piece.filter(pc.equal(piece[_EXTRACT], extract))).values()
    }


def _judge_extracts(
    contract: SourceContract, extracts: Sequence[Judged], complete: Sequence[Mapping[str, int]]
) -> list[dict[str, Finding]]:
    facts = [
        asdict(extract)
        | {_EXTRACT: index, "kept": str(extract.kept)}
        | {f"{column.name}_complete": _complete_share(extract, filled, column) for column in _thin_if_blank(contract)}
        for index, (extract, filled) in enumerate(zip(extracts, complete, strict=True))
    ]
    findings = _run(_extract_suite(contract.name), pd.DataFrame(facts), _OF_EXTRACTS)
    return [
        {name: replace(finding, passed=index not in failed) for name, (finding, failed) in findings.items()}
        for index in range(len(extracts))
    ]


def _complete_share(extract: Judged, filled: Mapping[str, int], column: Column) -> float | None:
    return filled.get(column.name, 0) / extract.rows_kept if extract.rows_kept else None


def _both(one: Finding | None, other: Finding) -> Finding:
    """One expectation's findings over two pieces of an extract as one."""
    if one is None:
        return other
    rows = (one.unexpected_rows or 0) + (other.unexpected_rows or 0)
    return replace(one, passed=one.passed and other.passed, unexpected_rows=rows)


def _run(
    suite: tuple[Any, Mapping[str, str]], frame: pd.DataFrame, result_format: Mapping[str, Any]
) -> dict[str, tuple[Finding, set[int]]]:
    """By name of the expectation, its finding and the extracts that fail it, where the format says which."""
    expectations, sentences = suite
    batch = _batch_definition().get_batch(batch_parameters={"dataframe": frame})
    found = {}
    for outcome in batch.validate(expectations, result_format=dict(result_format)).results:
        config = outcome.expectation_config
        name = config.meta["name"]
        finding = Finding(
            expectation=config.type,
            column=config.kwargs.get("column"),
            severity=str(getattr(config.severity, "value", config.severity)),
            passed=bool(outcome.success),
            unexpected_rows=outcome.result.get("unexpected_count"),
            sentence=sentences[name],
        )
        if outcome.exception_info.get("raised_exception"):
            raise RuntimeError(f"expectation {name} could not be evaluated")
        found[name] = (finding, _failing(outcome.result))
    return found


def _failing(result: Mapping[str, Any]) -> set[int]:
    """Extracts in a result's list of failing rows, which comes as one entry with a list of them."""
    return {index for entry in result.get("unexpected_index_list") or () for index in entry[_EXTRACT]}


def _great_expectations() -> Any:
    """Imported where used: it takes seconds. Its analytics are switched off before it loads."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


@cache
def _batch_definition() -> Any:
    """Where frames go in; made first, for suites need the context that it makes."""
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("extracts")
    return source.add_dataframe_asset("extract").add_batch_definition_whole_dataframe("whole")


@cache
def _row_suite(source: str) -> tuple[Any, dict[str, str]]:
    return _suite(f"{source} rows", _of_rows(CONTRACTS[source], _great_expectations().expectations))


@cache
def _extract_suite(source: str) -> tuple[Any, dict[str, str]]:
    return _suite(f"{source} extracts", _of_extracts(CONTRACTS[source], _great_expectations().expectations))


def _suite(title: str, expected: Iterator[_Expected]) -> tuple[Any, dict[str, str]]:
    _batch_definition()
    suite = _great_expectations().ExpectationSuite(name=title)
    sentences = {}
    for entry in expected:
        entry.expectation.meta = {"name": entry.name}
        suite.add_expectation(entry.expectation)
        sentences[entry.name] = entry.sentence
    return suite, sentences


def _of_rows(contract: SourceContract, gxe: Any) -> Iterator[_Expected]:
    yield _Expected(
        "rows-once",
        gxe.ExpectCompoundColumnsToBeUnique(column_list=[_EXTRACT, SOURCE_ROW], severity="critical"),
        "a row of the file was taken twice",
    )
    for column in contract.with_role(Role.PAYLOAD):
        if column.kind is Kind.CODE:
            codes = list(column.codes or ())
            yield _Expected(
                f"{column.name}-codes",
                gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=codes, severity="critical"),
                f"{column.name} holds values outside its code list",
            )
        if column.minimum is not None or column.maximum is not None:
            yield _Expected(
                f"{column.name}-range",
                gxe.ExpectColumnValuesToBeBetween(
                    column=column.name, min_value=column.minimum, max_value=column.maximum, severity="critical"
                ),
                f"{column.name} holds values outside its range",
            )
        if column.blank is Severity.REJECT:
            yield _Expected(
                f"{column.name}-filled",
                gxe.ExpectColumnValuesToNotBeNull(column=column.name, severity="critical"),
                f"{column.name} is blank in rows that were kept",
            )


def _of_extracts(contract: SourceContract, gxe: Any) -> Iterator[_Expected]:
    def between(column: str, low: float | None, high: float | None, severity: str, sentence: str) -> _Expected:
        expectation = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, severity=severity)
        return _Expected(f"{column} {severity}", expectation, sentence)

    yield between("rows_kept", 1, None, "critical", "the extract has no usable row")
    rejected = f"more than {MAX_REJECTED_SHARE:.0%} of the rows were rejected"
    yield between("rejected_share", None, MAX_REJECTED_SHARE, "critical", rejected)
    cut_off = (
        f"the extract has fewer than {MIN_SHARE_OF_LAST:.0%} of the rows of the last delivery; send it whole, or"
        " if that is all, say so with --accept-fewer COUNCIL/SOURCE (accept_fewer in the configuration of the intake)"
    )
    yield between("rows_of_last", MIN_SHARE_OF_LAST, None, "critical", cut_off)
    yield between("rows_of_last", *NEAR_LAST, "warning", "the number of rows is far from the last delivery's")
    published = "the number of rows is far from the published number of children of the council"
    yield between("rows_of_published", *NEAR_PUBLISHED, "warning", published)
    for column in _thin_if_blank(contract):
        thin = f"{column.name} is filled in fewer than {MIN_COMPLETE_SHARE:.0%} of rows"
        yield between(f"{column.name}_complete", MIN_COMPLETE_SHARE, None, "warning", thin)


def _thin_if_blank(contract: SourceContract) -> tuple[Column, ...]:
    """Payload columns that should be filled, though a blank does not reject the row."""
    payload = contract.with_role(Role.PAYLOAD)
    return tuple(column for column in payload if column.required and column.blank is not Severity.REJECT)
