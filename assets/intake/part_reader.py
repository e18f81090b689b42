"""Reads each part of an extract once, and sorts multi-cohort files, so that `ingest` can resolve the parts.

A row of a multi-cohort file belongs to the cohort given by its date of birth. If its academic year is at most one year
away from that cohort's, as for a child who starts school a year late, or if it has no date of birth, the academic year
decides.
A row with neither belongs to the cohort in which an earlier part has its record. Other rows are set aside and counted.
"""

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.home.processing_log import Key, Processing, record
from assets.home.retention_policy import get_retention
from assets.intake.context import Delivery, IntakeContext, Steps
from assets.intake.parts import NUMBER, Part, PartStore, Sorted, SortedFiles, compute_moved_mac
from assets.intake.suppressions import HeldBack
from assets.pseudonymise import findings, split_writer, stream_extract
from privacy import normalise, row_keys
from privacy.doors import clock, sealed
from sources.contracts import CONTRACTS
from sources.errors import ExtractStopped, wrap_error
from sources.extract.landing import Landed, get_size, get_state, list_cohorts
from sources.extract.project import build_first_year_sql, project_extract
from sources.extract.table import SOURCE_ROW, OpenExtract, join_parts
from sources.reference.cohorts import Cohort

MAX_BYTES = 1 << 30
"""Limit on the text of a multi-cohort file (1 GiB), which is held in memory until its rows are sorted."""


class PartsReader:
    """Reads those parts of extracts that have not been read yet."""

    def __init__(self, context: IntakeContext) -> None:
        self._context, self._home, self._keys = context, context.home, context.keys
        self._keeping = Lock()
        self.not_read: list[str] = []
        """Sentences about unreadable files next to whole extracts."""

    def read(self, extracts: Sequence[Landed], staging: Path) -> dict[Key, ExtractStopped]:
        """Read the unread parts of extracts. Return, by extract, the reason if one of its parts is stopped.

        Parts with the same columns are read together in one pass. If that fails, each is read alone.
        """
        stopped: dict[Key, ExtractStopped] = {}
        groups: list[list[Delivery]] = []
        for landed in extracts:
            try:
                self._sort_files(landed, staging)
                groups += self._group(self._list_unread(landed)) if landed.in_parts else []
            except ExtractStopped as unreadable:
                stopped[landed.key] = unreadable
        wrong = self._read(groups, staging / "together")
        # a group fails as a whole, so read its parts one by one to find the wrong one
        failed = [group for group, _ in wrong if len(group) > 1]
        wrong = [each for each in wrong if len(each[0]) == 1]
        wrong += self._read([[replace(part, extract=None)] for group in failed for part in group], staging / "alone")
        for (part,), stop in wrong:
            own = f"{stop.for_sender} (The file is called {part.file!r}.)"
            stopped.setdefault(part.landed.key, ExtractStopped(str(stop), own))
        return stopped

    def has_read_all(self, landed: Landed) -> bool:
        """Return whether every part and multi-cohort file was read under these settings, or need not be read again."""
        noted = PartStore(self._home.get_extract(*landed.key)).list_all()
        entries = SortedFiles(self._home, landed.source, landed.council).list_entries()
        of_parts = {part.file_mac: None if part.withdrawn else part.made_under for part in noted}
        of_several = {mac: entry.made_under if entry.cohorts else None for mac, entry in entries.items()}
        files = [(path, of_parts) for path in landed.parts] + [(path, of_several) for path in landed.several]
        for path, made_under in files:
            delivery = self._context.describe_delivery(replace(landed, path=path, parts=(), several=()))
            if made_under.get(delivery.mac, {}) not in (None, delivery.made_under):
                return False
        return True

    def _sort_files(self, landed: Landed, staging: Path) -> None:
        """Split multi-cohort files into parts of their cohorts.

        Each file is sorted once, for the first extract that needs it. An unreadable file stops an extract in parts. It
        does not stop a whole extract, but is reported in `not_read`.
        """
        cohorts: set[str] = set()
        for path in landed.several:
            try:
                cohorts.update(self._sort_file(replace(landed, path=path, parts=(), several=()), staging))
            except ExtractStopped as stop:
                if landed.in_parts:
                    raise
                self.not_read.append(str(stop))
        # a whole file and parts of one cohort are never added up
        if landed.cohort in cohorts and not landed.in_parts:
            raise ExtractStopped(
                f"{landed.name}: another file in its folder, whose name is no cohort, has rows of {landed.cohort} too;"
                f" put this one into the folder {landed.cohort}, as a part, or take the other one away"
            )

    def _sort_file(self, file: Landed, staging: Path) -> Collection[str]:
        """Split a multi-cohort file, unless that was done before, and return its cohorts."""
        if "date_of_birth" not in CONTRACTS[file.source]:
            raise ExtractStopped(
                f"a file of {file.council}/{file.source}: rows of {file.source} do not give their cohort; send a file"
                " for each, named after it, such as 202425.csv, or put it into a folder of that name"
            )
        files = SortedFiles(self._home, file.source, file.council)
        with files.lock_files():
            delivery, found_at = self._context.describe_delivery(file), get_state(file.path)
            entry = known = files.list_entries().get(delivery.mac)
            if not entry or (entry.cohorts and entry.made_under != delivery.made_under):
                entry = self._sort(delivery, staging)
            entry = replace(entry, state=found_at)  # the same content may have been written anew
            if known != entry:
                files.remember(delivery.mac, entry)
            return entry.cohorts

    def _sort(self, delivery: Delivery, staging: Path) -> Sorted:
        """Split one multi-cohort file into parts of its cohorts; raises `ExtractStopped` if that cannot be done."""
        landed = delivery.landed
        if delivery.manifest:
            raise ExtractStopped(f"{landed.name}: a file of tokens holds one cohort; put it into its cohort's folder")
        extract = self._context.open(delivery)
        batches: list[pa.RecordBatch] = []
        for batch in extract.batches:
            batches.append(batch)
            if sum(each.nbytes for each in batches) > MAX_BYTES:
                raise ExtractStopped(f"{landed.name}: is too long for a file of several cohorts; send a file for each")
        text = pa.Table.from_batches(batches, extract.schema)
        found = self._split_by_cohort(delivery, extract, text)
        without = found.pop("")
        if not found:
            raise ExtractStopped(
                f"{landed.name}: no row gives a cohort (date of birth or academic year); send a file"
                " for each cohort, named after it"
            )
        groups = []
        for cohort, numbers in found.items():
            own, chosen = replace(landed, cohort=cohort), np.isin(text[SOURCE_ROW].to_numpy(), numbers)
            rows = iter(text.filter(pa.array(chosen)).to_batches())
            store = PartStore(self._home.get_extract(*own.key))
            part = replace(delivery, landed=replace(own, part=store.give_numbers([delivery.mac])[delivery.mac]))
            selected = replace(extract, landed=own, batches=rows, set_aside={})
            groups.append([replace(part, arrived=store.compute_next_run(), extract=selected, of_several=True)])
        for _, stop in self._read(groups, Path(tempfile.mkdtemp(dir=staging)) / "several"):
            raise stop
        self._note_moved_records(delivery, found, staging)
        aside = np.sort(np.concatenate([without, *(np.array(r) for r in extract.set_aside.values())]))
        first = tuple(aside[: findings.MAX_EXAMPLE_ROWS].astype(int).tolist())
        return Sorted(get_state(landed.path), delivery.made_under, tuple(sorted(found)), len(aside), first)

    def _get_stores(self, landed: Landed) -> dict[str, PartStore]:
        """Return the part stores of a council's source, by cohort."""
        store = self._home.get_extract(*landed.key)
        return {cohort: PartStore(replace(store, cohort=cohort)) for cohort in list_cohorts()}

    def _note_moved_records(self, delivery: Delivery, of_cohort: Collection[str], staging: Path) -> None:
        """Store, by cohort, a part that deletes records now in another one, as after a corrected date of birth."""
        stores, here = self._get_stores(delivery.landed), dict[str, pa.Table]()
        for cohort in of_cohort:
            own = [part for part in stores[cohort].list_kept() if part.file_mac == delivery.mac]
            here[cohort] = pa.concat_tables(stores[cohort].read_marks(self._keys, own).values())
        mac = compute_moved_mac(self._keys, delivery.mac)
        for cohort, store in stores.items():
            kept = [part for part in store.list_kept() if part.file_mac not in (delivery.mac, mac)]
            others = [table for code, table in here.items() if code != cohort]
            if not kept or not others:
                continue
            moved = pa.concat_tables(others)
            moved = moved.filter(pc.equal(moved["state"], str(split_writer.RowState.KEPT)))
            records, number = _get_records(moved), store.give_numbers([mac])[mac]
            gone = np.isin(records, store.read_records(self._keys, kept))
            if cohort in here:
                # records with rows in both cohorts stay here too
                gone &= ~np.isin(records, _get_records(here[cohort]))
            if not gone.any():
                continue
            moved = moved.filter(pa.array(gone))
            of_extract = row_keys.derive_part_keys(self._keys, *store.extract.key)
            own_keys = of_extract.derive_keys(row_keys.number_rows(number, moved[NUMBER].to_numpy()))
            states = pa.repeat(str(split_writer.RowState.DELETED), moved.num_rows)
            moved = moved.drop_columns([NUMBER, row_keys.ROW_KEY, "state"]).append_column("state", states)
            encryption = sealed.build_encryption(self._keys.get_public_key("intake"))  # for one file only
            with split_writer.KeyedWriter(staging / f"moved-{cohort}", encryption=encryption) as out:
                out.write(moved.add_column(0, row_keys.ROW_KEY, pa.array(own_keys, pa.uint64())))
            part = Part(
                number=number,
                file=delivery.file,
                sender_mac="",
                file_mac=mac,
                arrived=1 + max(part.arrived for part in kept),  # after all kept parts, whose records it deletes
                read_at=clock.format_now(),
                made_under=delivery.made_under,
                rows_deleted=moved.num_rows,
                moved=True,
            )
            store.keep([part], None, staging / f"moved-{cohort}")

    def _split_by_cohort(self, delivery: Delivery, extract: OpenExtract, text: pa.Table) -> dict[str, np.ndarray]:
        """Split row numbers by cohort: that of the row, else of earlier parts with its record, else "" for none."""
        contract = delivery.contract
        projection = project_extract("extract", extract, contract, normalise.VALID)
        with self._context.acquire_tools() as tools:
            tools.con.register("extract", text)
            years = f"SELECT {SOURCE_ROW}, {build_first_year_sql(contract)} AS first_year FROM ({projection.sql})"
            found = split_by_first_year(tools.con.sql(years).to_arrow_table())
            tools.con.unregister("extract")
            if not len(found[""]):
                return found
            silent = text.filter(pa.array(np.isin(text[SOURCE_ROW].to_numpy(), found[""])))
            records = stream_extract.mark_rows(tools, extract, contract, silent)
        stores = self._get_stores(delivery.landed)
        earlier = {
            code: store.read_records(self._keys, kept) for code, store in stores.items() if (kept := store.list_kept())
        }
        return assign_by_earlier_parts(found, records, earlier)

    def _read(self, groups: Sequence[list[Delivery]], staging: Path) -> list[tuple[list[Delivery], ExtractStopped]]:
        """Read each group of parts in one pass. Return the groups that were stopped, with the reasons."""
        staging.mkdir()
        jobs = (
            (sum(get_size(part.landed.path) for part in group), self._read_group(group, staging / str(n)))
            for n, group in enumerate(groups)
        )
        return [(group, stop) for group, stop in zip(groups, self._context.run(jobs), strict=True) if stop]

    def _list_unread(self, landed: Landed) -> list[Delivery]:
        """Return the parts that have not been read under these settings."""
        store = PartStore(self._home.get_extract(*landed.key))
        known, run = {part.file_mac: part for part in store.list_all()}, store.compute_next_run()
        found: dict[str, Delivery] = {}
        files = {path: self._context.fingerprint(landed, path) for path in landed.parts}
        numbers = store.give_numbers([mac for _, mac in files.values()])
        for path, (sha256, mac) in files.items():
            part = replace(landed, path=path, parts=(), part=numbers[mac])
            delivery, earlier = self._context.describe_delivery(part, (sha256, mac)), known.get(mac)
            if mac not in found and not (earlier and (earlier.withdrawn or earlier.made_under == delivery.made_under)):
                # a part that is read again keeps its place in the order
                found[mac] = replace(delivery, arrived=earlier.arrived if earlier else run)
        return [*found.values()]

    def _group(self, unread: Iterable[Delivery]) -> list[list[Delivery]]:
        """Group parts with the same columns, which can be read together."""
        groups: dict[Any, list[Delivery]] = {}
        for part in unread:
            with suppress(ExtractStopped):  # reported when the part is read alone
                part = self._open_part(part)
            # tokens, and files that cannot be opened, have no form and are read alone
            groups.setdefault(part.extract.form if part.extract else part.mac, []).append(part)
        return [*groups.values()]

    def _open_part(self, part: Delivery) -> Delivery:
        """Return the part with its file open, unless it holds tokens. Raises `ExtractStopped` if that fails."""
        closed = not (part.extract or part.manifest)
        return replace(part, extract=self._context.open(part)) if closed else part

    def _read_group(self, group: Sequence[Delivery], folder: Path) -> Steps[ExtractStopped | None]:
        """Read parts from their files and store them. If one is stopped, store none and return the reason."""
        landed = group[0].landed
        try:
            seen = [get_state(part.landed.path) for part in group]
            group = [self._open_part(part) for part in group]
            numbers = {part.mac: part.landed.part for part in group}
            opened = {part.landed.part: part.extract for part in group if part.extract}
            staged, out, held_back = yield from self._context.stage(
                group[0], numbers, partial(join_parts, opened, row_keys.number_rows), folder
            )
            found = [_describe_part(part, staged, out, held_back) for part in group]
            for part, read, before in zip(group, found, seen, strict=True):
                landed = part.landed
                own = replace(staged, rows_read=read.rows_read, rows_kept=read.rows_kept, rules=read.rules)
                own = replace(own, other_origins=())  # computed over all parts of the group, not for this part
                findings.stop_if_wrong(landed, own, moved=get_state(landed.path) != before)
                own.check_rejected(landed.name)
        except Exception as error:
            return wrap_error(landed.name, error)
        # logged before the parts are kept, so that no kept rows are missing from the log
        for each in found:
            record(self._home, Processing.INTAKE, *landed.key, file_mac=each.file_mac, note=f"part {each.number}")
        with self._keeping:  # `keep` removes files that no note names, which another thread may have just written
            PartStore(self._home.get_extract(*landed.key)).keep(found, staged, out.marks)
        return None


def _describe_part(
    delivery: Delivery, staged: findings.Staged, out: split_writer.SplitWriter, held_back: HeldBack
) -> Part:
    """Describe a part that was read, with its share of the counts of the parts staged together."""
    number = delivery.landed.part
    kept, rejected, deleted = (out.counts[number, str(state)] for state in split_writer.RowState)
    forgotten = sum(row_keys.split_number(row)[0] == number for row in held_back.rows)
    aside = sum(map(len, delivery.extract.set_aside.values())) if delivery.extract else 0
    # a tokens file has no rejected rows: only its manifest counts them
    read = staged.rows_read if delivery.manifest else kept + rejected + aside + forgotten
    rules = tuple(
        replace(
            rule,
            rows=out.counts[number, rule.rule],
            first_rows=tuple(row for part, row in map(row_keys.split_number, rule.first_rows) if part == number),
        )
        for rule in staged.rules
    )
    return Part(
        number=number,
        file=delivery.file,
        sender_mac=delivery.sender_mac,
        file_mac=delivery.mac,
        arrived=delivery.arrived,
        read_at=clock.format_now(),
        made_under=delivery.made_under,
        headings=staged.renamed_headings,
        rows_read=read,
        rows_kept=kept,
        rows_deleted=deleted,
        rules=staged.rules if delivery.manifest else rules,
        rows_forgotten=forgotten,
        of_several=delivery.of_several,
        sheet=delivery.extract.table.sheet if delivery.extract else None,
    )


def split_by_first_year(found: pa.Table) -> dict[str, np.ndarray]:
    """Split row numbers by cohort, from the first year of each row's cohort; rows without one are under ""."""
    numbers, years = found[SOURCE_ROW].to_numpy(), found["first_year"].fill_null(0).to_numpy()
    # cohorts whose children are not born yet, or whose data may no longer be held, are left out
    policy, today = get_retention(), clock.today()
    of_year = {Cohort(code).first_year: code for code in list_cohorts() if today < policy.compute_end(Cohort(code))}
    split = {of_year[year]: numbers[years == year] for year in np.unique(years).tolist() if year in of_year}
    return split | {"": numbers[~np.isin(years, list(of_year))]}


def assign_by_earlier_parts(
    rows: Mapping[str, np.ndarray], marked: pa.Table, earlier: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Assign rows without a cohort to the cohort whose earlier parts have their record, if there is exactly one.

    `marked` has columns `source_row` and `record` (mark of the record, or null); `earlier` has marks of records.
    """
    numbers, records = marked[SOURCE_ROW].to_numpy(), _get_records(marked)
    there = {code: np.isin(records, known) for code, known in earlier.items()}
    # a record that is in several cohorts does not decide
    alone = np.sum([*there.values(), np.zeros(len(records), bool)], axis=0) == 1
    assigned = {code: numbers[found & alone] for code, found in there.items() if (found & alone).any()}
    own = {code: np.concatenate([rows.get(code, numbers[:0]), more]) for code, more in assigned.items()}
    return {**rows, **own, "": numbers[~alone]}


def _get_records(marked: pa.Table) -> np.ndarray:
    """Return the mark of each row's record; 0 if it has none."""
    return np.asarray(marked["record"].fill_null(0).to_numpy())
