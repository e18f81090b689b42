"""Links one cohort's pseudonymised extracts and derives the confidential tables.

Memory is checked before a linkage starts, because the system kills a process that takes too much, without a message.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from assets.home.errors import check_readable
from assets.home.home_lock import with_cohort_lock, with_removals_blocked
from assets.home.paths import CohortStore
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.linkage import inputs, tokens
from assets.linkage.children import build_confidential_tables
from assets.linkage.dual_system import compute_bounds
from assets.linkage.population_overlap import record_overlaps
from assets.linkage.report import (
    coarsen_facts,
    compute_weighted_rates,
    count_links_by_group,
    estimate_missed_links,
    render,
)
from ndl_export.tables import FAMILIES
from privacy import normalise, pseudonyms
from privacy.doors.database import get_memory_gib
from privacy.doors.files import promote, promote_all
from privacy.keys import LINKED_UNDER, KeyRing
from privacy.linkage.agreement import RecordAgreement
from privacy.linkage.link import LinkResult, Watcher, link
from privacy.linkage.report import LinkageReport
from privacy.row_keys import ROW_KEY
from privacy.services import SERVICES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort


class NothingToLink(Exception):
    """Raised if no extract of the cohort has been taken in."""


@with_removals_blocked
@with_cohort_lock
def link_cohort(store: CohortStore, councils: Sequence[str], keys: KeyRing) -> None:
    """Write links, linkage report and confidential tables of a cohort.

    Child ids of an earlier linkage are kept, and its pairs are not scored again. Links that are up to date are left
    alone. `keys` open the tokens. Raises `NothingToLink`, `NotEnoughMemory`, and what `tokens.open_readers` raises.
    """
    extracts = _list_readable_extracts(store, councils)
    linked = {source: extracts[source] for source in SERVICES}
    if not any(linked.values()):
        raise NothingToLink(f"no linked source of cohort {store.cohort} has been taken in")
    _check_comparable(store, linked)
    sent = inputs.read_extracts(store, councils, SERVICES)
    children = inputs.sum_published_children(councils)
    made_from = inputs.build_fingerprint(children, sent)
    if inputs.are_links_current(store, made_from):
        return
    # With 2 GiB the system kills England's linkage after two minutes, without a message.
    check_suffices(chain.from_iterable(linked.values()))
    # Logged before any token is opened, so that an interrupted linkage is logged too.
    record(store.home, Processing.LINKAGE, cohort=store.cohort)
    report, agreement = LinkageReport(), RecordAgreement()
    result = _link_reusing_pairs(store, children, keys, linked, [report, agreement])
    record_overlaps(store, keys, sent)
    with store.home.open_staging() as staging:
        _write(result.links.replace_schema_metadata(made_from), staging / "links.parquet")
        _write(agreement.count_children(result.links), staging / "agreement.parquet")
        with ThreadPoolExecutor(1) as beside:
            found = staging / "links.parquet", staging / "agreement.parquet"
            tables = {family: staging / f"{family}.parquet" for family in FAMILIES}
            # DuckDB builds the tables while Python works out the report.
            building = beside.submit(build_confidential_tables, Cohort(store.cohort), *found, extracts, tables)
            facts = report.collect_facts(result)
            building.result()
        groups, weighted = count_links_by_group(tables["pupil"]), compute_weighted_rates(tables["pupil"])
        missed = estimate_missed_links(tables["pupil"])
        missed["bounds"] = compute_bounds(tables["pupil"], staging / "links.parquet", children)
        shown = coarsen_facts({"cohort": store.cohort, **facts, **missed, "groups": groups, "weighted": weighted})
        (staging / "linkage.json").write_text(json.dumps(shown, indent=1), encoding="utf-8")
        (staging / "linkage.html").write_text(render(shown), encoding="utf-8")
        # Removed before the links are replaced: links without it count as unfinished.
        store.agreement.unlink(missing_ok=True)
        report_paths = (store.linkage_report.with_suffix(suffix) for suffix in (".json", ".html"))
        made = (store.links, store.agreement, *report_paths)
        promote_all([(staging / path.name, path) for path in made])
        _promote_tables(store, councils, tables)


def _link_reusing_pairs(
    store: CohortStore,
    children: int,
    keys: KeyRing,
    extracts: Mapping[str, Sequence[Path]],
    watchers: Sequence[Watcher],
) -> LinkResult:
    """Link the extracts with the child ids and scored pairs of the last linkage, and store the pairs of this one."""
    previous = _read_earlier_links(store)
    with store.home.open_staging() as staging:
        kept = staging / "weighed.parquet"
        with tokens.StoredPairs(store, kept, keys, inputs.build_fingerprint(children)) as cache:
            read = tokens.open_readers(store, keys, extracts)
            result = link(read, previous, watchers, children, cache)
        # Only after the linkage has finished, so that an interrupted one leaves the earlier pairs.
        promote(kept, store.pair_cache)
    return result


def _list_readable_extracts(store: CohortStore, councils: Sequence[str]) -> dict[str, list[Path]]:
    """Return the pseudonymised extracts by source. Raises `Damaged` if one cannot be read."""
    extracts = {source: inputs.list_extract_paths(store, source, councils) for source in CONTRACTS}
    for path in chain.from_iterable(extracts.values()):
        check_readable(store.root, path)
    return extracts


def _promote_tables(store: CohortStore, councils: Sequence[str], staged: Mapping[str, Path]) -> None:
    """Move confidential tables into place, then record what they were made from."""
    # An incomplete record first: if writing is interrupted, no table passes for complete.
    inputs.write_record(store, inputs.LinkageRecord(sorted(councils)))
    promote_all([(path, store.get_confidential_path(family)) for family, path in staged.items()])
    inputs.write_record(store, inputs.build_current_record(store, councils))


def _read_earlier_links(store: CohortStore) -> pa.Table | None:
    """Return the links whose child ids are kept: those of rows that still have the same key.

    A correction gives every row of an extract a new key; a further part changes no earlier key. Raises `Damaged`.
    """
    links = store.links
    if not links.exists():
        return None
    check_readable(store.root, links)
    senders = ["source", "council"]
    # Few senders stand for millions of rows, so their names are read as a dictionary.
    return pyarrow.parquet.read_table(
        links, columns=[*senders, ROW_KEY, "child_id"], partitioning=None, read_dictionary=senders
    )


@with_removals_blocked
@with_cohort_lock
def derive_confidential_tables(store: CohortStore, councils: Sequence[str], keys: KeyRing) -> list[str]:
    """Write the confidential table of every family of a cohort, and record what they were made from.

    If the links are out of date, for example because an extract has arrived since, the cohort is linked again first.
    Returns the names of extracts that changed. Tables that are up to date stay. Raises what `link_cohort` raises.
    """
    extracts = _list_readable_extracts(store, councils)
    came = inputs.find_changes_since_linkage(store, councils)
    # Links join extracts by row key, so rows of an extract that came in since would get other rows' children.
    link_cohort(store, councils, keys)
    if not inputs.are_tables_current(store, councils):
        with store.home.open_staging() as staging:
            tables = {family: staging / f"{family}.parquet" for family in FAMILIES}
            build_confidential_tables(Cohort(store.cohort), store.links, store.agreement, extracts, tables)
            _promote_tables(store, councils, tables)
    return came


def _check_comparable(store: CohortStore, extracts: Mapping[str, Sequence[Path]]) -> None:
    """Raise `TokensUnusable` unless all tokens were made with the same keys and current pseudonyms and normaliser."""
    # Tokens made in two ways never agree: the rows would be linked to nobody, without an error.
    own = {"pseudonyms": pseudonyms.PSEUDONYM_VERSION, "normaliser": normalise.NORMALISER_VERSION}
    keys, foreign = "", []
    for source, paths in extracts.items():
        for path in paths:
            quality = deliveries.read(store.get_extract(source, path.stem).quality)
            made = quality.made_under if quality else {}
            fingerprints = json.dumps([made.get("keys", {}).get(key) for key in LINKED_UNDER])
            keys = keys or fingerprints
            if fingerprints != keys or any(made.get(what) != version for what, version in own.items()):
                foreign.append(f"{path.stem}/{source}")
    if foreign:
        raise tokens.TokensUnusable(
            f"cohort {store.cohort}: {inputs.join_names(foreign)}"
            " have tokens made with different keys, pseudonyms or normaliser: take them in again; where the"
            " file is no longer in landing, ask for it again"
        )


def _write(table: pa.Table, path: Path) -> None:
    pyarrow.parquet.write_table(table, path, compression="zstd")


LEAST_GIB, GIB_A_MILLION_ROWS = 0.5, 0.62
"""Peak memory of a linkage: a line through the measurements of `python -m bench.side_by_side` (`docs/scale.md`)."""
BESIDE_GIB = 0.4
"""Memory that a run of England needs beyond the linkage, measured from landing to confidential tables."""
ROWS_A_CHILD = 5.1
"""Rows of the linked sources per child of the published number, in synthetic extracts of England."""
_STEP_GIB = 0.5
"""Messages round up to a multiple of this, because the exact need would reveal a true count."""


class NotEnoughMemory(Exception):
    """Raised if a linkage would take more memory than this process may use; the message says how much."""


def check_suffices(extracts: Iterable[Path]) -> None:
    """Raise `NotEnoughMemory` if linking the rows of these payload files takes more memory than is available."""
    needed = estimate_gib(sum(pyarrow.parquet.read_metadata(path).num_rows for path in extracts))
    there = get_memory_gib()
    if needed > there:
        rounded = math.ceil(needed / _STEP_GIB) * _STEP_GIB
        raise NotEnoughMemory(
            f"linking what is in takes up to {rounded:g} GiB of memory, and this process may use {there:.1f}: give the"
            " machine or container more; nothing that was taken in is lost"
        )


def estimate_gib(rows: float) -> float:
    """Return the peak memory, in GiB, of a linkage of this many rows."""
    return LEAST_GIB + GIB_A_MILLION_ROWS * rows / 1e6


def estimate_run_gib(councils: Sequence[str]) -> float:
    """Return the peak memory, in GiB, of a run, using only the published number of the councils' children."""
    return estimate_gib(ROWS_A_CHILD * inputs.sum_published_children(councils)) + BESIDE_GIB
