"""Measures a cohort's confidential tables once, and turns stored measurements into a published bundle.

This is the only path from the restricted zone to the release zone. Only noisy integers charged to the ledger pass.

Hashes of the bundle and of everything that decides it are kept once it is verified. A release that is up to date is not
made again, because the result would be the same bytes.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from assets.home.errors import check_readable
from assets.home.home_lock import lock_cohorts, with_cohort_lock, with_removals_blocked
from assets.home.processing_log import Processing, record
from assets.linkage.inputs import hash_file, read_delivery_macs
from assets.linkage.population_overlap import set_baseline
from assets.release.bundle import announce, list_causes, make_bundle
from assets.release.fix_release import ReleaseOptions, check_options, fix_release
from assets.release.published_charges import read_published_charges, settle_charges
from assets.release.rehearsal import rehearse
from assets.release.release import CohortRelease, Release
from assets.release.requests.register import check_same_table, publish_register
from assets.release.sign_off import check_measurement, check_publication, publish_approved
from ndl_export.facts.release_facts import Version
from ndl_export.files.signing import compute_fingerprint, get_public_pem
from ndl_export.tables import FAMILIES
from privacy.doors import clock, files
from privacy.keys import KeyRing
from privacy.linkage.cells import REVIEW
from privacy.release.canonical import hash_json
from privacy.release.child_table import compute_input_mac, count_cells
from privacy.release.mechanism import Measurement
from privacy.release.session import build_measurement_path, measure_once, read_stored_measurement


@with_removals_blocked
def measure_release(
    begun: CohortRelease, keys: KeyRing, councils: Sequence[str], options: ReleaseOptions
) -> dict[tuple[str, str], Measurement]:
    """Begin a release and measure, or read back, the families of its own cohorts and additions for requested tables."""
    check_options(begun, options)
    release, cohorts = begun.release, {begun.cohort, *options.others}
    with lock_cohorts(begun.home, cohorts):
        # an open charge of a dead process counts against the cap until it is given back, so this precedes every check
        if not all(release.get_cohort(cohort).is_measured for cohort in cohorts):
            settle_charges(begun.store, keys)
        fix_release(begun, councils, options)
        rehearse(begun)
        record = release.read_record()
        measurements = {
            (cohort, family): measure_family(release.get_cohort(cohort), keys, family)
            for family in (*FAMILIES, REVIEW)
            for cohort, entry in record.items()
            if family in entry.list_measured_families(release.version)
        }
        for cohort in record.measured:
            store, entry = begun.home.get_cohort(cohort), record[cohort]
            # later deliveries are compared with what people signed for: a wrong file sent twice would otherwise be
            # compared with itself, and a series of small steps would never leave the bounds
            if entry.measured_from == read_delivery_macs(store, entry.councils):
                set_baseline(store)
        return measurements


@with_removals_blocked
@with_cohort_lock
def measure_family(part: CohortRelease, keys: KeyRing, family: str) -> Measurement:
    """Charge the ledger and draw the noise of one family, or read back what the same release drew before.

    Once drawn, it is read back whatever has arrived since. Raises what
    `measure_once` raises, `WaitsForApproval`, `Damaged`, and `Refused` for a table on request.
    """
    home, store, version = part.home, part.store, part.version
    fixed, ledger = part.release.read_begun_record(), home.open_ledger()
    # read once: the policy file may be replaced between two readings, and the signed policy must be the one used
    policy, plan = home.load_policy(), part.find_plan(family)
    # a committed charge was signed for, and reading its measurement back draws nothing
    if ledger.is_measured(store.cohort, version, [family]):
        return read_stored_measurement(ledger, home.restricted, cohort=part.cohort, release=version, plan=plan)
    approved = check_measurement(part, keys, policy, plan)
    unit = plan.family.unit
    ledger.approve(store.cohort, policy.accounts[unit].cap_rho, approved, unit=unit)
    # logged before the table is opened: a line of the processing log precedes what it describes
    record(home, Processing.MEASUREMENT, cohort=store.cohort, release=version, note=family)
    table = store.reviewed if family == REVIEW else store.get_confidential_path(family)
    check_readable(store.root, table)
    with ThreadPoolExecutor(1) as beside:
        # the count and the MAC each pass over the whole table
        counted = beside.submit(count_cells, table, plan)
        mac = compute_input_mac(table, keys.derive_subkey("input-mac", family), plan.family.columns)
    if store.cohort not in fixed.measured:
        check_same_table(store, fixed[store.cohort].measured_in, family, mac)
    return measure_once(
        ledger,
        home.restricted,
        cohort=store.cohort,
        release=version,
        plan=plan,
        input_mac=mac,
        count=counted.result,
        published=lambda: read_published_charges(home, keys),
    )


@with_cohort_lock
def publish_bundle(part: CohortRelease, keys: KeyRing) -> Path:
    """Write, sign and, once people have approved it, publish a release's bundle; return its folder.

    It is made from stored measurements, and not remade if it is current. Raises `WaitsForApproval`, keeping the bundle.
    """
    home, release = part.home, part.release
    Version.parse(part.version)
    announce(release, keys, clock.today())
    if not is_bundle_current(release, keys):
        # a lost, new or old ledger must not publish beside bundles that it does not know
        home.open_ledger().check_known(read_published_charges(home, keys, excluding=part.version))
        # a bundle that is already published is written again only if its publication was approved
        check_publication(release)
        if make_bundle(part, keys) != release.bundle:
            publish_approved(part, keys)
        # the release may answer requests, and the register lists what was charged
        publish_register(home)
    return release.bundle


_MADE_BY_ITSELF = ".duckdb"
"""Suffix of files that themselves record what they were made from."""


def is_release_current(part: CohortRelease, keys: KeyRing, options: ReleaseOptions) -> bool:
    """Return whether the release has the requested options, and nothing has changed since it was published."""
    release, record = part.release, part.release.read_record()
    if part.cohort not in record or (options.share is not None and options.share != record[part.cohort].share):
        return False
    if not set(options.requests) <= {table.name for table in record.requested}:
        return False
    if not all(release.get_cohort(cohort).is_measured for cohort in record.measured):
        return False
    return is_bundle_current(release, keys)


def is_bundle_current(release: Release, keys: KeyRing) -> bool:
    """Return whether a bundle and files beside it are as verified, would be made the same again, and are paid for."""
    home = release.home
    path = home.release_made(release.version)
    if not path.exists() or not release.bundle.is_dir():
        return False
    if json.loads(path.read_bytes()) != _hash_release(release, keys):
        return False
    # even if nothing changed here: another home may have published to the same place since
    home.open_ledger().check_known(read_published_charges(home, keys))
    return True


def record_verified(release: Release, keys: KeyRing) -> None:
    """Keep hashes of a verified bundle and of the files next to it, for `is_bundle_current` to compare with."""
    files.write_json(release.home.release_made(release.version), _hash_release(release, keys))


def _hash_release(release: Release, keys: KeyRing) -> dict[str, object]:
    """Return hashes of everything that decides a release, and of its measurements and published files, by path."""
    home, ledger = release.home, release.home.open_ledger()
    decides = list_causes(release, keys) | {
        "ledger": [line.entry_hash for line in ledger.list_entries()[-1:]],
        "signed": [line.entry_hash for line in ledger.sign_offs()[-1:]],
        "key": compute_fingerprint(get_public_pem(keys.signing_key)),
    }
    # cohort and release are placeholders: only the folder above all measurements is wanted
    measurements, hashes = build_measurement_path(home.restricted, "c", "r", "f").parents[2], dict[str, str]()
    for path in chain(measurements.rglob("*"), home.release.rglob("*")):
        # a link is recorded by its target: `latest` leads to a bundle whose files are listed themselves
        if path.is_symlink():
            hashes[str(path.relative_to(home.root))] = f"-> {path.readlink()}"
        elif path.is_file() and path.suffix != _MADE_BY_ITSELF:
            hashes[str(path.relative_to(home.root))] = hash_file(path)
    return {"made_from": hash_json(decides), "files": hashes}
