"""The record of a release: what was frozen before its first charge, the plans, and charges that bundles state.

One file per release, written once and read by every later step, so that its bundle is the same however often it is
made. Nothing here sees a true count.

Published bundles anchor the budget ledger: a charge that a bundle states but the ledger lacks blocks further charges
and releases. A ledger that was lost, replaced or restored from an old copy would hand out budget that bundles have
already spent. So would a second home, with its own ledger, that publishes to the same place as the first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from assets.home.errors import Refused
from assets.home.paths import CohortStore, Home
from assets.home.processing_log import find_last_restore
from assets.linkage.inputs import Sample, find_measuring_release
from assets.release.planning import plan_family
from ndl_export.facts.bundle_reader import Anchor, UnreadableAnchor, fetch_anchors, read_anchors
from ndl_export.facts.noisy_counts import list_plan_files
from ndl_export.facts.on_request import Further, RequestedTable
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, index_cohort_entries
from ndl_export.files.signing import compute_fingerprint, get_public_pem
from ndl_export.files.stores import open_store
from ndl_export.tables import FAMILIES
from privacy.doors import files
from privacy.doors.environment import get_settings
from privacy.keys import KeyRing
from privacy.linkage.cells import REVIEW
from privacy.linkage.review import plan_review
from privacy.release.ledger import LedgerCorrupt, StatedCharge
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, PlanError
from privacy.release.policy import Policy, Stage
from privacy.release.session import StoreError, settle
from privacy.release.statement import MeasuredCohort

WHOLE = 1.0
"""The whole of the policy's split.

After a whole release, a cohort's cap leaves too little for another: a revision spends a share, and its noise is wider.
"""


@dataclass(frozen=True)
class CohortRecord:
    """Everything frozen for one cohort of a release; `measured_in` is the release it was measured for.

    `share` is the share of the policy's split; `councils` are those that take part; `missing` has councils without
    rows, by source; `measured_from` has the MAC of the delivery of each extract (`council/source`) that the
    confidential tables were made from.

    `requested` are the requested tables with rows of the cohort, as `RequestedTable.build_document` states each;
    `on_request` are the releases that measured something for them, or a clerical review, with the families measured.
    """

    measured_in: str
    share: float = WHOLE
    councils: tuple[str, ...] = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measured_from: Mapping[str, str] = field(default_factory=dict)
    requested: tuple[dict[str, Any], ...] = ()
    on_request: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def list_measured_families(self, version: str) -> tuple[str, ...]:
        """Return the families that release `version` measures itself, whole or for requested tables, and its review."""
        own = tuple(FAMILIES) if self.measured_in == version else ()
        return (*own, *self.on_request.get(version, ()))


class ReleaseRecord(dict[str, CohortRecord]):
    """The record of release `version`: what is frozen for each of its cohorts."""

    def __init__(self, version: str, cohorts: Mapping[str, CohortRecord] = MappingProxyType({})) -> None:
        super().__init__(cohorts)
        self.version = version

    @property
    def measured(self) -> list[str]:
        """Cohorts that the release measures itself."""
        return [cohort for cohort, entry in self.items() if entry.measured_in == self.version]

    @property
    def requested(self) -> tuple[RequestedTable, ...]:
        """Requested tables of all cohorts, in the order in which they were requested."""
        found = {each["definition"]["name"]: each for entry in self.values() for each in entry.requested}
        return tuple(map(RequestedTable.from_document, found.values()))

    @property
    def answers(self) -> list[RequestedTable]:
        """Requested tables that this release is the first to publish."""
        return [table for table in self.requested if table.release == self.version]

    @property
    def releases(self) -> set[str]:
        """The release itself, and every one whose measurements it uses."""
        used = (each for entry in self.values() for each in (entry.measured_in, *entry.on_request))
        return {self.version, *used}

    def scale_policy(self, policy: Policy, cohort: str) -> Policy:
        """Return the policy with the split that the release spends."""
        return policy.scale(self[cohort].share if cohort in self else WHOLE)


_COHORT_RECORDS = TypeAdapter(dict[str, CohortRecord])


def read_record(home: Home, version: str) -> ReleaseRecord:
    """Return the record of a release; empty if it was not begun."""
    path = home.release_record(version)
    return ReleaseRecord(version, _COHORT_RECORDS.validate_json(path.read_bytes()) if path.exists() else {})


def read_fixed_record(home: Home, version: str) -> ReleaseRecord:
    """Return the record of a release. Raises `Refused` if there is none."""
    if record := read_record(home, version):
        return record
    raise Refused(
        f"release {version} was not begun in {home.root}, or its record is lost: restore"
        f" {home.release_record(version)} from a backup"
    )


def write_record(home: Home, version: str, record: Mapping[str, CohortRecord]) -> None:
    files.write_json(home.release_record(version), {each: asdict(entry) for each, entry in record.items()})


def find_plan(store: CohortStore, version: str, family: str) -> Plan:
    """Return the plan under which the release measures a family, also on request or for a review. Raises `Refused`."""
    record = read_fixed_record(store.home, version)
    # a review, and requested tables of a reused cohort, are measured under their own stored plans
    if family not in FAMILIES or record[store.cohort].measured_in != version:
        return read_request_plan(store, version, family)
    policy = record.scale_policy(store.home.load_policy(), store.cohort)
    return plan_family(family, record[store.cohort].councils, policy)


def read_published_plans(store: CohortStore, release: str) -> dict[str, Plan]:
    """Return the plan of each family under which an earlier release published a cohort. Raises `StoreError`."""
    bundle, found = store.home.release / release, {}
    for family in FAMILIES:
        try:
            names = list_plan_files(json.loads((bundle / DATAPACKAGE_FILE).read_bytes())["cohorts"])
            file = bundle / names[store.cohort, family]
        except (OSError, ValueError, KeyError):
            raise StoreError(
                f"the plan of {family}, cohort {store.cohort}, is not in {bundle}: keep earlier releases in the release"
                " directory"
            ) from None
        found[family] = _read(store, file, release)
        if store.home.open_ledger().find(store.cohort, release, family) is None:
            raise StoreError(f"the ledger has no charge of {family} of release {release}, cohort {store.cohort}")
    return found


def read_request_plans(store: CohortStore, entry: CohortRecord) -> list[tuple[str, Plan]]:
    """Return each release that measures a cohort for requested tables, with its plans. Raises `StoreError`."""
    measured = ((release, family) for release, families in entry.on_request.items() for family in families)
    return [(release, read_request_plan(store, release, family)) for release, family in measured]


def read_request_plan(store: CohortStore, release: str, family: str) -> Plan:
    """Return the plan under which a release measures a family for requested tables. Raises `StoreError`."""
    # the bundle's copy is signed; the one in the home folder serves until there is a bundle
    published = store.home.release / release / Further(store.cohort, family, release).plan_file
    return _read(store, published if published.exists() else store.get_request_plan_path(release, family), release)


def find_bundle(home: Home, version: str) -> Path:
    """Return the folder of a release's bundle, held or published. Raises `Refused`."""
    folders = [place / version for place in (home.release, home.held) if (place / version).is_dir()]
    if not folders:
        raise Refused(f"release {version} has no bundle in {home.root}: run the release first")
    return folders[0]


def keep_plan(store: CohortStore, release: str, plan: Plan) -> None:
    """Keep the plan of measurements for requested tables, until it is charged and published."""
    files.write(store.get_request_plan_path(release, plan.family.name), plan.encode_json())


def _read(store: CohortStore, path: Path, release: str) -> Plan:
    """Return a plan; if it was charged, it must be the one that the ledger recorded. Raises `StoreError`."""
    try:
        plan = Plan.from_json(path.read_bytes())
    except (OSError, PlanError):
        raise StoreError(f"{path} is no plan any more: restore it from a backup, and keep earlier releases") from None
    # every variance is computed from the plan, so under another one the intervals would be wrong
    charged = store.home.open_ledger().find(store.cohort, release, plan.family.name)
    if charged is not None and charged.entry.plan_sha256 != plan.sha256:
        raise StoreError(
            f"{path} is not the plan that the ledger recorded for release {release}, cohort {store.cohort}"
        )
    return plan


def add_review(store: CohortStore, version: str, split: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
    """Return the release that measures a cohort's review, as `CohortRecord.on_request`: an earlier one, or this one.

    In the latter case its plan is kept. `split` is what this release spends otherwise. Raises `BudgetExceeded`.
    """
    sample = Sample.read(store)
    if sample is None or not sample.is_of_links(store):
        return {}
    # a sample costs a child rho 0.02 once; later releases use what was measured of it
    if earlier := find_measuring_release(store):
        return {earlier: (REVIEW,)}
    if not store.reviewed.exists():
        return {}
    policy, ledger = store.home.load_policy(), store.home.open_ledger()
    if ledger.get_cap(store.cohort):
        ledger.check_fits(store.cohort, version, {**split, REVIEW: policy.review_rho})
    keep_plan(store, version, plan_review(sample.children, policy.review_rho, policy.delta, sample.number))
    return {version: (REVIEW,)}


def find_review(own: MeasuredCohort) -> tuple[Plan, Measurement] | None:
    """Return the newest measured review of a cohort, or None."""
    found = [(each.plan, each.measurement) for each in own.on_request if each.plan.family.name == REVIEW]
    return found[-1] if found else None


def read_published_charges(
    home: Home, keys: KeyRing | None = None, excluding: str | None = None, place: str | None = None
) -> list[StatedCharge]:
    """Return the charges stated by published bundles, except version `excluding`.

    Bundles are read from the release directory and the `place` of publication, by default that of the settings. Without
    `keys`, it does not check who signed the bundles. Raises `LedgerCorrupt` if another
    installation did, `UnreadableAnchor`, and `StoreError` if the place of publication cannot be read.
    """
    place = place or get_settings().publish_to
    anchors = [*read_anchors(home.release, excluding), *(fetch_anchors(open_store(place)) if place else ())]
    if keys is not None:
        _check_signed(anchors, compute_fingerprint(get_public_pem(keys.signing_key)))
    return list_stated_charges(anchors)


def settle_charges(store: CohortStore, keys: KeyRing | None = None) -> None:
    """Finish what dead processes left (`privacy.release.session.settle`). Raises as it and `read_published_charges`."""
    published = partial(read_published_charges, store.home, keys)
    settle(store.home.open_ledger(), store.home.restricted, store.cohort, published)


def check_known(home: Home, anchors: Sequence[Anchor]) -> None:
    """Raise `LedgerCorrupt` unless the ledger has these charges and one key signed all bundles."""
    signed = [anchor.fingerprint for anchor in anchors if anchor.fingerprint]
    _check_signed(anchors, next(iter(signed), None))
    if not home.has_ledger:
        raise LedgerCorrupt(f"there is no ledger at {home.ledger}: restore it from a backup; nothing is published")
    home.open_ledger().check_known(list_stated_charges(anchors))


def explain_unconfirmed_ledger(home: Home, excluding: str | None = None) -> str:
    """Return why charges may be missing from the ledger; empty if nothing suggests it, or people have signed since."""
    ledger, restored = home.open_ledger(), find_last_restore(home)
    signed = [each.request for each in home.read_sign_offs().approvals if each.request["stage"] == Stage.MEASUREMENT]
    here = {"place": ledger.find_place(), "restored": restored.entry_hash if restored else ""}
    if any(here.items() <= request.items() and request["release"] != excluding for request in signed):
        return ""
    if restored:
        why = f"This home was restored on {restored.time[:10]} ({restored.note})."
    elif any(request.get("place") != here["place"] for request in signed):
        why = "This ledger is a copy, or was moved: earlier signatures were given for it at another place."
    else:
        return ""
    return (
        f"{why} Anything that was measured elsewhere since, and is in no bundle found here, is missing from the ledger:"
        " it would be drawn and paid for a second time. Sign only if you know that nothing was."
    )


def list_stated_charges(anchors: Sequence[Anchor]) -> list[StatedCharge]:
    """Return the charge of each family of each bundle. Raises `UnreadableAnchor`."""
    found = []
    for anchor in anchors:
        try:
            cohorts = index_cohort_entries(anchor.statement)
            for family in anchor.statement["families"]:
                own = cohorts[family["cohort"]]
                measured_in = family.get("measured_in", own["measured_in"])
                about = (family["family"], family["plan_sha256"], family["ledger_entry"])
                signed = tuple(approval["ledger_line"] for approval in own["approvals"])
                found.append(StatedCharge(anchor.place, family["cohort"], measured_in, *about, signed))
        except (KeyError, TypeError):
            raise UnreadableAnchor(
                f"{anchor.place}: its privacy statement does not say what it was charged; put back a copy of the bundle"
                " as it was published"
            ) from None
    return found


def _check_signed(anchors: Sequence[Anchor], key: str | None) -> None:
    for anchor in anchors:
        if anchor.fingerprint not in (None, key):
            raise LedgerCorrupt(
                f"{anchor.place} is signed with another key than this installation's: it comes from another home, whose"
                " ledger counts what it cost. Publish from there, or put the right signing key and ledger back; until"
                " then nothing is charged or published"
            )
