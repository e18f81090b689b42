"""Makes a release's bundle from stored measurements, for its publication and for its rehearsal."""

import datetime as dt
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from assets.home.signers import is_demonstration
from assets.release.noise_workload import compute_noise_covariance
from assets.release.record import CohortRecord
from assets.release.release import CohortRelease, Release
from assets.release.tabulate import MeasuredRelease, tabulate_what_was_sent
from ndl_export.bundle.make import write_bundle
from ndl_export.bundle.release_directory import announce_upcoming
from ndl_export.facts import release_facts as facts
from ndl_export.facts.directory_files import Announced, read_calendar
from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.facts.on_request import OnRequest, RequestMeasurement
from ndl_export.pages.number_format import join_parts
from ndl_export.tables import FAMILIES
from ndl_export.tables.model import COUNCIL
from privacy.doors import clock, files
from privacy.doors.environment import get_settings
from privacy.doors.program import compute_program_sha256
from privacy.keys import KeyRing
from privacy.release import statement
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.policy import Stage
from privacy.release.session import read_stored_measurement
from privacy.release.statement import MeasuredCohort, MeasuredOnRequest
from sources.reference.source_titles import SOURCE_TITLES


def make_bundle(part: CohortRelease, keys: KeyRing, notice: str = "") -> Path:
    """Make the bundle and return its folder: among the held bundles, or the published one if there is one already.

    Every page begins with the `notice`, if any, and the publisher's own.
    """
    home, version, release = part.home, part.version, part.release
    fixed, policy = release.read_begun_record(), part.load_policy()
    measured = [_collect_cohort(release.get_cohort(cohort), fixed[cohort]) for cohort in fixed]
    # from the plans, because other councils may have taken part in an earlier cohort of the series
    took_part = {own.cohort: own.plans["pupil"].family.get_attribute(COUNCIL).categories for own in measured}
    everyone = sorted({council for each in took_part.values() for council in each})
    missing = {}
    for own in measured:
        stated = Release(home, own.release).read_begun_record()[own.cohort].missing
        # councils that took no part in the cohort sent nothing for it
        absent = set(everyone) - set(took_part[own.cohort])
        lacking = {**stated, **{source: tuple(sorted({*stated.get(source, ()), *absent})) for source in SOURCE_TITLES}}
        missing[own.cohort] = {source: names for source, names in lacking.items() if names}
    sent, tables = tabulate_what_was_sent(
        MeasuredRelease(measured, everyone, policy.reliability, missing, fixed.requested)
    )
    signed = home.read_sign_offs()
    approvals = {each: signed.list_allowed(Stage.MEASUREMENT, each) for each in fixed.releases}
    record = statement.build_privacy_record(
        measured, home.open_ledger().list_entries(), policy, release=version, approvals=approvals
    )
    day = find_release_day(release, clock.today())
    published_by = get_publisher(release, keys)
    record["deployment"] = statement.build_deployment(record, day.day, [published_by.name], published_by.address)
    record["registry"] = statement.build_registry_entry(record["deployment"])
    to_publish = facts.ReleaseFacts(
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
        **published_by.model_dump(exclude={"name", "notice"}),
        notice=join_parts(notice, published_by.notice),
        thresholds=facts.Thresholds(**asdict(policy.reliability)),
        missing=sent.missing,
        noise_covariance=compute_noise_covariance(measured, sent.missing),
        on_request=OnRequest(
            fixed.requested,
            {
                RequestMeasurement(own.cohort, each.plan.family.name, each.release): NoisyCounts(
                    each.plan.encode_json(), each.measurement.noisy
                )
                for own in measured
                for each in own.on_request
            },
        ),
    )
    return write_bundle(home.release, to_publish, tables, keys.signing_key, held_in=home.held)


def _collect_cohort(part: CohortRelease, entry: CohortRecord) -> MeasuredCohort:
    """Return a cohort's measurements, made for this or an earlier release, and those for requested tables."""
    home, ledger, origin = part.home, part.home.open_ledger(), entry.measured_in
    if origin == part.version:
        plans = {family: part.find_plan(family) for family in FAMILIES}
    else:
        plans = CohortRelease(part.store, origin).read_published_plans()

    def read_drawn(release: str, plan: Plan) -> Measurement:
        return read_stored_measurement(ledger, home.restricted, cohort=part.cohort, release=release, plan=plan)

    on_request = []
    for release, plan in part.read_request_plans(entry):
        # other requested tables followed from earlier counts
        names = tuple(each["definition"]["name"] for each in plan.detail["requests"])
        on_request.append(MeasuredOnRequest(release, plan, read_drawn(release, plan), names))
    measurements = {family: read_drawn(origin, plan) for family, plan in plans.items()}
    return MeasuredCohort(part.cohort, origin, plans, measurements, tuple(on_request))


# intake and linkage are left out: a bundle is made from stored measurements, whatever made the tables
_CODE = ("assets/release", "ndl_export", "privacy", "sources/reference")
_LIBRARIES = ("numpy", "opendp", "pyarrow", "scipy")


def list_causes(release: Release, keys: KeyRing, templates: tuple[str, ...] = ()) -> dict[str, object]:
    """Return, JSON-ready, what decides a release's bundle besides its measurements and the releases before it.

    `templates` are suffixes of files that count as part of the program, beside code and data files.
    """
    return {
        "records": {
            version: {cohort: asdict(entry) for cohort, entry in Release(release.home, version).read_record().items()}
            for version in release.read_record().releases
        },
        "policy": release.home.load_policy().sha256,
        "publisher": get_publisher(release, keys).model_dump(),
        "calendar": [(each.version, str(each.date)) for each in read_calendar(get_settings().calendar)],
        "program": compute_program_sha256(_CODE, _LIBRARIES, templates),
    }


def get_publisher(release: Release, keys: KeyRing) -> facts.Publisher:
    """Return the publisher of the release. Raises `InvalidPublisher`."""
    found = facts.load_publisher(demonstration=_is_demonstration(release, keys))
    # the notice begins every page, document and description of a release
    notice = " ".join(filter(None, (found.notice, clock.SIMULATION)))
    day = read_day(release)
    return found.model_copy(update={"notice": notice}) if day and day.simulated else found


@dataclass(frozen=True)
class Day:
    """The publication day of a release, such as 2026-11-26, and whether it was announced and is simulated."""

    day: str
    announced: bool = False
    simulated: bool = False


def read_day(release: Release) -> Day | None:
    """Return the stored publication day of a release, if it has one."""
    path = release.home.release_day(release.version)
    return Day(**json.loads(path.read_bytes())) if path.exists() else None


def find_release_day(release: Release, today: dt.date) -> Day:
    """Return and store the announced day or, if none or an earlier one was announced, the day of the first bundle.

    No day is before that of an older release, even if the clock was put back.
    """
    home, version, kept = release.home, release.version, read_day(release)
    published = release.bundle / facts.DATAPACKAGE_FILE
    # a changed calendar counts only until the publication is signed
    if kept and (published.exists() or home.read_sign_offs().list_allowed(Stage.PUBLICATION, version)):
        return kept
    # a kept day may be an announced one that is still to come
    made = min(dt.date.fromisoformat(kept.day), today) if kept else today
    older = (Release(home, str(other)) for other in facts.list_versions(home.release) if other < release.number)
    made = max([made, *(dt.date.fromisoformat(day.day) for each in older if (day := read_day(each)))])
    days = (each.date for each in read_calendar(get_settings().calendar) if each.version == version and each.date)
    announced = next((day for day in days if day >= made), None)
    simulated = clock.is_simulated() or (kept is not None and kept.simulated)
    found = Day((announced or made).isoformat(), announced is not None, simulated)
    if found != kept:
        files.write_json(home.release_day(version), asdict(found))
    return found


def announce(release: Release, keys: KeyRing, today: dt.date) -> None:
    """Announce to readers what the calendar says or, in a demonstration without one, a release a year later."""
    path, folder = get_settings().calendar, release.home.release
    if path:
        announce_upcoming(folder, read_calendar(path), today)
    elif _is_demonstration(release, keys):
        newest = max([release.number, *facts.list_versions(folder)])
        later = facts.Version(newest.year + 1, newest.month, 0)
        announce_upcoming(folder, [Announced(str(later), None)], today)


def _is_demonstration(release: Release, keys: KeyRing) -> bool:
    """Return whether a demonstration's key signs the release, or signed the measurement of any of its cohorts."""
    if keys.demonstration_key and is_demonstration(release.home):
        return True
    signed, measured_for = release.home.read_sign_offs(), release.read_record().releases
    allowed = (each for version in measured_for for each in signed.list_allowed(Stage.MEASUREMENT, version))
    return any(each.is_demonstration for each in allowed)
