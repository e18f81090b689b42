"""Remove a child's rows from the restricted zone, on request, and make anew what depends on them.

What is removed is first put on the list of what must not come back (`suppressions`), and the cohorts are noted as
unfinished; the rest can be done again from these two, so that whoever comes next finishes what a death broke off.
Ledger, stored measurements and releases stay as they are: they hold noise, and the noise was charged for.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from pydantic import TypeAdapter

from assets.home.at_work import alone, in_turn, turn
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.intake.profile import profile, rows_warned
from assets.intake.reports import report_extract
from assets.intake.suppressions import (
    Objection,
    Suppressed,
    add_objection,
    holds_any,
    marks_of,
    objected,
    prepared,
    suppress,
    suppressed,
    without,
    without_rows,
)
from assets.linkage.inputs import LinkageRecord, NotLinked, councils_in, named, read_record, write_record
from assets.linkage.link import (
    CannotBeLinked,
    NothingToLink,
    derive_confidential_tables,
    link_cohort,
    not_as_linked,
)
from assets.returns.standing import forget_rows
from privacy import marks
from privacy.doors.database import in_memory
from privacy.doors.files import promote, write_json
from privacy.doors.sql import parquet
from privacy.keys import KeyRing
from privacy.linkage.rows import SERVICES
from privacy.pseudonyms import TOKEN_COLUMNS
from sources.contracts import CONTRACTS
from sources.extract.table import SOURCE_ROW
from sources.reference.cohorts import Cohort


class CannotForget(Exception):
    """There is nothing to remove, or not one child; the message says why in one sentence."""


@dataclass(frozen=True, order=True)
class ExtractRows:
    """Rows by number of one extract that is in; `file_mac` is of its delivery, to which alone the numbers belong.

    `objection` is the id of the objection that the rows belong to, or empty.
    """

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
class _Removal:
    """What is to be done, as it is kept until it is."""

    extracts: tuple[ExtractRows, ...]
    objections: tuple[Objection, ...]


_REMOVAL = TypeAdapter(_Removal)


@dataclass(frozen=True)
class Forgotten:
    """What was removed, or would be; `not_linked` are cohorts that must be linked again by a run, and why."""

    extracts: tuple[ExtractRows, ...]
    not_linked: tuple[str, ...] = ()


@in_turn
def rows_named(home: Home, cohort: str, council: str, source: str, rows: Sequence[int], *, linked: bool) -> Forgotten:
    """The rows of these numbers of the extract in force and, with `linked`, every row linked to the same children.

    Raises `CannotForget` where no such extract is in, it has no such row, or the links are not of the extracts that are
    in; `Busy` where a run does not end.
    """
    quality = deliveries.current(home, source, cohort, council)
    if quality is None:
        raise CannotForget(f"no {source} extract of {council} is in for cohort {cohort} in {home.root}")
    if beyond := [row for row in rows if not 0 < row <= quality.rows_read]:
        raise CannotForget(f"{council}/{source}/{cohort} has rows 1 to {quality.rows_read}, and no row {beyond[0]}")
    named_rows = [(source, council, row) for row in rows]
    links = home.links(cohort)
    if linked and source in SERVICES and links.exists():
        _check_links(home, cohort)
        with in_memory() as con:
            con.register("named", _named(named_rows))
            named_rows += con.execute(
                f"SELECT source, council, {SOURCE_ROW} FROM {parquet(links)} WHERE child_id IN"
                f" (SELECT child_id FROM {parquet(links)} JOIN named USING (source, council, {SOURCE_ROW}))"
            ).fetchall()
    return Forgotten(_by_extract(home, cohort, named_rows))


def rows_of_pseudonym(home: Home, pseudonym: str, cohort: str | None) -> Forgotten:
    """Every row of the child of a child_id, or of a token of a row, in one cohort or in all.

    Raises `CannotForget` where there is none, where the token is that of several children, or the links are not of the
    extracts that are in; `Busy` where a run does not end.
    """
    held = {path.name.removeprefix("cohort=") for path in home.restricted.glob("pseudonymised/source=*/cohort=*")}
    found: list[ExtractRows] = []
    for code in [cohort] if cohort else sorted(held):
        with turn(home, [code]):
            found += _of_child_id(home, code, pseudonym) or _of_token(home, code, pseudonym)
    if not found:
        where = f"cohort {cohort}" if cohort else "any cohort"
        raise CannotForget(f"that is neither a child_id nor a token of a row of {where} in {home.root}")
    return Forgotten(tuple(found))


def forget(home: Home, found: Forgotten, keys: KeyRing | None = None) -> Forgotten:
    """Remove these rows, and with `keys` whatever else is known by the child's marks, now and in later deliveries.

    Raises `InUse` where a run is at work in the home folder, `CannotForget` where an extract has changed meanwhile.
    """
    with alone(home):
        _finish(home)
        objections = _objections(home, found, keys) if keys else []
        if keys:
            found = Forgotten(_merged([*found.extracts, *_known_by(home, keys, objections)]))
        removal = _removal(home, found, objections)
        note = "rows, and an objection to later deliveries" if objections else "rows"
        for extract in removal.extracts:
            record(home, Processing.FORGETTING, *extract.key, file_mac=extract.file_mac, note=note)
        write_json(home.unfinished_removal, asdict(removal))
        return replace(found, not_linked=tuple(_finish(home)))


def finish(home: Home) -> list[str]:
    """Do the rest of a removal that broke off; sentences about cohorts that a run must link again."""
    with alone(home):
        return _finish(home)


def councils_linked(home: Home, cohort: str) -> list[str]:
    """Councils whose extracts are in the links or the confidential tables of a cohort."""
    found: set[str] = set()
    if home.links(cohort).exists():
        found |= set(
            pyarrow.parquet.read_table(home.links(cohort), columns=["council"])["council"].unique().to_pylist()
        )
    with contextlib.suppress(NotLinked):
        found |= set(read_record(home, cohort).taking_part)
    return sorted(found)


def _removal(home: Home, found: Forgotten, objections: Sequence[Objection]) -> _Removal:
    """Raises `CannotForget` where the rows are of another delivery than the one that is in."""
    of_cohort = {objection.cohort: objection.id for objection in objections}
    for extract in found.extracts:
        quality = deliveries.current(home, *extract.key)
        if quality is None or quality.file_mac != extract.file_mac:
            raise CannotForget(f"{extract.council}/{extract.source}/{extract.cohort} changed meanwhile; start again")
    extracts = (replace(each, objection=of_cohort.get(each.cohort, "")) for each in found.extracts)
    return _Removal(tuple(extracts), tuple(objections))


def _finish(home: Home) -> list[str]:
    if not home.unfinished_removal.exists():
        return []
    removal = _REMOVAL.validate_json(home.unfinished_removal.read_bytes())
    for objection in removal.objections:
        add_objection(home, objection)
    for extract in removal.extracts:
        suppress(home, *extract.key, [Suppressed(extract.file_mac, row, extract.objection) for row in extract.rows])
        _remove(home, *extract.key)
    cohorts = sorted({extract.cohort for extract in removal.extracts})
    not_linked = [sentence for cohort in cohorts for sentence in _link_again(home, cohort)]
    home.unfinished_removal.unlink()
    return not_linked


def _remove(home: Home, source: str, cohort: str, council: str) -> None:
    """Rewrite whatever the restricted zone holds of one extract without its rows on the list."""
    key = (source, cohort, council)
    listed = suppressed(home, *key)
    for path in home.history(*key).glob("*.json"):
        _forget_numbers(path)
    quality = deliveries.read(home.quality(*key))
    rows = {row.source_row for row in listed if quality and row.file_mac == quality.file_mac}
    if quality is None or not rows:
        return
    with home.staging() as staging:
        for path in (home.pseudonymised(*key), home.quarantine(*key)):
            if path.exists() and holds_any(path, rows):
                without(path, staging / path.name, rows)
                promote(staging / path.name, path)
    now = _counted(home, quality, rows)
    write_json(home.quality(*key), asdict(now))
    if stopped := deliveries.stopped(home, *key):
        report_extract(home, stopped, now)
    else:
        report_extract(home, now, deliveries.last(home, *key, now.file_mac))


def _counted(home: Home, quality: ExtractQuality, rows: Collection[int]) -> ExtractQuality:
    """The result of an intake as if these rows had been left out by it."""
    key = quality.key
    kept = pyarrow.parquet.read_metadata(home.pseudonymised(*key)).num_rows
    with in_memory() as con:
        seen = profile(con, home.pseudonymised(*key), CONTRACTS[quality.source], Cohort(quality.cohort))
        warned = rows_warned(home.quarantine(*key)) if home.quarantine(*key).exists() else quality.rows_warned
    return replace(
        quality,
        rows_kept=kept,
        rows_rejected=quality.rows_read - kept,
        rows_warned=warned,
        rules=without_rows(quality.rules, rows),
        profile=seen,
    )


def _forget_numbers(path: Path) -> None:
    """Take every row number out of the result of a superseded delivery: its rows are gone, so nobody can tell which of
    its numbers was the child's."""
    earlier = deliveries.read(path)
    if earlier and any(rule.first_rows for rule in earlier.rules):
        rules = tuple(replace(rule, first_rows=()) for rule in earlier.rules)
        write_json(path, asdict(replace(earlier, rules=rules)))


def _link_again(home: Home, cohort: str) -> list[str]:
    """Links, tables and report without the removed rows; a sentence where that takes a run. Returns are not kept: they
    cannot be opened here, and are made again by their own job."""
    if not home.linked(cohort).exists():
        return []
    councils = councils_linked(home, cohort)
    for path in home.all_returns(cohort):
        path.unlink()
    _drop_links(home, cohort)
    forget_rows(home, cohort)
    write_record(home, cohort, LinkageRecord(councils))
    for path in home.linked(cohort).iterdir():
        if path not in (home.links(cohort), home.linkage_record(cohort)):
            path.unlink()
    try:
        link_cohort(home, cohort, councils)
        derive_confidential_tables(home, cohort, councils)
    except NothingToLink:
        shutil.rmtree(home.linked(cohort))
    except CannotBeLinked as error:
        return [f"{error}; until then the cohort has no links"]
    return []


def _drop_links(home: Home, cohort: str) -> None:
    """Take rows that are no longer in out of the links, whose other children keep their ids."""
    if not home.links(cohort).exists():
        return
    links = pyarrow.parquet.read_table(home.links(cohort))
    listed = [
        {"source": source, "council": council, SOURCE_ROW: row.source_row}
        for source in SERVICES
        for council in links["council"].unique().to_pylist()
        for row in suppressed(home, source, cohort, council)
        if row.file_mac == _mac(home, source, cohort, council)
    ]
    if not listed:
        return
    with in_memory() as con:
        con.register("links", links)
        con.register("listed", pa.Table.from_pylist(listed))
        kept = con.sql(f"FROM links ANTI JOIN listed USING (source, council, {SOURCE_ROW})").to_arrow_table()
    with home.staging() as staging:
        pyarrow.parquet.write_table(kept.select(links.column_names), staging / "links.parquet", compression="zstd")
        promote(staging / "links.parquet", home.links(cohort))


def _objections(home: Home, found: Forgotten, keys: KeyRing) -> list[Objection]:
    """The child's marks, by cohort."""
    id_, made = secrets.token_hex(8), marks.made_under(keys)
    marked: dict[str, set[tuple[str, str]]] = {}
    with prepared(keys) as con:
        for extract in found.extracts:
            if extract.source in SERVICES:
                path = home.pseudonymised(*extract.key)
                marked.setdefault(extract.cohort, set()).update(marks_of(con, path, extract.rows))
    return [Objection(id_, cohort, made, tuple(sorted(of_child))) for cohort, of_child in marked.items() if of_child]


def _known_by(home: Home, keys: KeyRing, objections: Sequence[Objection]) -> Iterator[ExtractRows]:
    """Other rows that are in and carry the marks."""
    with prepared(keys) as con:
        for objection in objections:
            for path, source, council in _extracts(home, objection.cohort):
                if rows := objected(con, [objection], path):
                    mac = _mac(home, source, objection.cohort, council)
                    yield ExtractRows(objection.cohort, council, source, tuple(rows), mac)


def _mac(home: Home, source: str, cohort: str, council: str) -> str:
    quality = deliveries.read(home.quality(source, cohort, council))
    return quality.file_mac if quality else ""


def _check_links(home: Home, cohort: str) -> None:
    """Raise `CannotForget` where the links would name rows of other children."""
    if moved := not_as_linked(home, cohort, councils_in(home, cohort)):
        raise CannotForget(
            f"cohort {cohort}: {named(moved)} came in or changed since it was linked, so that row numbers of the links"
            " are not those of the extracts: run the linkage of the cohort, and start again"
        )


def _of_child_id(home: Home, cohort: str, child_id: str) -> list[ExtractRows]:
    if not home.links(cohort).exists():
        return []
    links = pyarrow.parquet.read_table(home.links(cohort), columns=["source", "council", SOURCE_ROW, "child_id"])
    rows = links.filter(pc.equal(links["child_id"], child_id.lower()))
    if rows.num_rows:
        _check_links(home, cohort)
    return list(
        _by_extract(home, cohort, zip(*(rows[name].to_pylist() for name in rows.column_names[:3]), strict=True))
    )


def _of_token(home: Home, cohort: str, token: str) -> list[ExtractRows]:
    value = _token_value(token)
    if value is None:
        return []
    found: list[tuple[str, str, int]] = []
    with in_memory() as con:
        for path, source, council in _extracts(home, cohort):
            columns = [name for name in pyarrow.parquet.read_schema(path).names if name in TOKEN_COLUMNS]
            if columns:
                sql = f"SELECT {SOURCE_ROW} FROM {parquet(path)} WHERE ? IN ({', '.join(columns)})"
                found += [(source, council, row) for (row,) in con.execute(sql, [value]).fetchall()]
        links = home.links(cohort)
        if found and links.exists():
            _check_links(home, cohort)
            con.register("named", _named(found))
            ids = con.execute(
                f"SELECT DISTINCT child_id FROM {parquet(links)} JOIN named USING (source, council, {SOURCE_ROW})"
            ).fetchall()
            if len(ids) > 1:
                raise CannotForget(
                    f"rows of more than one child of cohort {cohort} carry that token: name a row, or a child_id"
                )
            if ids:
                return _of_child_id(home, cohort, ids[0][0])
    if len(found) > 1:
        raise CannotForget(f"several rows of cohort {cohort}, which has not been linked, carry that token: name a row")
    return list(_by_extract(home, cohort, found))


def _token_value(text: str) -> int | None:
    """A token as a decimal number, or as 16 hexadecimal digits."""
    if text.isascii() and text.isdigit() and int(text) < 1 << 64:
        return int(text)
    digits = text.lower().removeprefix("0x")
    return int(digits, 16) if len(digits) == 16 and set(digits) <= set("0123456789abcdef") else None


def _extracts(home: Home, cohort: str) -> list[tuple[Path, str, str]]:
    """(file, source, council) of every extract of a cohort that is in."""
    paths = sorted(home.restricted.glob(f"pseudonymised/source=*/cohort={cohort}/*.parquet"))
    return [(path, path.parent.parent.name.removeprefix("source="), path.stem) for path in paths]


def _named(rows: Iterable[tuple[str, str, int]]) -> pa.Table:
    sources, councils, numbers = zip(*rows, strict=True)
    return pa.table({"source": sources, "council": councils, SOURCE_ROW: pa.array(numbers, pa.int64())})


def _by_extract(home: Home, cohort: str, rows: Iterable[tuple[str, str, int]]) -> tuple[ExtractRows, ...]:
    return _merged(
        ExtractRows(cohort, council, source, (row,), _mac(home, source, cohort, council))
        for source, council, row in rows
    )


def _merged(extracts: Iterable[ExtractRows]) -> tuple[ExtractRows, ...]:
    """One for each delivery of an extract."""
    by_extract: dict[tuple[str, str, str, str], set[int]] = {}
    for extract in extracts:
        key = (extract.cohort, extract.council, extract.source, extract.file_mac)
        by_extract.setdefault(key, set()).update(extract.rows)
    return tuple(
        ExtractRows(cohort, council, source, tuple(sorted(rows)), mac)
        for (cohort, council, source, mac), rows in sorted(by_extract.items())
    )
