"""Ingests extracts: reads each identifiable file in one pass, validates the result and promotes it.

`Intake._ingest_whole` shows all steps for one extract; `batching` runs many extracts concurrently.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from assets.home.home_lock import in_use
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.home.signers import note_intake
from assets.intake import deliveries, validation_worker
from assets.intake.batching import Steps
from assets.intake.context import Delivery, IntakeContext, dialect_of
from assets.intake.deliveries import ExtractQuality, FromParts, StoppedExtract
from assets.intake.multi_cohort_files import SortedFiles
from assets.intake.part_reader import PartsReader, now
from assets.intake.parts import Part, PartStore
from assets.intake.quality import Finding, ValidationRequest
from assets.intake.quality_report.profile import Counted, Uncounted, rows_warned
from assets.intake.quality_report.publish import has_council_report, has_report, report_council, report_extract
from assets.intake.resolve_parts import order_parts, resolve, sent_again
from assets.intake.resolved_extract import describe, identity, write_resolved
from assets.intake.suppressions import OTHER_KEYS, HeldBack, left_out, out_of_reach
from assets.pseudonymise.findings import Staged, stop_if_wrong
from assets.pseudonymise.split_writer import SplitWriter
from assets.pseudonymise.stream_extract import IMD_QUINTILE, Untokenised, stream_extract
from assets.pseudonymise.tokens_file import has_quintile
from privacy import row_keys
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import NO_USABLE_ROW, TOO_MANY_REJECTED, share_of
from sources.councils.dialect import Parts
from sources.errors import ExtractStopped, unexpected
from sources.extract.landed import Landed, files_in, find, size_of, state
from sources.reference.published_figures import published_rows

EXPECTED_ROWS = "expected_rows"
"""Key in `made_under` for the operator's expected number of rows."""
_RULES_OF_REJECTED_ROWS = {NO_USABLE_ROW.id, TOO_MANY_REJECTED.id}
_COMPARED = ("keys", "pseudonyms", "normaliser", "contract")
"""Settings that must be the same for all parts of an extract."""

Outcome: TypeAlias = ExtractQuality | ExtractStopped | None
"""None if no file in landing has rows of this cohort."""


@dataclass(frozen=True)
class _Counted:
    """A staged delivery with the counts that it is validated against and reported with."""

    delivery: Delivery
    staged: Staged
    rows: Counted
    rows_warned: int
    last: ExtractQuality | None
    rows_last: int | None
    rows_expected: int | None
    of_sender: tuple[Finding, ...]
    from_parts: FromParts | None = None

    def request(self) -> ValidationRequest:
        staged, contract = self.staged, self.delivery.contract
        of_last = share_of(staged.rows_kept, self.rows_last)  # None if there is no earlier delivery
        if of_last is not None and self.from_parts and self.from_parts.how != Parts.CUMULATIVE:
            of_last = min(of_last, 1.0)  # parts that add up always grow
        return ValidationRequest(
            contract.name,
            staged.kept,
            staged.rows_kept,
            staged.rejected_share,
            rows_of_last=of_last,
            rows_of_expected=share_of(staged.rows_kept, self.rows_expected),
            rows_of_many=staged.rows_of_many(contract),
            filled={column.column: column.filled for column in self.rows.profile.columns},
            breaking=self.rows.breaking,
        )

    def quality(self, findings: tuple[Finding, ...]) -> ExtractQuality:
        delivery, landed, staged = self.delivery, self.delivery.landed, self.staged
        return ExtractQuality(
            council=landed.council,
            source=landed.source,
            cohort=landed.cohort,
            file=delivery.file,
            sender_mac=delivery.sender_mac,
            file_mac=delivery.mac,
            made_under=delivery.made_under,
            taken_at=now(),
            headings=staged.renamed_headings,
            rows_read=staged.rows_read,
            rows_kept=staged.rows_kept,
            rows_rejected=staged.rows_rejected,
            rows_warned=self.rows_warned,
            rules=staged.rules,
            findings=(*findings, *self.of_sender),
            profile=self.rows.profile,
            rows_expected=self.rows_expected,
            rows_last=self.rows_last,
            parts=self.from_parts,
            sheet=staged.sheet,
            other_origins=staged.other_origins,
        )


class Intake:
    """Ingests extracts from a landing folder into a home folder.

    Raises `InvalidExpectedRows` if the file of expected row numbers cannot be read.
    """

    def __init__(self, landing: Path, home: Home, keys: KeyRing) -> None:
        self._context = IntakeContext(landing, home, keys)
        self.home, self._keys = home, keys
        self._reader = PartsReader(self._context)

    @property
    def not_read(self) -> list[str]:
        """Sentences about unreadable files next to whole extracts."""
        return self._reader.not_read

    def ingest(self, landed: Landed) -> ExtractQuality:
        """Ingest one landed extract: see `ingest_all`. Raises `ExtractStopped` if it is stopped or has no rows."""
        (outcome,) = self.ingest_all([landed])
        if outcome is None:
            raise ExtractStopped(f"{landed.name}: no row of the files that came is of this extract")
        if isinstance(outcome, ExtractStopped):
            raise outcome
        return outcome

    def ingest_all(self, extracts: Iterable[Landed]) -> Iterator[Outcome]:
        """Pseudonymise extracts into the restricted zone and yield their outcomes in order.

        It is faster to pass the extracts of one source together. The outcome of a stopped extract is an
        `ExtractStopped` that names the file and rule. An unchanged file under the same contract, keys and normaliser
        gets its earlier result.
        """
        with in_use(self.home), self.home.staging() as staging:
            note_intake(self.home, self._keys)
            landed = list(extracts)
            stopped = self._reader.read([each for each in landed if each.in_parts or each.several], staging)
            jobs = (
                (size_of(each.path), self._ingest_one(each, staging / str(number), stopped.get(each.key)))
                for number, each in enumerate(landed)
            )
            yield from self._context.run(jobs)
            for council, cohort in dict.fromkeys((each.council, each.cohort) for each in landed):
                report_council(self.home, cohort, council)

    def ingest_held_parts(self, landed: Landed) -> Outcome:
        """Resolve the held parts of an extract without reading landing. Return None if no part with rows is held."""
        with in_use(self.home), self.home.staging() as staging:
            steps = self._ingest_parts(replace(landed, parts=(), several=()), staging / "0", None)
            (outcome,) = self._context.run([(0, steps)])
            report_council(self.home, landed.cohort, landed.council)
            return outcome

    def needing_intake(self, cohort: str, councils: Iterable[str]) -> list[str]:
        """Return the councils for which an intake has work to do. Extracts and reports of the others are current."""
        return [
            council
            for council in councils
            if not all(self._is_current(council, source, cohort) for source in CONTRACTS)
            or not has_council_report(self.home, cohort, council)
        ]

    def refuse(self, council: str, source: str, cohort: str, stopped: ExtractStopped) -> None:
        """Record, and report to the sender, why nothing in landing can be used as an extract of a cohort."""
        folder = self._context.landing / council / source
        self._stop(Landed(council, source, cohort, folder / cohort), "", stopped)
        report_council(self.home, cohort, council)

    def _is_current(self, council: str, source: str, cohort: str) -> bool:
        try:
            landed = find(self._context.landing, council, source, cohort)
            return landed is None or self._is_in(landed)
        except ExtractStopped:
            return False

    def _is_in(self, landed: Landed) -> bool:
        if not (landed.several or landed.parts):
            delivery = self._delivery(landed, *self._context.fingerprint(landed))
        elif not self._reader.has_read_all(landed):
            return False
        elif not landed.in_parts:
            return self._is_in(replace(landed, several=()))
        else:
            held = self._held_parts(landed)
            if not any(part.has_rows for part in held):
                return True
            delivery = self._delivery_of_parts(landed, held)
        earlier = self._earlier(delivery)
        return earlier is not None and has_report(self.home, earlier) and not self._came_since(landed)

    def _ingest_one(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Steps[Outcome]:
        return (self._ingest_parts if landed.in_parts else self._ingest_whole)(landed, folder, stopped)

    def _ingest_whole(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Steps[Outcome]:
        """Ingest one extract from its file: stage it in `folder`, validate it, promote or stop it, and report.

        If it is stopped, the previous good extract stays in place. Yields when steps can be batched: see `Steps`.
        """
        mac = ""
        try:
            if stopped:
                raise stopped
            seen, (sha256, mac) = state(landed.path), self._context.fingerprint(landed)
            delivery = self._delivery(landed, sha256, mac)
            if earlier := self._taken_before(delivery):
                return earlier
            self._context.note_if_real(landed, [sha256])
            validation_worker.begin()  # it loads for seconds, while rows are staged
            staged = yield from self._stage(delivery, folder)
            counted = yield from self._count(delivery, staged)
            stop_if_wrong(landed, staged, moved=state(landed.path) != seen)
        except Exception as error:
            return self._stop(landed, mac, unexpected(landed.name, error))
        return (yield from self._validate(counted))

    def _ingest_parts(self, landed: Landed, folder: Path, stopped: ExtractStopped | None) -> Steps[Outcome]:
        """Ingest one extract from its parts, which have all been read, in the same steps as `_ingest_whole`."""
        mac = ""
        try:
            if stopped:
                raise stopped
            held = self._held_parts(landed)
            if not any(part.has_rows for part in held):
                return None
            delivery = self._delivery_of_parts(landed, held)
            mac = delivery.mac
            if earlier := self._taken_before(delivery):
                return earlier
            validation_worker.begin()
            staged, from_parts = self._resolve(delivery, held, folder)
            counted = yield from self._count(delivery, staged)
        except Exception as error:
            return self._stop(landed, mac, unexpected(landed.name, error))
        return (yield from self._validate(replace(counted, from_parts=from_parts)))

    def _validate(self, counted: _Counted) -> Steps[Outcome]:
        landed, staged = counted.delivery.landed, counted.staged
        quality = counted.quality((yield counted.request()))
        if quality.failures:
            return self._stop(landed, counted.delivery.mac, _stopped_by(quality.failures, landed, staged))
        # the log gets its line before the rows are promoted
        record(self.home, Processing.INTAKE, *landed.key, file_mac=counted.delivery.mac)
        if quality.parts is None:  # a whole file replaces all parts
            PartStore(self.home, landed.key).drop()
        deliveries.accept(self.home, quality, staged)
        report_extract(self.home, quality, counted.last)
        return quality

    def _delivery(self, landed: Landed, sha256: str, mac: str) -> Delivery:
        return self._with_expected_rows(self._context.delivery(landed, sha256, mac))

    def _delivery_of_parts(self, landed: Landed, held: Sequence[Part]) -> Delivery:
        dialect, contract = dialect_of(landed), CONTRACTS[landed.source]
        mac = deliveries.file_mac(self._keys, identity(held, dialect.parts))
        made_under = self._context.settings | {"contract": contract.sha256, "dialect": dialect.sha256}
        name = self._context.stored_name(landed.path)
        return self._with_expected_rows(Delivery(landed, name, contract, "", mac, None, made_under))

    def _with_expected_rows(self, delivery: Delivery) -> Delivery:
        expected = self._context.expected.get(delivery.landed.key)
        if expected is None:
            return delivery
        return replace(delivery, made_under=delivery.made_under | {EXPECTED_ROWS: expected})

    def _held_parts(self, landed: Landed) -> list[Part]:
        """Return every part of an extract that has been read, even if its file has left landing.

        Raises `ExtractStopped` if a part was read under different settings and its file is no longer in landing.
        """
        store = PartStore(self.home, landed.key)
        hashes = {path: self._context.fingerprint(landed, path) for path in (*landed.parts, *landed.several)}
        self._context.note_if_real(landed, [sha256 for sha256, _ in hashes.values()])
        names = {mac: self._context.stored_name(path) for path, (_, mac) in hashes.items()}
        found = [replace(part, file=names.get(part.file_mac, part.file)) for part in store.held()]
        current = {**self._context.settings, "contract": CONTRACTS[landed.source].sha256}
        for part in found:
            if any(part.made_under.get(what) != current[what] for what in _COMPARED):
                raise ExtractStopped(
                    f"{landed.name}: part {part.number} was read under other keys or by another version, and its file"
                    " is no longer in landing; ask for it again"
                )
        for part in found:  # their files may have been renamed
            store.note(part)
        return found

    def _resolve(self, delivery: Delivery, held: Sequence[Part], folder: Path) -> tuple[Staged, FromParts]:
        landed, stated = delivery.landed, dialect_of(delivery.landed).parts
        store = PartStore(self.home, landed.key)
        marks = store.marks(self._keys, held)
        again = {} if stated is Parts.CHANGES else sent_again([part for part in held if not part.moved], marks)
        resolved = resolve(landed.name, order_parts([p for p in held if p.number not in again]), marks, stated)
        staged = write_resolved(folder, store, resolved, self._keys, self._context.metadata(landed, delivery.mac))
        replaced = [(part, again[part.number]) for part in held if part.number in again]
        files = SortedFiles(self.home, landed.source, landed.council).entries()
        aside = {mac: (entry.rows_set_aside, entry.first_rows) for mac, entry in files.items()}
        return staged, describe(resolved, replaced, aside, store.withdrawn())

    def _earlier(self, delivery: Delivery) -> ExtractQuality | None:
        """Return the current result if it is for the same file and settings, else None."""
        earlier = deliveries.current(self.home, *delivery.landed.key)
        same = earlier and (earlier.file_mac, earlier.made_under) == (delivery.mac, delivery.made_under)
        return earlier if same else None

    def _came_since(self, landed: Landed) -> bool:
        """Return whether a file arrived after the extract was last checked, or the latest delivery was stopped."""
        if self.home.stopped(*landed.key).exists():
            return True
        looked_at = self.home.quality(*landed.key).stat().st_mtime
        return any(path.stat().st_ctime > looked_at for each in landed.paths for path in files_in(each))

    def _taken_before(self, delivery: Delivery) -> ExtractQuality | None:
        """Return the earlier result as `_earlier` does, and bring its reports up to date."""
        landed, earlier = delivery.landed, self._earlier(delivery)
        if earlier is None:
            return None
        again = now() if self._came_since(landed) else ""
        if again or not has_report(self.home, earlier):
            report_extract(self.home, earlier, deliveries.last(self.home, *landed.key, delivery.mac), again)
        if again:
            if self.home.stopped(*landed.key).exists():  # the current file is back in landing
                record(self.home, Processing.INTAKE, *landed.key, file_mac=delivery.mac)
                self.home.stopped(*landed.key).unlink()
            self.home.quality(*landed.key).touch()  # `_came_since` compares with its time
        return replace(earlier, unchanged=True)

    def _stage(self, delivery: Delivery, folder: Path) -> Generator[Untokenised, pa.Table, Staged]:
        """Write payload, tokens and quarantine to `folder`, without rows that were removed or objected to."""
        folder.mkdir()
        landed, context = delivery.landed, self._context
        held_back = HeldBack(self.home, self._keys, landed, {delivery.mac: 0})
        keys = row_keys.of_delivery(self._keys, *landed.key, delivery.mac)
        metadata = context.metadata(landed, delivery.mac)
        with SplitWriter(folder, keys, self._keys.seals_to("tokens"), metadata, held_back.mask) as out:
            if delivery.manifest:
                staged = context.rekey(delivery, out)
            else:
                staged = yield from stream_extract(context.tools, context.open(delivery), delivery.contract, out)
        return left_out(staged, keys, held_back.rows)

    def _count(self, delivery: Delivery, staged: Staged) -> Generator[Uncounted, Counted, _Counted]:
        landed = delivery.landed
        rows = yield Uncounted(delivery.contract, landed.cohort, staged.kept)
        of_sender = _postcode_findings(delivery, self._context.directory_sha256)
        of_sender += (OTHER_KEYS,) if out_of_reach(self.home, self._keys) else ()
        stood = deliveries.last(self.home, *landed.key, delivery.mac, that_stood=True)
        return _Counted(
            delivery,
            staged,
            rows,
            rows_warned(staged.quarantine),
            last=deliveries.last(self.home, *landed.key, delivery.mac),
            rows_last=stood.rows_kept if stood else None,
            rows_expected=self._context.expected.get(landed.key, published_rows(landed.source, landed.council)),
            of_sender=of_sender,
        )

    def _stop(self, landed: Landed, mac: str, stopped: ExtractStopped) -> ExtractStopped:
        """Record why a delivery was stopped, and report it to the sender."""
        note = StoppedExtract(
            landed.council,
            landed.source,
            landed.cohort,
            file=landed.path.name if landed.path.name in landed.name else "",
            file_mac=mac,
            stopped_at=now(),
            sentence=str(stopped),
            for_sender=stopped.for_sender,
            headings=stopped.headings,
        )
        known = deliveries.stopped(self.home, *landed.key)
        if known is None or known.file_mac != mac:  # each stopped file is logged once
            record(self.home, Processing.STOPPED, *landed.key, file_mac=mac)
        deliveries.note_stopped(self.home, note)
        report_extract(self.home, note, deliveries.current(self.home, *landed.key))
        return stopped


def _stopped_by(failures: Iterable[Finding], landed: Landed, staged: Staged) -> ExtractStopped:
    sentences = " ".join(f"{finding.sentence} ({finding.rule})" for finding in failures)
    of_rows = {finding.rule for finding in failures} & _RULES_OF_REJECTED_ROWS
    plain, own = staged.why_rejected if of_rows else ("", "")
    if not staged.rows_read:
        own = " There is no row below the headings."
    return ExtractStopped(f"{landed.name}: {sentences}{plain}", f"{landed.name}: {sentences}{own}")


def _postcode_findings(delivery: Delivery, directory_sha256: str | None) -> tuple[Finding, ...]:
    """Return a warning if a sender did not look up deprivation quintiles in the pipeline's postcode directory."""
    manifest = delivery.manifest
    if not manifest or not has_quintile(delivery.contract) or manifest.postcode_directory_sha256 == directory_sha256:
        return ()
    sentence = (
        "The sender looked deprivation quintiles up in another postcode directory than the pipeline's."
        if manifest.postcode_directory_sha256
        else "The sender had no postcode directory: every deprivation quintile is missing."
    )
    rule = "another-postcode-directory"
    return (Finding(rule, "manifest", IMD_QUINTILE, "warning", passed=False, unexpected_rows=None, sentence=sentence),)
