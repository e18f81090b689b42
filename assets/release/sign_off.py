"""The two points at which a release waits for people: before its noise is drawn, and before its bundle is published.

This module builds the requests that people sign, from what is about to be done, and checks for enough signatures
(`privacy.release.approval` decides which ones count). A measured release is read back without signatures; a
revision needs its own.
"""

import datetime as dt
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.errors import Refused
from assets.home.home_lock import lock_cohorts
from assets.home.paths import CohortStore, Home
from assets.home.signers import is_demonstration, open_signature_log
from assets.linkage.inputs import PROFILE, read_record
from assets.release.decision_sheet import get_sheet_path, write_decision_sheet, write_sheet
from assets.release.fix_release import ReleaseOptions, fix_release
from assets.release.holds import HoldState, read_release_state
from assets.release.published_charges import settle_charges
from assets.release.rehearsal import rehearse
from assets.release.release import CohortRelease, Release
from assets.release.requests.register import publish_register
from assets.release.requests_to_sign import (
    build_measurement_request,
    build_publication_request,
    build_withdrawal_request,
)
from ndl_export.bundle.make import publish_held
from ndl_export.bundle.release_directory import BundleRefused, withdraw
from ndl_export.facts import release_facts as facts
from ndl_export.files.signing import PUBLIC_KEY_FILE, load_public_key
from privacy.keys import KeyRing
from privacy.release.approval import STRANGER, MayNotSign, WaitsForApproval
from privacy.release.ledger import format_approval_note
from privacy.release.plan import Plan
from privacy.release.policy import Policy, PolicyError, Stage, format_public_key
from privacy.release.signature_log import SignatureLog
from privacy.release.signed_lines import WITHDRAWAL, Request


class WaitsForAcceptance(WaitsForApproval):
    """A release held because of what was delivered; the message says why, in bands, and which command to run."""


class NotAsSigned(Exception):
    """Published withdrawals that differ from those people have signed; the message names the releases."""


@dataclass(frozen=True)
class SignatureCount:
    """The role of a signer, and how many of the people needed have signed the same request."""

    role: str
    signed: int
    needed: int


def build_next_request(begun: CohortRelease, options: ReleaseOptions, *, publish: bool) -> Request:
    """Begin a release, charging nothing, and return what a person signs now: its measurement or its bundle."""
    release = begun.release
    if publish:
        return build_publication_request(release)
    with lock_cohorts(begun.home, {begun.cohort, *options.others}):
        # the councils as linked: signing needs only the home folder and the ledger, and landing may not be mounted
        councils = read_record(begun.store).taking_part
        settle_charges(begun.store)
        fix_release(begun, councils, options)
        if is_done(release, Stage.MEASUREMENT):
            raise Refused(f"release {release.version} has nothing left to measure: approve its bundle, with --publish")
        rehearse(begun)
        return build_measurement_request(release)


def sign_request(
    store: CohortStore, request: Request, sheet_sha256: str, by: Ed25519PrivateKey | bytes
) -> SignatureCount:
    """Record a signature in the ledger. Raises `WaitsForAcceptance` if the release is held, and `MayNotSign`."""
    log = open_signature_log(store.home)
    if request["stage"] == Stage.MEASUREMENT:
        _check_holds(CohortRelease(store, request["release"]))
    person, judgement = log.sign(request, store.cohort, sheet_sha256, by)
    return SignatureCount(person.role, len(judgement.counting), judgement.needed)


def check_read(read: str, now: str) -> None:
    """Raise `MayNotSign` unless the SHA-256 of the page that a person has read is that of the page now."""
    if read.strip().lower() != now:
        raise MayNotSign(
            f"the page is not the one that was read: its SHA-256 is now {now}. Nothing was signed: read it"
        )


def check_measurement(part: CohortRelease, keys: KeyRing, policy: Policy, plan: Plan) -> str:
    """Pass if enough people have signed what the release is about to measure; return who, for the ledger.

    `policy` and `plan` are those about to be used. Raises `PolicyError`, `WaitsForAcceptance` and `WaitsForApproval`.
    """
    log, request = open_signature_log(part.home, keys), build_measurement_request(part.release)
    if read_release_state(part.release).open:
        # written before the refusal, so that people can read what is held
        write_sheet(part.home, request)
    _check_holds(part)
    to_sign = request["policy_sha256"], request["cohorts"][part.cohort]["plans"].get(plan.family.name)
    if to_sign != (policy.sha256, plan.sha256):
        raise PolicyError("the policy changed while the release was planned. Nothing was charged: run it again")
    _require_sign_off(part.store, keys, request)
    signed = log.read().list_allowed(Stage.MEASUREMENT, part.version)
    return format_approval_note(signature.line for signature in signed)


def _check_holds(part: CohortRelease) -> None:
    """Raise `WaitsForAcceptance` if holds are open, naming them and the command that accepts them."""
    held = read_release_state(part.release)
    if held.open:
        raise WaitsForAcceptance(
            f"cohort {part.cohort} is held, and nothing was charged: {_describe_holds(part.home, held)}"
        )


def explain_holds(home: Home, request: Request) -> str:
    """Return the open holds that keep a request from being signed, and what to do; empty if there are none."""
    held = read_release_state(Release(home, request["release"])) if request["stage"] == Stage.MEASUREMENT else None
    return f"held, so it cannot be signed yet: {_describe_holds(home, held)}" if held and held.open else ""


def _describe_holds(home: Home, held: HoldState) -> str:
    """Return the first open holds, and how to accept them."""
    left = len(held.open) - _HOLDS_SHOWN
    listed = [f"{hold.sentence} ({hold.name})" for hold in held.open[:_HOLDS_SHOWN]]
    listed += [f"and {left} more"] if left > 0 else []
    folder = shlex.quote(str(home.root))
    of_cohorts = dict.fromkeys(hold.cohort for hold in held.open)
    lists = " and ".join(f"readiness accept --home {folder} --cohort {cohort}" for cohort in of_cohorts)
    return (
        f"{'; '.join(listed)}. Send the right file, or let a named person accept each hold: {lists} lists them, and"
        " accepts them with --hold NAME or --cause CAUSE"
    )


def publish_approved(part: CohortRelease, keys: KeyRing) -> Path:
    """Publish the unpublished bundle if enough people have signed it; return its folder."""
    home, release, request = part.home, part.release, build_publication_request(part.release)
    if not home.read_sign_offs().is_allowed(request, _read_release_key(release.find_bundle())):
        _require_sign_off(part.store, keys, request)
    return publish_held(home.held, home.release, release.version, request["sha256sums"])


def withdraw_approved(release: Release, keys: KeyRing | None, reason: str) -> facts.Version | None:
    """Withdraw a release if enough people have signed this; return the version that is then current, if any."""
    home, version = release.home, release.version
    request, known = build_withdrawal_request(release, reason), facts.load_withdrawals(home.release)
    if version not in known and not home.read_sign_offs().is_allowed(request):
        _require_sign_off(home.get_cohort(""), keys, request)
    signed = {(each.version, each.reason): each for each in _list_approved_withdrawals(home)}
    # a withdrawal that is repeated keeps its day and reason
    withdrawal = known.get(version) or signed[version, request["reason"]]
    return withdraw(home.release, version, withdrawal.reason, dt.date.fromisoformat(withdrawal.date))


def _list_approved_withdrawals(home: Home) -> list[facts.Withdrawal]:
    """Return the withdrawals that people have signed and that were carried out, each dated by its last signature."""
    books = home.read_sign_offs()
    return [facts.Withdrawal(request["release"], day, request["reason"]) for request, day in books.iter_withdrawals()]


def check_to_be_sent(release: Release) -> str | None:
    """Pass if people have signed the bundle and withdrawals that readers would see; return the bundle's checksum."""
    home, sums = release.home, check_publication(release)
    if not home.has_ledger:
        return None
    published, approved = facts.load_withdrawals(home.release), _list_approved_withdrawals(home)
    differing = {name for name, each in published.items() if each not in approved} | (
        {each.version for each in approved} - published.keys()
    )
    if differing:
        raise NotAsSigned(
            f"{home.release / facts.WITHDRAWN_FILE} does not say what people have signed of"
            f" {', '.join(sorted(differing))}, so nothing was sent. Remove its entry if there is one, and run:"
            f" readiness withdraw VERSION --home {shlex.quote(str(home.root))} --reason TEXT --yes"
        )
    publish_register(home)
    return sums


@dataclass(frozen=True)
class Ready:
    """A signed release that is ready to continue; `line` is the hash of its newest signature."""

    stage: Stage
    release: str
    cohort: str
    options: ReleaseOptions
    line: str


def list_ready_releases(home: Home) -> list[Ready]:
    """Return releases that enough people have signed but that are not yet measured, or not yet published."""
    signed = (each for each in open_signature_log(home).read().list_signed() if each.request["stage"] in set(Stage))
    found = []
    # a later signature replaces earlier ones of the same release, which may be on a request that has changed since
    for newest in {(each.request["stage"], each.request["release"]): each for each in signed}.values():
        stage, version = Stage(newest.request["stage"]), newest.request["release"]
        signed_release = Release(home, version).get_cohort(newest.approval.cohort)
        if not is_done(signed_release.release, stage):
            options = read_begun_options(signed_release)
            found.append(Ready(stage, version, newest.approval.cohort, options, newest.line.entry_hash))
    return found


def is_done(release: Release, stage: Stage) -> bool:
    """Return whether a bundle is published, or everything that a release measures itself is measured and paid for."""
    if stage == Stage.PUBLICATION:
        return release.bundle.exists() or not release.unpublished_bundle.is_dir()
    ledger, version = release.home.open_ledger(), release.version
    return all(
        ledger.is_measured(cohort, version, entry.list_measured_families(version))
        for cohort, entry in release.read_begun_record().items()
    )


def read_begun_options(begun: CohortRelease) -> ReleaseOptions:
    """Return the options with which a release was begun. Raises `Refused`."""
    record = begun.release.read_begun_record()
    return ReleaseOptions(
        allow_missing=any(PROFILE in entry.missing for entry in record.values()),
        share=record[begun.cohort].share,
        others=[cohort for cohort in record if cohort != begun.cohort],
        reuse=record[begun.cohort].measured_in != begun.version,
        requests=[table.name for table in record.answers],
    )


def check_publication(release: Release) -> str | None:
    """Return the checksum of the approved bundle in the release directory; None if there is none to approve."""
    home, bundle = release.home, release.bundle
    if not bundle.is_dir() or not home.has_ledger:
        return None
    try:
        request = build_publication_request(release)
    except BundleRefused:
        return None
    log, release_key = open_signature_log(home), _read_release_key(bundle)
    if not log.read().is_allowed(request, release_key):
        cohort = max(facts.index_cohort_entries(json.loads((bundle / facts.PRIVACY_RECORD_FILE).read_bytes())))
        _allow(home.get_cohort(cohort), log, request, write_sheet(home, request), None, release_key)
    return str(request["sha256sums"])


def _read_release_key(bundle: Path) -> str:
    """Return the public key that signed a bundle; people sign its checksum with those of the other files."""
    return format_public_key(load_public_key((bundle / PUBLIC_KEY_FILE).read_bytes()))


def _require_sign_off(store: CohortStore, keys: KeyRing | None, request: Request) -> None:
    log = open_signature_log(store.home, keys)
    sheet_sha256, books = write_decision_sheet(store, request).sheet_sha256, log.read()
    own = keys.demonstration_key if keys else None
    # another set's demonstration key, left beside real keys, must sign nothing
    if own and is_demonstration(store.home):
        holder = books.recorded.find_holder(format_public_key(own.public_key()))
        if holder is not STRANGER and not books.judge(request, sheet_sha256).is_enough:
            log.sign(request, store.cohort, sheet_sha256, own)
    _allow(store, log, request, sheet_sha256, keys.signing_key if keys and keys.can_sign else None)


def _allow(
    store: CohortStore,
    log: SignatureLog,
    request: Request,
    sheet_sha256: str,
    by: Ed25519PrivateKey | None,
    release_key: str | None = None,
) -> None:
    """Pass if enough people have signed; otherwise raise `WaitsForApproval` with the command to run."""
    try:
        log.allow(request, sheet_sha256, by, release_key)
    except WaitsForApproval as waiting:
        raise WaitsForApproval(f"{waiting}. {_explain_remedy(store, log, request)}") from None


def _explain_remedy(store: CohortStore, log: SignatureLog, request: Request) -> str:
    books = log.read()
    version, where = request["release"], f"--home {shlex.quote(str(store.home.root))}"
    approve, publish = f"readiness approve {where}", " --publish" if request["stage"] == Stage.PUBLICATION else ""
    command = f"{approve} --cohort {store.cohort} --release {version}{publish}"
    if request["stage"] == WITHDRAWAL:
        command = f"readiness withdraw {version} {where} --reason {shlex.quote(request['reason'])}"
    nobody = "" if books.recorded.sign_off else "name people in the policy first (sign_off.people), then "
    if nobody and (extract := books.recorded.real_extract):
        nobody = f"because this is no demonstration ({extract} is not from `readiness synth`), {nobody}"
    others = (
        "The policy names other people than the ledger records. Those recorded sign until enough of them have signed"
        f" the change: {approve} --people. "
        if log.build_change_of_people()
        else ""
    )
    sheet = get_sheet_path(store.home, request)
    return f"{others}To sign, {nobody}read {sheet} and run: {command} --sheet SHA256 --key FILE"


_HOLDS_SHOWN = 5
