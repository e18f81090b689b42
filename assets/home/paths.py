"""Paths below a home folder: `tokens/`, `restricted/`, `release/`; and what it opens: its ledger and its policy.

The ledger may be in a PostgreSQL database instead. Its URL is read from the settings of the process and not kept in
any configuration, because it may contain a password.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from assets.home.software import get_software_version
from ndl_export.files.whole_files import lock_folder
from ndl_export.tables import FAMILIES
from privacy import chained_log
from privacy.doors.environment import get_settings
from privacy.doors.files import close_to_others, make_folder, sync, write
from privacy.doors.locks import clear_scratch, hold_lock, open_scratch
from privacy.release.approval import SignOffs
from privacy.release.ledger import Ledger
from privacy.release.policy import Policy, load_policy

_STAGING = "staging-"
# while a home folder is restored, its marker stops every process but the one that restores it
_restored_by_this_process: set[Path] = set()


class BeingRestored(Exception):
    """Raised if a restore of the home folder is running or was interrupted. The message says what to do."""


class MadeByLater(Exception):
    """Raised if a later version of the software has used the home folder. The message names the version."""


class _Below:
    """A path below the root of a home folder. `{0.cohort}` in a part is replaced by the owner's attribute."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, owner: "Home | CohortStore | ExtractStore", _: type) -> Path:
        return owner.root.joinpath(*(part.format(owner) for part in self._parts))


def _define_extract_path(kind: str, suffix: str, zone: str = "restricted") -> _Below:
    """Return the path of an extract in the folder `kind` of a zone."""
    return _Below(zone, kind, "source={0.source}", "cohort={0.cohort}", f"{{0.council}}.{suffix}")


def _define_version_path(name: str) -> Callable[["Home", str], Path]:
    """Return a method that gives the path of a release's file. The release version replaces `{}` in `name`."""
    return lambda home, version: home.restricted / "releases" / name.format(version)


@dataclass(frozen=True)
class Home:
    """Paths in the home folder of one installation."""

    root: Path

    restricted = _Below("restricted")
    release = _Below("release")
    dagster = _Below("dagster")
    """Dagster's storage: runs, events, schedules."""
    processes = _Below("dagster", "processes")
    """Markers of processes that run Dagster jobs from the command line. A dead process's marker stays until noticed."""
    tokens_zone = _Below("tokens")
    """Files that only the linkage can read."""
    lock = _Below("restricted", ".in-use.lock")
    """Lock file of the restricted zone."""
    processing_log = _Below("restricted", "processing_log.jsonl")
    """Log of all processing of personal data, with time and person."""
    restoring = _Below("restricted", "restoring")
    """Marker file of a restore that is running or was interrupted."""

    landing_seen = _Below("restricted", "landing_seen.json")
    """Unread files in landing, and sources with a folder there, as of the last check."""
    first_people = _Below("restricted", "first_intake", "people.json")
    """People named in the policy when the first extract was ingested."""
    first_real_extract = _Below("restricted", "first_intake", "not_synthetic.json")
    """Name of the first extract that was not synthetic."""

    unfinished_removal = _Below("restricted", "forgotten", "unfinished.json")
    """The removal that is in progress; deleted when it is complete."""
    unfinished_withdrawal = _Below("restricted", "forgotten", "withdrawal.json")
    """The withdrawal of a part that is in progress; deleted when it is complete."""
    objections = _Below("restricted", "forgotten", "objections")
    """Folder of keyed marks that identify children whose rows must not come back in a delivery."""

    returns = _Below("restricted", "returns")
    """Folder of encrypted files to return to services under a sharing agreement, by council."""
    disclosures = _Below("restricted", "returns", "disclosures.jsonl")
    """Log of all returns that were made or withdrawn."""

    release_record = _define_version_path("release={}.json")
    """A release's inputs for each cohort, frozen before the first charge."""
    release_day = _define_version_path("day={}.json")
    """A release's date: the announced day or, without one, the day its bundle was first built."""
    rehearsed = _define_version_path("rehearsed={}.json")
    """The hash of everything with which a release's last rehearsal succeeded."""
    release_made = _define_version_path("made={}.json")
    """The hashes of a release's inputs, and of its files at publication."""
    requests = _Below("restricted", "requests.jsonl")
    """Log of all requested tables, including refused ones."""
    held = _Below("restricted", "held")
    """Bundles that need approval before publication."""

    def get_cohort(self, code: str) -> "CohortStore":
        return CohortStore(self, code)

    def get_extract(self, source: str, cohort: str, council: str) -> "ExtractStore":
        return ExtractStore(self, source, cohort, council)

    def iter_extracts(self, kind: str, suffix: str, cohort: str = "*") -> Iterator["ExtractStore"]:
        """Yield the extracts that have a file or folder of a kind, such as `quality`, in the restricted zone."""
        for path in sorted(self.restricted.glob(f"{kind}/source=*/cohort={cohort}/*.{suffix}")):
            source, code = (folder.name.partition("=")[2] for folder in (path.parent.parent, path.parent))
            yield self.get_extract(source, code, path.stem)

    @property
    def ledger(self) -> Path | str:
        """Path or URL of the budget ledger."""
        return get_settings().ledger or self.root / "ledger.sqlite"

    @property
    def has_ledger(self) -> bool:
        """False if nothing was ever charged from this home; opening the path would then begin an empty ledger."""
        return not isinstance(self.ledger, Path) or self.ledger.exists()

    def open_ledger(self) -> Ledger:
        """Open the budget ledger, which begins an empty one if there is none."""
        return Ledger(self.ledger)

    def read_sign_offs(self) -> SignOffs:
        """Return the signatures in the ledger, as they are judged now."""
        return SignOffs(self.open_ledger())

    @property
    def has_no_signers(self) -> bool:
        """True if neither the policy nor the ledger names anybody who may sign."""
        return not self.load_policy().sign_off.people and self.read_sign_offs().recorded.sign_off is None

    def load_policy(self) -> Policy:
        """Return the installation's privacy policy. Raises `PolicyError`."""
        return load_policy()

    def get_sorted_files_path(self, source: str, council: str) -> Path:
        """Return the path of the list of sorted multi-cohort files, with their cohorts."""
        return self.restricted / "several" / f"source={source}" / f"{council}.json"

    @contextmanager
    def hold_for_restore(self) -> Iterator[None]:
        """Refuse all other work on the home folder until the block ends without an error, even after a crash."""
        _restored_by_this_process.add(self.root)
        write(self.restoring, b"")
        try:
            yield
            self.restoring.unlink()
            sync(self.restricted)
        finally:
            _restored_by_this_process.discard(self.root)

    @property
    def is_removal_unfinished(self) -> bool:
        """True if a removal is running or was interrupted."""
        return self.unfinished_removal.exists() or self.unfinished_withdrawal.exists()

    def get_decision_sheet_path(self, version: str, stage: str) -> Path:
        """Return the path of the page to read before approving a release."""
        return self.restricted / "decisions" / f"{version}-{stage}.html"

    def prepare(self) -> None:
        """Create the home folder and its zones, accessible only to their owner, whatever mode they had.

        This includes releases: readers get a published copy (`readiness publish`). The root of a mounted volume with
        another owner keeps its mode, but everything created inside is private. Raises `BeingRestored` during a restore,
        and `MadeByLater` if a later version has used the folder.
        """
        if self.restoring.exists() and self.root not in _restored_by_this_process:
            raise BeingRestored(
                f"{self.root} is being restored, or its restore was interrupted: wait until it has ended, or copy the"
                " home folder back again and repeat `readiness restore records`"
            )
        self._check_version()
        private = (self.root, self.restricted, self.tokens_zone, self.dagster)
        for folder in (*private, self.release):
            make_folder(folder)
        for folder in private:
            close_to_others(folder)

    def _check_version(self) -> None:
        """Raise `MadeByLater` if a later version, whose changes this one does not know, wrote to the log last."""
        if (line := chained_log.read_last_entry(self.processing_log)) is None:
            return
        own, theirs = Version(get_software_version()), Version(line.get("software", "0"))
        if theirs.release[:2] > own.release[:2]:
            raise MadeByLater(
                f"{self.root} was last worked on by readiness {theirs}, and this is {own}: install that version or a"
                " later one; to go back, restore the backup that was made before the upgrade. Nothing was changed"
            )

    @contextmanager
    def open_staging(self) -> Iterator[Path]:
        """Create a folder for unfinished files in the restricted zone, and remove it afterwards."""
        self.prepare()
        with open_scratch(self.restricted, _STAGING) as folder:
            yield folder

    def clear_half_made(self) -> None:
        """Remove unfinished files of processes that died, in the restricted zone and the release folder."""
        with hold_lock(self.restricted):
            clear_scratch(self.restricted, _STAGING)
        # taking this lock removes the unfinished files of publishers that died
        with lock_folder(self.release):
            pass


@dataclass(frozen=True)
class CohortStore:
    """Paths of one cohort in a home folder. `cohort` is its code, such as `202425`."""

    home: Home
    cohort: str

    linked = _Below("restricted", "linked", "cohort={0.cohort}")
    links = _Below("restricted", "linked", "cohort={0.cohort}", "links.parquet")
    linkage_record = _Below("restricted", "linked", "cohort={0.cohort}", "linkage_record.json")
    """A cohort's linkage record: councils, and the extracts behind its confidential tables."""
    linkage_report = _Below("restricted", "linked", "cohort={0.cohort}", "linkage.json")
    """The linkage report as JSON. The page is `linkage.html` in the same folder."""
    agreement = _Below("restricted", "linked", "cohort={0.cohort}", "agreement.parquet")
    """Agreement between each child's records, and records with too little information."""
    overlaps = _Below("restricted", "linked", "cohort={0.cohort}", "replaced.json")
    """Comparison of each linked extract with an earlier delivery."""
    review = _Below("restricted", "reviews", "cohort={0.cohort}")
    """Folder of a clerical review: sample, sheets encrypted for senders, decisions and report."""
    reviewed = _Below("restricted", "reviews", "cohort={0.cohort}", "reviewed.parquet")
    """A review's confidential table, over which noise is added; one row per child."""
    row_history = _Below("restricted", "returns", "standing-{0.cohort}.parquet")
    """Dates when rows of the extracts behind returns first appeared, under keyed marks."""
    returns_record = _Below("restricted", "returns", "made-{0.cohort}.json")
    """Hashes of what the returns were made from."""
    list_of_holds = _Below("restricted", "decisions", "{0.cohort}-holds.txt")
    """Page to read before accepting holds."""
    acceptance_to_sign = _Below("restricted", "decisions", "{0.cohort}-holds.request")
    """File to sign to accept holds."""
    pair_cache = _Below("tokens", "source=weighed", "cohort={0.cohort}", "pairs.parquet")
    """Pairs that the linkage has scored, encrypted for it."""

    @property
    def root(self) -> Path:
        return self.home.root

    @property
    def any_taken(self) -> bool:
        """True if any extract of the cohort has been ingested, even if its file has left landing."""
        return any(self.home.iter_extracts("pseudonymised", "parquet", self.cohort))

    @property
    def any_forgotten(self) -> bool:
        """True if rows of any extract of the cohort were removed on request."""
        return any(self.home.iter_extracts("forgotten", "json", self.cohort))

    @property
    def all_returns(self) -> list[Path]:
        """Every file of the cohort's returns: files for services, disclosure records and summaries."""
        patterns = (f"*/*/{self.cohort}.age", f"*/told-*-{self.cohort}.age", f"*/summary-{self.cohort}.*")
        return sorted(path for pattern in patterns for path in self.home.returns.glob(pattern))

    def get_extract(self, source: str, council: str) -> "ExtractStore":
        return self.home.get_extract(source, self.cohort, council)

    def get_reports_folder(self, council: str) -> Path:
        """Return the folder of the quality reports to send to one council."""
        return self.home.restricted / "reports" / f"cohort={self.cohort}" / council

    def get_return_summary_path(self, council: str) -> Path:
        """Return the path of a council's count of children known to only one service (JSON; the page is `.html`).

        The count never leaves the restricted zone.
        """
        return self.home.returns / council / f"summary-{self.cohort}.json"

    def get_request_plan_path(self, version: str, family: str) -> Path:
        """Return the path of a release's measurement plan for a family's tables on request."""
        return self.home.restricted / "releases" / f"plan={version}-{self.cohort}-{family}.json"

    def get_confidential_path(self, family: str) -> Path:
        """Return the path of a family's confidential table, over which noise is added; one row per unit."""
        return self.linked / f"{FAMILIES[family].confidential_table}.parquet"


@dataclass(frozen=True)
class ExtractStore:
    """Paths of one extract in a home folder."""

    home: Home
    source: str
    cohort: str
    council: str

    tokens = _define_extract_path("", "parquet", zone="tokens")
    """An extract's tokens, encrypted for the linkage. Sources that are not linked have none."""
    tokens_of_parts = _define_extract_path("", "d", zone="tokens")
    """Folder of the tokens of an extract's parts, encrypted for the linkage."""
    token_sample = _define_extract_path("", "sample", zone="tokens")
    """Sample of an extract's smallest tokens, to compare with later extracts, encrypted for the linkage."""
    newest_sample = _define_extract_path("", "newest", zone="tokens")
    """The current extract's sample, if it differs from `token_sample`, which it replaces after a measurement."""
    pseudonymised = _define_extract_path("pseudonymised", "parquet")
    """An extract's payload."""
    quarantine = _define_extract_path("quarantine", "parquet")
    """An extract's quarantine: row key, rule, columns and severity of findings, no values."""
    quality = _define_extract_path("quality", "json")
    stopped = _define_extract_path("stopped", "json")
    """Reason why the latest delivery was stopped. Removed when a good one is ingested."""
    history = _define_extract_path("history", "d")
    """Folder of intake results of superseded deliveries, named by the file's MAC."""
    parts = _define_extract_path("parts", "d")
    """Folder of the parts of an extract that have been read."""
    forgotten = _define_extract_path("forgotten", "json")
    """An extract's list of rows removed on request, by file MAC and row number."""
    return_file = _Below("restricted", "returns", "{0.council}", "{0.source}", "{0.cohort}.age")
    told_file = _Below("restricted", "returns", "{0.council}", "told-{0.source}-{0.cohort}.age")
    """Record of facts disclosed about a service's rows, encrypted for that service, which is the `source`."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, cohort and council."""
        return self.source, self.cohort, self.council

    @property
    def name(self) -> str:
        """Council, source and cohort, as messages name an extract."""
        return f"{self.council}/{self.source}/{self.cohort}"

    @property
    def cohort_store(self) -> CohortStore:
        return self.home.get_cohort(self.cohort)

    def get_part_tokens(self, stem: str) -> Path:
        """Return the file of tokens of parts that were read together."""
        return self.tokens_of_parts / f"{stem}.parquet"

    @property
    def root(self) -> Path:
        return self.home.root
