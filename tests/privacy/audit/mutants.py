"""Ten planted mistakes, each a context in which the product makes it.

If a guard of the product would stop a mistake, the guard is disabled too, so that only the audit can detect it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import opendp.prelude as dp
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home.paths import CohortStore
from assets.linkage import children
from assets.release import bundle, measure as release, tabulate
from assets.release.release import CohortRelease
from ndl_export.tables import FAMILIES
from privacy.release import child_table, session, statement
from privacy.release.mechanism import OPENDP, OpenDPNoise
from tests.support.release.doubles import Integers, OneByOne, SameNoise

_COUNTS, _L2 = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")


class _Noise(OneByOne):
    """A noise source that poses as OpenDP, without a limit."""

    name = OPENDP

    def __init__(self, rho: float) -> None:
        self._draws = 0

    def _discrete(self, counts: Integers, sigma: float) -> Integers:
        return np.array(dp.m.make_gaussian(_COUNTS, _L2, scale=sigma)(counts.tolist()), dtype=np.int64)


class _Halved(_Noise):
    def draw(self, counts: Integers, sigma: float) -> Integers:
        return self._discrete(counts, sigma / 2)


class _Reused(_Noise):
    """One vector of noise, drawn for the first table, is reused for all others, scaled to their sigma."""

    def draw(self, counts: Integers, sigma: float) -> Integers:
        if not self._draws:
            self._first, self._sigma = self._discrete(np.zeros(64, dtype=np.int64), sigma), sigma
        self._draws += 1
        return counts + np.rint(np.resize(self._first, counts.shape) * sigma / self._sigma).astype(np.int64)


class _Float(_Noise):
    def draw(self, counts: Integers, sigma: float) -> Any:
        return counts + np.random.default_rng().normal(0, sigma, counts.shape)


def _drawing_from(noise: type[OneByOne]) -> Callable[[], AbstractContextManager[Any]]:
    return partial(patch.object, session, "OpenDPNoise", noise)


@contextmanager
def _keeping_every_row(mistaken: str) -> Iterator[None]:
    """Keep every row of a child in one table, and disable the check that a child counts once."""
    once = children._select_one_per_child_sql

    def select(rows: str, order: str) -> str:
        return f"FROM {rows}" if rows == mistaken else once(rows, order)

    with (
        patch.object(child_table, "_check_units", lambda connection: None),
        patch.object(children, "_select_one_per_child_sql", select),
    ):
        yield


@contextmanager
def _leaking_count() -> Iterator[None]:
    """State the true number of rows in the privacy statement."""

    def publish(store: CohortStore, record: Any) -> Any:
        return record | {"rows": pq.read_metadata(store.get_confidential_path("pupil")).num_rows}

    with _publishing(statement, "build_privacy_record", publish):
        yield


@contextmanager
def _suppressing() -> Iterator[None]:
    """Withhold rates in tables of fewer than ten children."""

    def publish(store: CohortStore, made: tuple[tabulate.MeasuredRelease, Mapping[str, pa.Table]]) -> Any:
        sent, tables = made
        few = {f: pq.read_metadata(store.get_confidential_path(f)).num_rows < 10 for f in FAMILIES}
        of_few = {table.name for family, is_few in few.items() if is_few for table in FAMILIES[family].tables}
        return sent, {name: _withheld(table) if name in of_few else table for name, table in tables.items()}

    with _publishing(bundle, "tabulate_what_was_sent", publish):
        yield


def _withheld(table: pa.Table) -> pa.Table:
    """Return the table with every published rate removed and flagged `withheld`."""
    for name in (column for column in table.column_names if f"{column}_flag" in table.column_names):
        if name.endswith("_percent"):
            flags = table[f"{name}_flag"]
            stands = pc.invert(pc.is_in(flags, value_set=pa.array(["x", "z"])))
            for column, instead in ((name, pa.scalar(None, table[name].type)), (f"{name}_flag", "withheld")):
                field, number = table.schema.field(column), table.column_names.index(column)
                table = table.set_column(number, field, pc.if_else(stands, instead, table[column]))
    return table


@contextmanager
def _publishing(module: ModuleType, step: str, change: Callable[[CohortStore, Any], Any]) -> Iterator[None]:
    """Make the result of one step of `publish_bundle`, a function of a module, depend on the restricted zone."""
    publish, made = release.publish_bundle, getattr(module, step)

    def changed(part: CohortRelease, *more: Any) -> Path:
        with patch.object(module, step, lambda *a, **named: change(part.store, made(*a, **named))):
            return publish(part, *more)

    with patch.object(release, "publish_bundle", changed):
        yield


@contextmanager
def _drawing_on_retry() -> Iterator[None]:
    """Do not refund a charge that was left open, so that the next run draws for it again."""
    reserved = session._reserve_budget

    def again(wanted: Any, rho: float) -> Any:
        left = wanted.ledger.find(*wanted.key)
        return reserved(wanted, rho) if left is None else left

    with patch.object(session, "_settle", lambda *_: None), patch.object(session, "_reserve_budget", again):
        yield


@contextmanager
def _undercharging() -> Iterator[None]:
    """Charge half of what OpenDP's privacy map says, and raise the source's limit."""
    charge, begin = session.compute_charge, OpenDPNoise.__init__
    with (
        patch.object(session, "compute_charge", lambda plan: charge(plan) / 2),
        patch.object(OpenDPNoise, "__init__", lambda self, rho: begin(self, 1000.0)),
    ):
        yield


MUTANTS: Mapping[str, tuple[Callable[[], AbstractContextManager[Any]], str, str]] = {
    "halved noise": (_drawing_from(_Halved), "residuals", "variance"),
    "noise reused across tables": (_drawing_from(_Reused), "residuals", "related|variance"),
    "float noise": (_drawing_from(_Float), "residuals", "not of whole numbers"),
    "seeded noise": (_drawing_from(SameNoise), "residuals", "two releases have the same noise|variance"),
    "one child counted twice": (partial(_keeping_every_row, "profiles"), "sensitivity", "pupil .* moves by"),
    "sensitivity 3 from a long table": (partial(_keeping_every_row, "reviewed"), "sensitivity", "moves by"),
    "a draw on retry": (_drawing_on_retry, "once", "two processes drew for one charge"),
    "a charge smaller than the map": (_undercharging, "accountants", "charged rho .* for noise that costs"),
    "true count in a manifest": (_leaking_count, "shape", "privacy_statement.json depend on the data"),
    "suppression on a true count": (_suppressing, "shape", "gld_headline.parquet.* depend on the data"),
}
"""The mistake, the part of the audit that detects it, and its message; those that take longest last."""
