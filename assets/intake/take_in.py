"""Take extracts in: one pass over each identifiable file, a judgement of what came of it, and promotion.

`Intake._on_its_way` is what is done with one extract, from top to bottom; `side_by_side` does it with many at once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from assets.home.home_lock import in_use
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.home.signers import note_intake
from assets.home.software import software
from assets.intake import deliveries, from_parts, judging, parts, several
from assets.intake.composing import compose, sent_again
from assets.intake.deliveries import MAC_KEY, TOKENS_KEY, ExtractQuality, FromParts, StoppedExtract, tokens_made_under
from assets.intake.deprivation import Quintiles
from assets.intake.one_pass import (
    IMD_QUINTILE,
    Staged,
    Tools,
    Untokenised,
    give_tokens,
    look_ups,
    one_pass,
    stop_if_wrong,
)
from assets.intake.part_reader import EXPECTED_ROWS, Delivery, PartsReader, now
from assets.intake.profile import Counted, Uncounted, count, rows_warned
from assets.intake.quality import Finding, Judged
from assets.intake.reports import has_council_report, has_report, report_council, report_extract
from assets.intake.rows_apart import RowsApart
from assets.intake.side_by_side import Answers, Way, side_by_side
from assets.intake.suppressions import OTHER_KEYS, HeldBack, left_out, out_of_reach
from assets.intake.tokens_file import Manifest, has_quintile, read_manifest, rekey, stop_if_foreign
from privacy import normalise, pseudonyms, row_keys
from privacy.keys import PIPELINE_KEYS, KeyRing
from privacy.pseudonyms import TokenKeys
from privacy.returns.own_file import sender_key, sender_mac
from sources.contracts import CONTRACTS, SourceContract
from sources.contracts.extract_rules import NO_USABLE_ROW, TOO_MANY_REJECTED, share_of
from sources.councils.council_file import InvalidCouncilFile, council_file
from sources.councils.dialect import Dialect, Parts
from sources.errors import ExtractStopped, unexpected
from sources.extract import synthetic_marker
from sources.extract.landed import REFERENCE, Landed, content_sha256, files_in, find, names_an_extract, size_of, state
from sources.extract.open import OpenExtract
from sources.extract.part_names import marked
from sources.extract.recognise import open_recognised
from sources.reference import expected_rows

POSTCODE_DIRECTORY = "postcode_directory.csv"
_RULES_OF_REJECTED_ROWS = {NO_USABLE_ROW.id, TOO_MANY_REJECTED.id}
_COMPARED = ("keys", "pseudonyms", "normaliser", "contract")
"""What must be the same of all parts of an extract."""

Outcome: TypeAlias = ExtractQuality | ExtractStopped | None
"""None where the files that lie there hold several cohorts, and no row of this one."""


@dataclass(frozen=True)
class _Counted:
    """What was staged of a delivery, and what it is judged and reported by."""

    staged: Staged
    rows: Counted
    rows_warned: int
    last: ExtractQuality | None
    rows_last: int | None
    rows_expected: int | None
    of_sender: tuple[Finding, ...]
    adds_up: bool = False


class Intake:
    """Takes extracts in, over one database in memory that holds normaliser and look-ups. Raises `InvalidExpectedRows`
    for a file of expected numbers that cannot be read."""

    def __init__(self, landing: Path, home: Home, keys: KeyRing) -> None:
        self._landing, self.home, self.keys = landing, home, keys
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
        self._reader = PartsReader(self)
        self._first: Tools | None = None
        self._idle: SimpleQueue[Tools] = SimpleQueue()
        self._making = Lock()
        self._synthetic = synthetic_marker.marked(landing)

    @property
    def not_read(self) -> list[str]:
        """Sentences about files that lie beside whole extracts and cannot be read."""
        return self._reader.not_read

    def take_in(self, landed: Landed) -> ExtractQuality:
        """Pseudonymise one landed extract into the restricted zone; raises `ExtractStopped`. See `take_in_all`."""
        (outcome,) = self.take_in_all([landed])
        if outcome is None:
            raise ExtractStopped(f"{landed.name}: no row of the files that came is of this extract")
        if isinstance(outcome, ExtractStopped):
            raise outcome
        return outcome

    def take_in_all(self, extracts: Iterable[Landed]) -> Iterator[Outcome]:
        """The outcome of each extract, in their order: of one source after another, for those of one are worked at
        together.

        `ExtractStopped` names file and rule of one that cannot be taken. The same file under the same contract, keys
        and normaliser is answered from its earlier result.
        """
        with in_use(self.home), self.home.staging() as staging:
            note_intake(self.home, self.keys)
            landed = list(extracts)
            stopped = self._reader.read([each for each in landed if each.in_parts or each.several], staging)
            ways = (
                (size_of(each.path), self._way(each, staging / str(number), stopped.get(each.key)))
                for number, each in enumerate(landed)
            )
            yield from side_by_side(ways, self.answers, judging.judge)
            for council, cohort in dict.fromkeys((each.council, each.cohort) for each in landed):
                report_council(self.home, cohort, council)

    def _way(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Way[Outcome]:
        if landed.in_parts:
            return self._together(landed, folder, stopped)
        return self._on_its_way(landed, folder, stopped)

    def take_parts_held(self, landed: Landed) -> Outcome:
        """Put together what is held of an extract in parts, whatever lies in landing. None where nothing is held."""
        with in_use(self.home), self.home.staging() as staging:
            way = self._together(replace(landed, parts=(), several=()), staging / "0", None)
            (outcome,) = side_by_side([(0, way)], self.answers, judging.judge)
            report_council(self.home, landed.cohort, landed.council)
            return outcome

    def to_take(self, cohort: str, councils: Iterable[str]) -> list[str]:
        """Those of the councils of which an intake would take, stop, look at or report something: of others, all that
        they have sent for the cohort is in."""
        return [
            council
            for council in councils
            if not all(self._stands(council, source, cohort) for source in CONTRACTS)
            or not has_council_report(self.home, cohort, council)
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
        sha256 = content_sha256(landed.path, landed.name, landed.within)
        delivery = self.delivery(landed, sha256, deliveries.file_mac(self.keys, sha256))
        earlier = self._earlier(delivery)
        return earlier is not None and has_report(self.home, earlier) and not self._came_since(landed)

    def refuse(self, council: str, source: str, cohort: str, stopped: ExtractStopped) -> None:
        """Keep, and report to the sender, why nothing that lies there for a cohort can be an extract."""
        folder = self._landing / council / source
        self._stop(Landed(council, source, cohort, folder / cohort), "", stopped)
        report_council(self.home, cohort, council)

    def _on_its_way(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Way[Outcome]:
        """One extract from its file to its place: staged in `folder`, judged, then promoted or stopped, and reported.

        An extract that is stopped leaves the previous good one where it was. Waits for others twice: see `Way`.
        """
        mac = ""
        try:
            if stopped:
                raise stopped
            seen, sha256 = state(landed.path), content_sha256(landed.path, landed.name, landed.within)
            mac = deliveries.file_mac(self.keys, sha256)
            delivery = self.delivery(landed, sha256, mac)
            if earlier := self._taken_before(delivery):
                return earlier
            self._note_if_real(landed, sha256)
            judging.begin()  # so that it is ready when there is something to judge
            staged = yield from self._stage(delivery, folder)
            counted = yield from self._count(delivery, staged)
            stop_if_wrong(landed, staged, moved=state(landed.path) != seen)
        except Exception as error:
            stopped = error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
            return self._stop(landed, mac, stopped)
        return (yield from self._judged(delivery, counted))

    def _note_if_real(self, landed: Landed, *hashes: str) -> None:
        """Note an extract that the generator of synthetic ones did not write: it ends a demonstration."""
        if not self._synthetic.issuperset(hashes):
            with self._making:
                note_intake(self.home, self.keys, f"{landed.council}/{landed.source}/{landed.cohort}")

    def _judged(self, delivery: Delivery, counted: _Counted, told: FromParts | None = None) -> Way[Outcome]:
        landed = delivery.landed
        counted = replace(counted, adds_up=told is not None and told.how != Parts.CUMULATIVE)
        findings = yield self._to_judge(delivery, counted)
        quality = _quality(delivery, counted, findings, told)
        if quality.failures:
            return self._stop(landed, delivery.mac, _stopped_by(quality.failures, landed, counted.staged))
        record(self.home, Processing.INTAKE, *landed.key, file_mac=delivery.mac)
        if told is None:
            parts.drop(self.home, landed.key)
        deliveries.accept(self.home, quality, counted.staged)
        report_extract(self.home, quality, counted.last)
        return quality

    def opened(self, delivery: Delivery) -> OpenExtract:
        landed = delivery.landed
        extract = open_recognised(landed, delivery.contract, _dialect(landed))
        if landed.part and (mark := extract.dialect.deleted) and mark.heading not in extract.inputs:
            raise ExtractStopped(
                f"{landed.name}: the column that the council file names under 'deleted' is missing; add it",
                f"{landed.name}: the column {mark.heading!r}, which marks deleted records, is missing; add it",
            )
        return extract

    def _stands_together(self, landed: Landed) -> bool:
        """Whether every file of an extract in parts was read, and what they make together is in."""
        sorted_under = several.known(self.home, landed.source, landed.council)
        noted = parts.noted(self.home, landed.key)
        read = {part.file_mac: None if part.withdrawn else part.made_under for part in noted}
        if not all(self._reader.was_read(landed, path, read) for path in landed.parts):
            return False
        of_several = {mac: entry.made_under if entry.cohorts else None for mac, entry in sorted_under.items()}
        if not all(self._reader.was_read(landed, path, of_several) for path in landed.several):
            return False
        if not landed.in_parts:
            return self._is_in(replace(landed, several=()))
        held = self._parts_in_hand(landed)
        if not any(part.has_rows for part in held):
            return True
        earlier = self._earlier(self._delivery_of_parts(landed, held))
        return earlier is not None and has_report(self.home, earlier) and not self._came_since(landed)

    def _delivery_of_parts(self, landed: Landed, held: Sequence[parts.Part]) -> Delivery:
        dialect, contract = _dialect(landed), CONTRACTS[landed.source]
        sha256 = from_parts.identity(held, dialect.parts)
        made_under = self._made_under | {"contract": contract.sha256, "dialect": dialect.sha256}
        made_under |= self._of_operator(landed)
        return Delivery(
            landed, self._name(landed.path), contract, "", deliveries.file_mac(self.keys, sha256), None, made_under
        )

    def _together(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Way[Outcome]:
        """One extract in parts, all of them read, to its place: put together, judged, promoted or stopped, reported."""
        mac = ""
        try:
            if stopped:
                raise stopped
            held = self._parts_in_hand(landed)
            if not any(part.has_rows for part in held):
                return None
            delivery = self._delivery_of_parts(landed, held)
            mac = delivery.mac
            if earlier := self._taken_before(delivery):
                return earlier
            judging.begin()
            staged, told = self._put_together(delivery, held, folder)
            counted = yield from self._count(delivery, staged)
        except Exception as error:
            return self._stop(
                landed, mac, error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
            )
        return (yield from self._judged(delivery, counted, told))

    def _parts_in_hand(self, landed: Landed) -> list[parts.Part]:
        """Every part of an extract that has been read, in landing or not any more; raises `ExtractStopped` where one
        cannot be laid beside the others."""
        files = (*landed.parts, *landed.several)
        hashes = {path: content_sha256(path, landed.name, landed.within) for path in files}
        self._note_if_real(landed, *hashes.values())
        names = {deliveries.file_mac(self.keys, sha256): self._name(path) for path, sha256 in hashes.items()}
        found = parts.called_as_they_lie(parts.held(self.home, landed.key), names)
        now = {**self._made_under, "contract": CONTRACTS[landed.source].sha256}
        for part in found:
            if any(part.made_under.get(what) != now[what] for what in _COMPARED):
                raise ExtractStopped(
                    f"{landed.name}: part {part.number} was read under other keys or by another version, and its file"
                    " is no longer in landing; ask for it again"
                )
        for part in found:
            parts.note(self.home, landed.key, part)
        return found

    def _put_together(self, delivery: Delivery, held: Sequence[parts.Part], folder: Path) -> tuple[Staged, FromParts]:
        landed, stated = delivery.landed, _dialect(delivery.landed).parts
        marks = from_parts.marks_of(self.home, self.keys, landed.key, held)
        own = [part for part in held if not part.moved]
        again = {} if stated is Parts.CHANGES else sent_again(own, marks)
        ordered = parts.in_order([part for part in held if part.number not in again])
        composed = compose(landed.name, ordered, marks, stated)
        said = {"council": landed.council, "source": landed.source, MAC_KEY: delivery.mac}
        said[TOKENS_KEY] = tokens_made_under(self.keys)
        staged = from_parts.write(folder, self.home, landed.key, composed, self.keys, said)
        replaced = [(part, again[part.number]) for part in held if part.number in again]
        files = several.known(self.home, landed.source, landed.council)
        aside = {mac: (entry.rows_set_aside, entry.first_rows) for mac, entry in files.items()}
        withdrawn = parts.withdrawn(self.home, landed.key)
        return staged, from_parts.described(composed, replaced, aside, withdrawn)

    def delivery(self, landed: Landed, sha256: str, mac: str) -> Delivery:
        contract = CONTRACTS[landed.source]
        manifest = read_manifest(landed, self.keys) if landed.holds_tokens else None
        if manifest:
            of_sender = {
                "sender_software": manifest.software,
                "extract_mac": deliveries.file_mac(self.keys, manifest.extract_sha256),
                "postcode_directory": manifest.postcode_directory_sha256,
            }
        else:
            of_sender = {"dialect": _dialect(landed).sha256}
        made_under = self._made_under | {"contract": contract.sha256} | of_sender | self._of_operator(landed)
        key = sender_key(self.keys, landed.source, landed.council)
        of_senders = sender_mac(key, manifest.extract_sha256 if manifest else sha256)
        return Delivery(landed, self._name(landed.path), contract, of_senders, mac, manifest, made_under)

    def _name(self, file: Path) -> str:
        own = self.keys.subkey("input-mac", "file-names")
        return file.name if names_an_extract(file.name) else marked(file.name, own)

    def _of_operator(self, landed: Landed) -> dict[str, Any]:
        expected = self._expected.get(landed.key)
        return {} if expected is None else {EXPECTED_ROWS: expected}

    def _earlier(self, delivery: Delivery) -> ExtractQuality | None:
        """The earlier result of the same file under the same circumstances, whose rows are in."""
        earlier = deliveries.current(self.home, *delivery.landed.key)
        same = earlier and (earlier.file_mac, earlier.made_under) == (delivery.mac, delivery.made_under)
        return earlier if same else None

    def _came_since(self, landed: Landed) -> bool:
        """Whether a file came, whatever it holds, after the extract was last looked at, or one that was stopped may
        have gone."""
        if self.home.stopped(*landed.key).exists():
            return True
        looked_at = self.home.quality(*landed.key).stat().st_mtime
        return any(path.stat().st_ctime > looked_at for each in landed.paths for path in files_in(each))

    def _taken_before(self, delivery: Delivery) -> ExtractQuality | None:
        """The same, with its reports."""
        landed, earlier = delivery.landed, self._earlier(delivery)
        if earlier is None:
            return None
        again = now() if self._came_since(landed) else ""
        if again or not has_report(self.home, earlier):
            report_extract(self.home, earlier, deliveries.last(self.home, *landed.key, delivery.mac), again)
        if again:
            if self.home.stopped(*landed.key).exists():  # landing holds again what is in
                record(self.home, Processing.INTAKE, *landed.key, file_mac=delivery.mac)
                self.home.stopped(*landed.key).unlink()
            self.home.quality(*landed.key).touch()  # it was looked at
        return replace(earlier, unchanged=True)

    def _stage(self, delivery: Delivery, folder: Path) -> Generator[Untokenised, pa.Table, Staged]:
        """Payload, tokens and quarantine in `folder`, without the rows that must not come back."""
        folder.mkdir()
        landed = delivery.landed
        held_back = HeldBack(self.home, self.keys, landed, {delivery.mac: 0})
        keys = row_keys.of_delivery(self.keys, *landed.key, delivery.mac)
        said = {"council": landed.council, "source": landed.source, MAC_KEY: delivery.mac}
        said[TOKENS_KEY] = tokens_made_under(self.keys)
        with RowsApart(folder, keys, self.keys.seals_to("tokens"), said, held_back.mask) as out:
            if delivery.manifest:
                staged = self.rekeyed(delivery, out)
            else:
                staged = yield from one_pass(self.tools, self.opened(delivery), delivery.contract, out)
        return left_out(staged, keys, held_back.rows)

    def rekeyed(self, delivery: Delivery, out: RowsApart) -> Staged:
        assert delivery.manifest
        stop_if_foreign(delivery.landed, delivery.manifest, self.keys, delivery.contract)
        with self.tools() as tools:
            return rekey(tools.keys, self.keys, delivery.landed, delivery.manifest, delivery.contract, out)

    def _count(self, delivery: Delivery, staged: Staged) -> Generator[Uncounted, Counted, _Counted]:
        landed, manifest = delivery.landed, delivery.manifest
        rows = yield Uncounted(delivery.contract, landed.cohort, staged.kept)
        last = deliveries.last(self.home, *landed.key, delivery.mac)
        of_sender = _postcode_findings(manifest, delivery.contract, self._directory_sha256) if manifest else ()
        of_sender += (OTHER_KEYS,) if out_of_reach(self.home, self.keys) else ()
        stood = deliveries.last(self.home, *landed.key, delivery.mac, that_stood=True)
        expected = self._expected.get(landed.key, expected_rows.published_rows(landed.source, landed.council))
        warned = rows_warned(staged.quarantine)
        rows_last = stood.rows_kept if stood else None
        return _Counted(staged, rows, warned, last, rows_last, expected, of_sender)

    def _to_judge(self, delivery: Delivery, counted: _Counted) -> Judged:
        landed, staged = delivery.landed, counted.staged
        return Judged(
            landed.source,
            staged.kept,
            staged.rows_kept,
            staged.rejected_share,
            rows_of_last=_of_last(counted),
            rows_of_expected=share_of(staged.rows_kept, counted.rows_expected),
            rows_of_many=staged.rows_of_many(delivery.contract),
            filled={column.column: column.filled for column in counted.rows.profile.columns},
            breaking=counted.rows.breaking,
        )

    def _stop(self, landed: Landed, mac: str, stopped: ExtractStopped) -> ExtractStopped:
        """Keep why a delivery was stopped, and report it."""
        file = landed.path.name if landed.path.name in landed.name else ""
        note = StoppedExtract(
            *(landed.council, landed.source, landed.cohort),
            file,
            mac,
            now(),
            str(stopped),
            stopped.for_sender,
            stopped.headings,
        )
        known = deliveries.stopped(self.home, *landed.key)
        if known is None or known.file_mac != mac:
            record(self.home, Processing.STOPPED, *landed.key, file_mac=mac)
        deliveries.note_stopped(self.home, note)
        report_extract(self.home, note, deliveries.current(self.home, *landed.key))
        return stopped

    @property
    def answers(self) -> Answers:
        """What extracts on their way are given, several at once."""
        return {Untokenised: self._give_tokens, Uncounted: self._count_all}

    def _give_tokens(self, wanted: Sequence[Untokenised]) -> Sequence[pa.Table]:
        with self.tools() as tools:
            return give_tokens(tools, wanted)

    def _count_all(self, wanted: Sequence[Uncounted]) -> Sequence[Counted]:
        with self.tools() as tools:
            return count(tools.con, wanted)

    @contextmanager
    def tools(self) -> Iterator[Tools]:
        """Tools that nobody else uses meanwhile: made once, used for many extracts, all given up after a failure."""
        try:
            tools = self._idle.get_nowait()
        except Empty:
            tools = self._more_tools()
        try:
            yield tools
        except BaseException:
            self._first, self._idle = None, SimpleQueue()
            _look_ups.cache_clear()
            raise
        self._idle.put(tools)

    def _more_tools(self) -> Tools:
        with self._making:
            if self._first is None:
                look_ups = _look_ups(self._directory, self._directory_sha256)
                self._first = Tools(*look_ups, TokenKeys(self.keys), second_keying=True)
            return self._first.another()


@lru_cache(maxsize=1)
def _look_ups(directory: Path | None, sha256: str | None) -> tuple[duckdb.DuckDBPyConnection, Quintiles]:
    """What all intakes of a process share, of which each source has its own. `sha256` is the directory's."""
    return look_ups(directory)


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
    if not staged.rows_read:
        own = " There is no row below the headings."
    return ExtractStopped(f"{landed.name}: {sentences}{plain}", f"{landed.name}: {sentences}{own}")


def _quality(
    delivery: Delivery, counted: _Counted, findings: tuple[Finding, ...], told: FromParts | None
) -> ExtractQuality:
    landed, staged = delivery.landed, counted.staged
    return ExtractQuality(
        landed.council,
        landed.source,
        landed.cohort,
        delivery.file,
        delivery.sender_mac,
        delivery.mac,
        delivery.made_under,
        now(),
        {column: heading for column, heading in staged.headings.items() if heading != column},
        staged.rows_read,
        staged.rows_kept,
        staged.rows_rejected,
        counted.rows_warned,
        staged.rules,
        (*findings, *counted.of_sender),
        counted.rows.profile,
        counted.rows_expected,
        counted.rows_last,
        parts=told,
        sheet=staged.sheet,
        elsewhere=staged.elsewhere,
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
