"""Great Expectations suites, built from the source contract, over one pseudonymised extract.

The suites see payload only. Results are reduced to counts: no value of a row leaves this module.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from sources.contracts import CONTRACTS, Column, Kind, Role, Severity, SourceContract
from sources.extract.table import SOURCE_ROW

MAX_REJECTED_SHARE = 0.2
"""An extract with a larger share of rejected rows is stopped: the file, not its rows, is wrong."""
MIN_COMPLETE_SHARE = 0.9
"""Below this share of filled cells a column is reported as thin."""

_ONE_AT_A_TIME = threading.Lock()
"""Great Expectations' context is shared and not made for threads."""
_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""The one result format that stores no offending values."""


@dataclass(frozen=True)
class Finding:
    """One expectation's outcome. `severity` is Great Expectations' critical, warning or info."""

    expectation: str
    column: str | None
    severity: str
    passed: bool
    unexpected_rows: int | None
    sentence: str


def validate(contract: SourceContract, rows: pd.DataFrame, rejected_share: float) -> tuple[Finding, ...]:
    """Run the contract's suite over the kept rows (`source_row` and payload columns) of one extract."""
    frame = rows.assign(rejected_share=rejected_share)
    with _ONE_AT_A_TIME:
        batch = _batch_definition().get_batch(batch_parameters={"dataframe": frame})
        suite, sentences = _suite(contract.name)
        result = batch.validate(suite, result_format=_RESULT_FORMAT)
    return tuple(_finding(outcome, sentences) for outcome in result.results)


def _finding(outcome: Any, sentences: dict[str, str]) -> Finding:
    config = outcome.expectation_config
    name = config.meta["name"]
    return Finding(
        expectation=config.type,
        column=config.kwargs.get("column"),
        severity=str(config.severity.value if hasattr(config.severity, "value") else config.severity),
        passed=bool(outcome.success),
        unexpected_rows=outcome.result.get("unexpected_count"),
        sentence=sentences[name],
    )


def _great_expectations() -> Any:
    """Imported where used: it takes seconds. Its analytics are switched off before it loads."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


@cache
def _batch_definition() -> Any:
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("extracts")
    return source.add_dataframe_asset("extract").add_batch_definition_whole_dataframe("whole")


@cache
def _suite(source: str) -> tuple[Any, dict[str, str]]:
    contract = CONTRACTS[source]
    gx = _great_expectations()
    suite = gx.ExpectationSuite(name=contract.name)
    sentences: dict[str, str] = {}
    for name, expectation, sentence in _expectations(contract, gx.expectations):
        expectation.meta = {"name": name}
        suite.add_expectation(expectation)
        sentences[name] = sentence
    return suite, sentences


def _expectations(contract: SourceContract, gxe: Any) -> list[tuple[str, Any, str]]:
    found = [
        (
            "some-rows",
            gxe.ExpectTableRowCountToBeBetween(min_value=1, severity="critical"),
            "the extract has no usable row",
        ),
        (
            "rows-once",
            gxe.ExpectColumnValuesToBeUnique(column=SOURCE_ROW, severity="critical"),
            "a row of the file was taken twice",
        ),
        (
            "rejected-share",
            gxe.ExpectColumnMaxToBeBetween(column="rejected_share", max_value=MAX_REJECTED_SHARE, severity="critical"),
            f"more than {MAX_REJECTED_SHARE:.0%} of the rows were rejected",
        ),
    ]
    for column in contract.with_role(Role.PAYLOAD):
        found += _column_expectations(column, gxe)
    return found


def _column_expectations(column: Column, gxe: Any) -> list[tuple[str, Any, str]]:
    found: list[tuple[str, Any, str]] = []
    if column.kind is Kind.CODE:
        found.append(
            (
                f"{column.name}-codes",
                gxe.ExpectColumnValuesToBeInSet(
                    column=column.name, value_set=list(column.codes or ()), severity="critical"
                ),
                f"{column.name} holds values outside its code list",
            )
        )
    if column.kind in (Kind.INTEGER, Kind.DECIMAL):
        found.append(
            (
                f"{column.name}-range",
                gxe.ExpectColumnValuesToBeBetween(
                    column=column.name, min_value=column.minimum, max_value=column.maximum, severity="critical"
                ),
                f"{column.name} holds values outside its range",
            )
        )
    if column.blank is Severity.REJECT:
        found.append(
            (
                f"{column.name}-filled",
                gxe.ExpectColumnValuesToNotBeNull(column=column.name, severity="critical"),
                f"{column.name} is blank in rows that were kept",
            )
        )
    elif column.required:
        found.append(
            (
                f"{column.name}-complete",
                gxe.ExpectColumnValuesToNotBeNull(column=column.name, mostly=MIN_COMPLETE_SHARE, severity="warning"),
                f"{column.name} is filled in fewer than {MIN_COMPLETE_SHARE:.0%} of rows",
            )
        )
    return found
