"""Paths below a home folder: `tokens/`, `restricted/`, `release/`, `ledger.sqlite`.

The ledger may be in a PostgreSQL database instead. Its URL is read from the settings of the process and not kept in
any configuration, because it may contain a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from assets.home.software import software
from ndl_export.files.whole_files import alone
from ndl_export.tables import FAMILIES
from privacy import chained_log
from privacy.doors.environment import settings
from privacy.doors.files import close_to_others, make_folder, sync, write
from privacy.doors.locks import clear_scratch, locked, scratch

_STAGING = "staging-"
_restored_by_this_process: set[Path] = set()


class BeingRestored(Exception):
    """Raised if a restore of the home folder is running or was interrupted. The message says what to do."""


class MadeByLater(Exception):
    """Raised if a later version of the software has used the home folder. The message names the version."""


@dataclass(frozen=True)
class Home:
    """Paths in the home folder of one installation."""

    root: Path

    @property
    def restricted(self) -> Path:
        return self.root / "restricted"

    @property
    def release(self) -> Path:
        return self.root / "release"

    @property
    def ledger(self) -> Path | str:
        """Path or URL of the budget ledger."""
        return settings().ledger or self.root / "ledger.sqlite"

    @property
    def dagster(self) -> Path:
        """Dagster's storage: runs, events, schedules."""
        return self.root / "dagster"

    @property
    def tokens_zone(self) -> Path:
        """Files that only the linkage can read."""
        return self.root / "tokens"

    def tokens(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of an extract's tokens, encrypted for the linkage. Sources that are not linked have none."""
        return self.tokens_zone / f"source={source}" / f"cohort={cohort}" / f"{council}.parquet"

    def pair_cache(self, cohort: str) -> Path:
        """Return the path of the pairs that the linkage has scored, encrypted for it."""
        return self.tokens("weighed", cohort, "pairs")

    def pseudonymised(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of an extract's payload."""
        return self._extract("pseudonymised", source, cohort, council, "parquet")

    def any_taken(self, cohort: str) -> bool:
        """Return whether any extract of a cohort is held, even if its file has left landing."""
        return any(self.restricted.glob(f"pseudonymised/source=*/cohort={cohort}/*.parquet"))

    def quarantine(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of an extract's quarantine: row key, rule, columns and severity of findings, no values."""
        return self._extract("quarantine", source, cohort, council, "parquet")

    def quality(self, source: str, cohort: str, council: str) -> Path:
        return self._extract("quality", source, cohort, council, "json")

    def stopped(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of the reason why the latest delivery was stopped. Removed when a good one is ingested."""
        return self._extract("stopped", source, cohort, council, "json")

    def history(self, source: str, cohort: str, council: str) -> Path:
        """Return the folder of intake results of superseded deliveries, named by the file's MAC."""
        return self._extract("history", source, cohort, council, "d")

    def parts(self, source: str, cohort: str, council: str) -> Path:
        """Return the folder of the parts of an extract that have been read."""
        return self._extract("parts", source, cohort, council, "d")

    def several(self, source: str, council: str) -> Path:
        """Return the path of the list of sorted multi-cohort files, with their cohorts."""
        return self.restricted / "several" / f"source={source}" / f"{council}.json"

    def tokens_of_parts(self, source: str, cohort: str, council: str) -> Path:
        """Return the folder of the tokens of an extract's parts, encrypted for the linkage."""
        return self.tokens(source, cohort, council).with_suffix(".d")

    def reports(self, cohort: str, council: str) -> Path:
        """Return the folder of the quality reports to send to one council."""
        return self.restricted / "reports" / f"cohort={cohort}" / council

    @property
    def restoring(self) -> Path:
        """Marker file of a restore that is running or was interrupted."""
        return self.restricted / "restoring"

    @contextmanager
    def being_restored(self) -> Iterator[None]:
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
    def lock(self) -> Path:
        """Lock file of the restricted zone."""
        return self.restricted / ".in-use.lock"

    @property
    def processing_log(self) -> Path:
        """Log of all processing of personal data, with time and person."""
        return self.restricted / "processing_log.jsonl"

    @property
    def unfinished_removal(self) -> Path:
        """The removal that is in progress; deleted when it is complete."""
        return self.restricted / "forgotten" / "unfinished.json"

    @property
    def unfinished_withdrawal(self) -> Path:
        """The withdrawal of a part that is in progress; deleted when it is complete."""
        return self.restricted / "forgotten" / "withdrawal.json"

    @property
    def is_removal_unfinished(self) -> bool:
        """True if a removal is running or was interrupted."""
        return self.unfinished_removal.exists() or self.unfinished_withdrawal.exists()

    def forgotten(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of an extract's list of rows removed on request, by file MAC and row number."""
        return self._extract("forgotten", source, cohort, council, "json")

    def any_forgotten(self, cohort: str) -> bool:
        """Return whether rows of any extract of a cohort were removed on request."""
        return any(self.restricted.glob(f"forgotten/source=*/cohort={cohort}/*.json"))

    @property
    def landing_seen(self) -> Path:
        """Unread files in landing and sources with a folder there, as of the last check."""
        return self.restricted / "landing_seen.json"

    def token_sample(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of a sample of an extract's smallest tokens, to compare with later extracts.

        It is encrypted for the linkage.
        """
        return self.tokens_zone / f"source={source}" / f"cohort={cohort}" / f"{council}.sample"

    def newest_sample(self, source: str, cohort: str, council: str) -> Path:
        """Return the path of the current extract's sample if it differs. It replaces the other after a measurement."""
        return self.token_sample(source, cohort, council).with_suffix(".newest")

    def overlaps(self, cohort: str) -> Path:
        """Return the path of the comparison of each linked extract with an earlier delivery."""
        return self.linked(cohort) / "replaced.json"

    @property
    def objections(self) -> Path:
        """Folder of keyed marks that identify children whose rows must not come back in a delivery."""
        return self.restricted / "forgotten" / "objections"

    def _extract(self, kind: str, source: str, cohort: str, council: str, suffix: str) -> Path:
        return self.restricted / kind / f"source={source}" / f"cohort={cohort}" / f"{council}.{suffix}"

    def linked(self, cohort: str) -> Path:
        return self.restricted / "linked" / f"cohort={cohort}"

    def links(self, cohort: str) -> Path:
        return self.linked(cohort) / "links.parquet"

    def linkage_report(self, cohort: str) -> Path:
        """Return the path of the linkage report as JSON. The page is `linkage.html` in the same folder."""
        return self.linked(cohort) / "linkage.json"

    def doubts(self, cohort: str) -> Path:
        """Return the path of the pairs of linked children that could be one child."""
        return self.linked(cohort) / "doubts.parquet"

    def agreement(self, cohort: str) -> Path:
        """Return the path of the agreement between each child's records, and records with too little information."""
        return self.linked(cohort) / "agreement.parquet"

    def review(self, cohort: str) -> Path:
        """Return the folder of a clerical review: sample, sheets encrypted for senders, decisions and report."""
        return self.restricted / "reviews" / f"cohort={cohort}"

    def reviewed(self, cohort: str) -> Path:
        """Return the path of a review's confidential table, over which noise is added; one row per child."""
        return self.review(cohort) / "reviewed.parquet"

    @property
    def returns(self) -> Path:
        """Folder of encrypted files to return to services under a sharing agreement, by council."""
        return self.restricted / "returns"

    def return_file(self, source: str, cohort: str, council: str) -> Path:
        return self.returns / council / source / f"{cohort}.age"

    def told_file(self, service: str, cohort: str, council: str) -> Path:
        """Return the path of the record of facts disclosed about a service's rows, encrypted for that service."""
        return self.returns / council / f"told-{service}-{cohort}.age"

    def return_summary(self, cohort: str, council: str) -> Path:
        """Return the path of the number of children known to only one service (JSON; page in `.html`).

        It never leaves the restricted zone.
        """
        return self.returns / council / f"summary-{cohort}.json"

    def row_history(self, cohort: str) -> Path:
        """Return the path of the dates when rows of the extracts behind returns first appeared, under keyed marks."""
        return self.returns / f"standing-{cohort}.parquet"

    def all_returns(self, cohort: str) -> list[Path]:
        """Return every file of a cohort's returns: files for services, disclosure records and summaries."""
        patterns = (f"*/*/{cohort}.age", f"*/told-*-{cohort}.age", f"*/summary-{cohort}.*")
        return sorted(path for pattern in patterns for path in self.returns.glob(pattern))

    @property
    def disclosures(self) -> Path:
        """Log of all returns that were made or withdrawn."""
        return self.returns / "disclosures.jsonl"

    def linkage_record(self, cohort: str) -> Path:
        """Return the path of a cohort's linkage record: councils, and the extracts behind its confidential tables."""
        return self.linked(cohort) / "linkage_record.json"

    def release_record(self, version: str) -> Path:
        """Return the path of a release's inputs for each cohort, frozen before the first charge."""
        return self.restricted / "releases" / f"release={version}.json"

    def release_day(self, version: str) -> Path:
        """Return the path of a release's date, the day its bundle was first built."""
        return self.restricted / "releases" / f"day={version}.json"

    def release_made(self, version: str) -> Path:
        """Return the path of the hashes of a release's inputs, and of its files at publication."""
        return self.restricted / "releases" / f"made={version}.json"

    def request_plan(self, version: str, cohort: str, family: str) -> Path:
        """Return the path of a release's measurement plan for a family's tables on request."""
        return self.restricted / "releases" / f"plan={version}-{cohort}-{family}.json"

    @property
    def requests(self) -> Path:
        """Log of all requested tables, including refused ones."""
        return self.restricted / "requests.jsonl"

    @property
    def held(self) -> Path:
        """Bundles that need approval before publication."""
        return self.restricted / "held"

    @property
    def first_people(self) -> Path:
        """People named in the policy when the first extract was ingested."""
        return self.restricted / "first_intake" / "people.json"

    @property
    def first_real_extract(self) -> Path:
        """Name of the first extract that was not synthetic."""
        return self.restricted / "first_intake" / "not_synthetic.json"

    def decision_sheet(self, version: str, stage: str) -> Path:
        """Return the path of the page to read before approving a release."""
        return self.restricted / "decisions" / f"{version}-{stage}.html"

    def list_of_holds(self, cohort: str) -> Path:
        """Return the path of the page to read before accepting holds."""
        return self.restricted / "decisions" / f"{cohort}-holds.txt"

    def acceptance_to_sign(self, cohort: str) -> Path:
        """Return the path of the file to sign to accept holds."""
        return self.list_of_holds(cohort).with_suffix(".request")

    def confidential(self, family: str, cohort: str) -> Path:
        """Return the path of a family's confidential table, over which noise is added; one row per unit."""
        return self.linked(cohort) / f"{FAMILIES[family].confidential_table}.parquet"

    def prepare(self) -> None:
        """Create the home folder and its zones, accessible only to their owner, whatever mode they had.

        This includes releases: readers get a published copy (`readiness publish`). The root of a mounted volume with
        another owner keeps its mode, but everything created inside is private. Raises `BeingRestored` during a restore,
        and `MadeByLater` if a later version has used the folder.
        """
        if self.restoring.exists() and self.root not in _restored_by_this_process:
            raise BeingRestored(
                f"{self.root} is being restored, or its restore broke off: wait until it has ended, or copy the home"
                " folder back again and repeat `readiness restore records`"
            )
        self._check_version()
        private = (self.root, self.restricted, self.tokens_zone, self.dagster)
        for folder in (*private, self.release):
            make_folder(folder)
        for folder in private:
            close_to_others(folder)

    def _check_version(self) -> None:
        """Raise `MadeByLater` if a later version last wrote to the processing log.

        This version does not know what a later one changed.
        """
        if (line := chained_log.last(self.processing_log)) is None:
            return
        own, theirs = Version(software()), Version(line.get("software", "0"))
        if theirs.release[:2] > own.release[:2]:
            raise MadeByLater(
                f"{self.root} was last worked on by readiness {theirs}, and this is {own}: install that version or a"
                " later one; to go back, restore the backup that was made before the upgrade. Nothing was changed"
            )

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Create a folder for unfinished files in the restricted zone, and remove it afterwards."""
        self.prepare()
        with scratch(self.restricted, _STAGING) as folder:
            yield folder

    def clear_half_made(self) -> None:
        """Remove unfinished files of processes that died, in the restricted zone and the release folder."""
        with locked(self.restricted):
            clear_scratch(self.restricted, _STAGING)
        with alone(self.release):
            pass

    @property
    def processes(self) -> Path:
        """Markers of processes that run Dagster jobs from the command line; dead ones stay until they are noticed."""
        return self.dagster / "processes"
