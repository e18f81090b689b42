"""Take extracts in: one pass over each identifiable file, a judgement of what came of it, and promotion.

`Intake._on_its_way` is what is done with one extract, from top to bottom; `side_by_side` does it with many at once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.home.at_work import in_use
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.home.software import software
from assets.intake import deliveries, from_parts, judging, parts, several
from assets.intake.composing import compose, sent_again
from assets.intake.deliveries import MAC_KEY, TOKENS_KEY, ExtractQuality, FromParts, StoppedExtract, tokens_made_under
from assets.intake.one_pass import (
    IMD_QUINTILE,
    RuleCount,
    Staged,
    Tools,
    Untokenised,
    give_tokens,
    marked,
    one_pass,
    stop_if_wrong,
    tools_for,
)
from assets.intake.profile import Profile, breaking, profile, rows_warned
from assets.intake.quality import Finding, Judged
from assets.intake.reports import has_report, report_council, report_extract
from assets.intake.rows_apart import PartsApart, RowsApart, RowState
from assets.intake.side_by_side import Way, side_by_side
from assets.intake.suppressions import OTHER_KEYS, HeldBack, left_out, out_of_reach
from assets.intake.tokens_file import Manifest, has_quintile, read_manifest, rekey, stop_if_foreign
from privacy import normalise, pseudonyms, row_keys
from privacy.keys import PIPELINE_KEYS, KeyRing
from privacy.row_keys import numbers_of, part_and_row
from sources.contracts import CONTRACTS, SourceContract
from sources.contracts.extract_rules import MAX_REJECTED_SHARE, NO_USABLE_ROW, TOO_MANY_REJECTED, share_of
from sources.councils.council_file import InvalidCouncilFile, council_file
from sources.councils.dialect import Dialect, Parts
from sources.errors import ExtractStopped, unexpected
from sources.extract.landed import REFERENCE, Landed, cohorts_of_children, content_sha256, files_in, find, state
from sources.extract.open import OpenExtract, open_extract, together
from sources.extract.project import project_extract
from sources.extract.table import SOURCE_ROW
from sources.reference import expected_rows
from sources.reference.cohorts import Cohort

POSTCODE_DIRECTORY = "postcode_directory.csv"
_RULES_OF_REJECTED_ROWS = {NO_USABLE_ROW.id, TOO_MANY_REJECTED.id}
_COMPARED = ("keys", "pseudonyms", "normaliser", "contract")
"""What must be the same of all parts of an extract."""

Outcome: TypeAlias = ExtractQuality | ExtractStopped | None
"""None where the files that lie there hold several cohorts, and no row of this one."""


@dataclass(frozen=True)
class _Delivery:
    """One landed extract as it was found: `made_under` is what its rows depend on beside its content, `manifest` a
    tokens file's."""

    landed: Landed
    contract: SourceContract
    sha256: str
    mac: str
    manifest: Manifest | None
    made_under: dict[str, Any]


@dataclass(frozen=True)
class _Unread:
    """A part that is to be read, with the run that first found it; opened, unless it holds tokens. `of_several` where
    its file held rows of other cohorts too."""

    delivery: _Delivery
    arrived: int
    extract: OpenExtract | None = None
    of_several: bool = False


@dataclass(frozen=True)
class _Counted:
    """What was staged of a delivery, and what it is judged and reported by."""

    staged: Staged
    profile: Profile
    breaking: dict[str, int]
    rows_warned: int
    last: ExtractQuality | None
    rows_last: int | None
    rows_expected: int | None
    of_sender: tuple[Finding, ...]
    adds_up: bool = False


class _TwoWays(ExtractStopped):
    """An extract lies there whole, and other files have rows of it."""


class Intake:
    """Takes extracts in, over one database in memory that holds normaliser and look-ups. Raises `InvalidExpectedRows`
    for a file of expected numbers that cannot be read."""

    def __init__(self, landing: Path, home: Home, keys: KeyRing) -> None:
        self._landing, self._home, self._keys = landing, home, keys
        self._expected = expected_rows.read(landing / REFERENCE / expected_rows.FILE)
        directory = landing / REFERENCE / POSTCODE_DIRECTORY
        self._directory = directory if directory.exists() else None
        self._directory_sha256 = content_sha256(directory) if self._directory else None
        self._made_under = {
            "software": software(),
            "normaliser": normalise.NORMALISER_VERSION,
            "pseudonyms": pseudonyms.PSEUDONYM_VERSION,
            "keys": {name: keys.fingerprints[name] for name in (*PIPELINE_KEYS, "tokens")},
            "postcode_directory": self._directory_sha256,
        }
        self.not_read: list[str] = []
        """Sentences about files that lie beside whole extracts and cannot be read."""
        self._first: Tools | None = None
        self._idle: SimpleQueue[Tools] = SimpleQueue()
        self._making = Lock()

    def take_in(self, landed: Landed) -> ExtractQuality:
        """Pseudonymise one landed extract into the restricted zone; raises `ExtractStopped`. See `take_in_all`."""
        (outcome,) = self.take_in_all([landed])
        if outcome is None:
            raise ExtractStopped(f"{landed.name}: no row of the files of several cohorts is of this one")
        if isinstance(outcome, ExtractStopped):
            raise outcome
        return outcome

    def take_in_all(self, extracts: Iterable[Landed]) -> Iterator[Outcome]:
        """The outcome of each extract of one source, in their order.

        `ExtractStopped` names file and rule of one that cannot be taken. The same file under the same contract, keys
        and normaliser is answered from its earlier result.
        """
        with in_use(self._home), self._home.staging() as staging:
            landed = list(extracts)
            stopped = self._read_parts([each for each in landed if each.in_parts or each.several], staging)
            ways = (
                (_bytes(each.path), self._way(each, staging / str(number), stopped.get(each.key)))
                for number, each in enumerate(landed)
            )
            yield from side_by_side(ways, self._give_tokens, judging.judge)

    def _way(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Way[Outcome]:
        if landed.in_parts:
            return self._together(landed, folder, stopped)
        return self._on_its_way(landed, folder, stopped)

    def to_take(self, cohort: str, councils: Iterable[str]) -> list[str]:
        """Those of the councils of which an intake would take, stop or look at something: of others, all that they have
        sent for the cohort is in."""
        return [
            council for council in councils if not all(self._stands(council, source, cohort) for source in CONTRACTS)
        ]

    def _stands(self, council: str, source: str, cohort: str) -> bool:
        try:
            landed = find(self._landing, council, source, cohort)
            return landed is None or self._is_in(landed)
        except ExtractStopped:
            return False

    def _is_in(self, landed: Landed) -> bool:
        if landed.several or landed.parts:
            return self._stands_together(landed)
        sha256 = content_sha256(landed.path, landed.name)
        delivery = self._delivery(landed, sha256, deliveries.file_mac(self._keys, sha256))
        earlier = self._earlier(delivery)
        return earlier is not None and has_report(self._home, earlier) and not self._came_since(landed)

    def refuse(self, council: str, source: str, cohort: str, stopped: ExtractStopped) -> None:
        """Keep, and report to the sender, why nothing that lies there for a cohort can be an extract."""
        folder = self._landing / council / source
        self._stop(Landed(council, source, cohort, folder / cohort), "", stopped)

    def _on_its_way(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Way[Outcome]:
        """One extract from its file to its place: staged in `folder`, judged, then promoted or stopped, and reported.

        An extract that is stopped leaves the previous good one where it was. Waits for others twice: see `Way`.
        """
        mac = ""
        try:
            if stopped:
                raise stopped
            seen, sha256 = state(landed.path), content_sha256(landed.path, landed.name)
            mac = deliveries.file_mac(self._keys, sha256)
            delivery = self._delivery(landed, sha256, mac)
            if earlier := self._taken_before(delivery):
                return earlier
            judging.begin()  # so that it is ready when there is something to judge
            staged = yield from self._stage(delivery, folder)
            counted = self._count(delivery, staged)
            stop_if_wrong(landed, staged, moved=state(landed.path) != seen)
        except Exception as error:
            stopped = error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
            return self._stop(landed, mac, stopped)
        return (yield from self._judged(delivery, counted))

    def _judged(self, delivery: _Delivery, counted: _Counted, told: FromParts | None = None) -> Way[Outcome]:
        landed = delivery.landed
        counted = replace(counted, adds_up=told is not None and told.how != Parts.CUMULATIVE)
        findings = yield self._to_judge(delivery, counted)
        quality = _quality(delivery, counted, findings, told)
        if quality.failures:
            return self._stop(landed, delivery.mac, _stopped_by(quality.failures, landed, counted.staged))
        record(self._home, Processing.INTAKE, *landed.key, file_mac=delivery.mac)
        deliveries.accept(self._home, quality, counted.staged)
        if told is None:
            parts.drop(self._home, landed.key)
        report_extract(self._home, quality, counted.last)
        return quality

    def _read_parts(self, extracts: Sequence[Landed], staging: Path) -> dict[parts.Key, ExtractStopped]:
        """Read what has not been read of the parts of extracts; by extract, why one of its parts cannot be taken.

        Parts that are written alike go through one pass together, and each by itself where one of them is wrong.
        """
        stopped: dict[parts.Key, ExtractStopped] = {}
        groups: list[list[_Unread]] = []
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
            own = f"{stop.for_sender} (The file is called {landed.path.name!r}.)"
            stopped.setdefault(landed.key, ExtractStopped(str(stop), own))
        return stopped

    def _sort_if_it_can_be(self, landed: Landed, staging: Path) -> None:
        """Sort the files of several cohorts. What lies beside a whole extract and cannot be read does not stop that: it
        is told. Raises `ExtractStopped`."""
        try:
            self._sort(landed, staging)
        except ExtractStopped as stop:
            if landed.in_parts or isinstance(stop, _TwoWays):
                raise
            self.not_read.append(str(stop))

    def _sort(self, landed: Landed, staging: Path) -> None:
        """Give the rows of files of several cohorts to their cohorts, as parts; each file once, whoever comes first."""
        if not landed.several:
            return
        several.stop_if_it_cannot_be_sorted(f"a file of {landed.council}/{landed.source}", CONTRACTS[landed.source])
        with several.in_turn(self._home, landed.source, landed.council):
            known = several.known(self._home, landed.source, landed.council)
            for path in landed.several:
                file = Landed(landed.council, landed.source, landed.cohort, path)
                sha256 = content_sha256(path, file.name)
                mac = deliveries.file_mac(self._keys, sha256)
                delivery = self._delivery(file, sha256, mac)
                if mac not in known or known[mac].made_under != delivery.made_under:
                    known[mac] = self._sorted(delivery, staging)
                    several.remember(self._home, landed.source, landed.council, mac, known[mac])
                if landed.cohort in known[mac].cohorts and not landed.in_parts:
                    raise _TwoWays(
                        f"{landed.name}: is whole, and a file of several cohorts has rows of the same one; put it into"
                        f" the folder {landed.cohort}, as a part, or take the other away"
                    )

    def _sorted(self, delivery: _Delivery, staging: Path) -> several.Sorted:
        """One file of several cohorts, whose rows go to their cohorts. Raises `ExtractStopped`."""
        landed = delivery.landed
        if delivery.manifest:
            raise ExtractStopped(f"{landed.name}: tokens are of one cohort; put the file into the folder of its cohort")
        extract = self._opened(delivery)
        text = several.texts(landed.name, extract)
        found = self._told_apart(delivery, extract, text)
        if not found.of_cohort:
            raise ExtractStopped(
                f"{landed.name}: no row says of which cohort it is, by a date of birth or an academic year; send a file"
                " for each cohort, called by it"
            )
        groups = []
        for cohort, numbers in found.of_cohort.items():
            of_cohort = several.of_cohort(extract, text, numbers, cohort)
            number = parts.give_numbers(self._home, of_cohort.landed.key, [delivery.mac])[delivery.mac]
            run = 1 + max((part.arrived for part in parts.held(self._home, of_cohort.landed.key)), default=0)
            own = replace(delivery, landed=replace(of_cohort.landed, part=number))
            groups.append([_Unread(own, run, of_cohort, of_several=True)])
        for _, stop in self._read(groups, Path(tempfile.mkdtemp(dir=staging)) / "several"):
            raise stop
        self._tell_who_lost_records(delivery, found.of_cohort, staging)
        aside = np.sort(np.concatenate([found.of_none, *(np.array(r) for r in extract.set_aside.values())]))
        first = tuple(aside[: several.MAX_EXAMPLE_ROWS].astype(int).tolist())
        return several.Sorted(delivery.sha256, delivery.made_under, tuple(sorted(found.of_cohort)), len(aside), first)

    def _tell_who_lost_records(self, delivery: _Delivery, of_cohort: Collection[str], staging: Path) -> None:
        """A record that a file gives to one cohort is no longer one of another, whose earlier part has it: a date of
        birth was put right."""
        landed = delivery.landed
        here: dict[str, pa.Table] = {}
        for cohort in of_cohort:
            key = (landed.source, cohort, landed.council)
            own = [part for part in parts.held(self._home, key) if part.file_mac == delivery.mac]
            here[cohort] = pa.concat_tables(from_parts.marks_of(self._home, self._keys, key, own).values())
        mac = deliveries.file_mac(self._keys, hashlib.sha256(f"moved {delivery.sha256}".encode()).hexdigest())
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
            from_parts.write_moved(self._home, self._keys, key, part, given, held, staging / f"moved-{cohort}")

    def _told_apart(self, delivery: _Delivery, extract: OpenExtract, text: pa.Table) -> several.Rows:
        """The rows of a file by cohort: by what they say, else by where an earlier part has their record."""
        contract = delivery.contract
        projection = project_extract("extract", extract, contract, normalise.VALID)
        with self._tools() as tools:
            tools.con.register("extract", text)
            found = several.told_apart(tools.con.sql(several.cohorts_sql(projection, contract)).to_arrow_table())
            tools.con.unregister("extract")
            if not len(found.of_none):
                return found
            silent = text.filter(pa.array(np.isin(text[SOURCE_ROW].to_numpy(), found.of_none)))
            records = marked(tools, replace(extract, batches=iter(silent.to_batches())), contract, projection)
        return several.by_earlier_parts(found, records, self._marks_by_cohort(delivery.landed))

    def _marks_by_cohort(self, landed: Landed) -> dict[str, pa.Table]:
        """The marks of the rows of all parts of a council's source, by cohort."""
        found = {}
        for cohort in cohorts_of_children():
            key = (landed.source, cohort, landed.council)
            if held := parts.held(self._home, key):
                marks = from_parts.marks_of(self._home, self._keys, key, held)
                found[cohort] = pa.concat_tables(table.select(["record"]) for table in marks.values())
        return found

    def _read(self, groups: Sequence[list[_Unread]], staging: Path) -> list[tuple[list[_Unread], ExtractStopped]]:
        """Read each group of parts in one pass; those that cannot be taken, and why."""
        staging.mkdir()
        ways = (
            (sum(_bytes(part.delivery.landed.path) for part in group), self._group_on_its_way(group, staging / str(n)))
            for n, group in enumerate(groups)
        )
        outcomes = side_by_side(ways, self._give_tokens, judging.judge)
        return [(group, outcome) for group, outcome in zip(groups, outcomes, strict=True) if outcome]

    def _unread(self, landed: Landed) -> list[_Unread]:
        """The parts that have not been read under these circumstances, each with the run that first found it."""
        known = {part.file_mac: part for part in parts.held(self._home, landed.key)}
        run = max((part.arrived for part in known.values()), default=0) + 1
        hashes = {path: content_sha256(path, f"a part of {landed.name}") for path in landed.parts}
        macs = {path: deliveries.file_mac(self._keys, sha256) for path, sha256 in hashes.items()}
        numbers = parts.give_numbers(self._home, landed.key, [*macs.values()])
        found: dict[str, _Unread] = {}
        for path, mac in macs.items():
            part = replace(landed, path=path, parts=(), part=numbers[mac])
            delivery, earlier = self._delivery(part, hashes[path], mac), known.get(mac)
            if mac not in found and not (earlier and earlier.made_under == delivery.made_under):
                found[mac] = _Unread(delivery, earlier.arrived if earlier else run)
        return [*found.values()]

    def _alike(self, unread: Iterable[_Unread]) -> list[list[_Unread]]:
        """The parts in groups of those that can be read together: their columns are the same."""
        groups: dict[Any, list[_Unread]] = {}
        for part in unread:
            try:
                opened = None if part.delivery.manifest else self._opened(part.delivery)
            except ExtractStopped:  # told when it is read by itself
                opened = None
            groups.setdefault(opened.form if opened else part.delivery.mac, []).append(replace(part, extract=opened))
        return [*groups.values()]

    def _opened(self, delivery: _Delivery) -> OpenExtract:
        landed = delivery.landed
        extract = open_extract(landed, delivery.contract, _dialect(landed))
        if landed.part and (mark := extract.dialect.deleted) and mark.heading not in extract.inputs:
            raise ExtractStopped(
                f"{landed.name}: the column that the council file names under 'deleted' is missing; add it",
                f"{landed.name}: the column {mark.heading!r}, which marks deleted records, is missing; add it",
            )
        return extract

    def _again(self, part: _Unread) -> _Unread:
        """The part, opened if it is a file to be opened. Raises `ExtractStopped`."""
        return part if part.delivery.manifest else replace(part, extract=self._opened(part.delivery))

    def _group_on_its_way(self, group: Sequence[_Unread], folder: Path) -> Way[ExtractStopped | None]:
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
                stop_if_wrong(landed, own, moved=state(landed.path) != before)
                if own.rejected_share is not None and own.rejected_share > MAX_REJECTED_SHARE:
                    why = own.why_rejected
                    raise ExtractStopped(*(f"{landed.name}: {TOO_MANY_REJECTED.sentence}{each}" for each in why))
        except Exception as error:
            return error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
        for each in found:
            record(self._home, Processing.INTAKE, *landed.key, file_mac=each.file_mac, note=f"part {each.number}")
        parts.keep(self._home, landed.key, found, staged, out.marks)
        return None

    def _stage_parts(
        self, group: Sequence[_Unread], folder: Path
    ) -> Generator[Untokenised, pa.Table, tuple[Staged, PartsApart, HeldBack]]:
        folder.mkdir()
        first = group[0].delivery
        numbers = {part.delivery.mac: part.delivery.landed.part for part in group}
        held_back = HeldBack(self._home, self._keys, first.landed, numbers)
        keys = row_keys.of_parts(self._keys, *first.landed.key)
        said = {"council": first.landed.council, "source": first.landed.source}
        said[TOKENS_KEY] = tokens_made_under(self._keys)
        to_linkage, to_intake = self._keys.seals_to("tokens"), self._keys.seals_to("intake")
        with PartsApart(folder, keys, to_linkage, to_intake, said, held_back.mask) as out:
            if first.manifest:
                staged = self._rekeyed(first, out)
            else:
                opened = {each.delivery.landed.part: each.extract for each in group if each.extract}
                extract = together(opened, numbers_of)
                staged = yield from one_pass(self._tools, extract, first.contract, out)
        return left_out(staged, keys, held_back.rows), out, held_back

    def _stands_together(self, landed: Landed) -> bool:
        """Whether every file of an extract in parts was read, and what they make together is in."""
        sorted_under = several.known(self._home, landed.source, landed.council)
        read = {part.file_mac: part.made_under for part in parts.held(self._home, landed.key)}
        if not all(self._was_read(landed, path, read) for path in landed.parts):
            return False
        of_several = {mac: entry.made_under for mac, entry in sorted_under.items()}
        if not all(self._was_read(landed, path, of_several) for path in landed.several):
            return False
        if not landed.in_parts:
            return self._is_in(replace(landed, several=()))
        held = self._parts_in_hand(landed)
        if all(part.moved for part in held):
            return True
        earlier = self._earlier(self._delivery_of_parts(landed, held))
        return earlier is not None and has_report(self._home, earlier) and not self._came_since(landed)

    def _was_read(self, landed: Landed, path: Path, made_under: Mapping[str, dict[str, Any]]) -> bool:
        """Whether a file is among those that were read, under the same circumstances."""
        sha256 = content_sha256(path, landed.name)
        mac = deliveries.file_mac(self._keys, sha256)
        file = replace(landed, path=path, parts=(), several=())
        return made_under.get(mac) == self._delivery(file, sha256, mac).made_under

    def _delivery_of_parts(self, landed: Landed, held: Sequence[parts.Part]) -> _Delivery:
        dialect, contract = _dialect(landed), CONTRACTS[landed.source]
        sha256 = from_parts.identity(held, dialect.parts)
        made_under = self._made_under | {"contract": contract.sha256, "dialect": dialect.sha256}
        return _Delivery(landed, contract, sha256, deliveries.file_mac(self._keys, sha256), None, made_under)

    def _together(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Way[Outcome]:
        """One extract in parts, all of them read, to its place: put together, judged, promoted or stopped, reported."""
        mac = ""
        try:
            if stopped:
                raise stopped
            held = self._parts_in_hand(landed)
            if all(part.moved for part in held):
                return None
            delivery = self._delivery_of_parts(landed, held)
            mac = delivery.mac
            if earlier := self._taken_before(delivery):
                return earlier
            judging.begin()
            staged, told = self._put_together(delivery, held, folder)
            counted = self._count(delivery, staged)
        except Exception as error:
            return self._stop(
                landed, mac, error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
            )
        return (yield from self._judged(delivery, counted, told))

    def _parts_in_hand(self, landed: Landed) -> list[parts.Part]:
        """Every part of an extract that has been read, in landing or not any more; raises `ExtractStopped` where one
        cannot be laid beside the others."""
        names = {content_sha256(path, landed.name): path.name for path in (*landed.parts, *landed.several)}
        found = parts.called_as_they_lie(parts.held(self._home, landed.key), names)
        now = {**self._made_under, "contract": CONTRACTS[landed.source].sha256}
        for part in found:
            if any(part.made_under.get(what) != now[what] for what in _COMPARED):
                raise ExtractStopped(
                    f"{landed.name}: part {part.number} was read under other keys or by another version, and its file"
                    " is no longer in landing; ask for it again"
                )
        for part in found:
            parts.note(self._home, landed.key, part)
        return found

    def _put_together(self, delivery: _Delivery, held: Sequence[parts.Part], folder: Path) -> tuple[Staged, FromParts]:
        landed, stated = delivery.landed, _dialect(delivery.landed).parts
        marks = from_parts.marks_of(self._home, self._keys, landed.key, held)
        own = [part for part in held if not part.moved]
        again = {} if stated is Parts.CHANGES else sent_again(own, marks)
        ordered = parts.in_order([part for part in held if part.number not in again])
        composed = compose(landed.name, ordered, marks, stated)
        said = {"council": landed.council, "source": landed.source, MAC_KEY: delivery.mac}
        said[TOKENS_KEY] = tokens_made_under(self._keys)
        staged = from_parts.write(folder, self._home, landed.key, composed, self._keys, said)
        replaced = [(part, again[part.number]) for part in held if part.number in again]
        files = several.known(self._home, landed.source, landed.council)
        aside = {mac: (entry.rows_set_aside, entry.first_rows) for mac, entry in files.items()}
        return staged, from_parts.described(composed, replaced, aside)

    def _delivery(self, landed: Landed, sha256: str, mac: str) -> _Delivery:
        contract = CONTRACTS[landed.source]
        manifest = read_manifest(landed, self._keys) if landed.holds_tokens else None
        if manifest:
            of_sender = {
                "sender_software": manifest.software,
                "extract_sha256": manifest.extract_sha256,
                "postcode_directory": manifest.postcode_directory_sha256,
            }
        else:
            of_sender = {"dialect": _dialect(landed).sha256}
        expected = self._expected.get(landed.key)
        of_operator = {} if expected is None else {"expected_rows": expected}
        made_under = self._made_under | {"contract": contract.sha256} | of_sender | of_operator
        return _Delivery(landed, contract, sha256, mac, manifest, made_under)

    def _earlier(self, delivery: _Delivery) -> ExtractQuality | None:
        """The earlier result of the same file under the same circumstances, whose rows are in."""
        earlier = deliveries.current(self._home, *delivery.landed.key)
        same = earlier and (earlier.file_mac, earlier.made_under) == (delivery.mac, delivery.made_under)
        return earlier if same else None

    def _came_since(self, landed: Landed) -> bool:
        """Whether a file came, whatever it holds, after the extract was last looked at."""
        looked_at = self._home.quality(*landed.key).stat().st_mtime
        return any(path.stat().st_ctime > looked_at for each in landed.paths for path in files_in(each))

    def _taken_before(self, delivery: _Delivery) -> ExtractQuality | None:
        """The same, with its reports."""
        landed, earlier = delivery.landed, self._earlier(delivery)
        if earlier is None:
            return None
        if not has_report(self._home, earlier):
            report_extract(self._home, earlier, deliveries.last(self._home, *landed.key, delivery.mac))
        report_council(self._home, landed.cohort, landed.council)
        if self._came_since(landed):
            self._home.quality(*landed.key).touch()  # it was looked at
        return replace(earlier, unchanged=True)

    def _stage(self, delivery: _Delivery, folder: Path) -> Generator[Untokenised, pa.Table, Staged]:
        """Payload, tokens and quarantine in `folder`, without the rows that must not come back."""
        folder.mkdir()
        landed = delivery.landed
        held_back = HeldBack(self._home, self._keys, landed, {delivery.mac: 0})
        keys = row_keys.of_delivery(self._keys, *landed.key, delivery.mac)
        said = {"council": landed.council, "source": landed.source, MAC_KEY: delivery.mac}
        said[TOKENS_KEY] = tokens_made_under(self._keys)
        with RowsApart(folder, keys, self._keys.seals_to("tokens"), said, held_back.mask) as out:
            if delivery.manifest:
                staged = self._rekeyed(delivery, out)
            else:
                staged = yield from one_pass(self._tools, self._opened(delivery), delivery.contract, out)
        return left_out(staged, keys, held_back.rows)

    def _rekeyed(self, delivery: _Delivery, out: RowsApart) -> Staged:
        assert delivery.manifest
        stop_if_foreign(delivery.landed, delivery.manifest, self._keys, delivery.contract)
        with self._tools() as tools:
            return rekey(tools.keys, self._keys, delivery.landed, delivery.manifest, delivery.contract, out)

    def _count(self, delivery: _Delivery, staged: Staged) -> _Counted:
        landed, manifest = delivery.landed, delivery.manifest
        with self._tools() as tools:
            counts = profile(tools.con, staged.kept, delivery.contract, Cohort(landed.cohort))
            broken = breaking(tools.con, staged.kept, delivery.contract, Cohort(landed.cohort))
        last = deliveries.last(self._home, *landed.key, delivery.mac)
        of_sender = _postcode_findings(manifest, delivery.contract, self._directory_sha256) if manifest else ()
        of_sender += (OTHER_KEYS,) if out_of_reach(self._home, self._keys) else ()
        stood = deliveries.last(self._home, *landed.key, delivery.mac, that_stood=True)
        expected = self._expected.get(landed.key, expected_rows.published_rows(landed.source, landed.council))
        warned = rows_warned(staged.quarantine)
        return _Counted(staged, counts, broken, warned, last, stood.rows_kept if stood else None, expected, of_sender)

    def _to_judge(self, delivery: _Delivery, counted: _Counted) -> Judged:
        landed, staged = delivery.landed, counted.staged
        return Judged(
            landed.source,
            staged.kept,
            staged.rows_kept,
            staged.rejected_share,
            rows_of_last=_of_last(counted),
            rows_of_expected=share_of(staged.rows_kept, counted.rows_expected),
            filled={column.column: column.filled for column in counted.profile.columns},
            breaking=counted.breaking,
        )

    def _stop(self, landed: Landed, mac: str, stopped: ExtractStopped) -> ExtractStopped:
        """Keep why a delivery was stopped, and report it."""
        file = landed.path.name if landed.path.name in landed.name else ""
        note = StoppedExtract(
            *(landed.council, landed.source, landed.cohort), file, mac, _now(), str(stopped), stopped.for_sender
        )
        deliveries.note_stopped(self._home, note)
        report_extract(self._home, note, deliveries.current(self._home, *landed.key))
        return stopped

    def _give_tokens(self, wanted: Sequence[Untokenised]) -> Sequence[pa.Table | Exception]:
        with self._tools() as tools:
            return give_tokens(tools, wanted)

    @contextmanager
    def _tools(self) -> Iterator[Tools]:
        """Tools that nobody else uses meanwhile: made once, used for many extracts, all given up after a failure."""
        try:
            tools = self._idle.get_nowait()
        except Empty:
            tools = self._more_tools()
        try:
            yield tools
        except BaseException:
            self._first, self._idle = None, SimpleQueue()
            raise
        self._idle.put(tools)

    def _more_tools(self) -> Tools:
        with self._making:
            if self._first is None:
                self._first = tools_for(self._keys, self._directory)
                return self._first
            return self._first.another()


def _of_last(counted: _Counted) -> float | None:
    """Rows kept as a share of the last delivery's. That parts which add up have become more says nothing."""
    share = share_of(counted.staged.rows_kept, counted.rows_last)
    return min(share, 1.0) if counted.adds_up and share is not None else share


def _dialect(landed: Landed) -> Dialect:
    try:
        return council_file(landed.council).dialect(landed.source)
    except InvalidCouncilFile as invalid:
        places = ", ".join(f"{problem.file}:{problem.line}:{problem.column}" for problem in invalid.problems)
        raise ExtractStopped(
            f"{landed.name}: its council file cannot be used: {places}; `readiness council check` says what is wrong"
        ) from None


def _stopped_by(failures: Iterable[Finding], landed: Landed, staged: Staged) -> ExtractStopped:
    sentences = " ".join(f"{finding.sentence} ({finding.rule})" for finding in failures)
    of_rows = {finding.rule for finding in failures} & _RULES_OF_REJECTED_ROWS
    plain, own = staged.why_rejected if of_rows else ("", "")
    return ExtractStopped(f"{landed.name}: {sentences}{plain}", f"{landed.name}: {sentences}{own}")


def _part(unread: _Unread, staged: Staged, out: PartsApart, held_back: HeldBack) -> parts.Part:
    """A part that was read, of those that were staged together: its own counts."""
    delivery, number = unread.delivery, unread.delivery.landed.part
    kept, rejected, deleted = (out.counts[number, str(state)] for state in RowState)
    forgotten = sum(part_and_row(row)[0] == number for row in held_back.rows)
    aside = sum(map(len, unread.extract.set_aside.values())) if unread.extract else 0
    read = staged.rows_read if delivery.manifest else kept + rejected + aside + forgotten
    return parts.Part(
        number=number,
        file=delivery.landed.path.name,
        file_sha256=delivery.sha256,
        file_mac=delivery.mac,
        arrived=unread.arrived,
        read_at=_now(),
        made_under=delivery.made_under,
        headings={column: heading for column, heading in staged.headings.items() if heading != column},
        rows_read=read,
        rows_kept=kept,
        rows_rejected=read - kept,
        rows_deleted=deleted,
        rules=tuple(_rule_of(rule, number, out) for rule in staged.rules) if not delivery.manifest else staged.rules,
        rows_forgotten=forgotten,
        of_several=unread.of_several,
    )


def _moved(delivery: _Delivery, number: int, mac: str, arrived: int) -> parts.Part:
    """What is noted of a file of several cohorts in a cohort that it takes records from."""
    return parts.Part(
        number=number,
        file=delivery.landed.path.name,
        file_sha256="",
        file_mac=mac,
        arrived=arrived,
        read_at=_now(),
        made_under=delivery.made_under,
        headings={},
        rows_read=0,
        rows_kept=0,
        rows_rejected=0,
        rows_deleted=0,
        rules=(),
        moved=True,
    )


def _rule_of(rule: RuleCount, part: int, out: PartsApart) -> RuleCount:
    """How often a rule was broken in one of the parts that were read together."""
    first = tuple(row for of, row in map(part_and_row, rule.first_rows) if of == part)
    return replace(rule, rows=out.counts[part, rule.rule], first_rows=first)


def _quality(
    delivery: _Delivery, counted: _Counted, findings: tuple[Finding, ...], told: FromParts | None
) -> ExtractQuality:
    landed, staged = delivery.landed, counted.staged
    return ExtractQuality(
        landed.council,
        landed.source,
        landed.cohort,
        landed.path.name,
        delivery.sha256,
        delivery.mac,
        delivery.made_under,
        _now(),
        {column: heading for column, heading in staged.headings.items() if heading != column},
        staged.rows_read,
        staged.rows_kept,
        staged.rows_rejected,
        counted.rows_warned,
        staged.rules,
        (*findings, *counted.of_sender),
        counted.profile,
        counted.rows_expected,
        counted.rows_last,
        parts=told,
    )


def _postcode_findings(
    manifest: Manifest, contract: SourceContract, directory_sha256: str | None
) -> tuple[Finding, ...]:
    """A warning where the deprivation quintiles are not what the pipeline's own directory would give."""
    if not has_quintile(contract) or manifest.postcode_directory_sha256 == directory_sha256:
        return ()
    sentence = (
        "The sender looked deprivation quintiles up in another postcode directory than the pipeline's."
        if manifest.postcode_directory_sha256
        else "The sender had no postcode directory: every deprivation quintile is missing."
    )
    rule = "another-postcode-directory"
    return (Finding(rule, "manifest", IMD_QUINTILE, "warning", passed=False, unexpected_rows=None, sentence=sentence),)


def _bytes(path: Path) -> int:
    try:
        return sum(size for size, _ in state(path))
    except OSError:  # told when it is opened
        return 0


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
