"""Finds the rows of a child: those of given rows, of a pseudonym, of an objection, and of children in no table."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.errors import Refused
from assets.home.home_lock import lock_cohorts, with_cohort_lock
from assets.home.paths import CohortStore, ExtractStore, Home
from assets.intake import deliveries, suppressions
from assets.intake.deliveries import derive_row_keys
from assets.intake.parts import NUMBER, PartStore
from assets.intake.suppressions import Objection
from assets.linkage import inputs
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.tokens import open_tokens
from privacy import marks
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_parquet, quote_text
from privacy.keys import KeyRing
from privacy.linkage.rows import SERVICES
from privacy.pseudonyms import TOKEN_COLUMNS
from privacy.row_keys import ROW_KEY, format_row_number, number_rows
from sources.extract.landing import list_cohorts
from sources.extract.table import SOURCE_ROW
from sources.reference.code_lists import TWO_YEAR_REVIEW


@dataclass(frozen=True, order=True)
class ExtractRows:
    """Row numbers in the delivery with this `file_mac` of an extract, and the id of their objection, or empty."""

    cohort: str
    council: str
    source: str
    rows: tuple[int, ...]
    file_mac: str
    objection: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.cohort, self.council


@dataclass(frozen=True)
class Forgotten:
    """Result, or preview, of a removal. `not_linked` holds a sentence for each cohort that a run must link again."""

    extracts: tuple[ExtractRows, ...]
    not_linked: tuple[str, ...] = ()


def find_rows(store: ExtractStore, rows: Sequence[int], keys: KeyRing, *, linked: bool) -> Forgotten:
    """Find rows by number in the current extract and, with `linked`, all rows of the same children in every cohort.

    `keys` are the keys for removals (`RESTRICTED`). Raises `Refused` if the extract or a row does not exist, or if
    the links were made from other extracts; `InUse` if a run does not end; `KeyProblem`; and `TokensUnusable` if an
    extract was ingested under other keys.
    """
    with lock_cohorts(store.home, [store.cohort]):
        quality = deliveries.read_current(store)
        if quality is None:
            raise Refused(
                f"no {store.source} extract of {store.council} is in for cohort {store.cohort} in {store.home.root}"
            )
        if beyond := [row for row in rows if not quality.has_row(row)]:
            has = "a row of a part is named 3:17" if quality.parts else f"it has rows 1 to {quality.rows_read}"
            raise Refused(f"{store.name} has no row {format_row_number(beyond[0])}: {has}")
        found = [build_extract_rows(store, rows)]
        if linked and store.source in SERVICES:
            row_keys_ = derive_row_keys(store, keys).derive_keys(np.array(rows))
            whole, named = store.cohort_store, _build_key_table(store.source, store.council, row_keys_)
            found += _find_rows_of_children(whole, keys, _find_children(whole, named))
    others = _find_in_other_cohorts(store.home, keys, found) if linked else []
    return Forgotten(merge_extract_rows([*found, *others]))


def _find_in_other_cohorts(home: Home, keys: KeyRing, found: Sequence[ExtractRows]) -> list[ExtractRows]:
    """Find the child's rows in other cohorts, where a wrong date of birth has put them, by marks and by links."""
    own, others = {extract.cohort for extract in found}, list[ExtractRows]()
    of_child = build_objections(home, found, keys)
    for store in (home.get_cohort(code) for code in _list_cohorts_held(home) if of_child and code not in own):
        with lock_cohorts(home, [store.cohort]):
            rows = _find_matching_rows(store, keys, of_child)
            others += _convert_to_extract_rows(store, keys, rows)
            others += _find_rows_of_children(store, keys, _find_children(store, rows))
    return others


def find_rows_by_pseudonym(home: Home, pseudonym: str, cohort: str | None, keys: KeyRing) -> Forgotten:
    """Find all rows, in every cohort, of the child with this child_id or token in one cohort or, if None, in any.

    Raises `Refused` if there are none, if several children share the token, or if the links were made from other
    extracts; `InUse` if a run does not end; `KeyProblem`; and `TokensUnusable` as `find_rows` does.
    """
    found: list[ExtractRows] = []
    for code in [cohort] if cohort else _list_cohorts_held(home):
        with lock_cohorts(home, [code]):
            found += _find_by_pseudonym(home.get_cohort(code), keys, pseudonym)
    if not found:
        where = f"cohort {cohort}" if cohort else "any cohort"
        raise Refused(f"that is neither a child_id nor a token of a row of {where} in {home.root}")
    return Forgotten(merge_extract_rows([*found, *_find_in_other_cohorts(home, keys, found)]))


@with_cohort_lock
def find_in_no_table(store: CohortStore, keys: KeyRing) -> Forgotten:
    """Find the rows of children with neither an EYFS Profile nor a two-year review, who can be in no table.

    None are found while the links were made from other extracts than the current ones. Raises `KeyProblem`.
    """
    if not store.links.exists() or inputs.find_changes_since_linkage(store, inputs.list_councils(store)):
        return Forgotten(())
    selects = ["SELECT source, council, row_key FROM links WHERE source = 'eyfsp'"]
    if paths := [each.pseudonymised for each in _list_linked_extracts(store) if each.source == "hv_reviews"]:
        rows = quote_parquet(paths, hive_partitioning=False)
        selects.append(
            f"SELECT 'hv_reviews', council, row_key FROM {rows} WHERE review = {quote_text(TWO_YEAR_REVIEW)}"
        )
    with open_in_memory() as con:
        found = con.execute(
            f"WITH links AS (FROM {quote_parquet(store.links)}), published AS ({' UNION ALL '.join(selects)})"
            " SELECT DISTINCT child_id FROM links ANTI JOIN"
            " (FROM links SEMI JOIN published USING (source, council, row_key)) USING (child_id)"
        ).fetchall()
    return Forgotten(merge_extract_rows(_find_rows_of_children(store, keys, [child_id for (child_id,) in found])))


def iter_same_records(home: Home, keys: KeyRing, extract: ExtractRows) -> Iterator[ExtractRows]:
    """Yield the rows, and rows of the same records in other parts and cohorts, such as repeats and replaced rows."""
    yield extract
    store = home.get_extract(*extract.key)
    parts = PartStore(store)
    marks = parts.read_marks(keys, parts.list_kept())
    records = [
        table["record"].filter(pa.array(np.isin(number_rows(part, table[NUMBER].to_numpy()), extract.rows))).drop_null()
        for part, table in marks.items()
    ]
    if not any(map(len, records)):
        return
    known = np.concatenate([of.to_numpy() for of in records])
    for other in (replace(store, cohort=cohort) for cohort in list_cohorts()):
        parts = PartStore(other)
        for part, table in parts.read_marks(keys, parts.list_kept()).items():
            same = np.isin(table["record"].fill_null(0).to_numpy(), known)
            if same.any():
                yield build_extract_rows(other, number_rows(part, table[NUMBER].to_numpy()[same]).tolist())


def _list_cohorts_held(home: Home) -> list[str]:
    return sorted({store.cohort for store in home.iter_extracts("pseudonymised", "parquet")})


def build_objections(home: Home, found: Sequence[ExtractRows], keys: KeyRing) -> list[Objection]:
    """Build an objection from the child's marks in all cohorts; none if no row has a mark."""
    of_rows = set[tuple[str, str]]()
    with suppressions.open_mark_database(keys) as con:
        for extract in found:
            store = home.get_extract(*extract.key)
            if extract.source in SERVICES:
                wanted = derive_row_keys(store, keys).derive_keys(np.array(extract.rows))
                tokens = open_tokens(store, keys).read()
                of_child = tokens.filter(pa.array(np.isin(tokens[ROW_KEY].to_numpy(), wanted)))
                of_rows.update(suppressions.compute_marks(con, of_child))
    made_under = marks.get_mark_versions(keys)
    return [Objection(secrets.token_hex(8), found[0].cohort, made_under, tuple(sorted(of_rows)))] if of_rows else []


def iter_matching_rows(home: Home, keys: KeyRing, objections: Sequence[Objection]) -> Iterator[ExtractRows]:
    """Yield all current rows, in every cohort, that match the marks of the objections."""
    for code in _list_cohorts_held(home):
        store = home.get_cohort(code)
        yield from _convert_to_extract_rows(store, keys, _find_matching_rows(store, keys, objections))


def _find_matching_rows(store: CohortStore, keys: KeyRing, objections: Sequence[Objection]) -> pa.Table:
    """Return source, council and row key of a cohort's current rows that match the marks of the objections."""
    with suppressions.open_mark_database(keys) as con:
        return _select_rows(store, keys, lambda tokens: suppressions.match_objections(con, objections, tokens))


def _select_rows(store: CohortStore, keys: KeyRing, choose: Callable[[pa.Table], np.ndarray]) -> pa.Table:
    """Return source, council and row key of a cohort's current rows that `choose` selects by their tokens."""
    # an empty table, so that there is something to concatenate if no extract is in
    found = [_build_key_table("", "", np.empty(0, np.uint64))]
    for extract in _list_linked_extracts(store):
        tokens = open_tokens(extract, keys).read()
        found.append(_build_key_table(extract.source, extract.council, tokens[ROW_KEY].to_numpy()[choose(tokens)]))
    return pa.concat_tables(found)


def _check_links(store: CohortStore) -> None:
    """Raise `Refused` if extracts changed after linkage: links could then point to other children's rows."""
    if moved := inputs.find_changes_since_linkage(store, inputs.list_councils(store)):
        raise Refused(
            f"cohort {store.cohort}: {inputs.join_names(moved)} came in or changed since it was linked, so that row"
            " numbers of the links are not those of the extracts: run the linkage of the cohort, and start again"
        )


def _find_by_pseudonym(store: CohortStore, keys: KeyRing, pseudonym: str) -> list[ExtractRows]:
    """Return the rows of the child with this child_id or token, as `find_rows_by_pseudonym` does for many cohorts."""
    if store.links.exists() and (found := _find_rows_of_children(store, keys, [pseudonym.lower()])):
        _check_links(store)
        return found
    if (value := _parse_token(pseudonym)) is None:
        return []
    wanted = pa.scalar(value, pa.uint64())

    def has_token(tokens: pa.Table) -> np.ndarray:
        names = set(TOKEN_COLUMNS) & set(tokens.column_names)
        return np.any([pc.fill_null(pc.equal(tokens[name], wanted), False) for name in names], axis=0)

    rows = _select_rows(store, keys, has_token)
    children = _find_children(store, rows)
    if len(children) > 1:
        raise Refused(
            f"rows of more than one child of cohort {store.cohort} carry that token: name a row, or a child_id"
        )
    if children:
        return _find_rows_of_children(store, keys, children)
    if rows.num_rows > 1:
        raise Refused(f"several rows of cohort {store.cohort}, which has not been linked, carry that token: name a row")
    return _convert_to_extract_rows(store, keys, rows)


def _find_children(store: CohortStore, rows: pa.Table) -> list[str]:
    """Return the distinct child_ids of rows; none if the cohort is not linked. Raises what `_check_links` raises."""
    if not (rows.num_rows and store.links.exists()):
        return []
    _check_links(store)
    with open_in_memory() as con:
        con.register("rows_named", rows)
        found = con.execute(
            f"SELECT DISTINCT child_id FROM {quote_parquet(store.links)}"
            f" JOIN rows_named USING (source, council, {ROW_KEY})"
        ).fetchall()
    return [child_id for (child_id,) in found]


def _find_rows_of_children(store: CohortStore, keys: KeyRing, children: Sequence[str]) -> list[ExtractRows]:
    """Return all rows of the children with these child_ids."""
    if not children:
        return []
    links = pyarrow.parquet.read_table(store.links, columns=["source", "council", ROW_KEY, "child_id"])
    of_children = pc.is_in(links["child_id"], value_set=pa.array(children, pa.string()))
    return _convert_to_extract_rows(store, keys, links.filter(of_children))


def _convert_to_extract_rows(store: CohortStore, keys: KeyRing, rows: pa.Table) -> list[ExtractRows]:
    by_extract = RowNumbers(store, keys).replace_keys(rows).group_by(["source", "council"], use_threads=False)
    return [
        build_extract_rows(store.get_extract(found["source"], found["council"]), found[f"{SOURCE_ROW}_list"])
        for found in by_extract.aggregate([(SOURCE_ROW, "list")]).to_pylist()
    ]


def _parse_token(text: str) -> int | None:
    """Parse a token (64 bits) from a decimal number or 16 hexadecimal digits; None if it is neither."""
    if text.isascii() and text.isdigit() and int(text) < 1 << 64:
        return int(text)
    digits = text.lower().removeprefix("0x")
    return int(digits, 16) if len(digits) == 16 and set(digits) <= set("0123456789abcdef") else None


def _list_linked_extracts(store: CohortStore) -> list[ExtractStore]:
    """Return all current extracts of a cohort whose sources are linked."""
    found = store.home.iter_extracts("pseudonymised", "parquet", store.cohort)
    return [extract for extract in found if extract.source in SERVICES]


def _build_key_table(source: str, council: str, row_keys: np.ndarray) -> pa.Table:
    count = len(row_keys)
    columns = {"source": pa.repeat(source, count), "council": pa.repeat(council, count)}
    return pa.table(columns | {ROW_KEY: pa.array(row_keys, pa.uint64())})


def build_extract_rows(store: ExtractStore, rows: Sequence[int]) -> ExtractRows:
    quality = deliveries.read(store.quality)
    return ExtractRows(store.cohort, store.council, store.source, tuple(rows), quality.file_mac if quality else "")


def merge_extract_rows(extracts: Iterable[ExtractRows]) -> tuple[ExtractRows, ...]:
    """Merge entries, so that each delivery of an extract appears once."""
    rows: dict[ExtractRows, set[int]] = {}
    for extract in extracts:
        rows.setdefault(replace(extract, rows=(), objection=""), set()).update(extract.rows)
    return tuple(replace(extract, rows=tuple(sorted(rows[extract]))) for extract in sorted(rows))
