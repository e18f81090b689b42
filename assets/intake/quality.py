"""Validates pseudonymised extracts with Great Expectations: one suite for values, and one for facts about each extract.

Both suites are built from the source contract. A run costs a fifth of a second whatever its size, so one run covers
many extracts. Row expectations apply to single values, so the suite first sees each distinct value once. Only if a
value fails does it see all rows, one extract at a time, to count failures. The suites see the payload only. Results
are reduced to counts: no value of a row leaves this module.

Great Expectations takes 5.6 s of processor time to load, and runs pure Python, which holds the interpreter lock. So it
runs in a worker process while other extracts are read. Only `ValidationRequest` and `Finding` pass between the
processes: counts, and the path of a file without identifiers.
"""

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.software import pause_garbage_collection
from privacy.doors import environment
from privacy.row_keys import ROW_KEY
from sources.contracts import CONTRACTS, Kind, Role, Severity, SourceContract, extract_rules

_EXTRACT_NUMBER = "extract"
SUITES = Path(__file__).parent / "expectations"
"""Folder of the suites as JSON files, to read or to run with Great Expectations."""
_BATCH_ROWS = 1 << 19
"""Rows read at once (524,288), which bounds memory."""
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
    column: str | None
    severity: str
    sentence: str
    expectation: str = ""
    passed: bool = False
    unexpected_rows: int | None = None


@dataclass(frozen=True)
class ValidationRequest:
    """Input to validation for one extract: its kept rows (Parquet), the facts that each `ExtractRule` tests, and the
    number of kept rows that break each rule across columns of the payload."""

    source: str
    kept: Path
    facts: Mapping[str, float | None]
    breaking: Mapping[str, int]

    @property
    def batch(self) -> str:
        """Key that is equal for requests that one run of the suites can answer."""
        return self.source


GRACE_SECONDS = 10
"""Time that the process may take to end before it is killed."""
_NOT_FOUND = ("azure", "boto3", "botocore", "google", "psycopg2", "sqlalchemy")
"""Libraries for remote data, which Great Expectations loads if they are installed."""
_EMPTY = ("altair", "scipy.stats")
"""Libraries for expectations that no suite uses, which Great Expectations always loads."""
_starting = Lock()
_ONE_AT_A_TIME = Lock()
"""Great Expectations keeps suites and batches in one context, which two threads must not use at once."""


def load() -> None:
    """Load Great Expectations and build all suites ahead of the first `judge`."""
    for source in CONTRACTS:
        for kind in _EXPECTED:
            _build_suite(source, kind)


def judge(extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
    """Return the findings for each extract of one source, in order. Suites run once for all of them."""
    contract = CONTRACTS[extracts[0].source]
    names = [column.name for column in contract.select_role(Role.PAYLOAD)]

    def iter_files() -> Iterator[pyarrow.parquet.ParquetFile]:
        coded = [column.name for column in contract.columns if column.kind is Kind.CODE]
        return (pyarrow.parquet.ParquetFile(extract.kept, read_dictionary=coded) for extract in extracts)

    def judge_rows(rows: pa.Table) -> list[Finding]:
        return [finding for finding, _ in _run(contract, "rows", rows)]

    with _ONE_AT_A_TIME:
        of_rows = [judge_rows(_collect_values(iter_files(), names))] * len(extracts)
        # only a broken expectation needs counts, which take a pass over all rows
        if not all(finding.passed for finding in of_rows[0]):
            of_rows = [judge_rows(file.read(names).unify_dictionaries()) for file in iter_files()]
        of_extracts = _judge_extracts(contract, extracts)
    return [(*own, *rows) for own, rows in zip(of_extracts, of_rows, strict=True)]


def _collect_values(files: Iterable[pyarrow.parquet.ParquetFile], names: Sequence[str]) -> pa.Table:
    """Return one table of all files' distinct values; shorter columns are padded by repetition."""
    found: dict[str, pa.Array] = {}
    for batch in (batch for file in files for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names)):
        for name, column in zip(names, batch.columns, strict=True):
            values = pc.unique(column)
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            found[name] = pc.unique(pa.concat_arrays([found[name], values])) if name in found else values
    most = max(map(len, found.values()), default=0)
    # repeated, because padding with nulls would break the rules on blank values
    return pa.table({name: values.take(np.arange(most) % max(len(values), 1)) for name, values in found.items()})


def _judge_extracts(contract: SourceContract, extracts: Sequence[ValidationRequest]) -> list[list[Finding]]:
    facts = []
    for index, extract in enumerate(extracts):
        # a repeated row has the key, and so the row number, of another; rows are sorted by key
        keys = pyarrow.parquet.ParquetFile(extract.kept).read(columns=[ROW_KEY])[ROW_KEY].to_numpy()
        repeated = int((keys[1:] == keys[:-1]).sum())
        facts.append({_EXTRACT_NUMBER: index, "rows_repeated": repeated, **extract.facts})
    findings = list(_run(contract, "extract", pa.Table.from_pylist(facts)))
    return [
        [
            replace(finding, passed=index not in failed, unexpected_rows=extract.breaking.get(finding.rule))
            for finding, failed in findings
        ]
        for index, extract in enumerate(extracts)
    ]


def _run(contract: SourceContract, kind: str, rows: pa.Table) -> Iterator[tuple[Finding, set[int]]]:
    """Yield each rule's finding and, if the result format lists them, the extracts that break it."""
    suite, expected = _build_suite(contract.name, kind)
    _, _, data = _load_great_expectations()
    batch = data.get_batch({"dataframe": rows.to_pandas()})
    for outcome in batch.validate(suite, result_format=dict(_EXPECTED[kind][1])).results:
        config, result = outcome.expectation_config, outcome.result
        rule = config.meta["rule"]
        # Great Expectations stores an exception in the result and does not raise it
        if outcome.exception_info.get("raised_exception"):
            raise RuntimeError(f"expectation {rule} could not be evaluated")
        passed, broken = bool(outcome.success), result.get("unexpected_count")
        finding = replace(expected[rule], expectation=config.type, passed=passed, unexpected_rows=broken)
        # the list of failing rows has one entry, which lists all extracts
        failing = (index for entry in result.get("unexpected_index_list") or () for index in entry[_EXTRACT_NUMBER])
        yield finding, set(failing)


@cache
def _load_great_expectations() -> tuple[Any, Any, Any]:
    """Return Great Expectations with analytics off, its context, and the batch definition for data frames."""
    environment.tell_libraries(GX_ANALYTICS_ENABLED="false")
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context: Any = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    data = context.data_sources.add_pandas("extracts").add_dataframe_asset("extract")
    return great_expectations, context, data.add_batch_definition_whole_dataframe("whole")


@cache
def _build_suite(source: str, kind: str) -> tuple[Any, dict[str, Finding]]:
    """Return the suite for the rows or the extract, and by rule each finding before a run."""
    gx, context, _ = _load_great_expectations()
    suite, expected = gx.ExpectationSuite(name=f"{source} {kind}"), dict[str, Finding]()
    for finding, expectation in _EXPECTED[kind][0](CONTRACTS[source], gx.expectations):
        expectation.meta = {"rule": finding.rule, "severity": finding.severity, "sentence": finding.sentence}
        suite.add_expectation(expectation)
        expected[finding.rule] = finding
    return context.suites.add(suite), expected


def build_suite_files() -> dict[str, str]:
    """Return each suite as JSON without its random ids, by file name: `eyfsp.rows.json`, `eyfsp.extract.json`."""
    found = {}
    for suite, _ in (_build_suite(source, kind) for source in CONTRACTS for kind in _EXPECTED):
        content = suite.to_json_dict()
        for part in (content, *content["expectations"]):
            part.pop("id", None)
        found[f"{suite.name.replace(' ', '.')}.json"] = json.dumps(content, indent=1) + "\n"
    return found


def _expect_of_rows(contract: SourceContract, gxe: Any) -> Iterator[tuple[Finding, Any]]:
    """Yield the expectations of payload columns, which check the intake's guarantees again on its output."""
    for column in contract.select_role(Role.PAYLOAD):
        name, checks = column.name, list[tuple[str, Any, str, dict[str, Any]]]()
        if column.kind is Kind.CODE:
            codes = {"value_set": list(column.codes or ())}
            checks.append(("codes", gxe.ExpectColumnValuesToBeInSet, "holds values outside its code list", codes))
        if column.minimum is not None or column.maximum is not None:
            bounds = {"min_value": column.minimum, "max_value": column.maximum}
            checks.append(("range", gxe.ExpectColumnValuesToBeBetween, "holds values outside its range", bounds))
        if column.blank is Severity.REJECT:
            checks.append(("filled", gxe.ExpectColumnValuesToNotBeNull, "is blank in rows that were kept", {}))
        for what, kind, sentence, arguments in checks:
            finding = Finding(f"{name}-{what}", name, CRITICAL, f"{name} {sentence}.")
            yield finding, kind(column=name, severity=CRITICAL, **arguments)


def _expect_of_extract(contract: SourceContract, gxe: Any) -> Iterator[tuple[Finding, Any]]:
    for rule in extract_rules.list_extract_rules(contract):
        severity = _SEVERITIES[rule.severity]
        expectation = gxe.ExpectColumnValuesToBeBetween(
            column=rule.fact,
            min_value=rule.low,
            max_value=rule.high,
            severity=_WARNING if severity == HOLD else severity,
        )
        yield Finding(rule.id, rule.column, severity, rule.sentence), expectation


_EXPECTED = {"rows": (_expect_of_rows, _ROW_RESULTS), "extract": (_expect_of_extract, _EXTRACT_RESULTS)}
"""By kind of suite, the generator of its expectations and the format of its results."""


def start_worker() -> None:
    """Start the worker process if it is not running, so that it is loaded when needed. It ends with this process."""
    with suppress(OSError):  # if the system cannot start a process, `judge_in_worker` works in this one
        if not _is_loaded():
            with _starting:
                _get_worker()


def judge_in_worker(extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
    """Return the findings for each extract, in order: see `judge`.

    If the worker was killed or failed, this process validates the extracts, so that errors are reported as usual.
    """
    if not _is_loaded():
        with suppress(EOFError, OSError):
            with _starting:
                worker = _get_worker()
            return worker.judge(extracts)
    return judge(extracts)


def _is_loaded() -> bool:
    """Return whether to validate in this process, because Great Expectations is already loaded."""
    return "great_expectations" in sys.modules


@cache
def _get_worker() -> "_Worker":
    return _Worker()


class _Worker:
    """The worker process and the parent's end of the pipe. It ends with the parent, even after a crash."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        # `-W ignore` hides libraries' warnings, which are of no use to users
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            env=environment.build_child_environment(PYTHONPATH=os.pathsep.join(sys.path)),
            process_group=0,  # so that only the parent receives a keyboard interrupt
        )
        theirs.close()
        atexit.register(self._end)
        self._in_turn = Lock()

    def judge(self, extracts: Sequence[ValidationRequest]) -> list[tuple[Finding, ...]]:
        """Return the findings for each extract, in order. Raises `EOFError` or `OSError` if the worker has ended."""
        with self._in_turn:
            try:
                self._pipe.send(extracts)
                found: list[tuple[Finding, ...]] = self._pipe.recv()
            except BaseException:  # the next call must not read this call's answer
                self._process.terminate()
                raise
            return found

    def _end(self) -> None:
        self._pipe.close()
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(handle: int) -> None:
    """Run the worker: answer the requests that come over a pipe until it is closed or an error occurs."""
    pipe = Connection(handle)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # exits at once, but releases resources
    # the parent meets the same error when it validates, and reports it as usual
    with suppress(Exception):
        with pause_garbage_collection():
            # these take half of the loading time, and no suite uses them. If one is used after all, the worker fails
            # and the parent, which has all libraries, validates the extracts
            sys.modules.update({name: ModuleType(name) for name in _EMPTY})
            sys.modules.update(dict.fromkeys(_NOT_FOUND))  # type: ignore[arg-type]  # None: as if not installed
            load()
        while True:
            pipe.send(judge(pipe.recv()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # already ending


if __name__ == "__main__":  # `make docs` writes the suites
    for name, text in build_suite_files().items():
        (SUITES / name).write_text(text, encoding="utf-8")
