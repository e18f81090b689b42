"""Removes a child's rows from the restricted zone on request, and rebuilds dependent files.

The removal is stored first, and an extract's rows are added to the suppression list (`suppressions`) before its files
change. Every later step can be repeated, so the next process finishes an interrupted removal. The ledger, stored
measurements and releases do not change: their counts are noisy, and were charged to the budget.
"""

import contextlib
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.errors import Refused
from assets.home.home_lock import lock_home
from assets.home.paths import CohortStore, ExtractStore, Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries, suppressions
from assets.intake.deliveries import ExtractQuality, derive_row_keys
from assets.intake.parts import Part, PartStore
from assets.intake.quality_report import profile, report
from assets.intake.suppressions import Gone, Objection, Suppressed
from assets.keeping.finding import (
    ExtractRows,
    Forgotten,
    build_extract_rows,
    build_objections,
    iter_matching_rows,
    iter_same_records,
    merge_extract_rows,
)
from assets.linkage import inputs
from assets.linkage.link import NothingToLink, derive_confidential_tables, link_cohort
from assets.linkage.tokens import TokensUnusable, open_tokens
from assets.pseudonymise.split_writer import RowState
from assets.returns.row_history import forget_rows
from privacy import marks, row_keys
from privacy.doors.database import open_in_memory
from privacy.doors.files import promote, write_json
from privacy.keys import KeyRing
from privacy.linkage.rows import SERVICES
from privacy.row_keys import ROW_KEY, split_number
from sources.contracts import CONTRACTS

GoneOf: TypeAlias = Callable[[ExtractStore], Gone]
"""Function from an extract to its `Gone` function."""


@dataclass(frozen=True)
class _Removal:
    """A removal in progress, stored until it is finished."""

    extracts: tuple[ExtractRows, ...]
    objections: tuple[Objection, ...]


def forget(
    home: Home, found: Forgotten, keys: KeyRing, *, objection: bool = False, what: Processing = Processing.FORGETTING
) -> Forgotten:
    """Remove rows and, with `objection`, all other rows with the child's marks, in every cohort, now and later.

    `what` goes into the processing log. Raises `InUse` if a run is using the home folder, `Refused` if an extract has
    changed meanwhile, `KeyProblem`, and `TokensUnusable` if an extract was ingested under other keys.
    """
    note = "rows" if what is Processing.FORGETTING else "children in no table"
    with lock_home(home):
        finish(home, keys)
        # after any earlier removal, because one file holds the removal in progress
        objections = build_objections(home, found.extracts, keys) if objection else []
        if objections:
            matching = [*iter_matching_rows(home, keys, objections)]
            found = Forgotten(merge_extract_rows([*found.extracts, *matching]))
            # one for each cohort, so that it lasts as long as any of them
            cohorts = sorted({extract.cohort for extract in found.extracts})
            objections = [replace(objections[0], cohort=cohort) for cohort in cohorts]
            note += ", and an objection to later deliveries"
        not_linked = _carry_out(home, keys, _build_removal(home, keys, found, objections), note, what)
        return replace(found, not_linked=tuple(not_linked))


def remove_again(
    home: Home, keys: KeyRing, changed: Collection[ExtractStore], objections: Sequence[Objection]
) -> list[str]:
    """Remove suppressed rows and children with objections again, after a restored home folder contained them.

    Returns a sentence for each cohort that a run must link again. Raises what `forget` raises.
    """
    with lock_home(home):
        finish(home, keys)
        # marks of other keys or versions match nothing
        in_reach = [each for each in objections if each.made_under == marks.get_mark_versions(keys)]
        extracts = [build_extract_rows(store, _list_suppressed_numbers(store)) for store in changed]
        extracts += [
            replace(rows, objection=each.id) for each in in_reach for rows in iter_matching_rows(home, keys, [each])
        ]
        return _carry_out(home, keys, _Removal(tuple(extracts), ()), "rows, again")


def _build_removal(home: Home, keys: KeyRing, found: Forgotten, objections: Sequence[Objection]) -> _Removal:
    """Build a removal of rows, and of the same records in other parts and cohorts.

    Raises `Refused` if the rows are not from the current delivery, and `KeyProblem` or `TokensUnusable` if they
    cannot be removed with these keys.
    """
    of_cohort = {objection.cohort: objection.id for objection in objections}
    for extract in found.extracts:
        store = home.get_extract(*extract.key)
        quality = deliveries.read_current(store)
        if quality is None or quality.file_mac != extract.file_mac:
            raise Refused(f"{store.name} changed meanwhile; start again")
        # called for their errors: nothing may begin unless these are the keys of the extract
        derive_row_keys(store, keys)
        if extract.source in SERVICES:
            open_tokens(store, keys)
    with_others = merge_extract_rows(
        [each for extract in found.extracts for each in iter_same_records(home, keys, extract)]
    )
    extracts = (replace(each, objection=of_cohort.get(each.cohort, "")) for each in with_others)
    return _Removal(tuple(extracts), tuple(objections))


def finish(home: Home, keys: KeyRing) -> list[str]:
    """Finish an interrupted removal, and return a sentence for each cohort that a run must link again."""
    with lock_home(home):
        if not home.unfinished_removal.exists():
            return []
        removal = TypeAdapter(_Removal).validate_json(home.unfinished_removal.read_bytes())
        for objection in removal.objections:
            suppressions.add_objection(home, objection)
        for extract in removal.extracts:
            store = home.get_extract(*extract.key)
            macs = {number: mac for mac, number in _read_part_numbers(store).items()}
            rows = (split_number(row) for row in extract.rows)
            of_files = [Suppressed(macs.get(part, extract.file_mac), row, extract.objection) for part, row in rows]
            # the list comes first, so that the same file cannot bring the rows back if this is interrupted
            suppressions.suppress(store, of_files)
            _remove(store, keys)

        stores = [home.get_cohort(cohort) for cohort in sorted({extract.cohort for extract in removal.extracts})]
        not_linked = [text for store in stores for text in link_again(store, keys, partial(_build_filter, keys))]
        home.unfinished_removal.unlink()
        return not_linked


def _carry_out(
    home: Home, keys: KeyRing, removal: _Removal, note: str, what: Processing = Processing.FORGETTING
) -> list[str]:
    """Log and store a removal before anything changes, then finish it."""
    for extract in removal.extracts:
        record(home, what, *extract.key, file_mac=extract.file_mac, note=note)
    write_json(home.unfinished_removal, asdict(removal))
    return finish(home, keys)


def _read_part_numbers(store: ExtractStore) -> dict[str, int]:
    """Return the part numbers of an extract by file MAC; 0 for a whole file."""
    if parts := PartStore(store).list_kept():
        return {part.file_mac: part.number for part in parts}
    quality = deliveries.read(store.quality)
    return quality.part_numbers if quality else {}


def _list_suppressed_numbers(store: ExtractStore) -> list[int]:
    """Return the sorted numbers, in the extract, of rows on the suppression list."""
    return sorted(row.source_row for row in suppressions.list_suppressed(store, _read_part_numbers(store)))


def _build_filter(keys: KeyRing, store: ExtractStore) -> Gone:
    """Return the `Gone` function for an extract's rows on the suppression list."""
    if not (rows := _list_suppressed_numbers(store)):
        return lambda own: np.zeros(len(own), bool)
    # parts that are not resolved yet have no intake result
    in_parts = PartStore(store).list_kept()
    of_extract = row_keys.derive_part_keys(keys, *store.key) if in_parts else derive_row_keys(store, keys)
    gone = of_extract.derive_keys(np.array(rows))
    return lambda own: np.isin(own, gone)


def _remove(store: ExtractStore, keys: KeyRing) -> None:
    """Rewrite all files of an extract without its suppressed rows."""
    for path in store.history.glob("*.json"):
        # Rows of superseded deliveries are no longer kept, so it is unknown which numbers were the child's.
        earlier = deliveries.read(path)
        if earlier and any(rule.first_rows for rule in earlier.rules):
            deliveries.keep(path, replace(earlier, rules=tuple(replace(rule, first_rows=()) for rule in earlier.rules)))
    parts = PartStore(store)
    quality, kept_parts = deliveries.read(store.quality), parts.list_kept()
    if not (rows := _list_suppressed_numbers(store)):
        return
    holders = {store.pseudonymised: "", store.quarantine: "", store.tokens: "tokens"}
    for stem in sorted({part.kept_in for part in kept_parts}):
        holders |= parts.get_files(stem).holders
    suppressions.write_without(store.home, keys, holders, _build_filter(keys, store))
    for part in kept_parts:
        _update_note(parts, keys, part, rows)
    if quality is None:  # parts that are not resolved yet
        return
    now = _recount_intake(store, quality, rows)
    deliveries.keep(store.quality, now)
    if stopped := deliveries.read_stopped(store):
        report.report_extract(store.home, stopped, now)
    else:
        report.report_extract(store.home, now, next(iter(deliveries.read_previous(store, now.file_mac)), None))
    report.report_council(store.cohort_store, store.council)


def _update_note(parts: PartStore, keys: KeyRing, part: Part, rows: Collection[int]) -> None:
    """Update the note of a part as if these rows had been left out when it was read."""
    own = {row for of, row in map(split_number, rows) if of == part.number}
    if not own:
        return
    (marks,) = parts.read_marks(keys, [part]).values()
    kept = int(np.sum(marks["state"].to_numpy(zero_copy_only=False) == str(RowState.KEPT)))
    rules = suppressions.remove_row_numbers(part.rules, own)
    parts.note(replace(part, rows_kept=kept, rows_forgotten=len(own), rules=rules))


def _recount_intake(store: ExtractStore, quality: ExtractQuality, rows: Collection[int]) -> ExtractQuality:
    """Return an intake result as if these rows had been left out."""
    kept = pyarrow.parquet.read_metadata(store.pseudonymised).num_rows
    with open_in_memory() as con:
        extract = profile.Uncounted(CONTRACTS[quality.source], quality.cohort, store.pseudonymised)
        (found,) = profile.count(con, [extract])
        warned = profile.count_warned_rows(store.quarantine) if store.quarantine.exists() else quality.rows_warned
    return replace(
        quality,
        rows_kept=kept,
        rows_warned=warned,
        rules=suppressions.remove_row_numbers(quality.rules, rows),
        profile=found,
    )


def link_again(store: CohortStore, keys: KeyRing, gone: GoneOf) -> list[str]:
    """Rebuild links, tables and report without the rows that are `gone`. Return a sentence if that needs a run."""
    if not store.linked.exists():
        return []
    # read from the links and their record, before either is changed
    of_links = pyarrow.parquet.read_table(store.links, columns=["council"]) if store.links.exists() else None
    linked = set(of_links["council"].unique().to_pylist()) if of_links else set[str]()
    with contextlib.suppress(inputs.NotLinked):
        linked |= set(inputs.read_record(store).taking_part)
    councils = sorted(linked)
    # returns are encrypted to services and cannot be opened here; their own job makes them again
    for path in store.all_returns:
        path.unlink()
    # the rows leave the links first, because linking again may fail
    _drop_links(store, gone)
    forget_rows(store)
    # removed whole: the sheets of a review may show the child to a sender
    shutil.rmtree(store.review, ignore_errors=True)
    inputs.write_record(store, inputs.LinkageRecord(councils))
    # the links stay, because they keep the ids of all other children; the pairs are weighed anew
    store.pair_cache.unlink(missing_ok=True)
    for path in store.linked.iterdir():
        if path not in (store.links, store.linkage_record):
            path.unlink()
    try:
        link_cohort(store, councils, keys)
        derive_confidential_tables(store, councils, keys)
    except NothingToLink:
        shutil.rmtree(store.linked)
    except TokensUnusable as error:
        return [f"{error}; until then the cohort has no links"]
    return []


def _drop_links(store: CohortStore, gone: GoneOf) -> None:
    """Remove rows that are `gone` from the links. Other children keep their ids."""
    if not store.links.exists():
        return
    links = pyarrow.parquet.read_table(store.links, partitioning=None)
    row_keys, drop = links[ROW_KEY].to_numpy(), np.zeros(links.num_rows, bool)
    for source, council in {(row["source"], row["council"]) for row in links.select(["source", "council"]).to_pylist()}:
        own = pc.and_(pc.equal(links["source"], source), pc.equal(links["council"], council)).to_numpy()
        drop[own] = gone(store.get_extract(source, council))(row_keys[own])
    with store.home.open_staging() as staging:
        pyarrow.parquet.write_table(links.filter(pa.array(~drop)), staging / "links.parquet", compression="zstd")
        promote(staging / "links.parquet", store.links)
