"""Ingests extracts: reads each identifiable file in one pass, validates the result and promotes it.

`Intake._ingest_one` shows all steps for one extract; `IntakeContext.run` processes many concurrently.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from assets.home import home_lock, signers
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.intake.context import Delivery, IntakeContext, Steps, load_dialect
from assets.intake.deliveries import ExtractQuality, FromParts, StoppedExtract
from assets.intake.part_reader import PartsReader
from assets.intake.parts import Part, PartStore, SortedFiles
from assets.intake.quality import Finding, ValidationRequest, start_worker
from assets.intake.quality_report.profile import Profile, Uncounted, count_warned_rows
from assets.intake.quality_report.report import has_council_report, has_report, report_council, report_extract
from assets.intake.resolve_parts import describe, find_sent_again, hash_parts, order_parts, resolve, write_resolved
from assets.intake.suppressions import OTHER_KEYS, list_out_of_reach
from assets.pseudonymise.findings import Staged, stop_if_wrong
from assets.pseudonymise.tokens_file import has_quintile
from privacy.doors import clock
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS, extract_rules, people
from sources.councils.dialect import Parts
from sources.errors import ExtractStopped, wrap_error
from sources.extract.landing import Landed, find, get_size, get_state, list_files
from sources.reference.published_figures import find_published_rows

EXPECTED_ROWS = "expected_rows"
"""Key in `made_under` for the operator's expected number of rows."""
_RULES_OF_REJECTED_ROWS = {extract_rules.NO_USABLE_ROW.id, extract_rules.TOO_MANY_REJECTED.id}
_COMPARED = ("keys", "pseudonyms", "normaliser", "contract")
"""Settings that must be the same for all parts of an extract."""

Outcome: TypeAlias = ExtractQuality | ExtractStopped | None
"""None if no file in landing has rows of this cohort."""


class Intake:
    """Ingests extracts from a landing folder into a home folder.

    Raises `InvalidExpectedRows` if the file of expected numbers of rows cannot be read.
    """

    def __init__(self, landing: Path, home: Home, keys: KeyRing) -> None:
        self._context = IntakeContext(landing, home, keys)
        self.home, self._keys = home, keys
        self._reader = PartsReader(self._context)
        self.not_read = self._reader.not_read
        """Sentences about unreadable files next to whole extracts."""

    def ingest(self, landed: Landed) -> ExtractQuality:
        """Ingest one landed extract: see `ingest_all`. Raises `ExtractStopped` if it is stopped or has no rows."""
        (outcome,) = self.ingest_all([landed])
        if outcome is None:
            raise ExtractStopped(f"{landed.name}: none of the files received has a row of this extract")
        if isinstance(outcome, ExtractStopped):
            raise outcome
        return outcome

    def ingest_all(self, extracts: Iterable[Landed]) -> Iterator[Outcome]:
        """Pseudonymise extracts into the restricted zone and yield their outcomes in order.

        It is faster to pass the extracts of one source together. The outcome of a stopped extract is an
        `ExtractStopped` that names the file and rule. An unchanged file under the same contract, keys and normaliser
        gets its earlier result.
        """
        with home_lock.block_removals(self.home), self.home.open_staging() as staging:
            signers.record_intake(self.home, self._keys)
            landed = list(extracts)
            stopped = self._reader.read([each for each in landed if each.in_parts or each.several], staging)
            jobs = (
                (
                    get_size(each.path),
                    self._ingest_one(each, each.in_parts, staging / str(number), stopped.get(each.key)),
                )
                for number, each in enumerate(landed)
            )
            yield from self._context.run(jobs)
            for council, cohort in dict.fromkeys((each.council, each.cohort) for each in landed):
                report_council(self.home.get_cohort(cohort), council)

    def ingest_kept_parts(self, landed: Landed) -> Outcome:
        """Resolve the kept parts of an extract without reading landing. Return None if none of them has rows."""
        with home_lock.block_removals(self.home), self.home.open_staging() as staging:
            steps = self._ingest_one(replace(landed, parts=(), several=()), True, staging / "0", None)
            (outcome,) = self._context.run([(0, steps)])
            report_council(self.home.get_cohort(landed.cohort), landed.council)
            return outcome

    def list_needing_intake(self, cohort: str, councils: Iterable[str]) -> list[str]:
        """Return the councils for which an intake has work to do. Extracts and reports of the others are current."""
        return [
            council
            for council in councils
            if not all(self._is_current(council, source, cohort) for source in CONTRACTS)
            or not has_council_report(self.home.get_cohort(cohort), council)
        ]

    def refuse(self, council: str, source: str, cohort: str, stopped: ExtractStopped) -> None:
        """Record, and report to the sender, why nothing in landing can be used as an extract of a cohort."""
        folder = self._context.landing / council / source
        self._stop(Landed(council, source, cohort, folder / cohort), "", stopped)
        report_council(self.home.get_cohort(cohort), council)

    def _is_current(self, council: str, source: str, cohort: str) -> bool:
        """Return whether an extract was ingested from the file in landing, under these settings, and reported."""
        try:
            landed = find(self._context.landing, council, source, cohort)
            if landed is None:
                return True
            if not self._reader.has_read_all(landed):
                return False
            if not landed.in_parts:
                landed = replace(landed, several=())
                delivery = self._add_expected_rows(self._context.describe_delivery(landed))
            elif kept := self._list_kept_parts(landed):
                delivery = self._describe_delivery_in_parts(landed, kept)
            else:
                return True
        except ExtractStopped:
            return False
        current = self._find_current(delivery)
        return current is not None and has_report(self.home, current) and not self._has_new_arrivals(landed)

    def _ingest_one(
        self, landed: Landed, in_parts: bool, folder: Path, stopped: ExtractStopped | None
    ) -> Steps[Outcome]:
        """Ingest one extract: stage it in `folder`, validate it, promote or stop it, and report.

        All its parts must have been read. If it is stopped, the previous good extract stays in place. Yields a request
        for each step that can be batched: see `Steps`.
        """
        mac, parts = "", None
        try:
            if stopped:
                raise stopped
            if in_parts:
                if not (kept := self._list_kept_parts(landed)):
                    return None
                delivery = self._describe_delivery_in_parts(landed, kept)
                mac = delivery.mac
            else:
                # the state is taken before the hash, so that a file still being written is noticed after the pass
                seen, (sha256, mac) = get_state(landed.path), self._context.fingerprint(landed)
                delivery = self._add_expected_rows(self._context.describe_delivery(landed, (sha256, mac)))
            if current := self._find_current(delivery):
                return self._refresh_current(current, landed)
            start_worker()  # loading takes seconds, while rows are staged
            if in_parts:
                staged, parts = self._resolve(delivery, kept, folder)
            else:
                self._context.note_if_real(landed, [sha256])
                staged, _, _ = yield from self._context.stage(
                    delivery, None, partial(self._context.open, delivery), folder
                )
            profile = yield Uncounted(delivery.contract, landed.cohort, staged.kept)
            if not in_parts:
                stop_if_wrong(landed, staged, moved=get_state(landed.path) != seen)
        # whatever goes wrong in one extract, the others are still ingested
        except Exception as error:
            return self._stop(landed, mac, wrap_error(landed.name, error))
        return (yield from self._finish(delivery, staged, profile, parts))

    def _finish(self, delivery: Delivery, staged: Staged, profile: Profile, parts: FromParts | None) -> Steps[Outcome]:
        """Validate a staged delivery, then promote or stop it, and report."""
        landed = delivery.landed
        previous = deliveries.read_previous(self.home.get_extract(*landed.key), delivery.mac)
        # a delivery that could hold a release is not a reference for the next one
        rows_last = next((quality.rows_kept for quality in previous if not quality.holds), None)
        quality = yield from self._validate(delivery, staged, profile, parts, rows_last)
        if quality.failures:
            return self._stop(landed, delivery.mac, _build_stop(quality.failures, landed, staged))
        # the log comes first, so that no promoted rows are missing from it
        record(self.home, Processing.INTAKE, *landed.key, file_mac=delivery.mac)
        if parts is None:
            # a whole file replaces all parts; they are removed first, so that none is left beside it
            PartStore(self.home.get_extract(*landed.key)).drop()
        deliveries.accept(self.home, quality, staged)
        report_extract(self.home, quality, next(iter(previous), None))
        return quality

    def _validate(
        self, delivery: Delivery, staged: Staged, profile: Profile, parts: FromParts | None, rows_last: int | None
    ) -> Generator[ValidationRequest, tuple[Finding, ...], ExtractQuality]:
        landed, contract, kept = delivery.landed, delivery.contract, staged.rows_kept
        rows_expected = self._context.expected.get(landed.key, find_published_rows(landed.source, landed.council))
        of_last = extract_rules.compute_share(kept, rows_last)  # None if there is no earlier delivery
        if of_last is not None and parts and parts.how != Parts.CUMULATIVE:
            of_last = min(of_last, 1.0)  # an extract always grows if its parts add up
        facts = {
            "rows_kept": kept,
            "rejected_share": staged.rejected_share,
            "rows_of_last": of_last,
            "rows_of_expected": extract_rules.compute_share(kept, rows_expected),
            "rows_of_many": staged.compute_share_of_many(contract),
            **{f"{name}_complete": each.filled / kept if kept else None for name, each in profile.columns.items()},
            **{
                extract_rules.name_broken_rows(rule): profile.breaking.get(rule.id)
                for rule in extract_rules.select_payload_rules(contract)
            },
        }
        findings = yield ValidationRequest(contract.name, staged.kept, facts, profile.breaking)
        findings += _list_postcode_findings(delivery, self._context.directory_sha256)
        findings += (OTHER_KEYS,) if list_out_of_reach(self.home, self._keys) else ()
        return ExtractQuality(
            council=landed.council,
            source=landed.source,
            cohort=landed.cohort,
            file=delivery.file,
            sender_mac=delivery.sender_mac,
            file_mac=delivery.mac,
            made_under=delivery.made_under,
            taken_at=clock.format_now(),
            headings=staged.renamed_headings,
            rows_read=staged.rows_read,
            rows_kept=kept,
            rows_warned=count_warned_rows(staged.quarantine),
            rules=staged.rules,
            findings=findings,
            profile=profile,
            rows_expected=rows_expected,
            rows_last=rows_last,
            parts=parts,
            sheet=staged.sheet,
            other_origins=staged.other_origins,
        )

    def _describe_delivery_in_parts(self, landed: Landed, kept: Sequence[Part]) -> Delivery:
        dialect, contract = load_dialect(landed), CONTRACTS[landed.source]
        mac = deliveries.compute_file_mac(self._keys, hash_parts(kept, dialect.parts))
        made_under = self._context.settings | {"contract": contract.sha256, "dialect": dialect.sha256}
        name = self._context.make_stored_name(landed.path)
        return self._add_expected_rows(Delivery(landed, name, contract, "", mac, None, made_under))

    def _add_expected_rows(self, delivery: Delivery) -> Delivery:
        expected = self._context.expected.get(delivery.landed.key)
        # part of the settings, so that an extract is validated again if its expected number changes
        more = {} if expected is None else {EXPECTED_ROWS: expected}
        return replace(delivery, made_under=delivery.made_under | more)

    def _list_kept_parts(self, landed: Landed) -> list[Part]:
        """Return all parts of an extract that were read, even if their files have left landing; none if all are empty.

        Raises `ExtractStopped` if a part was read under different settings and its file is no longer in landing.
        """
        store = PartStore(self.home.get_extract(*landed.key))
        hashes = {path: self._context.fingerprint(landed, path) for path in (*landed.parts, *landed.several)}
        self._context.note_if_real(landed, [sha256 for sha256, _ in hashes.values()])
        names = {mac: self._context.make_stored_name(path) for path, (_, mac) in hashes.items()}
        found = [replace(part, file=names.get(part.file_mac, part.file)) for part in store.list_kept()]
        current = {**self._context.settings, "contract": CONTRACTS[landed.source].sha256}
        for part in found:
            # rows of parts are compared by marks, which must be made under the same keys and rules
            if any(part.made_under.get(what) != current[what] for what in _COMPARED):
                raise ExtractStopped(
                    f"{landed.name}: part {part.number} was read under other keys or by another version, and its file"
                    " is no longer in landing; ask for it again"
                )
        for part in found:  # their files may have been renamed
            store.note(part)
        return found if any(part.has_rows for part in found) else []

    def _resolve(self, delivery: Delivery, kept: Sequence[Part], folder: Path) -> tuple[Staged, FromParts]:
        landed, stated = delivery.landed, load_dialect(delivery.landed).parts
        store = PartStore(self.home.get_extract(*landed.key))
        marks = store.read_marks(self._keys, kept)
        again = {} if stated is Parts.CHANGES else find_sent_again([part for part in kept if not part.moved], marks)
        resolved = resolve(landed.name, order_parts([p for p in kept if p.number not in again]), marks, stated)
        staged = write_resolved(folder, store, resolved, self._keys, self._context.build_metadata(landed, delivery.mac))
        replaced = [(part, again[part.number]) for part in kept if part.number in again]
        files = SortedFiles(self.home, landed.source, landed.council).list_entries()
        return staged, describe(resolved, replaced, files, [part for part in store.list_all() if part.withdrawn])

    def _find_current(self, delivery: Delivery) -> ExtractQuality | None:
        """Return the current result if it is for the same file and settings, else None."""
        current = deliveries.read_current(self.home.get_extract(*delivery.landed.key))
        same = current and (current.file_mac, current.made_under) == (delivery.mac, delivery.made_under)
        return current if same else None

    def _has_new_arrivals(self, landed: Landed) -> bool:
        """Return whether a file arrived after the extract was last checked, or the latest delivery was stopped."""
        if self.home.get_extract(*landed.key).stopped.exists():
            return True
        checked_at = self.home.get_extract(*landed.key).quality.stat().st_mtime
        # not the modification time, which a copied or moved file may keep from its original
        return any(path.stat().st_ctime > checked_at for each in landed.paths for path in list_files(each))

    def _refresh_current(self, current: ExtractQuality, landed: Landed) -> ExtractQuality:
        """Return the current result as unchanged, after bringing its reports up to date."""
        store = self.home.get_extract(*landed.key)
        again = clock.format_now() if self._has_new_arrivals(landed) else ""
        if again or not has_report(self.home, current):
            last = next(iter(deliveries.read_previous(store, current.file_mac)), None)
            report_extract(self.home, current, last, again)
        if again:
            if store.stopped.exists():  # the current file is back in landing
                record(self.home, Processing.INTAKE, *landed.key, file_mac=current.file_mac)
                store.stopped.unlink()
            store.quality.touch()  # `_has_new_arrivals` compares with its time
        return replace(current, unchanged=True)

    def _stop(self, landed: Landed, mac: str, stopped: ExtractStopped) -> ExtractStopped:
        """Record why a delivery was stopped, and report it to the sender."""
        note = StoppedExtract(
            landed.council,
            landed.source,
            landed.cohort,
            # a file name that does not follow the naming rules may hold a child's name
            file=landed.path.name if landed.path.name in landed.name else "",
            file_mac=mac,
            stopped_at=clock.format_now(),
            sentence=str(stopped),
            for_sender=stopped.for_sender,
            headings=stopped.headings,
        )
        known = deliveries.read_stopped(self.home.get_extract(*landed.key))
        if known is None or known.file_mac != mac:  # each stopped file is logged once
            record(self.home, Processing.STOPPED, *landed.key, file_mac=mac)
        deliveries.note_stopped(self.home, note)
        report_extract(self.home, note, deliveries.read_current(self.home.get_extract(*landed.key)))
        return stopped


def _build_stop(failures: Iterable[Finding], landed: Landed, staged: Staged) -> ExtractStopped:
    sentences = " ".join(f"{finding.sentence} ({finding.rule})" for finding in failures)
    of_rows = {finding.rule for finding in failures} & _RULES_OF_REJECTED_ROWS
    plain, own = staged.why_rejected if of_rows else ("", "")
    if not staged.rows_read:
        own = " There is no row below the headings."
    return ExtractStopped(f"{landed.name}: {sentences}{plain}", f"{landed.name}: {sentences}{own}")


def _list_postcode_findings(delivery: Delivery, directory_sha256: str | None) -> tuple[Finding, ...]:
    """Return a warning if a sender did not look up deprivation quintiles in the pipeline's postcode directory."""
    manifest = delivery.manifest
    if not manifest or not has_quintile(delivery.contract) or manifest.postcode_directory_sha256 == directory_sha256:
        return ()
    sentence = (
        "The sender looked deprivation quintiles up in another postcode directory than the pipeline's."
        if manifest.postcode_directory_sha256
        else "The sender had no postcode directory: every deprivation quintile is missing."
    )
    return (Finding("another-postcode-directory", people.IMD_QUINTILE.name, "warning", sentence, "manifest"),)
