"""Take extracts in: one pass over each identifiable file, a judgement of what came of it, and promotion.

Rows are staged, judged and then promoted, so that an extract that is stopped leaves the previous good one where it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

from assets.home.paths import Home
from assets.home.processing_log import What, record
from assets.home.removal_lock import in_use
from assets.home.software import software
from assets.intake import deliveries, judging
from assets.intake.deliveries import MAC_KEY, ExtractQuality, StoppedExtract
from assets.intake.findings import Finding, Judged
from assets.intake.one_pass import Pass, Staged, Tools, ahead, give_tokens, stop_if_wrong, tools_for
from assets.intake.profile import Profile, profile, rows_warned
from assets.intake.rekeying import postcode_findings, rekey, stop_if_foreign
from assets.intake.reports import has_report, report_council, report_extract
from assets.intake.suppressions import OTHER_KEYS, left_out, out_of_reach
from assets.intake.tokens_file import Manifest, read_manifest
from privacy import normalise, pseudonyms
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS, SourceContract
from sources.contracts.extract_rules import NO_USABLE_ROW, TOO_MANY_REJECTED
from sources.councils.council_file import council_file
from sources.extract.errors import ExtractStopped, unexpected
from sources.extract.identity import content_sha256, state
from sources.extract.landed import REFERENCE, Landed
from sources.extract.open import open_extract
from sources.reference.cohorts import Cohort
from sources.reference.places import place
from sources.reference.profile_results import number_of_children

POSTCODE_DIRECTORY = "postcode_directory.csv"
_AT_A_TIME = 2
"""Extracts in work at once: while one is read inside DuckDB another can be parsed."""
_DURABLE_AT_A_TIME = 4
"""Judged extracts put in place at once: they wait for the disk, and never for one that is being read."""
_TOGETHER = 64
"""Extracts that are staged before they are judged together and promoted."""
_BYTES_TOGETHER = 8 << 20
"""Of the files of extracts that are given tokens together: their rows, and those of the next, are held in memory."""
_OF_REJECTED = {NO_USABLE_ROW.id, TOO_MANY_REJECTED.id}
_A_ROW_A_CHILD = ("eyfsp", "school_census")
"""Sources whose number of rows can be compared with the published number of children."""
_PUBLISHED = Cohort("202425")
"""Whose published number of children that is, whatever the cohort."""


@dataclass(frozen=True)
class _Begun:
    """An extract whose rows have been looked at: `done` is what was staged, or the pass that waits for tokens."""

    landed: Landed
    contract: SourceContract
    seen: list[list[int]]
    sha256: str
    mac: str
    made_under: dict[str, Any]
    manifest: Manifest | None
    done: Pass | Staged


@dataclass(frozen=True)
class _Taken:
    """An extract that went through the pass and waits for judgement."""

    landed: Landed
    sha256: str
    mac: str
    made_under: dict[str, Any]
    staged: Staged
    profile: Profile
    rows_warned: int
    last: ExtractQuality | None
    of_sender: tuple[Finding, ...]


_Outcome: TypeAlias = "_Taken | ExtractQuality | ExtractStopped"


class Intake:
    """Takes extracts in, over one database in memory that holds normaliser and look-ups.

    `accept_fewer` names extracts (`council/source`) that may have far fewer rows than the last delivery.
    """

    def __init__(self, landing: Path, home: Home, keys: KeyRing, accept_fewer: Collection[str] = ()) -> None:
        self._landing, self._home, self._keys, self._accept_fewer = landing, home, keys, accept_fewer
        directory = landing / REFERENCE / POSTCODE_DIRECTORY
        self._directory = directory if directory.exists() else None
        self._directory_sha256 = content_sha256(directory) if self._directory else None
        self._made_under = {
            "software": software(),
            "normaliser": normalise.NORMALISER_VERSION,
            "pseudonyms": pseudonyms.PSEUDONYM_VERSION,
            "keys": keys.fingerprints,
            "postcode_directory": self._directory_sha256,
        }
        self._first: Tools | None = None
        self._idle: SimpleQueue[Tools] = SimpleQueue()
        self._making = Lock()

    def take_in(self, landed: Landed) -> ExtractQuality:
        """Pseudonymise one landed extract into the restricted zone; raises `ExtractStopped`. See `take_in_all`."""
        (outcome,) = self.take_in_all([landed])
        if isinstance(outcome, ExtractStopped):
            raise outcome
        return outcome

    def take_in_all(self, extracts: Iterable[Landed]) -> Iterator[ExtractQuality | ExtractStopped]:
        """The outcome of each extract of one source, in their order.

        `ExtractStopped` names file and rule of one that cannot be taken. The same file under the same contract, keys
        and normaliser is answered from its earlier result.
        """
        with (
            in_use(self._home),
            ThreadPoolExecutor(_AT_A_TIME) as staging,
            ThreadPoolExecutor(_DURABLE_AT_A_TIME) as settling,
        ):
            for group, found, folder in ahead(self._staged(staging, iter(extracts))):
                with folder:
                    yield from self._judge(settling, found)
                for council, cohort in dict.fromkeys((landed.council, landed.cohort) for landed in group):
                    report_council(self._home, cohort, council)

    def refuse(self, council: str, source: str, cohort: str, stopped: ExtractStopped) -> None:
        """Keep, and report to the sender, why nothing that lies there for a cohort can be an extract."""
        folder = self._landing / council / source
        self._stopped(Landed(council, source, cohort, folder / cohort), "", stopped)
        report_council(self._home, cohort, council)

    def _staged(
        self, pool: Executor, extracts: Iterator[Landed]
    ) -> Iterator[tuple[list[Landed], list[_Outcome], ExitStack]]:
        """Some extracts at a time, what came of each, and the folder that holds it; whoever judges them closes that."""
        while group := list(islice(extracts, _TOGETHER)):
            with ExitStack() as held:
                staging = held.enter_context(self._home.staging())
                folders = {landed: staging / str(number) for number, landed in enumerate(group)}
                found = [outcome for begun in ahead(self._begun(pool, folders)) for outcome in self._ended(pool, begun)]
                folder = held.pop_all()
            yield group, found, folder

    def _begun(
        self, pool: Executor, folders: Mapping[Landed, Path]
    ) -> Iterator[list[_Begun | ExtractQuality | ExtractStopped]]:
        """The extracts, as many at a time as fit into memory together, typed each by itself."""
        for some in _by_size(folders):
            yield list(pool.map(lambda landed: self._begin(landed, folders[landed]), some))

    def _ended(self, pool: Executor, begun: Sequence[_Begun | ExtractQuality | ExtractStopped]) -> list[_Outcome]:
        """What came of extracts that are given their tokens together."""
        with self._tools() as tools:
            give_tokens(tools, [e.done for e in begun if isinstance(e, _Begun) and isinstance(e.done, Pass)])
        return list(pool.map(lambda entry: self._end(entry) if isinstance(entry, _Begun) else entry, begun))

    def _begin(self, landed: Landed, folder: Path) -> _Begun | ExtractQuality | ExtractStopped:
        """Open an extract that has not been taken in before and type its first rows; a long one goes through whole."""
        mac = ""
        try:
            seen, sha256 = state(landed.path), content_sha256(landed.path)
            mac = deliveries.file_mac(self._keys, sha256)
            contract, dialect = CONTRACTS[landed.source], council_file(landed.council).dialect(landed.source)
            manifest = read_manifest(landed) if landed.holds_tokens else None
            made_under = self._made_under | {"contract": contract.sha256}
            made_under |= _made_at_the_sender(manifest) if manifest else {"dialect": dialect.sha256}
            earlier = deliveries.current(self._home, landed)
            if earlier and earlier.file_mac == mac and earlier.made_under == made_under:
                if not has_report(self._home, earlier):
                    report_extract(self._home, earlier, deliveries.last(self._home, landed, mac))
                self._home.quality(landed.source, landed.cohort, landed.council).touch()  # it was looked at
                return replace(earlier, unchanged=True)
            judging.begin()
            folder.mkdir()
            metadata = {"council": landed.council, "file_sha256": sha256, MAC_KEY: mac}
            with self._tools() as tools:
                done: Pass | Staged
                if manifest:
                    stop_if_foreign(landed, manifest, self._keys, contract)
                    done = rekey(tools.keys, landed, manifest, contract, folder, metadata)
                else:
                    done = Pass(open_extract(landed, contract, dialect), contract, folder, metadata)
                    done.begin(tools)
            return _Begun(landed, contract, seen, sha256, mac, made_under, manifest, done)
        except Exception as error:
            return self._failed(landed, mac, error)

    def _end(self, begun: _Begun) -> _Taken | ExtractStopped:
        """What came of an extract that went through the pass."""
        landed = begun.landed
        try:
            with self._tools() as tools:
                staged = begun.done.finish(tools) if isinstance(begun.done, Pass) else begun.done
                staged = left_out(self._home, self._keys, landed, begun.mac, staged)
                seen_in = profile(tools.con, staged.kept, begun.contract, Cohort(landed.cohort))
                warned = rows_warned(staged.quarantine)
            stop_if_wrong(landed, staged, moved=state(landed.path) != begun.seen)
            last = deliveries.last(self._home, landed, begun.mac)
            manifest = begun.manifest
            of_sender = postcode_findings(manifest, begun.contract, self._directory_sha256) if manifest else ()
            of_sender += (OTHER_KEYS,) if out_of_reach(self._home, self._keys) else ()
        except Exception as error:
            return self._failed(landed, begun.mac, error)
        return _Taken(landed, begun.sha256, begun.mac, begun.made_under, staged, seen_in, warned, last, of_sender)

    def _failed(self, landed: Landed, mac: str, error: Exception) -> ExtractStopped:
        stopped = error if isinstance(error, ExtractStopped) else unexpected(landed.name, error)
        return self._stopped(landed, mac, stopped)

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

    def _judge(self, pool: Executor, found: Sequence[_Outcome]) -> Iterator[ExtractQuality | ExtractStopped]:
        """Judge what was staged together and promote what is good, in order."""
        taken = [entry for entry in found if isinstance(entry, _Taken)]
        findings = iter(
            judging.judge(taken[0].landed.source, [self._to_judge(entry) for entry in taken]) if taken else ()
        )
        outcomes = [
            pool.submit(
                copy_context().run,  # the log wants to know whose run this is
                self._settle,
                entry,
                (*next(findings), *entry.of_sender) if isinstance(entry, _Taken) else (),
            )
            for entry in found
        ]
        for outcome in outcomes:
            yield outcome.result()

    def _settle(self, entry: _Outcome, findings: tuple[Finding, ...]) -> ExtractQuality | ExtractStopped:
        """Promote an extract unless a finding stops it, and report on it."""
        if not isinstance(entry, _Taken):
            return entry
        landed, quality = entry.landed, _quality(entry, findings)
        if failures := quality.failures:
            sentences = " ".join(f"{finding.sentence} ({finding.rule})" for finding in failures)
            if {finding.rule for finding in failures} & _OF_REJECTED:
                sentences += entry.staged.why_rejected
            return self._stopped(landed, entry.mac, ExtractStopped(f"{landed.name}: {sentences}"))
        record(
            self._home,
            What.INTAKE,
            cohort=landed.cohort,
            council=landed.council,
            source=landed.source,
            file_mac=entry.mac,
        )
        deliveries.accept(self._home, landed, quality, entry.staged.kept, entry.staged.quarantine)
        report_extract(self._home, quality, entry.last)
        return quality

    def _to_judge(self, entry: _Taken) -> Judged:
        landed, staged, last = entry.landed, entry.staged, entry.last
        accepted = f"{landed.council}/{landed.source}" in self._accept_fewer
        published = number_of_children(place(landed.council), _PUBLISHED) if landed.source in _A_ROW_A_CHILD else None
        return Judged(
            staged.kept,
            staged.rows_kept,
            staged.rejected_share,
            rows_of_last=staged.rows_read / last.rows_read if last and last.rows_read and not accepted else None,
            rows_of_published=staged.rows_read / published.value if published else None,
            filled={column.column: column.filled for column in entry.profile.columns},
        )

    def _stopped(self, landed: Landed, mac: str, stopped: ExtractStopped) -> ExtractStopped:
        note = StoppedExtract(landed.council, landed.source, landed.cohort, landed.path.name, mac, _now(), str(stopped))
        deliveries.note_stopped(self._home, landed, note)
        report_extract(self._home, note, deliveries.current(self._home, landed))
        return stopped


def _by_size(group: Iterable[Landed]) -> Iterator[list[Landed]]:
    """The extracts in their order, as many at a time as are small enough together; a large one alone."""
    together: list[Landed] = []
    size = 0
    for landed in group:
        own = _bytes(landed.path)
        if together and size + own > _BYTES_TOGETHER:
            yield together
            together, size = [], 0
        together.append(landed)
        size += own
    yield together


def _bytes(path: Path) -> int:
    try:
        return sum(size for size, _ in state(path))
    except OSError:  # told when it is opened
        return 0


def _made_at_the_sender(manifest: Manifest) -> dict[str, Any]:
    """What the sender made the tokens from and with."""
    return {
        "sender_software": manifest.software,
        "extract_sha256": manifest.extract_sha256,
        "postcode_directory": manifest.postcode_directory_sha256,
    }


def _quality(entry: _Taken, findings: tuple[Finding, ...]) -> ExtractQuality:
    landed, staged = entry.landed, entry.staged
    return ExtractQuality(
        landed.council,
        landed.source,
        landed.cohort,
        landed.path.name,
        entry.sha256,
        entry.mac,
        entry.made_under,
        _now(),
        {column: heading for column, heading in staged.headings.items() if heading != column},
        staged.rows_read,
        staged.rows_kept,
        staged.rows_rejected,
        entry.rows_warned,
        staged.rules,
        findings,
        entry.profile,
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
