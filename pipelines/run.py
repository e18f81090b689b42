"""`readiness run`: materialises the assets in order, through the same jobs as Dagster, and shows progress."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from assets.home import retention_policy, signers, software
from assets.home.installation import Installation
from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.keeping.withdrawing import open_home
from assets.linkage.arrivals import note_landing
from assets.linkage.inputs import is_current
from assets.release import fix_release, measure
from assets.release.published_charges import settle_charges
from assets.release.release import CohortRelease
from ndl_export.analyst_db.build import is_database_current
from pipelines.commands.console import RunStopped, show_progress
from pipelines.dagster.arriving import find_still_arriving
from privacy.doors import clock
from privacy.keys import INTAKE, RELEASE
from sources.extract.landing import describe_unread_entries, has_arrivals, list_councils, list_unknown_folders
from sources.reference.cohorts import Cohort

if TYPE_CHECKING:
    from pipelines.definitions import Jobs


@dataclass(frozen=True)
class _Step:
    """A part of a run: its name, its title on the console, a check that its result is up to date, and its work."""

    name: str
    title: str
    is_current: Callable[[], bool]
    make: Callable[["Jobs"], None]


@clock.hold_day()
def run_cohort(
    folders: Installation,
    cohort: Cohort,
    version: str | None,
    options: fix_release.ReleaseOptions,
    say: Callable[[str], None],
    until: str | None = None,
) -> Path:
    """Run a cohort from landing to bundle and database, or up to the step `until`; return the bundle's folder.

    Only steps whose results are not up to date run. If all are, nothing is written and Dagster is not loaded.

    Raises `RunStopped`, also if the release is held or waits for signatures, and the project's own errors.
    `console.ENDINGS` gives the exit status of each.
    """
    home = folders.home
    with show_progress("Looking through ledger and landing"):
        home.prepare()
        open_home(home, folders.keys)
        # an intake without the signing key cannot write to the ledger: it leaves files that are recorded here
        signers.open_signature_log(home)
        release = version or fix_release.choose_release(home.get_cohort(cohort.code))
        series = fix_release.find_series(CohortRelease(home.get_cohort(cohort.code), release), options)
        measured = [Cohort(code) for code in series.measured]
        _check_ledger(folders, cohort, release, measured)
        arriving: list[str] = []
        for each in measured:
            retention_policy.check_may_be_held(each, clock.today())
            _check_landing(folders.landing, home, each)
            arriving += find_still_arriving(folders.landing, each.code)
        late = {name.partition("/")[0] for name in arriving}
        # a file that is still being written holds back only its own council
        arrived = [council for council in list_councils(folders.landing) if council not in late]
        still_written = f"{', '.join(arriving)}: still being written; run again when it has arrived whole"
        if late and not arrived:
            raise RunStopped(still_written)
        note_landing(home, folders.landing)
    for sentence in describe_unread_entries(folders.landing):
        say(f"! {sentence}")
    for code, entry in series.items():
        if entry.measured_in != release:
            spent = "only the requested tables are measured" if options.requests else "nothing is spent"
            say(f"Cohort {code}: the noisy counts of release {entry.measured_in}, used again; {spent}")
    steps = [
        *(step for each in measured for step in _iter_cohort_steps(folders, each, arrived, len(measured) > 1)),
        _build_release_step(folders, cohort, release, options, spends=bool(measured or options.requests)),
    ]
    if until is not None:
        # up to the last step of that name, because each cohort of a series has one
        steps = steps[: max(number for number, step in enumerate(steps, 1) if step.name == until)]
    # a late extract changes the linkage and everything after it, so these wait for the next run
    _run_steps(folders, [step for step in steps if not late or step.name == "intake"], say)
    if late:
        raise RunStopped(f"{still_written}. The extracts of the other councils were taken in")
    if until is None:
        for each in measured:
            part = CohortRelease(home.get_cohort(each.code), release)
            later = fix_release.describe_later_deliveries(part, arrived)
            if later:
                say(f"! {later}")
    return home.release / release


def _run_steps(folders: Installation, steps: Sequence[_Step], say: Callable[[str], None]) -> None:
    """Run the steps whose results are not up to date, in order; all steps if a process died during its work."""
    home = folders.home
    # done here and not in the steps, because on a night without deliveries no step runs
    home.clear_half_made()
    died = any(home.processes.glob("*"))
    with ExitStack() as opened:
        jobs: Jobs | None = None
        for number, step in enumerate(steps, 1):
            say(f"[{number}/{len(steps)}] {step.title}")
            started = time.monotonic()
            with show_progress(f"      {step.title.partition(':')[0]}", in_lines=True):
                current = not died and _is_current(step)
                if not current:
                    if jobs is None:
                        with software.pause_garbage_collection():
                            from pipelines.definitions import open_jobs

                            jobs = opened.enter_context(open_jobs(folders))
                    step.make(jobs)
            say("      unchanged" if current else f"      done in {time.monotonic() - started:.1f} s")


def _is_current(step: _Step) -> bool:
    """Check whether a step's result is up to date. An unreadable result is not, and the step itself reports why."""
    try:
        return step.is_current()
    except Exception:
        return False


def _check_ledger(folders: Installation, cohort: Cohort, release: str, measured: Sequence[Cohort]) -> None:
    """Check the ledger before intake and linkage rather than after, if something is to be charged.

    Raises the errors of `settle_charges`.
    """
    home, ledger = folders.home, folders.home.open_ledger()
    # a repeated release charges nothing, so its ledger need not be fit for a charge
    if {each.code for each in measured} - ledger.list_charged_cohorts(release):
        keys = folders.load_keys(RELEASE)
        settle_charges(home.get_cohort(cohort.code), keys)


def _iter_cohort_steps(
    folders: Installation, cohort: Cohort, arrived: Sequence[str], among_others: bool
) -> Iterator[_Step]:
    """Yield the intake of a cohort for the councils whose extracts have `arrived`, and its linkage."""
    home, landing, councils = folders.home, folders.landing, list_councils(folders.landing)
    about = f" of {cohort.code}" if among_others else ""

    @cache
    def find_needing_intake() -> list[str]:
        # cached, because the check and the work both ask, and each would hash every file in landing
        return Intake(landing, home, folders.load_keys(INTAKE)).list_needing_intake(cohort.code, arrived)

    yield _Step(
        "intake",
        f"Intake{about}: read, check, pseudonymise",
        lambda: not find_needing_intake(),
        # after a process died the step runs even if no extract needs it
        lambda jobs: jobs.run_intake(find_needing_intake() or arrived, cohort.code),
    )
    yield _Step(
        "linkage",
        f"Linkage{about}: who is who, without names",
        lambda: is_current(home.get_cohort(cohort.code), councils),
        lambda jobs: jobs.execute("linkage", {"partition_key": cohort.code}),
    )


def _build_release_step(
    folders: Installation, cohort: Cohort, version: str, options: fix_release.ReleaseOptions, *, spends: bool
) -> _Step:
    home, part = folders.home, CohortRelease(folders.home.get_cohort(cohort.code), version)
    what = "charge the budget, add noise, write bundle and database" if spends else "write bundle and database"
    return _Step(
        "release",
        f"Release {version}: {what}",
        lambda: (
            measure.is_release_current(part, folders.load_keys(RELEASE), options) and is_database_current(home.release)
        ),
        lambda jobs: jobs.run_release(cohort.code, version, options),
    )


def _check_landing(landing: Path, home: Home, cohort: Cohort) -> None:
    """Raise `RunStopped` if the extracts of a cohort cannot be taken in."""
    if not landing.is_dir():
        raise RunStopped(f"landing folder {landing} does not exist")
    if list_unknown_folders(landing):
        raise RunStopped(
            f"{'; '.join(describe_unread_entries(landing))}. Names of councils are those of"
            " sources/reference/places.csv"
        )
    if not list_councils(landing):
        raise RunStopped(f"{landing} has no council's folder; extracts lie in <council>/<source>/<cohort>.csv")
    if not has_arrivals(landing, cohort.code) and not home.get_cohort(cohort.code).any_taken:
        raise RunStopped(f"{landing} has no extract of cohort {cohort.code}")
