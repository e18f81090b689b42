"""Validates pseudonymised extracts with Great Expectations: one suite for values, and one for facts about each extract.

Both suites are built from the source contract. A run costs a fifth of a second whatever its size, so one run covers
many extracts. Row expectations apply to single values, so the suite first sees each distinct value once. Only if a
value fails does it see all rows, one extract at a time, to count failures. The suites see the payload only. Results
are reduced to counts: no value of a row leaves this module.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from privacy.doors import environment
from privacy.row_keys import ROW_KEY
from sources.contracts import CONTRACTS, Column, Kind, Role, Severity, SourceContract
from sources.contracts.extract_rules import broken_rows, expected_complete, extract_rules, judged_on_payload

if TYPE_CHECKING:
    import pandas as pd

_EXTRACT_NUMBER = "extract"
SUITES = Path(__file__).parent / "expectations"
"""Folder of the suites as JSON files, to read or to run with Great Expectations."""
_BATCH_ROWS = 1 << 19
"""Rows converted to pandas at once (524,288), which bounds memory."""
_ROW_RESULTS = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""Result format for rows, the only one that stores no offending values."""
_EXTRACT_RESULTS = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [_EXTRACT_NUMBER],
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
}
"""Result format that lists the failing extracts. This suite sees counts and shares, so no values are stored."""
CRITICAL, HOLD, _WARNING = "critical", "hold", "warning"
_SEVERITIES = {Severity.STOP: CRITICAL, Severity.HOLD: HOLD, Severity.WARN: _WARNING}
"""Severity of a finding by the severity of its rule. Great Expectations has no "hold", so it gets "warning"."""


@dataclass(frozen=True)
class Finding:
    """One expectation and its outcome. `rule` is its id in the suite; `severity` is critical, hold or warning."""

    rule: str
    expectation: str
    column: str | None
    severity: str
    passed: bool
    unexpected_rows: int | None
    sentence: str


@dataclass(frozen=True)
class ValidationRequest:
    """Input to validation for one extract: its kept rows (Parquet), and the facts that each `ExtractRule` tests."""

    source: str
    kept: Path
    rows_kept: int
    rejected_share: float | None
    rows_of_last: float | None
    rows_of_expected: float | None
    filled: Mapping[str, int]
    """Kept rows with a usable value, by column."""
    breaking: Mapping[str, int]
    """Kept rows that break a rule across columns of the payload, by rule."""
    rows_of_many: float | None = None

    def complete(self, column: Column) -> float | None:
        """Return the share of kept rows with a usable value in a column, or None if there are no rows."""
        return self.filled[column.name] / self.rows_kept if self.rows_kept else None


@dataclass(frozen=True)
class _Expected:
    """An expectation with its rule's id, column, sentence and severity."""

    rule: str
    column: str | None
    expectation: Any
    sentence: str
    severity: str = CRITICAL


_ONE_AT_A_TIME = Lock()
"""Great Expectations keeps suites and batches in one context, which two threads must not use at once."""


def load() -> None:
    """Load Great Expectations and build all suites ahead of the first `judge`."""
    for source in CONTRACTS:
        _rows(source)
        _extract(source)


def judge(extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
    """Return the findings for each extract, in order. Suites run once for all extracts of a source."""
    found: dict[Path, tuple[Finding, ...]] = {}
    for source in dict.fromkeys(extract.source for extract in extracts):
        alike = [extract for extract in extracts if extract.source == source]
        with _ONE_AT_A_TIME:
            found |= zip((extract.kept for extract in alike), _judge(CONTRACTS[source], alike), strict=True)
    return [found[extract.kept] for extract in extracts]


def _judge(contract: SourceContract, extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
    of_rows = [_judge_values(contract, extracts)] * len(extracts)
    # only a broken expectation needs counts, which take a pass over all rows
    if not all(finding.passed for finding in of_rows[0].values()):
        of_rows = [_judge_rows(contract, extract) for extract in extracts]
    of_extracts = _judge_extracts(contract, extracts)
    return [(*of_extracts[index].values(), *of_rows[index].values()) for index in range(len(extracts))]


def _judge_values(contract: SourceContract, extracts: Sequence[ValidationRequest]) -> dict[str, Finding]:
    """Return findings over one table of all extracts' distinct values; shorter columns are padded by repetition."""
    names = [column.name for column in contract.with_role(Role.PAYLOAD)]
    found: dict[str, pa.Array] = {}
    for extract in extracts:
        for batch in _batches(contract, extract):
            for name, column in zip(names, batch.columns, strict=True):
                values = pc.unique(column)
                if pa.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                found[name] = pc.unique(pa.concat_arrays([found[name], values])) if name in found else values
    most = max(map(len, found.values()), default=0)
    filled = {name: values.take(np.arange(most) % max(len(values), 1)) for name, values in found.items()}
    return _findings(contract, pa.table(filled))


def _judge_rows(contract: SourceContract, extract: ValidationRequest) -> dict[str, Finding]:
    """Return findings over every row of one extract, with the number of rows that break each rule."""
    found: dict[str, Finding] = {}
    for batch in _batches(contract, extract):
        findings = _findings(contract, pa.table(batch).unify_dictionaries())
        found = {name: _both(found.get(name), finding) for name, finding in findings.items()}
    return found


def _batches(contract: SourceContract, extract: ValidationRequest) -> Iterator[pa.RecordBatch]:
    """Yield the payload of an extract, `_BATCH_ROWS` rows at a time; one empty batch if it has none."""
    coded = [column.name for column in contract.columns if column.kind is Kind.CODE]
    names = [column.name for column in contract.with_role(Role.PAYLOAD)]
    file = pyarrow.parquet.ParquetFile(extract.kept, read_dictionary=coded)
    if not file.metadata.num_rows:  # iter_batches yields nothing then
        yield from file.schema_arrow.empty_table().select(names).combine_chunks().to_batches()
    yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=names)


def _findings(contract: SourceContract, rows: pa.Table) -> dict[str, Finding]:
    outcomes = _run(_rows(contract.name), rows.to_pandas())
    return {name: finding for name, (finding, _) in outcomes.items()}


def _judge_extracts(contract: SourceContract, extracts: Sequence[ValidationRequest]) -> list[dict[str, Finding]]:
    facts = pa.Table.from_pylist(_facts(contract, extracts)).to_pandas()
    findings = _run(_extract(contract.name), facts)
    return [
        {
            name: replace(finding, passed=index not in failed, unexpected_rows=extract.breaking.get(name))
            for name, (finding, failed) in findings.items()
        }
        for index, extract in enumerate(extracts)
    ]


def _facts(contract: SourceContract, extracts: Sequence[ValidationRequest]) -> list[dict[str, float | None]]:
    return [
        {
            _EXTRACT_NUMBER: index,
            "rows_kept": extract.rows_kept,
            "rows_repeated": _rows_repeated(extract),
            "rejected_share": extract.rejected_share,
            "rows_of_last": extract.rows_of_last,
            "rows_of_expected": extract.rows_of_expected,
            "rows_of_many": extract.rows_of_many,
            **{f"{column.name}_complete": extract.complete(column) for column in expected_complete(contract)},
            **{broken_rows(rule): extract.breaking.get(rule.id) for rule in judged_on_payload(contract)},
        }
        for index, extract in enumerate(extracts)
    ]


def _rows_repeated(extract: ValidationRequest) -> int:
    """Count kept rows that have the same key, and so the same row number, as another. Rows are sorted by key."""
    keys = pyarrow.parquet.ParquetFile(extract.kept).read(columns=[ROW_KEY])[ROW_KEY].to_numpy()
    return int((keys[1:] == keys[:-1]).sum())


def _both(one: Finding | None, other: Finding) -> Finding:
    """Combine one expectation's findings over two pieces of an extract."""
    if one is None:
        return other
    rows = (one.unexpected_rows or 0) + (other.unexpected_rows or 0)
    return replace(one, passed=one.passed and other.passed, unexpected_rows=rows)


def _run(checked: _Checked, frame: pd.DataFrame) -> dict[str, tuple[Finding, set[int]]]:
    """Return each rule's finding and, if the result format lists them, the extracts that break it."""
    found = {}
    (validated,) = checked.checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()
    for outcome in validated.results:
        config = outcome.expectation_config
        entry = checked.expected[config.meta["rule"]]
        if outcome.exception_info.get("raised_exception"):
            raise RuntimeError(f"expectation {entry.rule} could not be evaluated")
        finding = Finding(
            rule=entry.rule,
            expectation=config.type,
            column=entry.column,
            severity=entry.severity,
            passed=bool(outcome.success),
            unexpected_rows=outcome.result.get("unexpected_count"),
            sentence=entry.sentence,
        )
        found[entry.rule] = (finding, _failing(outcome.result))
    return found


def _failing(result: Mapping[str, Any]) -> set[int]:
    """Return the extracts in a result's list of failing rows, which has one entry that lists them all."""
    return {index for entry in result.get("unexpected_index_list") or () for index in entry[_EXTRACT_NUMBER]}


def _great_expectations() -> Any:
    """Import Great Expectations with analytics off. Imported on demand, because it takes 5.6 s of processor time."""
    environment.tell_libraries(GX_ANALYTICS_ENABLED="false")
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


@cache
def _context() -> Any:
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


@cache
def _batch_definition() -> Any:
    """Return the batch definition for data frames. Build it before any suite: suites need the context it creates."""
    source = _context().data_sources.add_pandas("extracts")
    return source.add_dataframe_asset("extract").add_batch_definition_whole_dataframe("whole")


@dataclass(frozen=True)
class _Checked:
    """A suite with its checkpoint, and its expectations by rule."""

    suite: Any
    checkpoint: Any
    expected: Mapping[str, _Expected]


@cache
def _rows(source: str) -> _Checked:
    payload = CONTRACTS[source].with_role(Role.PAYLOAD)
    gxe = _great_expectations().expectations
    expected = chain.from_iterable(_of_values(column, gxe) for column in payload)
    return _checked(f"{source} rows", expected, _ROW_RESULTS)


@cache
def _extract(source: str) -> _Checked:
    expected = _of_extracts(CONTRACTS[source], _great_expectations().expectations)
    return _checked(f"{source} extract", expected, _EXTRACT_RESULTS)


def _checked(title: str, expected: Iterator[_Expected], results: Mapping[str, Any]) -> _Checked:
    """Build a suite, its validation definition for data frames, and its checkpoint."""
    data, gx, by_rule = _batch_definition(), _great_expectations(), {}
    suite = gx.ExpectationSuite(name=title)
    for entry in expected:
        entry.expectation.meta = {"rule": entry.rule, "severity": entry.severity, "sentence": entry.sentence}
        suite.add_expectation(entry.expectation)
        by_rule[entry.rule] = entry
    suite = _context().suites.add(suite)
    validation = gx.ValidationDefinition(name=title, data=data, suite=suite)
    definitions = [_context().validation_definitions.add(validation)]
    checkpoint = gx.Checkpoint(name=title, validation_definitions=definitions, result_format=dict(results))
    return _Checked(suite, _context().checkpoints.add(checkpoint), by_rule)


def suite_files() -> dict[str, str]:
    """Return each suite as JSON by file name: `eyfsp.rows.json` for payload, `eyfsp.extract.json` for counts.

    Ids are left out because they are random.
    """
    found = {}
    for checked in (make(source) for source in CONTRACTS for make in (_rows, _extract)):
        content = checked.suite.to_json_dict()
        for part in (content, *content["expectations"]):
            part.pop("id", None)
        found[f"{checked.suite.name.replace(' ', '.')}.json"] = json.dumps(content, indent=1) + "\n"
    return found


def _of_values(column: Column, gxe: Any) -> Iterator[_Expected]:
    """Yield a payload column's expectations, which check the intake's guarantees again on its output."""

    def expected(what: str, kind: Any, sentence: str, **kwargs: Any) -> _Expected:
        expectation = kind(column=column.name, severity="critical", **kwargs)
        return _Expected(f"{column.name}-{what}", column.name, expectation, f"{column.name} {sentence}.")

    if column.kind is Kind.CODE:
        kind, codes = gxe.ExpectColumnValuesToBeInSet, list(column.codes or ())
        yield expected("codes", kind, "holds values outside its code list", value_set=codes)
    if column.minimum is not None or column.maximum is not None:
        kind, bounds = gxe.ExpectColumnValuesToBeBetween, {"min_value": column.minimum, "max_value": column.maximum}
        yield expected("range", kind, "holds values outside its range", **bounds)
    if column.blank is Severity.REJECT:
        yield expected("filled", gxe.ExpectColumnValuesToNotBeNull, "is blank in rows that were kept")


def _of_extracts(contract: SourceContract, gxe: Any) -> Iterator[_Expected]:
    for rule in extract_rules(contract):
        severity = _SEVERITIES[rule.severity]
        known = _WARNING if severity == HOLD else severity
        expectation = gxe.ExpectColumnValuesToBeBetween(
            column=rule.fact, min_value=rule.low, max_value=rule.high, severity=known
        )
        yield _Expected(rule.id, rule.column, expectation, rule.sentence, severity)


if __name__ == "__main__":  # `make docs` writes the suites
    for name, text in suite_files().items():
        (SUITES / name).write_text(text, encoding="utf-8")
