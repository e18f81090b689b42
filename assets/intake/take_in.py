"""Take extracts in: one pass over each identifiable file, a judgement of what came of it, and promotion.

`Intake._on_its_way` is what is done with one extract, from top to bottom; `side_by_side` does it with many at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

import pyarrow as pa

from assets.home.at_work import in_use
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.home.software import software
from assets.intake import deliveries, judging
from assets.intake.deliveries import MAC_KEY, TOKENS_KEY, ExtractQuality, StoppedExtract, tokens_made_under
from assets.intake.one_pass import (
    IMD_QUINTILE,
    Staged,
    Tools,
    Untokenised,
    give_tokens,
    one_pass,
    stop_if_wrong,
    tools_for,
)
from assets.intake.profile import Profile, profile, rows_warned
from assets.intake.quality import Finding, Judged
from assets.intake.reports import has_report, report_council, report_extract
from assets.intake.rows_apart import RowsApart
from assets.intake.side_by_side import Way, side_by_side
from assets.intake.suppressions import OTHER_KEYS, HeldBack, left_out, out_of_reach
from assets.intake.tokens_file import Manifest, has_quintile, read_manifest, rekey, stop_if_foreign
from privacy import normalise, pseudonyms, row_keys
from privacy.keys import PIPELINE_KEYS, KeyRing
from sources.contracts import CONTRACTS, SourceContract
from sources.contracts.extract_rules import NO_USABLE_ROW, TOO_MANY_REJECTED
from sources.councils.council_file import InvalidCouncilFile, council_file
from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped, unexpected
from sources.extract.landed import REFERENCE, Landed, content_sha256, files_in, find, state
from sources.extract.open import open_extract
from sources.reference.cohorts import Cohort
from sources.reference.places import place
from sources.reference.profile_results import number_of_children

POSTCODE_DIRECTORY = "postcode_directory.csv"
_RULES_OF_REJECTED_ROWS = {NO_USABLE_ROW.id, TOO_MANY_REJECTED.id}
_SOURCES_OF_CHILDREN = ("eyfsp", "school_census")
"""Sources whose number of rows can be compared with the published number of children."""
_PUBLISHED_COHORT = Cohort("202425")
"""Whose published number of children that is, whatever the cohort."""

Outcome: TypeAlias = ExtractQuality | ExtractStopped


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
class _Counted:
    """What was staged of a delivery, and what it is judged and reported by."""

    staged: Staged
    profile: Profile
    rows_warned: int
    last: ExtractQuality | None
    of_sender: tuple[Finding, ...]


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
            "keys": {name: keys.fingerprints[name] for name in (*PIPELINE_KEYS, "tokens")},
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

    def take_in_all(self, extracts: Iterable[Landed]) -> Iterator[Outcome]:
        """The outcome of each extract of one source, in their order.

        `ExtractStopped` names file and rule of one that cannot be taken. The same file under the same contract, keys
        and normaliser is answered from its earlier result.
        """
        with in_use(self._home), self._home.staging() as staging:
            ways = (
                (_bytes(landed.path), self._on_its_way(landed, staging / str(number)))
                for number, landed in enumerate(extracts)
            )
            yield from side_by_side(ways, self._give_tokens, judging.judge)

    def stands(self, cohort: str, councils: Collection[str]) -> bool:
        """Whether everything that these councils have sent for a cohort is in, and nothing would come of an intake."""
        try:
            found = [find(self._landing, council, source, cohort) for council in councils for source in CONTRACTS]
            return all(map(self._stands, filter(None, found)))
        except ExtractStopped:
            return False

    def _stands(self, landed: Landed) -> bool:
        sha256 = content_sha256(landed.path, landed.name)
        delivery = self._delivery(landed, sha256, deliveries.file_mac(self._keys, sha256))
        earlier = self._earlier(delivery)
        return earlier is not None and has_report(self._home, earlier) and not self._came_since(landed)

    def refuse(self, council: str, source: str, cohort: str, stopped: ExtractStopped) -> None:
        """Keep, and report to the sender, why nothing that lies there for a cohort can be an extract."""
        folder = self._landing / council / source
        self._stop(Landed(council, source, cohort, folder / cohort), "", stopped)

    def _on_its_way(self, landed: Landed, folder: Path) -> Way[Outcome]:
        """One extract from its file to its place: staged in `folder`, judged, then promoted or stopped, and reported.

        An extract that is stopped leaves the previous good one where it was. Waits for others twice: see `Way`.
        """
        mac = ""
        try:
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
        findings = yield self._to_judge(delivery, counted)
        quality = _quality(delivery, counted, findings)
        if quality.failures:
            return self._stop(landed, mac, _stopped_by(quality.failures, landed, counted.staged))
        record(self._home, Processing.INTAKE, *landed.key, file_mac=mac)
        deliveries.accept(self._home, quality, counted.staged)
        report_extract(self._home, quality, counted.last)
        return quality

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
        made_under = self._made_under | {"contract": contract.sha256} | of_sender
        return _Delivery(landed, contract, sha256, mac, manifest, made_under)

    def _earlier(self, delivery: _Delivery) -> ExtractQuality | None:
        """The earlier result of the same file under the same circumstances, whose rows are in."""
        earlier = deliveries.current(self._home, *delivery.landed.key)
        same = earlier and (earlier.file_mac, earlier.made_under) == (delivery.mac, delivery.made_under)
        return earlier if same else None

    def _came_since(self, landed: Landed) -> bool:
        """Whether a file came, whatever it holds, after the extract was last looked at."""
        looked_at = self._home.quality(*landed.key).stat().st_mtime
        return any(path.stat().st_ctime > looked_at for path in files_in(landed.path))

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
        landed, contract = delivery.landed, delivery.contract
        held_back = HeldBack(self._home, self._keys, landed, delivery.mac)
        keys = row_keys.of_delivery(self._keys, *landed.key, delivery.mac)
        said = {"council": landed.council, "source": landed.source, MAC_KEY: delivery.mac}
        said[TOKENS_KEY] = tokens_made_under(self._keys)
        with RowsApart(folder, keys, self._keys.seals_to("tokens"), said, held_back.mask) as out:
            if delivery.manifest:
                stop_if_foreign(landed, delivery.manifest, self._keys, contract)
                with self._tools() as tools:
                    staged = rekey(tools.keys, self._keys, landed, delivery.manifest, contract, out)
            else:
                extract = open_extract(landed, contract, _dialect(landed))
                staged = yield from one_pass(self._tools, extract, contract, out)
        return left_out(staged, keys, held_back.rows)

    def _count(self, delivery: _Delivery, staged: Staged) -> _Counted:
        landed, manifest = delivery.landed, delivery.manifest
        with self._tools() as tools:
            counts = profile(tools.con, staged.kept, delivery.contract, Cohort(landed.cohort))
        last = deliveries.last(self._home, *landed.key, delivery.mac)
        of_sender = _postcode_findings(manifest, delivery.contract, self._directory_sha256) if manifest else ()
        of_sender += (OTHER_KEYS,) if out_of_reach(self._home, self._keys) else ()
        return _Counted(staged, counts, rows_warned(staged.quarantine), last, of_sender)

    def _to_judge(self, delivery: _Delivery, counted: _Counted) -> Judged:
        landed, staged, last = delivery.landed, counted.staged, counted.last
        accepted = f"{landed.council}/{landed.source}" in self._accept_fewer
        compared = landed.source in _SOURCES_OF_CHILDREN
        published = number_of_children(place(landed.council), _PUBLISHED_COHORT) if compared else None
        return Judged(
            landed.source,
            staged.kept,
            staged.rows_kept,
            staged.rejected_share,
            rows_of_last=staged.rows_read / last.rows_read if last and last.rows_read and not accepted else None,
            rows_of_published=staged.rows_read / published.value if published else None,
            filled={column.column: column.filled for column in counted.profile.columns},
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


def _quality(delivery: _Delivery, counted: _Counted, findings: tuple[Finding, ...]) -> ExtractQuality:
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
