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
    """Records are being applied to the home folder, or that broke off; the message says what to do."""


class MadeByLater(Exception):
    """A later version of the software has worked on the home folder; the message says which."""


@dataclass(frozen=True)
class Home:
    """The folders of one installation."""

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
        """Tokens of the rows of an extract, encrypted to the linkage; sources that are not linked have none."""
        return self.tokens_zone / f"source={source}" / f"cohort={cohort}" / f"{council}.parquet"

    def pair_cache(self, cohort: str) -> Path:
        """Pairs that the linkage has scored, encrypted to it."""
        return self.tokens("weighed", cohort, "pairs")

    def pseudonymised(self, source: str, cohort: str, council: str) -> Path:
        """Payload of the rows of an extract."""
        return self._extract("pseudonymised", source, cohort, council, "parquet")

    def any_taken(self, cohort: str) -> bool:
        """Return whether any extract of a cohort has been ingested; its file may have left landing since."""
        return any(self.restricted.glob(f"pseudonymised/source=*/cohort={cohort}/*.parquet"))

    def quarantine(self, source: str, cohort: str, council: str) -> Path:
        """Row key, rule, columns and severity of every finding; no values."""
        return self._extract("quarantine", source, cohort, council, "parquet")

    def quality(self, source: str, cohort: str, council: str) -> Path:
        return self._extract("quality", source, cohort, council, "json")

    def stopped(self, source: str, cohort: str, council: str) -> Path:
        """Why the newest delivery was stopped; removed when a good one is ingested."""
        return self._extract("stopped", source, cohort, council, "json")

    def history(self, source: str, cohort: str, council: str) -> Path:
        """Folder of the quality results of superseded deliveries, by MAC of the file."""
        return self._extract("history", source, cohort, council, "d")

    def parts(self, source: str, cohort: str, council: str) -> Path:
        """Folder of the parts of an extract that have been read, by part number."""
        return self._extract("parts", source, cohort, council, "d")

    def several(self, source: str, council: str) -> Path:
        """Which cohorts each multi-cohort file contained."""
        return self.restricted / "several" / f"source={source}" / f"{council}.json"

    def tokens_of_parts(self, source: str, cohort: str, council: str) -> Path:
        """Folder of the tokens of an extract's parts, each encrypted to the linkage."""
        return self.tokens(source, cohort, council).with_suffix(".d")

    def reports(self, cohort: str, council: str) -> Path:
        """Folder of the quality reports for one council, which may be sent to it."""
        return self.restricted / "reports" / f"cohort={cohort}" / council

    @property
    def restoring(self) -> Path:
        """Mark of a restore that is in progress or broke off."""
        return self.restricted / "restoring"

    @contextmanager
    def being_restored(self) -> Iterator[None]:
        """Refuse all other work on the home folder until the block has ended without an error, after a crash too."""
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
        """File whose lock shows who is working in the restricted zone."""
        return self.restricted / ".in-use.lock"

    @property
    def processing_log(self) -> Path:
        """Log of what was done with personal data, when and by whom."""
        return self.restricted / "processing_log.jsonl"

    @property
    def unfinished_removal(self) -> Path:
        """Cohorts whose rows are being removed; deleted when all have been."""
        return self.restricted / "forgotten" / "unfinished.json"

    @property
    def unfinished_withdrawal(self) -> Path:
        """The part of an extract that is being withdrawn; deleted when it has been."""
        return self.restricted / "forgotten" / "withdrawal.json"

    @property
    def is_removal_unfinished(self) -> bool:
        """Return whether a removal is running or was interrupted."""
        return self.unfinished_removal.exists() or self.unfinished_withdrawal.exists()

    def forgotten(self, source: str, cohort: str, council: str) -> Path:
        """Row numbers of deliveries that were removed on request, by MAC of the file."""
        return self._extract("forgotten", source, cohort, council, "json")

    def any_forgotten(self, cohort: str) -> bool:
        """Return whether rows of any extract of a cohort were removed on request."""
        return any(self.restricted.glob(f"forgotten/source=*/cohort={cohort}/*.json"))

    @property
    def landing_seen(self) -> Path:
        """Files of landing that nothing reads, and the sources it has folders for, at the last look."""
        return self.restricted / "landing_seen.json"

    def token_sample(self, source: str, cohort: str, council: str) -> Path:
        """The smallest tokens of an extract's children, with which later extracts are compared; encrypted to the
        linkage."""
        return self.tokens_zone / f"source={source}" / f"cohort={cohort}" / f"{council}.sample"

    def newest_sample(self, source: str, cohort: str, council: str) -> Path:
        """The same sample of the current extract if it differs; it replaces the former after a measurement."""
        return self.token_sample(source, cohort, council).with_suffix(".newest")

    def overlaps(self, cohort: str) -> Path:
        """How each linked extract compares with an earlier delivery."""
        return self.linked(cohort) / "replaced.json"

    @property
    def objections(self) -> Path:
        """Folder of keyed marks that identify the rows of children that no delivery may bring back."""
        return self.restricted / "forgotten" / "objections"

    def _extract(self, kind: str, source: str, cohort: str, council: str, suffix: str) -> Path:
        return self.restricted / kind / f"source={source}" / f"cohort={cohort}" / f"{council}.{suffix}"

    def linked(self, cohort: str) -> Path:
        return self.restricted / "linked" / f"cohort={cohort}"

    def links(self, cohort: str) -> Path:
        return self.linked(cohort) / "links.parquet"

    def linkage_report(self, cohort: str) -> Path:
        """The linkage report as JSON; `linkage.html` beside it is the page."""
        return self.linked(cohort) / "linkage.json"

    def doubts(self, cohort: str) -> Path:
        """Pairs of children that may be the same child."""
        return self.linked(cohort) / "doubts.parquet"

    def agreement(self, cohort: str) -> Path:
        """How well the records of each child agree, and which say too little."""
        return self.linked(cohort) / "agreement.parquet"

    def review(self, cohort: str) -> Path:
        """Folder of a clerical review: the sample, the sheets sealed to senders, decisions and report."""
        return self.restricted / "reviews" / f"cohort={cohort}"

    def reviewed(self, cohort: str) -> Path:
        """The table that a review's noise is added over, one row a child."""
        return self.review(cohort) / "reviewed.parquet"

    @property
    def returns(self) -> Path:
        """Encrypted files that go back to services under a sharing agreement, by council."""
        return self.restricted / "returns"

    def return_file(self, source: str, cohort: str, council: str) -> Path:
        return self.returns / council / source / f"{cohort}.age"

    def told_file(self, service: str, cohort: str, council: str) -> Path:
        """Record of which facts about a service's rows were disclosed to whom, encrypted to that service."""
        return self.returns / council / f"told-{service}-{cohort}.age"

    def return_summary(self, cohort: str, council: str) -> Path:
        """How many children only one service knows; `.html` beside it is the page. Never leaves the restricted zone."""
        return self.returns / council / f"summary-{cohort}.json"

    def row_history(self, cohort: str) -> Path:
        """When each row of the extracts behind returns first appeared, under keyed marks."""
        return self.returns / f"standing-{cohort}.parquet"

    def all_returns(self, cohort: str) -> list[Path]:
        """Return every file of a cohort's returns: those for services, the disclosure records and the summaries."""
        patterns = (f"*/*/{cohort}.age", f"*/told-*-{cohort}.age", f"*/summary-{cohort}.*")
        return sorted(path for pattern in patterns for path in self.returns.glob(pattern))

    @property
    def disclosures(self) -> Path:
        """Log of every return that was made or withdrawn."""
        return self.returns / "disclosures.jsonl"

    def linkage_record(self, cohort: str) -> Path:
        """Who took part in the linkage of a cohort, and which extracts its confidential tables were built from."""
        return self.linked(cohort) / "linkage_record.json"

    def release_record(self, version: str) -> Path:
        """What was fixed for each cohort of a release before its first charge."""
        return self.restricted / "releases" / f"release={version}.json"

    def release_day(self, version: str) -> Path:
        """The date that a release carries: when its bundle was first made."""
        return self.restricted / "releases" / f"day={version}.json"

    def release_made(self, version: str) -> Path:
        """Hashes of a release's inputs, and of the files that were there when it was published."""
        return self.restricted / "releases" / f"made={version}.json"

    def request_plan(self, version: str, cohort: str, family: str) -> Path:
        """The plan under which a release measures a family for tables on request."""
        return self.restricted / "releases" / f"plan={version}-{cohort}-{family}.json"

    @property
    def requests(self) -> Path:
        """Log of every table that was requested or refused."""
        return self.restricted / "requests.jsonl"

    @property
    def held(self) -> Path:
        """Bundles that were made and wait for approval before publication."""
        return self.restricted / "held"

    @property
    def first_people(self) -> Path:
        """The people whom the policy named when the first extract was ingested."""
        return self.restricted / "first_intake" / "people.json"

    @property
    def first_real_extract(self) -> Path:
        """The name of the first extract that was not synthetic."""
        return self.restricted / "first_intake" / "not_synthetic.json"

    def decision_sheet(self, version: str, stage: str) -> Path:
        """The page that people read before they approve a release."""
        return self.restricted / "decisions" / f"{version}-{stage}.html"

    def list_of_holds(self, cohort: str) -> Path:
        """The page that people read before they accept holds."""
        return self.restricted / "decisions" / f"{cohort}-holds.txt"

    def acceptance_to_sign(self, cohort: str) -> Path:
        """The file that a person signs to accept holds."""
        return self.list_of_holds(cohort).with_suffix(".request")

    def confidential(self, family: str, cohort: str) -> Path:
        """The table that a family's noise is added over, one row per unit; `children.parquet` for pupils."""
        return self.linked(cohort) / f"{FAMILIES[family].confidential_table}.parquet"

    def prepare(self) -> None:
        """Create the home folder and its zones, accessible to their owner only, whatever mode it had.

        Releases are not readable by others either: readers get a published copy (`readiness publish`). The root of a
        mounted volume that someone else owns keeps its mode; everything created inside is private. Raises
        `BeingRestored` and `MadeByLater`.
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
        """Compare with the version that last wrote to the processing log: this version does not know what a later one
        changed."""
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
        """Create a folder in the restricted zone for unfinished files; removed afterwards."""
        self.prepare()
        with scratch(self.restricted, _STAGING) as folder:
            yield folder

    def clear_half_made(self) -> None:
        """Remove the unfinished files of processes that died, in the restricted zone and beside the releases."""
        with locked(self.restricted):
            clear_scratch(self.restricted, _STAGING)
        with alone(self.release):
            pass

    @property
    def processes(self) -> Path:
        """Marks of the processes that run Dagster's jobs from the command line, including dead ones until they are
        noticed."""
        return self.dagster / "processes"
