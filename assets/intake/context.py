"""State shared by all steps of an intake: landing, home folder, keys, settings and a pool of tools.

`IntakeContext.run` processes extracts concurrently, and batches the steps whose cost does not depend on the number of
extracts. An extract's generator yields when its rows need types and tokens, and again when the written rows need
counting: one SQL statement then serves several small extracts. It yields once more for validation, because one run of
the suites serves many.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any, Generic, TypeAlias, TypeVar

import duckdb
import pyarrow as pa

from assets.home import signers, software
from assets.home.paths import Home
from assets.intake.deliveries import MAC_KEY, TOKENS_KEY, compute_file_mac
from assets.intake.quality import ValidationRequest, judge_in_worker
from assets.intake.quality_report.profile import Profile, Uncounted, count
from assets.intake.suppressions import HeldBack, leave_out_suppressed
from assets.pseudonymise import findings, split_writer, stream_extract, tokens_file
from privacy import normalise, pseudonyms, row_keys
from privacy.keys import PIPELINE_KEYS, KeyRing, compute_sender_mac, derive_sender_key
from sources.contracts import CONTRACTS, SourceContract
from sources.councils.council_file import InvalidCouncilFile, load_council_file
from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped
from sources.extract.landing import REFERENCE, Landed, hash_content, is_extract_name, read_synthetic_hashes
from sources.extract.open import open_recognised
from sources.extract.part_names import mark_words
from sources.extract.table import OpenExtract
from sources.reference.published_figures import EXPECTED_ROWS_FILE, read_expected_rows

POSTCODE_DIRECTORY = "postcode_directory.csv"
GROUPS_READ_AT_ONCE = 2
"""One group can be read while another is tokenised."""
GROUPS_AT_ONCE = 4
"""Groups being read, validated or promoted. Validation waits for another process, and promotion for the disk."""
EXTRACTS_TOGETHER = 32
"""Most extracts in one group."""
BYTES_TOGETHER = 4 << 20
"""Most bytes of files in one group of several extracts (4 MiB), because a group's rows are held in memory."""

R = TypeVar("R")
Wanted: TypeAlias = stream_extract.PayloadOnly | Uncounted | ValidationRequest
Steps: TypeAlias = Generator[Wanted, Any, R]
"""Generator of one extract's steps: yields requests, and receives rows with tokens, counts or findings."""
Answer: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]
"""Function that answers several requests of one type and batch at once."""


@dataclass(frozen=True)
class Delivery:
    """One landed file.

    `file` is a name that is safe to store. `made_under` holds the settings and versions that, with the content,
    determine the rows. `manifest` is set for a tokens file.

    For a part that is to be read, `arrived` is the number of the run that first found it, and `extract` is set once the
    file is open, unless it holds tokens. `of_several` means that the file also holds rows of other cohorts.
    """

    landed: Landed
    file: str
    contract: SourceContract
    sender_mac: str
    mac: str
    manifest: tokens_file.TokensManifest | None
    made_under: dict[str, Any]
    arrived: int = 0
    extract: OpenExtract | None = None
    of_several: bool = False


class IntakeContext:
    """Landing, home folder and keys of an intake, and tools that share one in-memory database.

    Raises `InvalidExpectedRows` if the file of expected numbers of rows cannot be read.
    """

    def __init__(self, landing: Path, home: Home, keys: KeyRing) -> None:
        self.landing, self.home, self.keys = landing, home, keys
        self.expected = read_expected_rows(landing / REFERENCE / EXPECTED_ROWS_FILE)
        directory = landing / REFERENCE / POSTCODE_DIRECTORY
        self._directory = directory if directory.exists() else None
        self.directory_sha256 = hash_content(directory) if self._directory else None
        self.settings: dict[str, Any] = {
            "software": software.get_software_version(),
            "normaliser": normalise.NORMALISER_VERSION,
            "pseudonyms": pseudonyms.PSEUDONYM_VERSION,
            "keys": {name: keys.fingerprints[name] for name in (*PIPELINE_KEYS, "tokens")},
            "postcode_directory": self.directory_sha256,
        }
        self._synthetic = read_synthetic_hashes(landing)
        # built by the first extract to need it, because a postcode directory has about two million postcodes
        self._first: stream_extract.Tools | None = None
        self._lock = Lock()

    def fingerprint(self, landed: Landed, path: Path | None = None) -> tuple[str, str]:
        """Return the SHA-256 and the MAC of a landed file, or of one of its parts at `path`."""
        sha256 = hash_content(path or landed.path, f"a part of {landed.name}" if path else landed.name, landed.within)
        return sha256, compute_file_mac(self.keys, sha256)

    def describe_delivery(self, landed: Landed, fingerprint: tuple[str, str] | None = None) -> Delivery:
        """Describe a landed file. Raises `ExtractStopped` if a tokens file has no usable manifest."""
        sha256, mac = fingerprint or self.fingerprint(landed)
        manifest = tokens_file.read_manifest(landed, self.keys) if landed.holds_tokens else None
        contract, key = CONTRACTS[landed.source], derive_sender_key(self.keys, landed.source, landed.council)
        made_under = self.settings | {"contract": contract.sha256}
        if manifest:
            made_under |= {
                "sender_software": manifest.software,
                # a MAC, because a plain hash of the extract would let anyone test a guess at it
                "extract_mac": compute_file_mac(self.keys, manifest.extract_sha256),
                # the sender looked quintiles up in its own directory
                "postcode_directory": manifest.postcode_directory_sha256,
            }
        else:
            made_under |= {"dialect": load_dialect(landed).sha256}
        # the MAC is of the identifiable file, which the sender still has when a return comes back
        own_mac = compute_sender_mac(key, manifest.extract_sha256 if manifest else sha256)
        return Delivery(landed, self.make_stored_name(landed.path), contract, own_mac, mac, manifest, made_under)

    def make_stored_name(self, file: Path) -> str:
        """Return a file name that is safe to store: words that could be a child's name are replaced by keyed marks."""
        own = self.keys.derive_subkey("input-mac", "file-names")
        return file.name if is_extract_name(file.name) else mark_words(file.name, own)

    def build_metadata(self, landed: Landed, mac: str | None = None) -> dict[str, str]:
        """Return the Parquet metadata for payload and tokens."""
        made_under = json.dumps(pseudonyms.build_manifest(self.keys), sort_keys=True)
        found = {"council": landed.council, "source": landed.source, TOKENS_KEY: made_under}
        return found if mac is None else found | {MAC_KEY: mac}

    def note_if_real(self, landed: Landed, hashes: Iterable[str]) -> None:
        """Record an extract that the synthetic data generator did not write, which ends a demonstration."""
        if not self._synthetic.issuperset(hashes):
            with self._lock:
                signers.record_intake(self.home, self.keys, f"{landed.council}/{landed.source}/{landed.cohort}")

    def open(self, delivery: Delivery) -> OpenExtract:
        """Open an identifiable file. Raises `ExtractStopped` if it cannot be read or recognised."""
        landed = delivery.landed
        extract = open_recognised(landed, delivery.contract, load_dialect(landed))
        if landed.part and (marks := extract.dialect.deleted.keys() - extract.inputs.keys()):
            raise ExtractStopped(
                f"{landed.name}: the column that the council file names under 'deleted' is missing; add it",
                f"{landed.name}: the column {min(marks)!r}, which marks deleted records, is missing; add it",
            )
        return extract

    def stage(
        self, delivery: Delivery, parts: Mapping[str, int] | None, open_extract: Callable[[], OpenExtract], folder: Path
    ) -> Generator[stream_extract.PayloadOnly, pa.Table, tuple[findings.Staged, split_writer.SplitWriter, HeldBack]]:
        """Write payload, tokens and quarantine to `folder`, without rows that were removed or objected to.

        `parts` are the numbers, by MAC, of parts that are read together, whose marks are written too. Raises
        `ExtractStopped` if a tokens file was not made for this pipeline.
        """
        folder.mkdir()
        landed, contract = delivery.landed, delivery.contract
        held_back = HeldBack(self.home, self.keys, landed, parts or {delivery.mac: 0})
        if parts:
            # not by MAC: an extract in parts gets a new one with each part, and its rows must keep their keys
            row_keys_, intake = row_keys.derive_part_keys(self.keys, *landed.key), self.keys.get_public_key("intake")
        else:
            row_keys_, intake = row_keys.derive_delivery_keys(self.keys, *landed.key, delivery.mac), None
        metadata = self.build_metadata(landed, None if parts else delivery.mac)
        with split_writer.SplitWriter(
            folder, row_keys_, self.keys.get_public_key("tokens"), metadata, held_back.mask, intake
        ) as out:
            if delivery.manifest:
                tokens_file.stop_if_foreign(landed, delivery.manifest, self.keys, contract)
                staged = tokens_file.rekey(self.keys, landed, delivery.manifest, contract, out)
            else:
                staged = yield from stream_extract.stream_extract(self.acquire_tools, open_extract(), contract, out)
        return leave_out_suppressed(staged, row_keys_, held_back.rows), out, held_back

    def run(self, jobs: Iterable[tuple[int, Steps[R]]]) -> Iterator[R]:
        """Process extracts concurrently and yield their outcomes in order: see `run_batches`."""

        def tokenise(wanted: Sequence[stream_extract.PayloadOnly]) -> Sequence[pa.Table]:
            with self.acquire_tools() as tools:
                return stream_extract.tokenise(tools, wanted)

        def count_all(wanted: Sequence[Uncounted]) -> Sequence[Profile]:
            with self.acquire_tools() as tools:
                return count(tools.con, wanted)

        return run_batches(jobs, {stream_extract.PayloadOnly: tokenise, Uncounted: count_all}, judge_in_worker)

    @contextmanager
    def acquire_tools(self) -> Iterator[stream_extract.Tools]:
        """Lend tools for exclusive use: a cursor of one database, which is discarded after a failure."""
        with self._lock:
            if self._first is None:
                found = _get_look_ups(self._directory, self.directory_sha256)
                self._first = stream_extract.Tools(*found, self.keys, second_keying=True)
            tools = replace(self._first, con=self._first.con.cursor())
        tools.con.execute("SET enable_progress_bar = false")
        try:
            yield tools
        except BaseException:
            self._first = None
            _get_look_ups.cache_clear()
            raise


@lru_cache(maxsize=1)
def _get_look_ups(
    directory: Path | None, sha256: str | None
) -> tuple[duckdb.DuckDBPyConnection, stream_extract.Quintiles]:
    """Return look-ups that all intakes of a process share. The directory's `sha256` only serves as a cache key."""
    return stream_extract.build_look_ups(directory)


def load_dialect(landed: Landed) -> Dialect:
    """Return the council's dialect for a source. Raises `ExtractStopped` if its council file is invalid."""
    try:
        return load_council_file(landed.council).get_dialect(landed.source)
    except InvalidCouncilFile as invalid:
        places = ", ".join(f"{problem.file}:{problem.line}:{problem.column}" for problem in invalid.problems)
        raise ExtractStopped(
            f"{landed.name}: its council file cannot be used: {places}; `readiness council check` says what is wrong"
        ) from None


@dataclass(eq=False)
class _Job(Generic[R]):
    """An extract being processed: its file size in bytes, its pending request and its outcome."""

    size: int
    steps: Steps[R]
    waits_for: Wanted | None = None
    outcome: R = field(init=False)

    def go_on(self, answer: Any = None) -> None:
        """Run to the next request or to the end. An answer that is an exception is raised inside the generator."""
        try:
            self.waits_for = self.steps.throw(answer) if isinstance(answer, Exception) else self.steps.send(answer)
        except StopIteration as end:
            self.waits_for, self.outcome = None, end.value


def run_batches(jobs: Iterable[tuple[int, Steps[R]]], answers: Mapping[type, Answer], judge: Answer) -> Iterator[R]:
    """Yield the outcome of each extract, in order. A job is the size of the extract's file in bytes, and its steps.

    `answers` holds the function for each type of request, in the order of the steps before validation; `judge` answers
    requests for validation. Groups of extracts run concurrently: some are read while others are validated and promoted.
    """
    reading = Semaphore(GROUPS_READ_AT_ONCE)

    def finish(group: list[_Job[R]]) -> list[R]:
        with reading:
            for job in group:
                job.go_on()
            for kind, answer in answers.items():
                _answer(answer, kind, group)
        # outside the semaphore, so that another group can be read during validation
        _answer(judge, ValidationRequest, group)
        return [job.outcome for job in group]

    groups = _group_by_size([_Job(size, steps) for size, steps in jobs])
    with ThreadPoolExecutor(GROUPS_AT_ONCE) as pool:
        # each thread gets a copy of the context, where the log looks up which run it belongs to
        running = [pool.submit(copy_context().run, finish, group) for group in groups]
        try:
            for group in running:
                yield from group.result()
        finally:
            for group in running:  # groups that have not started, if one failed
                group.cancel()


def _answer(answer: Answer, kind: type, group: list[_Job[R]]) -> None:
    """Answer all requests of this type in a group, those of one batch with one call."""
    waiting: dict[Any, list[_Job[R]]] = {}
    for job in group:
        # requests differ, because extracts stop early and a tokens file has no rows to tokenise
        if job.waits_for and isinstance(job.waits_for, kind):
            waiting.setdefault(job.waits_for.batch, []).append(job)
    for jobs in waiting.values():
        for job, each in zip(jobs, _answer_all(answer, [job.waits_for for job in jobs]), strict=True):
            job.go_on(each)


def _answer_all(answer: Answer, wanted: Sequence[Any]) -> Sequence[Any]:
    """Return an answer or an error for each request. If a joint call fails, retry each request alone."""
    try:
        return answer(wanted)
    except Exception as failure:
        return [failure] if len(wanted) == 1 else [each for one in wanted for each in _answer_all(answer, [one])]


def _group_by_size(extracts: Sequence[_Job[R]]) -> Iterator[list[_Job[R]]]:
    """Yield groups of consecutive extracts, each within the limits on bytes and number; a large extract goes alone."""
    # two groups for each reader, so that one is read while another is tokenised
    most = min(BYTES_TOGETHER, sum(each.size for each in extracts) // (2 * GROUPS_READ_AT_ONCE))
    together: list[_Job[R]] = []
    for extract in extracts:
        size = sum(each.size for each in together) + extract.size
        if together and (size > most or len(together) == EXTRACTS_TOGETHER):
            yield together
            together = []
        together.append(extract)
    if together:
        yield together
