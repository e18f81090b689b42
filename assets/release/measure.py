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
from assets.home.paths import CohortStore, Home
from assets.home.processing_log import Processing, record
from assets.linkage.inputs import hash_file, read_delivery_macs
from assets.linkage.population_overlap import set_baseline
from assets.release import record as records
from assets.release.bundle import announce, list_causes, make_bundle
from assets.release.fix_release import ReleaseOptions, check_options, fix_release, is_measured
from assets.release.rehearsal import rehearse
from assets.release.requests.register import check_same_table, publish_register
from assets.release.sign_off import check_measurement, check_publication, publish_approved
from ndl_export.facts import release_facts as facts
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
    store: CohortStore, keys: KeyRing, version: str, councils: Sequence[str], options: ReleaseOptions
) -> dict[tuple[str, str], Measurement]:
    """Begin a release and measure, or read back, the families of its own cohorts and additions for requested tables."""
    check_options(store, version, options)
    with lock_cohorts(store.home, {store.cohort, *options.others}):
        # an open charge of a dead process counts against the cap until it is given back, so this precedes every check
        if not all(is_measured(store.home.get_cohort(each), version) for each in {store.cohort, *options.others}):
            records.settle_charges(store, keys)
        fix_release(store, version, councils, options)
        rehearse(store, version)
        record = records.read_record(store.home, version)
        made = {
            (each, family): measure_family(store.home.get_cohort(each), keys, family, version)
            for family in (*FAMILIES, REVIEW)
            for each, entry in record.items()
            if family in entry.list_measured_families(version)
        }
        for each in record.measured:
            own = store.home.get_cohort(each)
            # later deliveries are compared with what people signed for: a wrong file sent twice would otherwise be
            # compared with itself, and a series of small steps would never leave the bounds
            if record[each].measured_from == read_delivery_macs(own, record[each].councils):
                set_baseline(own)
        return made


@with_removals_blocked
@with_cohort_lock
def measure_family(store: CohortStore, keys: KeyRing, family: str, version: str) -> Measurement:
    """Charge the ledger and draw the noise of one family, or read back what the same release drew before.

    Once drawn, it is read back whatever has arrived since. Raises what
    `measure_once` raises, `WaitsForApproval`, `Damaged`, and `Refused` for a table on request.
    """
    fixed, ledger = records.read_fixed_record(store.home, version), store.home.open_ledger()
    # read once: the policy file may be replaced between two readings, and the signed policy must be the one used
    policy, plan = store.home.load_policy(), records.find_plan(store, version, family)
    # a committed charge was signed for, and reading its measurement back draws nothing
    if ledger.is_measured(store.cohort, version, [family]):
        return read_stored_measurement(ledger, store.home.restricted, cohort=store.cohort, release=version, plan=plan)
    approved = check_measurement(store, keys, version, policy, plan)
    unit = plan.family.unit
    ledger.approve(store.cohort, policy.accounts[unit].cap_rho, approved, unit=unit)
    # logged before the table is opened: a line of the processing log precedes what it describes
    record(store.home, Processing.MEASUREMENT, cohort=store.cohort, release=version, note=family)
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
        store.home.restricted,
        cohort=store.cohort,
        release=version,
        plan=plan,
        input_mac=mac,
        count=counted.result,
        published=lambda: records.read_published_charges(store.home, keys),
    )


@with_cohort_lock
def publish_bundle(store: CohortStore, keys: KeyRing, version: str) -> Path:
    """Write, sign and, once people have approved it, publish a release's bundle; return its folder.

    It is made from stored measurements, and not remade if it is current. Raises `WaitsForApproval`, keeping the bundle.
    """
    facts.Version.parse(version)
    announce(store.home, keys, version, clock.today())
    if not is_bundle_current(store.home, keys, version):
        ledger = store.home.open_ledger()
        # a lost, new or old ledger must not publish beside bundles that it does not know
        ledger.check_known(records.read_published_charges(store.home, keys, excluding=version))
        # a bundle that is already published is written again only if its publication was approved
        check_publication(store.home, version)
        made = make_bundle(store, keys, version)
        if made.parent != store.home.release:
            publish_approved(store, keys, version)
        # the release may answer requests, and the register lists what was charged
        publish_register(store.home)
    return store.home.release / version


_MADE_BY_ITSELF = ".duckdb"
"""Suffix of files that themselves record what they were made from."""


def is_release_current(store: CohortStore, keys: KeyRing, version: str, options: ReleaseOptions) -> bool:
    """Return whether the release has the requested options, and nothing has changed since it was published."""
    record = records.read_record(store.home, version)
    if store.cohort not in record or (options.share is not None and options.share != record[store.cohort].share):
        return False
    if not set(options.requests) <= {table.name for table in record.requested}:
        return False
    if not all(is_measured(store.home.get_cohort(each), version) for each in record.measured):
        return False
    return is_bundle_current(store.home, keys, version)


def is_bundle_current(home: Home, keys: KeyRing, version: str) -> bool:
    """Return whether a bundle and files beside it are as verified, would be made the same again, and are paid for."""
    path = home.release_made(version)
    if not path.exists() or not (home.release / version).is_dir():
        return False
    if json.loads(path.read_bytes()) != _hash_release(home, keys, version):
        return False
    # even if nothing changed here: another home may have published to the same place since
    home.open_ledger().check_known(records.read_published_charges(home, keys))
    return True


def note_sound(home: Home, keys: KeyRing, version: str) -> None:
    """Keep hashes of a verified bundle and of the files next to it, for `is_bundle_current` to compare with."""
    files.write_json(home.release_made(version), _hash_release(home, keys, version))


def _hash_release(home: Home, keys: KeyRing, version: str) -> dict[str, object]:
    """Return hashes of everything that decides a release, and of its measurements and published files, by path."""
    ledger = home.open_ledger()
    decides = list_causes(home, keys, version) | {
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
