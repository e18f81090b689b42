"""Measures a cohort's confidential tables once, and turns stored measurements into a published bundle.

This is the only path from the restricted zone to the release zone. Only noisy integers charged to the ledger pass.

Hashes of the bundle and of everything that decides it are kept once it is verified. A release that is up to date is not
made again, because the result would be the same bytes.
"""

import datetime as dt
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from assets.home.errors import check_readable
from assets.home.home_lock import lock_cohorts, with_cohort_lock, with_removals_blocked
from assets.home.paths import CohortStore, Home
from assets.home.processing_log import Processing, record
from assets.linkage.inputs import hash_file
from assets.linkage.population_overlap import set_baseline
from assets.release import record as records
from assets.release.fix_release import ReleaseOptions, check_options, fix_release, is_current
from assets.release.noise_workload import compute_noise_covariance
from assets.release.requests.register import check_same_table, publish_register
from assets.release.sign_off import check_measurement, check_publication, publish_approved
from assets.release.tabulate import MeasuredRelease, tabulate_what_was_sent
from ndl_export.bundle.make import write_bundle
from ndl_export.bundle.release_directory import announce_upcoming
from ndl_export.facts import release_facts as facts
from ndl_export.facts.directory_files import Announced, read_calendar
from ndl_export.facts.missing import SOURCES
from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.facts.on_request import Further, OnRequest
from ndl_export.files.signing import compute_fingerprint, get_public_pem
from ndl_export.tables import FAMILIES
from ndl_export.tables.model import COUNCIL
from privacy.doors import files
from privacy.doors.environment import get_settings
from privacy.doors.program import compute_program_sha256
from privacy.keys import KeyRing
from privacy.linkage.cells import REVIEW
from privacy.release import statement
from privacy.release.approval import SignOffs, is_demonstration
from privacy.release.canonical import hash_json
from privacy.release.child_table import compute_input_mac, count_cells
from privacy.release.ledger import Ledger
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.policy import Stage, load_policy
from privacy.release.session import build_measurement_path, measure_once, read_stored_measurement
from privacy.release.statement import MeasuredCohort, MeasuredOnRequest


@with_removals_blocked
def measure_release(
    store: CohortStore, keys: KeyRing, version: str, councils: Sequence[str], options: ReleaseOptions
) -> dict[tuple[str, str], Measurement]:
    """Begin a release and measure, or read back, the families of its own cohorts and additions for requested tables."""
    check_options(store, version, options)
    with lock_cohorts(store.home, {store.cohort, *options.others}):
        # an open charge of a dead process counts against the cap until it is given back, so this precedes every check
        if not all(
            is_current(store.home.get_cohort(each), version, councils) for each in {store.cohort, *options.others}
        ):
            records.settle_charges(store, keys)
        fix_release(store, version, councils, options)
        record = records.read_record(store.home, version)
        made = {
            (each, family): measure_family(store.home.get_cohort(each), keys, family, version, councils)
            for family in (*FAMILIES, REVIEW)
            for each, entry in record.items()
            if family in entry.list_measured_families(version)
        }
        for each in record.measured:
            # later deliveries are compared with what people signed for: a wrong file sent twice would otherwise be
            # compared with itself, and a series of small steps would never leave the bounds
            set_baseline(store.home.get_cohort(each))
        return made


@with_removals_blocked
@with_cohort_lock
def measure_family(
    store: CohortStore, keys: KeyRing, family: str, version: str, councils: Sequence[str]
) -> Measurement:
    """Charge the ledger and draw the noise of one family, or read back what the same release drew before.

    Raises what `measure_once` raises, `WaitsForApproval`, `Damaged`, and `Refused` for a table on request.
    """
    fixed, ledger = records.read_record(store.home, version), Ledger(store.home.ledger)
    # read once: the policy file may be replaced between two readings, and the signed policy must be the one used
    policy, plan = load_policy(), records.find_plan(store, version, councils, family)
    on_request = store.cohort in fixed and store.cohort not in fixed.measured
    if ledger.is_measured(store.cohort, version, [family]) if on_request else is_current(store, version, councils):
        return read_stored_measurement(ledger, store.home.restricted, cohort=store.cohort, release=version, plan=plan)
    charged = ledger.find(store.cohort, version, family)
    # a committed charge was signed for, and reading its measurement back draws nothing
    if charged is None or charged.end is None:
        approved = check_measurement(store, keys, version, councils, policy, plan)
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
    if on_request:
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
def publish_bundle(store: CohortStore, keys: KeyRing, version: str, councils: Sequence[str]) -> Path:
    """Write, sign and, once people have approved it, publish a release's bundle; return its folder.

    It is made from stored measurements, and not remade if it is current. Raises `WaitsForApproval`, keeping the bundle.
    """
    facts.Version.parse(version)
    announce(store.home, keys, version, dt.date.today())
    if not is_bundle_current(store.home, keys, version, councils):
        ledger = Ledger(store.home.ledger)
        # a lost, new or old ledger must not publish beside bundles that it does not know
        ledger.check_known(records.read_published_charges(store.home, keys, excluding=version))
        # a bundle that is already published is written again only if its publication was approved
        check_publication(store.home, version)
        made = _make_bundle(store, ledger, keys, version, councils)
        if made.parent != store.home.release:
            publish_approved(store, keys, version)
        # the release may answer requests, and the register lists what was charged
        publish_register(store.home)
    return store.home.release / version


def _make_bundle(store: CohortStore, ledger: Ledger, keys: KeyRing, version: str, councils: Sequence[str]) -> Path:
    """Make the bundle and return its folder: among the held bundles, or the published one if there is one already."""
    fixed = records.read_fixed_record(store.home, version)
    policy = fixed.load_policy(store.cohort)
    measured = [_measure_cohort(store.home.get_cohort(each), fixed, councils) for each in fixed]
    # from the plans, because other councils may have taken part in an earlier cohort of the series
    took_part = {own.cohort: own.plans["pupil"].family.get_attribute(COUNCIL).categories for own in measured}
    everyone = sorted({council for each in took_part.values() for council in each})
    missing = {}
    for own in measured:
        stated = records.read_fixed_record(store.home, own.release)[own.cohort].missing
        # councils that took no part in the cohort sent nothing for it
        absent = set(everyone) - set(took_part[own.cohort])
        lacking = {**stated, **{source: tuple(sorted({*stated.get(source, ()), *absent})) for source in SOURCES}}
        missing[own.cohort] = {source: names for source, names in lacking.items() if names}
    sent, tables = tabulate_what_was_sent(
        MeasuredRelease(measured, everyone, policy.reliability, missing, fixed.requested)
    )
    signed = SignOffs(ledger)
    approvals = {each: signed.list_allowed(Stage.MEASUREMENT, each) for each in fixed.releases}
    record = statement.build_privacy_record(
        measured, ledger.list_entries(), policy, release=version, approvals=approvals
    )
    day = find_release_day(store.home, version, dt.date.today())
    published_by = get_publisher(store.home, keys, version)
    record["deployment"] = statement.build_deployment(record, day.day, [published_by.name], published_by.address)
    record["registry"] = statement.build_registry_entry(record["deployment"])
    release = facts.ReleaseFacts(
        version=version,
        published_on=day.day,
        was_announced=day.announced,
        cohorts=tuple(fixed),
        councils=tuple(everyone),
        privacy_record=record,
        privacy_page=statement.render_privacy_page(record),
        noisy_counts={
            own.cohort: {
                family: NoisyCounts(plan.encode_json(), own.measurements[family].noisy)
                for family, plan in own.plans.items()
            }
            for own in measured
        },
        publisher=published_by.name,
        **published_by.model_dump(exclude={"name"}),
        thresholds=facts.Thresholds(**asdict(policy.reliability)),
        missing=sent.missing,
        noise_covariance=compute_noise_covariance(measured, sent.missing),
        on_request=OnRequest(
            fixed.requested,
            {
                Further(own.cohort, each.plan.family.name, each.release): NoisyCounts(
                    each.plan.encode_json(), each.measurement.noisy
                )
                for own in measured
                for each in own.on_request
            },
        ),
    )
    return write_bundle(store.home.release, release, tables, keys.signing_key, held_in=store.home.held)


def _measure_cohort(store: CohortStore, fixed: records.ReleaseRecord, councils: Sequence[str]) -> MeasuredCohort:
    """Return a cohort's measurements, made for this or an earlier release, and those for requested tables."""
    entry, ledger = fixed[store.cohort], Ledger(store.home.ledger)
    origin = entry.measured_in
    if origin == fixed.version:
        plans = {family: records.find_plan(store, origin, councils, family) for family in FAMILIES}
    else:
        plans = records.read_published_plans(store, origin)

    def read_drawn(release: str, plan: Plan) -> Measurement:
        return read_stored_measurement(ledger, store.home.restricted, cohort=store.cohort, release=release, plan=plan)

    on_request = []
    for release, plan in records.read_request_plans(store, entry):
        # other requested tables followed from earlier counts
        names = tuple(each["definition"]["name"] for each in plan.detail["requests"])
        on_request.append(MeasuredOnRequest(release, plan, read_drawn(release, plan), names))
    measurements = {family: read_drawn(origin, plan) for family, plan in plans.items()}
    return MeasuredCohort(store.cohort, origin, plans, measurements, tuple(on_request))


# intake and linkage are left out: a bundle is made from stored measurements, whatever made the tables
_CODE = ("assets/release", "ndl_export", "privacy", "sources/reference")
_LIBRARIES = ("numpy", "opendp", "pyarrow", "scipy")
_MADE_BY_ITSELF = ".duckdb"
"""Suffix of files that themselves record what they were made from."""


def is_release_current(
    store: CohortStore, keys: KeyRing, version: str, councils: Sequence[str], options: ReleaseOptions
) -> bool:
    """Return whether the release has the requested options, and nothing has changed since it was published."""
    record = records.read_record(store.home, version)
    if store.cohort not in record or (options.share is not None and options.share != record[store.cohort].share):
        return False
    if not set(options.requests) <= {table.name for table in record.requested}:
        return False
    if not all(is_current(store.home.get_cohort(each), version, councils) for each in record.measured):
        return False
    return is_bundle_current(store.home, keys, version, councils)


def is_bundle_current(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> bool:
    """Return whether a bundle and files beside it are as verified, would be made the same again, and are paid for."""
    path = home.release_made(version)
    if not path.exists() or not (home.release / version).is_dir():
        return False
    if json.loads(path.read_bytes()) != _hash_release(home, keys, version, councils):
        return False
    # even if nothing changed here: another home may have published to the same place since
    Ledger(home.ledger).check_known(records.read_published_charges(home, keys))
    return True


def note_sound(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> None:
    """Keep hashes of a verified bundle and of the files next to it, for `is_bundle_current` to compare with."""
    files.write_json(home.release_made(version), _hash_release(home, keys, version, councils))


def _hash_release(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> dict[str, object]:
    """Return hashes of everything that decides a release, and of its measurements and published files, by path."""
    ledger, releases = Ledger(home.ledger), records.read_record(home, version).releases
    decides = {
        "records": {
            each: {name: asdict(entry) for name, entry in records.read_record(home, each).items()} for each in releases
        },
        "councils": sorted(councils),
        "ledger": [line.entry_hash for line in ledger.list_entries()[-1:]],
        "signed": [line.entry_hash for line in ledger.sign_offs()[-1:]],
        "policy": load_policy().sha256,
        "publisher": get_publisher(home, keys, version).model_dump(),
        "calendar": [(each.version, str(each.date)) for each in read_calendar(get_settings().calendar)],
        "key": compute_fingerprint(get_public_pem(keys.signing_key)),
        "program": compute_program_sha256(_CODE, _LIBRARIES),
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


def get_publisher(home: Home, keys: KeyRing, version: str) -> facts.Publisher:
    """Return the publisher of the release. Raises `InvalidPublisher`."""
    return facts.load_publisher(demonstration=_is_demonstration(home, keys, version))


@dataclass(frozen=True)
class Day:
    """The publication day of a release, such as 2026-11-26, and whether it was announced."""

    day: str
    announced: bool = False


def find_release_day(home: Home, version: str, today: dt.date) -> Day:
    """Return and store the announced day or, if none or an earlier one was announced, the day of the first bundle."""
    path, published = home.release_day(version), home.release / version / facts.DATAPACKAGE_FILE
    kept = Day(**json.loads(path.read_bytes())) if path.exists() else None
    # a changed calendar counts only until the publication is signed
    if kept and (published.exists() or SignOffs(Ledger(home.ledger)).list_allowed(Stage.PUBLICATION, version)):
        return kept
    # a kept day may be an announced one that is still to come
    made = min(dt.date.fromisoformat(kept.day), today) if kept else today
    days = (each.date for each in read_calendar(get_settings().calendar) if each.version == version and each.date)
    announced = next((day for day in days if day >= made), None)
    found = Day((announced or made).isoformat(), announced is not None)
    if found != kept:
        files.write_json(path, asdict(found))
    return found


def announce(home: Home, keys: KeyRing, version: str, today: dt.date) -> None:
    """Announce to readers what the calendar says or, in a demonstration without one, a release a year later."""
    path = get_settings().calendar
    if path:
        announce_upcoming(home.release, read_calendar(path), today)
    elif _is_demonstration(home, keys, version):
        newest = max([facts.Version.parse(version), *facts.list_versions(home.release)])
        later = facts.Version(newest.year + 1, newest.month, 0)
        announce_upcoming(home.release, [Announced(str(later), None)], today)


def _is_demonstration(home: Home, keys: KeyRing, version: str) -> bool:
    """Return whether a demonstration's key signs the release, or signed the measurement of any of its cohorts."""
    ledger = Ledger(home.ledger)
    if keys.demonstration_key and is_demonstration(ledger, load_policy().sign_off):
        return True
    signed = SignOffs(ledger)
    measured_for = records.read_record(home, version).releases
    allowed = (each for release in measured_for for each in signed.list_allowed(Stage.MEASUREMENT, release))
    return any(each.is_demonstration for each in allowed)
