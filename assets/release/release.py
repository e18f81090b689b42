"""A release and a cohort's part in it, as the home folder knows them: record, plans, bundle and charges.

`Release` and `CohortRelease` open the ledger, the policy and the files of a release; every later step takes one of
them. Nothing here sees a true count.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from assets.home.errors import Refused
from assets.home.paths import CohortStore, Home
from assets.linkage.inputs import Sample, find_measuring_release
from assets.release.planning import plan_family
from assets.release.record import CohortRecord, ReleaseRecord
from ndl_export.facts.noisy_counts import list_plan_files
from ndl_export.facts.on_request import RequestMeasurement
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, Version
from ndl_export.tables import FAMILIES
from privacy.doors import files
from privacy.linkage.cells import REVIEW
from privacy.linkage.review import plan_review
from privacy.release.plan import Plan, PlanError
from privacy.release.policy import Policy
from privacy.release.session import MeasurementStoreError


@dataclass(frozen=True)
class Release:
    """A release of an installation. `version` is as `2026.11.0`."""

    home: Home
    version: str

    @property
    def number(self) -> Version:
        """The version, to compare. Raises `InvalidVersion`."""
        return Version.parse(self.version)

    @property
    def bundle(self) -> Path:
        """Folder of the bundle once it is published."""
        return self.home.release / self.version

    @property
    def unpublished_bundle(self) -> Path:
        """Folder of the bundle while it waits for approval."""
        return self.home.held / self.version

    @property
    def charged_cohorts(self) -> set[str]:
        """Cohorts that were charged for the release."""
        return self.home.open_ledger().list_charged_cohorts(self.version)

    def get_cohort(self, code: str) -> "CohortRelease":
        return CohortRelease(self.home.get_cohort(code), self.version)

    def read_record(self) -> ReleaseRecord:
        """Return the record of the release; empty if it was not begun."""
        return ReleaseRecord.read(self.home.release_record(self.version), self.version)

    def read_begun_record(self) -> ReleaseRecord:
        """Return the record of the release. Raises `Refused` if there is none."""
        if record := self.read_record():
            return record
        raise Refused(
            f"release {self.version} was not begun in {self.home.root}, or its record is lost: restore"
            f" {self.home.release_record(self.version)} from a backup"
        )

    def write_record(self, record: Mapping[str, CohortRecord]) -> None:
        """Store the record, durably."""
        files.write_json(
            self.home.release_record(self.version), {cohort: asdict(entry) for cohort, entry in record.items()}
        )

    def find_bundle(self) -> Path:
        """Return the folder of the bundle, published or not. Raises `Refused`."""
        for folder in (self.bundle, self.unpublished_bundle):
            if folder.is_dir():
                return folder
        raise Refused(f"release {self.version} has no bundle in {self.home.root}: run the release first")


@dataclass(frozen=True)
class CohortRelease:
    """A cohort in a release: the cohort's store and the version of the release."""

    store: CohortStore
    version: str

    @property
    def home(self) -> Home:
        return self.store.home

    @property
    def cohort(self) -> str:
        """Code of the cohort."""
        return self.store.cohort

    @property
    def release(self) -> Release:
        return Release(self.home, self.version)

    def read_entry(self) -> CohortRecord | None:
        """Return what was frozen for the cohort, if it is in the release."""
        return self.release.read_record().get(self.cohort)

    def load_policy(self) -> Policy:
        """Return the policy with the split that the release spends on the cohort."""
        return self.release.read_record().scale_policy(self.home.load_policy(), self.cohort)

    @property
    def is_measured(self) -> bool:
        """True if the release measured every family of the cohort, and paid for it.

        A repeated run then needs no confidential table. Corrections since then are for the next release; rows removed
        on request are in no later release, but stay in what was published.
        """
        entry = self.read_entry()
        if entry is None or entry.measured_in != self.version:
            return False
        families = entry.list_measured_families(self.version)
        return self.home.open_ledger().is_measured(self.cohort, self.version, families)

    def find_plan(self, family: str) -> Plan:
        """Return the plan under which the release measures a family, also on request or for a review.

        Raises `Refused`.
        """
        record = self.release.read_begun_record()
        # a review, and requested tables of a reused cohort, are measured under their own stored plans
        if family not in FAMILIES or record[self.cohort].measured_in != self.version:
            return self.read_request_plan(family)
        policy = record.scale_policy(self.home.load_policy(), self.cohort)
        return plan_family(family, record[self.cohort].councils, policy)

    def read_published_plans(self) -> dict[str, Plan]:
        """Return the plan of each family under which the release published the cohort.

        Raises `MeasurementStoreError`.
        """
        bundle, plans = self.release.bundle, {}
        for family in FAMILIES:
            try:
                names = list_plan_files(json.loads((bundle / DATAPACKAGE_FILE).read_bytes())["cohorts"])
                file = bundle / names[self.cohort, family]
            except (OSError, ValueError, KeyError):
                raise MeasurementStoreError(
                    f"the plan of {family}, cohort {self.cohort}, is not in {bundle}: keep earlier releases in the"
                    " release directory"
                ) from None
            plans[family] = self._read_plan(file)
            if self.home.open_ledger().find(self.cohort, self.version, family) is None:
                raise MeasurementStoreError(
                    f"the ledger has no charge of {family} of release {self.version}, cohort {self.cohort}"
                )
        return plans

    def read_request_plan(self, family: str) -> Plan:
        """Return the plan under which the release measures a family for requested tables.

        Raises `MeasurementStoreError`.
        """
        # the bundle's copy is signed; the one in the home folder serves until there is a bundle
        published = self.release.bundle / RequestMeasurement(self.cohort, family, self.version).plan_file
        return self._read_plan(published if published.exists() else self._get_request_plan_path(family))

    def read_request_plans(self, entry: CohortRecord) -> list[tuple[str, Plan]]:
        """Return each release that measures the cohort for requested tables, with its plans.

        Raises `MeasurementStoreError`.
        """
        return [
            (version, CohortRelease(self.store, version).read_request_plan(family))
            for version, families in entry.on_request.items()
            for family in families
        ]

    def keep_plan(self, plan: Plan) -> None:
        """Keep the plan of measurements for requested tables, until it is charged and published."""
        files.write(self._get_request_plan_path(plan.family.name), plan.encode_json())

    def add_review(self, split: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
        """Return the release that measures the cohort's review, as `CohortRecord.on_request`: an earlier or this one.

        In the latter case its plan is kept. `split` is what this release spends otherwise. Raises `BudgetExceeded`.
        """
        sample = Sample.read(self.store)
        if sample is None or not sample.is_of_links(self.store):
            return {}
        # a sample costs a child rho 0.02 once; later releases use what was measured of it
        if earlier := find_measuring_release(self.store):
            return {earlier: (REVIEW,)}
        if not self.store.reviewed.exists():
            return {}
        policy, ledger = self.home.load_policy(), self.home.open_ledger()
        if ledger.get_cap(self.cohort):
            ledger.check_fits(self.cohort, self.version, {**split, REVIEW: policy.review_rho})
        self.keep_plan(plan_review(sample.children, policy.review_rho, policy.delta, sample.number))
        return {self.version: (REVIEW,)}

    def _get_request_plan_path(self, family: str) -> Path:
        return self.store.get_request_plan_path(self.version, family)

    def _read_plan(self, path: Path) -> Plan:
        """Return a plan; if it was charged, it must be the one that the ledger recorded.

        Raises `MeasurementStoreError`.
        """
        try:
            plan = Plan.from_json(path.read_bytes())
        except (OSError, PlanError):
            raise MeasurementStoreError(
                f"{path} is no plan any more: restore it from a backup, and keep earlier releases"
            ) from None
        # every variance is computed from the plan, so under another one the intervals would be wrong
        charged = self.home.open_ledger().find(self.cohort, self.version, plan.family.name)
        if charged is not None and charged.entry.plan_sha256 != plan.sha256:
            raise MeasurementStoreError(
                f"{path} is not the plan that the ledger recorded for release {self.version}, cohort {self.cohort}"
            )
        return plan
