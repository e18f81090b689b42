"""Builds the requests that people sign: all that decides what is about to be measured, published or withdrawn."""

import json
from dataclasses import asdict

from assets.home.errors import Refused
from assets.home.paths import Home
from assets.home.processing_log import find_last_restore
from assets.home.signers import open_signature_log
from assets.linkage.inputs import hash_file, read_complete_record, read_link_parameters
from assets.release.holds import read_state
from assets.release.planning import plan_family
from assets.release.record import CohortRecord
from assets.release.release import CohortRelease, Release
from assets.release.taken_extracts import hash_expectations
from ndl_export.bundle.make import hash_sums
from ndl_export.bundle.release_directory import check_reason
from ndl_export.tables import FAMILIES
from privacy.linkage.cells import REVIEW
from privacy.release.canonical import encode_canonical_json, hash_json
from privacy.release.policy import Stage
from privacy.release.signed_lines import WITHDRAWAL, Request


def build_people_request(home: Home) -> Request:
    """Return the request that replaces the recorded people with those of the policy. Raises `Refused`."""
    request = open_signature_log(home).build_change_of_people()
    if request is None:
        raise Refused("the policy names the people whom the ledger records, or nobody: there is no change to sign")
    return request


def build_measurement_request(release: Release) -> Request:
    """Return the request to measure a release that was begun. Raises `Refused` and `NotLinked`."""
    home, record = release.home, release.read_begun_record()
    cohorts = {cohort: _build_cohort_part(release.get_cohort(cohort), entry) for cohort, entry in record.items()}
    # the ledger's place and last restore are signed, so that a copy or an older state of it cannot draw a second time
    restored = find_last_restore(home)
    return _build_request(
        *(release, Stage.MEASUREMENT),
        policy_sha256=home.load_policy().sha256,
        place=home.open_ledger().find_place(),
        restored=restored.entry_hash if restored else "",
        cohorts=cohorts,
    )


def build_publication_request(release: Release) -> Request:
    """Return the request to publish a bundle. Raises `Refused` and `BundleRefused`."""
    # `hash_sums` refuses a file that the sums do not name: it would be published without anybody's signature
    return _build_request(release, Stage.PUBLICATION, sha256sums=hash_sums(release.find_bundle()))


def build_withdrawal_request(release: Release, reason: str) -> Request:
    """Return the request to withdraw a release. Raises `WithdrawalRefused`."""
    return _build_request(release, WITHDRAWAL, reason=check_reason(release.home.release, release.version, reason))


def _build_cohort_part(part: CohortRelease, fixed: CohortRecord) -> dict[str, object]:
    store, version, ledger, policy = part.store, part.version, part.home.open_ledger(), part.home.load_policy()
    families = fixed.list_measured_families(version)
    # a charge that is made meanwhile needs new signatures: people sign knowing the remaining budget
    charged_before = {unit: ledger.sum_other_charges(store.cohort, version, unit) for unit in policy.accounts}
    if fixed.measured_in != version:
        charged = {family: ledger.find(store.cohort, fixed.measured_in, family) for family in families}
        on_request = {
            "requests": {each["definition"]["name"]: hash_json(each) for each in fixed.requested},
            "plans": {family: part.read_request_plan(family).sha256 for family in families},
            # the inputs of the reused measurement, identified by the ledger entry that paid for it
            "inputs": {family: charge.entry.entry_hash for family, charge in charged.items() if charge},
            "charged_besides_nano_rho": charged_before,
        }
        return {"measured_in": fixed.measured_in} | (on_request if families else {})
    linked, (parameters, children) = read_complete_record(store), read_link_parameters(store)
    # part of the signed content: a hold that is accepted later needs new signatures
    accepted = {hold.name: acceptance.signature for hold, acceptance in read_state(store.home, [store.cohort]).closed}
    expected = hash_expectations(store)
    judged: dict[str, object] = {"accepted": accepted} if accepted else {}
    # an operator who expects a tenth of the rows makes holds disappear, so people sign the expected numbers
    judged |= {"expected_rows": expected} if expected else {}
    plans = {family: plan_family(family, fixed.councils, policy.scale(fixed.share)).sha256 for family in FAMILIES}
    if REVIEW in families:
        plans[REVIEW] = part.read_request_plan(REVIEW).sha256
        judged["review"] = hash_file(store.reviewed) if store.reviewed.exists() else ""
    return judged | {
        "measured_in": version,
        "share": fixed.share,
        "missing": fixed.missing,
        "plans": plans,
        "inputs": {name: hash_json(asdict(extract)) for name, extract in linked.extracts.items()},
        "linkage": {"parameters_sha256": parameters, "published_children": children},
        "charged_besides_nano_rho": charged_before,
    }


def _build_request(release: Release, stage: str, **content: object) -> Request:
    """Return a request in the form in which it is read back from the ledger."""
    identity = release.home.open_ledger().get_identity()
    whole = {"stage": stage, "release": release.version, "ledger": identity, **content}
    request: Request = json.loads(encode_canonical_json(whole))
    return request
