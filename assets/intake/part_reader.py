"""How the parts of extracts are read, each once, and files of several cohorts sorted: what `take_in` puts together."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries, multi_cohort_files, parts, resolved_extract, validation_worker
from assets.intake.batching import Answers, Way, run_batches
from assets.intake.deliveries import TOKENS_KEY, tokens_made_under
from assets.intake.suppressions import HeldBack, left_out
from assets.pseudonymise.findings import RuleCount
from assets.pseudonymise.split_writer import PartsSplitWriter, RowState, SplitWriter
from assets.pseudonymise.stream_extract import Staged, Tools, Untokenised, marked, stop_if_wrong, stream_extract
from assets.pseudonymise.tokens_file import Manifest
from privacy import normalise, row_keys
from privacy.keys import KeyRing
from privacy.row_keys import numbers_of, part_and_row
from sources.contracts import CONTRACTS, SourceContract
from sources.contracts.extract_rules import MAX_REJECTED_SHARE, TOO_MANY_REJECTED
from sources.errors import ExtractStopped, unexpected
from sources.extract.landed import Landed, cohorts_of_children, content_sha256, size_of, state
from sources.extract.open import OpenExtract, together
from sources.extract.project import project_extract
from sources.extract.table import SOURCE_ROW

EXPECTED_ROWS = "expected_rows"
"""Name, among what an extract was made under, of the number of rows that the operator expects of it."""


@dataclass(frozen=True)
class Delivery:
    """One landed extract as it was found: `file` is its name as it may be kept, `made_under` what its rows depend on
    beside its content, `manifest` a tokens file's."""

    landed: Landed
    file: str
    contract: SourceContract
    sender_mac: str
    mac: str
    manifest: Manifest | None
    made_under: dict[str, Any]


@dataclass(frozen=True)
class Unread:
    """A part that is to be read, with the run that first found it; opened, unless it holds tokens. `of_several` where
    its file held rows of other cohorts too."""

    delivery: Delivery
    arrived: int
    extract: OpenExtract | None = None
    of_several: bool = False


class TwoWays(ExtractStopped):
    """An extract lies there whole, and other files have rows of it."""


class Desk(Protocol):
    """What it takes to read a file."""

    home: Home
    keys: KeyRing

    def delivery(self, landed: Landed, sha256: str, mac: str) -> Delivery:
        """A file as it was found."""
        ...

    def opened(self, delivery: Delivery) -> OpenExtract:
        """It, opened. Raises `ExtractStopped`."""
        ...

    def rekeyed(self, delivery: Delivery, out: SplitWriter) -> Staged:
        """A file of tokens, read."""
        ...

    def tools(self) -> AbstractContextManager[Tools]:
        """Tools that nobody else uses meanwhile."""
        ...

    @property
    def answers(self) -> Answers:
        """What extracts on their way are given, several at once."""
        ...


class PartsReader:
    """Reads what has not been read of the parts of extracts."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._home, self._keys = desk, desk.home, desk.keys
        self._keeping = Lock()
        self.not_read: list[str] = []
        """Sentences about files that lie beside whole extracts and cannot be read."""

    def _delivery(self, landed: Landed, sha256: str, mac: str) -> Delivery:
        """A file as it was found. How many rows its extract should have changes nothing of how it is read."""
        found = self._desk.delivery(landed, sha256, mac)
        made_under = {name: value for name, value in found.made_under.items() if name != EXPECTED_ROWS}
        return replace(found, made_under=made_under)

    def read(self, extracts: Sequence[Landed], staging: Path) -> dict[parts.Key, ExtractStopped]:
        """Read what has not been read of the parts of extracts; by extract, why one of its parts cannot be taken.

        Parts that are written alike go through one pass together, and each by itself where one of them is wrong.
        """
        stopped: dict[parts.Key, ExtractStopped] = {}
        groups: list[list[Unread]] = []
        for landed in extracts:
            try:
                self._sort_if_it_can_be(landed, staging)
                groups += self._alike(self._unread(landed)) if landed.in_parts else []
            except ExtractStopped as unreadable:
                stopped[landed.key] = unreadable
        wrong = self._read(groups, staging / "together")
        several = [group for group, _ in wrong if len(group) > 1]
        wrong = [each for each in wrong if len(each[0]) == 1]
        wrong += self._read([[replace(part, extract=None)] for group in several for part in group], staging / "alone")
        for (part,), stop in wrong:
            landed = part.delivery.landed
            own = f"{stop.for_sender} (The file is called {part.delivery.file!r}.)"
            stopped.setdefault(landed.key, ExtractStopped(str(stop), own))
        return stopped

    def _sort_if_it_can_be(self, landed: Landed, staging: Path) -> None:
        """Sort the files of several cohorts. What lies beside a whole extract and cannot be read does not stop that: it
        is told. Raises `ExtractStopped`."""
        try:
            self._sort(landed, staging)
        except ExtractStopped as stop:
            if landed.in_parts or isinstance(stop, TwoWays):
                raise
            self.not_read.append(str(stop))

    def _sort(self, landed: Landed, staging: Path) -> None:
        """Give the rows of files of several cohorts to their cohorts, as parts; each file once, whoever comes first."""
        if not landed.several:
            return
        multi_cohort_files.stop_if_it_cannot_be_sorted(
            f"a file of {landed.council}/{landed.source}", CONTRACTS[landed.source]
        )
        with multi_cohort_files.in_turn(self._home, landed.source, landed.council):
            known = multi_cohort_files.known(self._home, landed.source, landed.council)
            for path in landed.several:
                file = replace(landed, path=path, parts=(), several=())
                sha256 = content_sha256(path, file.name, file.within)
                mac = deliveries.file_mac(self._keys, sha256)
                delivery = self._delivery(file, sha256, mac)
                entry, now = known.get(mac), state(path)
                if not entry or (entry.cohorts and entry.made_under != delivery.made_under):
                    entry = self._sorted(delivery, staging)
                if known.get(mac) != (entry := replace(entry, state=now)):
                    multi_cohort_files.remember(self._home, landed.source, landed.council, mac, entry)
                    known[mac] = entry
                if landed.cohort in known[mac].cohorts and not landed.in_parts:
                    raise TwoWays(
                        f"{landed.name}: another file in its folder, whose name is no cohort, has rows of"
                        f" {landed.cohort} too; put this one into the folder {landed.cohort}, as a part, or take the"
                        " other one away"
                    )

    def _sorted(self, delivery: Delivery, staging: Path) -> multi_cohort_files.Sorted:
        """One file of several cohorts, whose rows go to their cohorts. Raises `ExtractStopped`."""
        landed = delivery.landed
        if delivery.manifest:
            raise ExtractStopped(f"{landed.name}: tokens are of one cohort; put the file into the folder of its cohort")
        extract = self._desk.opened(delivery)
        text = multi_cohort_files.texts(landed.name, extract)
        found = self._told_apart(delivery, extract, text)
        if not found.of_cohort:
            raise ExtractStopped(
                f"{landed.name}: no row says of which cohort it is, by a date of birth or an academic year; send a file"
                " for each cohort, called by it"
            )
        groups = []
        for cohort, numbers in found.of_cohort.items():
            of_cohort = multi_cohort_files.of_cohort(extract, text, numbers, cohort)
            number = parts.give_numbers(self._home, of_cohort.landed.key, [delivery.mac])[delivery.mac]
            run = 1 + max((part.arrived for part in parts.held(self._home, of_cohort.landed.key)), default=0)
            own = replace(delivery, landed=replace(of_cohort.landed, part=number))
            groups.append([Unread(own, run, of_cohort, of_several=True)])
        for _, stop in self._read(groups, Path(tempfile.mkdtemp(dir=staging)) / "several"):
            raise stop
        self._tell_who_lost_records(delivery, found.of_cohort, staging)
        aside = np.sort(np.concatenate([found.of_none, *(np.array(r) for r in extract.set_aside.values())]))
        first = tuple(aside[: multi_cohort_files.MAX_EXAMPLE_ROWS].astype(int).tolist())
        cohorts = tuple(sorted(found.of_cohort))
        return multi_cohort_files.Sorted(state(landed.path), delivery.made_under, cohorts, len(aside), first)

    def _tell_who_lost_records(self, delivery: Delivery, of_cohort: Collection[str], staging: Path) -> None:
        """A record that a file gives to one cohort is no longer one of another, whose earlier part has it: a date of
        birth was put right."""
        landed = delivery.landed
        here: dict[str, pa.Table] = {}
        for cohort in of_cohort:
            key = (landed.source, cohort, landed.council)
            own = [part for part in parts.held(self._home, key) if part.file_mac == delivery.mac]
            here[cohort] = pa.concat_tables(resolved_extract.marks_of(self._home, self._keys, key, own).values())
        mac = parts.mac_of_moved(self._keys, delivery.mac)
        for cohort in cohorts_of_children():
            key = (landed.source, cohort, landed.council)
            held = [part for part in parts.held(self._home, key) if part.file_mac not in (delivery.mac, mac)]
            others = [table for code, table in here.items() if code != cohort]
            if not held or not others:
                continue
            given = pa.concat_tables(others)
            given = given.filter(pc.equal(given["state"], str(RowState.KEPT)))
            if cohort in here:
                own_records = here[cohort]["record"].combine_chunks()
                given = given.filter(pc.invert(pc.is_in(given["record"], value_set=own_records)))
            run = 1 + max(part.arrived for part in held)
            number = parts.give_numbers(self._home, key, [mac])[mac]
            part = _moved(delivery, number, mac, run)
            resolved_extract.write_moved(self._home, self._keys, key, part, given, held, staging / f"moved-{cohort}")

    def _told_apart(self, delivery: Delivery, extract: OpenExtract, text: pa.Table) -> multi_cohort_files.Rows:
        """The rows of a file by cohort: by what they say, else by where an earlier part has their record."""
        contract = delivery.contract
        projection = project_extract("extract", extract, contract, normalise.VALID)
        with self._desk.tools() as tools:
            tools.con.register("extract", text)
            found = multi_cohort_files.told_apart(
                tools.con.sql(multi_cohort_files.cohorts_sql(projection, contract)).to_arrow_table()
            )
            tools.con.unregister("extract")
            if not len(found.of_none):
                return found
            silent = text.filter(pa.array(np.isin(text[SOURCE_ROW].to_numpy(), found.of_none)))
            records = marked(tools, extract, contract, silent)
        return multi_cohort_files.by_earlier_parts(found, records, self._marks_by_cohort(delivery.landed))

    def _marks_by_cohort(self, landed: Landed) -> dict[str, pa.Table]:
        """The marks of the rows of all parts of a council's source, by cohort."""
        found = {}
        for cohort in cohorts_of_children():
            key = (landed.source, cohort, landed.council)
            if held := parts.held(self._home, key):
                marks = resolved_extract.marks_of(self._home, self._keys, key, held)
                found[cohort] = pa.concat_tables(table.select(["record"]) for table in marks.values())
        return found

    def _read(self, groups: Sequence[list[Unread]], staging: Path) -> list[tuple[list[Unread], ExtractStopped]]:
        """Read each group of parts in one pass; those that cannot be taken, and why."""
        staging.mkdir()
        ways = (
            (sum(size_of(part.delivery.landed.path) for part in group), self._group_on_its_way(group, staging / str(n)))
            for n, group in enumerate(groups)
        )
        outcomes = run_batches(ways, self._desk.answers, validation_worker.judge)
        return [(group, outcome) for group, outcome in zip(groups, outcomes, strict=True) if outcome]

    def _unread(self, landed: Landed) -> list[Unread]:
        """The parts that have not been read under these circumstances, each with the run that first found it."""
        known = {part.file_mac: part for part in parts.noted(self._home, landed.key)}
        run = max((part.arrived for part in known.values()), default=0) + 1
        hashes = {path: content_sha256(path, f"a part of {landed.name}", landed.within) for path in landed.parts}
        macs = {path: deliveries.file_mac(self._keys, sha256) for path, sha256 in hashes.items()}
        numbers = parts.give_numbers(self._home, landed.key, [*macs.values()])
        found: dict[str, Unread] = {}
        for path, mac in macs.items():
            part = replace(landed, path=path, parts=(), part=numbers[mac])
            delivery, earlier = self._delivery(part, hashes[path], mac), known.get(mac)
            if mac not in found and not (earlier and (earlier.withdrawn or earlier.made_under == delivery.made_under)):
                found[mac] = Unread(delivery, earlier.arrived if earlier else run)
        return [*found.values()]

    def _alike(self, unread: Iterable[Unread]) -> list[list[Unread]]:
        """The parts in groups of those that can be read together: their columns are the same."""
        groups: dict[Any, list[Unread]] = {}
        for part in unread:
            try:
                opened = None if part.delivery.manifest else self._desk.opened(part.delivery)
            except ExtractStopped:  # told when it is read by itself
                opened = None
            groups.setdefault(opened.form if opened else part.delivery.mac, []).append(replace(part, extract=opened))
        return [*groups.values()]

    def _again(self, part: Unread) -> Unread:
        """The part, opened if it is a file to be opened. Raises `ExtractStopped`."""
        return part if part.delivery.manifest else replace(part, extract=self._desk.opened(part.delivery))

    def _group_on_its_way(self, group: Sequence[Unread], folder: Path) -> Way[ExtractStopped | None]:
        """Parts from their files to their place; why one cannot be taken, and then none of them is."""
        landed = group[0].delivery.landed
        try:
            seen = [state(part.delivery.landed.path) for part in group]
            group = [part if part.extract else self._again(part) for part in group]
            staged, out, held_back = yield from self._stage_parts(group, folder)
            found = [_part(part, staged, out, held_back) for part in group]
            for part, read, before in zip(group, found, seen, strict=True):
                landed = part.delivery.landed
                own = replace(staged, rows_read=read.rows_read, rows_kept=read.rows_kept, rules=read.rules)
                own = replace(own, other_origins=())  # which is of all these parts together
                stop_if_wrong(landed, own, moved=state(landed.path) != before)
                if own.rejected_share is not None and own.rejected_share > MAX_REJECTED_SHARE:
                    said, (plain, for_sender) = f"{landed.name}: {TOO_MANY_REJECTED.sentence}", own.why_rejected
                    raise ExtractStopped(said + plain, said + for_sender)
        except Exception as error:
            return error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
        for each in found:
            record(self._home, Processing.INTAKE, *landed.key, file_mac=each.file_mac, note=f"part {each.number}")
        with self._keeping:  # what is not noted yet would go with what earlier readings left
            parts.keep(self._home, landed.key, found, staged, out.marks)
        return None

    def _stage_parts(
        self, group: Sequence[Unread], folder: Path
    ) -> Generator[Untokenised, pa.Table, tuple[Staged, PartsSplitWriter, HeldBack]]:
        folder.mkdir()
        first = group[0].delivery
        numbers = {part.delivery.mac: part.delivery.landed.part for part in group}
        held_back = HeldBack(self._home, self._keys, first.landed, numbers)
        keys = row_keys.of_parts(self._keys, *first.landed.key)
        said = {"council": first.landed.council, "source": first.landed.source}
        said[TOKENS_KEY] = tokens_made_under(self._keys)
        to_linkage, to_intake = self._keys.seals_to("tokens"), self._keys.seals_to("intake")
        with PartsSplitWriter(folder, keys, to_linkage, to_intake, said, held_back.mask) as out:
            if first.manifest:
                staged = self._desk.rekeyed(first, out)
            else:
                opened = {each.delivery.landed.part: each.extract for each in group if each.extract}
                extract = together(opened, numbers_of)
                staged = yield from stream_extract(self._desk.tools, extract, first.contract, out)
        return left_out(staged, keys, held_back.rows), out, held_back

    def was_read(self, landed: Landed, path: Path, made_under: Mapping[str, dict[str, Any] | None]) -> bool:
        """Whether a file is among those that were read, under the same circumstances; None where these do not matter,
        because it is not read again."""
        sha256 = content_sha256(path, landed.name, landed.within)
        mac = deliveries.file_mac(self._keys, sha256)
        file = replace(landed, path=path, parts=(), several=())
        return mac in made_under and made_under[mac] in (None, self._delivery(file, sha256, mac).made_under)


def _part(unread: Unread, staged: Staged, out: PartsSplitWriter, held_back: HeldBack) -> parts.Part:
    """A part that was read, of those that were staged together: its own counts."""
    delivery, number = unread.delivery, unread.delivery.landed.part
    kept, rejected, deleted = (out.counts[number, str(state)] for state in RowState)
    forgotten = sum(part_and_row(row)[0] == number for row in held_back.rows)
    aside = sum(map(len, unread.extract.set_aside.values())) if unread.extract else 0
    read = staged.rows_read if delivery.manifest else kept + rejected + aside + forgotten
    return parts.Part(
        number=number,
        file=delivery.file,
        sender_mac=delivery.sender_mac,
        file_mac=delivery.mac,
        arrived=unread.arrived,
        read_at=now(),
        made_under=delivery.made_under,
        headings={column: heading for column, heading in staged.headings.items() if heading != column},
        rows_read=read,
        rows_kept=kept,
        rows_rejected=read - kept,
        rows_deleted=deleted,
        rules=tuple(_rule_of(rule, number, out) for rule in staged.rules) if not delivery.manifest else staged.rules,
        rows_forgotten=forgotten,
        of_several=unread.of_several,
        sheet=unread.extract.table.sheet if unread.extract else None,
    )


def _moved(delivery: Delivery, number: int, mac: str, arrived: int) -> parts.Part:
    """What is noted of a file of several cohorts in a cohort that it takes records from."""
    return parts.Part(
        number=number,
        file=delivery.file,
        sender_mac="",
        file_mac=mac,
        arrived=arrived,
        read_at=now(),
        made_under=delivery.made_under,
        headings={},
        rows_read=0,
        rows_kept=0,
        rows_rejected=0,
        rows_deleted=0,
        rules=(),
        moved=True,
    )


def _rule_of(rule: RuleCount, part: int, out: PartsSplitWriter) -> RuleCount:
    """How often a rule was broken in one of the parts that were read together."""
    first = tuple(row for of, row in map(part_and_row, rule.first_rows) if of == part)
    return replace(rule, rows=out.counts[part, rule.rule], first_rows=first)


def now() -> str:
    """The time, in whole seconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
