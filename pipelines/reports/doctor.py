"""Examination of an installation: versions, settings, keys, folders, ledger, logs, clock and optional parts."""

import datetime as dt
import importlib.metadata
import os
import shutil
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from shlex import quote

import yaml
from packaging.requirements import Requirement

from assets.home.errors import describe_error
from assets.home.paths import Home
from assets.home.processing_log import Processing, read_entries, verify
from assets.home.retention_policy import InvalidRetention, get_retention
from assets.home.signers import is_demonstration
from assets.home.software import get_software_version
from assets.intake.suppressions import list_out_of_reach, read_objections
from assets.keeping.retention import find_due_items
from assets.linkage.link import estimate_run_gib
from assets.release.published_charges import explain_unconfirmed_ledger, read_published_charges
from assets.returns.accounts import check_anchored
from ndl_export.facts import directory_files, release_facts
from pipelines.release_calendar import TIMEZONE
from pipelines.reports.document import Report, write_text
from privacy.chained_log import LogBroken
from privacy.doors import clock, environment
from privacy.doors.database import get_memory_gib
from privacy.keys import DEMONSTRATION_FILE, FROM_BACKUP, PIPELINE, RELEASE, RESTRICTED, KeyProblem, KeyRing
from privacy.release.approval import describe_ignored
from privacy.release.ledger import LedgerError
from privacy.release.session import read_charges
from sources.extract.landing import describe_unread_entries, list_councils

GIB = 1 << 30
LEAST_FREE = 2 * GIB
"""Enough for a cohort of England, staged twice; a cohort of the pilot needs 0.1 GiB."""
_MODE_OF_OTHERS = 0o077
_CLOCK_TOLERANCE = dt.timedelta(minutes=5)
_OPTIONAL_MODULES = {
    "dagster_postgres": "Dagster's storage or the ledger in PostgreSQL (extra postgres)",
    "dagster_webserver": "the Dagster UI (extra ui)",
    "mbi": "synthetic children of a release (extra synthetic)",
}


INTAKE_AND_LINKAGE, RELEASES = "intake and linkage", "release"
_USES = {"intake, linkage and release": PIPELINE, INTAKE_AND_LINKAGE: RESTRICTED, RELEASES: RELEASE}
"""Uses of a key set, with the keys that each needs."""
_NEVER_AGAIN = (Processing.MEASUREMENT, Processing.FORGETTING, Processing.WITHDRAWAL)
"""Processing that a backup must cover: a measurement cannot be drawn again, and removed children would come back."""


class CheckStatus(StrEnum):
    """State of a finding.

    `missing` is something that a run needs; `look` needs a person's attention; the rest is in order or optional.
    """

    OK = "ok"
    LOOK = "look"
    MISSING = "missing"
    OPTIONAL = "optional"


Answers = Iterable[tuple[CheckStatus, str]]
"""The findings of a check: states, each with a sentence."""


@dataclass(frozen=True)
class Diagnosis:
    """One finding: what was examined, its state, and a sentence."""

    what: str
    state: CheckStatus
    sentence: str


def examine(home: Path | None = None, landing: Path | None = None, keys: Path | None = None) -> list[Diagnosis]:
    """Return every finding, in the order in which a person would fix things.

    A check that fails does not prevent the others.
    """
    usable, problems = environment.read_usable_settings()
    where = Home((home or usable.home).resolve())
    landing_folder = (landing or usable.landing).resolve()
    key_folder = (keys or usable.keys).resolve()
    part, ring, lacks = _load_usable_keys(key_folder)
    in_release = _refer_to_location("release") if part == INTAKE_AND_LINKAGE else None
    in_restricted = _refer_to_location("restricted") if part == RELEASES else None
    checks: list[tuple[str, Callable[[], Answers]]] = [
        ("Python", _check_python),
        ("libraries", _check_libraries),
        ("settings", lambda: _check_settings(usable, problems, part)),
        ("keys", lambda: _check_keys(key_folder, where, part, ring, lacks)),
        ("sign-off", lambda: in_release or _check_sign_off(key_folder, ring, where)),
        ("landing", lambda: in_restricted or _check_landing(landing_folder)),
        ("home", lambda: _check_home(where)),
        ("disk", lambda: _check_disk(where, landing_folder)),
        ("memory", lambda: in_restricted or _check_memory(landing_folder)),
        ("ledger", lambda: in_release or _check_ledger(where, usable.publish_to)),
        ("processing log", lambda: [(CheckStatus.OK, f"{len(verify(where))} lines, none changed or removed")]),
        ("disclosure log", lambda: _check_disclosures(where)),
        ("removals", lambda: _check_removals(where, key_folder)),
        ("backup", lambda: _check_backup(where)),
        ("Dagster", lambda: _check_dagster(where)),
        ("clock", lambda: _check_clock(where)),
        ("optional", lambda: _check_optional_modules(usable)),
    ]
    return [Diagnosis(what, state, sentence) for what, check in checks for state, sentence in _run_check(check)]


def _run_check(check: Callable[[], Answers]) -> Answers:
    """Yield the findings of a check, ending with the error that stopped it, if any."""
    try:
        yield from check()
    except (OSError, environment.InvalidEnvironment) as problem:
        yield CheckStatus.MISSING, f"cannot be looked at: {getattr(problem, 'strerror', None) or problem}"
    except Exception as problem:
        yield CheckStatus.MISSING, describe_error(problem)


def report(found: Sequence[Diagnosis]) -> Report:
    """Report missing parts and points for attention before everything that was examined."""
    text = write_text("installation.md.j2", found=found, software=get_software_version())
    good = all(each.state is not CheckStatus.MISSING for each in found)
    return Report("installation", text, [asdict(each) for each in found], good)


def _check_python() -> Answers:
    wanted = Requirement(f"python{importlib.metadata.metadata('readiness')['Requires-Python']}")
    version = ".".join(map(str, sys.version_info[:3]))
    state = CheckStatus.OK if wanted.specifier.contains(version) else CheckStatus.MISSING
    yield state, f"{version}, wanted {wanted.specifier}"


def _check_libraries() -> Answers:
    required = map(Requirement, importlib.metadata.requires("readiness") or ())
    # a requirement with a marker belongs to an extra
    needed = [(entry, _find_version(entry.name)) for entry in required if entry.marker is None]
    wrong = [
        f"{entry.name} {found or 'is not installed'} (wanted {entry.specifier})"
        for entry, found in needed
        if not found or not entry.specifier.contains(found, prereleases=True)
    ]
    if wrong:
        yield CheckStatus.MISSING, f"{', '.join(wrong)}: install from the lock file (make setup)"
    else:
        yield CheckStatus.OK, f"all {len(needed)} are within their ranges"


def _check_settings(
    found: environment.ProcessSettings, problems: list[environment.InvalidEnvironment], part: str
) -> Answers:
    for wrong in problems:
        yield CheckStatus.MISSING, str(wrong)
    if problems:
        return
    yield CheckStatus.OK, f"{', '.join(environment.list_set_variables()) or 'none'} set in the environment"
    for sentence in environment.list_unknown_variables():
        yield CheckStatus.LOOK, sentence
    # whether a placeholder publisher may stay depends on who signs, which another check covers
    release_facts.load_publisher(demonstration=True)
    get_retention()
    entries = directory_files.read_calendar(found.calendar)
    if part != INTAKE_AND_LINKAGE:
        for sentence in directory_files.find_calendar_gaps(entries, clock.today()):
            yield CheckStatus.LOOK, sentence


def _load_usable_keys(folder: Path) -> tuple[str, KeyRing | None, str]:
    """Return the use of a key set (empty if it has none), its keys, and what it lacks for full use."""
    lacks = ""
    # the widest use first, because people are told what the key set lacks for that
    for use, holder in _USES.items():
        try:
            return use, KeyRing.load(folder, holder), lacks
        except KeyProblem as problem:
            lacks = lacks or str(problem)
    return "", None, lacks


def _refer_to_location(location: str) -> Answers:
    """Return the finding of a check that this code location cannot make because it lacks the keys."""
    return [(CheckStatus.OPTIONAL, f"these keys are not for it: check it at the {location} location")]


def _check_keys(folder: Path, home: Home, use: str, ring: KeyRing | None, lacks: str) -> Answers:
    if not folder.is_dir():
        remedy = (
            FROM_BACKUP if home.restricted.is_dir() else f"`readiness keys create {quote(str(folder))}` makes a set"
        )
        yield CheckStatus.MISSING, f"{folder} does not exist; {remedy}"
        return
    if ring is None:
        yield CheckStatus.MISSING, lacks
    else:
        of_a_location = f" alone, as in a separate code location; for all of it on one machine: {lacks}"
        yield CheckStatus.OK, f"epoch {ring.epoch}, for {use}{of_a_location if lacks else ''}"
    yield from _check_privacy(folder)
    if folder.is_relative_to(home.root):
        yield CheckStatus.LOOK, f"{folder} lies in the home folder: a copy of that would hold both"


def _check_sign_off(folder: Path, ring: KeyRing | None, home: Home) -> Answers:
    """Yield findings on who may sign releases off: the people of the policy, or a demonstration's key."""
    if ring is not None and ring.demonstration_key is None and (folder / DEMONSTRATION_FILE).exists():
        yield CheckStatus.LOOK, f"{folder / DEMONSTRATION_FILE} is of another key set: it signs nothing here; remove it"
    policy = home.load_policy().sign_off
    today = clock.today().isoformat()
    able = [person.role for person in policy.people if person.may_sign(today)]
    needed = max(policy.persons.values())
    has_key = ring is not None and ring.demonstration_key is not None
    if not (is_alone := has_key and is_demonstration(home)):
        try:
            release_facts.load_publisher(demonstration=False)
        except release_facts.InvalidPublisher as problem:
            yield CheckStatus.MISSING if policy.people else CheckStatus.LOOK, str(problem)
    if policy.people:
        state = CheckStatus.OK if len(able) >= needed else CheckStatus.MISSING
        yield state, f"{len(able)} people may sign releases off ({', '.join(able) or 'nobody'}), {needed} must"
    elif is_alone:
        yield CheckStatus.LOOK, "a demonstration: releases are approved with a demonstration key, and say so"
    else:
        yield CheckStatus.LOOK, "the policy names nobody who may sign releases off (sign_off.people): a release waits"


def _check_landing(folder: Path) -> Answers:
    if not folder.is_dir():
        yield CheckStatus.LOOK, f"{folder} does not exist: a run of intake stops, a release alone does not"
        return
    councils = list_councils(folder)
    yield CheckStatus.OK if councils else CheckStatus.LOOK, f"{folder}: {len(councils)} councils take part"
    for sentence in describe_unread_entries(folder):
        yield CheckStatus.LOOK, sentence
    if folder.stat().st_mode & 0o007:
        yield CheckStatus.LOOK, f"everyone on this machine may look into {folder}: it holds names"


def _check_home(home: Home) -> Answers:
    there = _find_existing(home.root)
    if not os.access(there, os.W_OK | os.X_OK):
        yield CheckStatus.MISSING, f"{there} cannot be written to by this user"
        return
    if there == home.root and there.stat().st_mode & _MODE_OF_OTHERS:
        yield CheckStatus.LOOK, f"others can get into {there}: its next run closes it if it belongs to this user"
    yield CheckStatus.OK, f"{home.root} {'can be written to' if home.root.exists() else 'can be made'}"
    if home.restricted.exists():
        yield from _check_privacy(home.restricted)
    if home.restoring.exists():
        yield (
            CheckStatus.LOOK,
            "a restore is in progress or was interrupted: copy the home folder back and restore again",
        )


def _check_disk(home: Home, landing: Path) -> Answers:
    free, sent = shutil.disk_usage(_find_existing(home.root)).free, 0
    if landing.is_dir():
        sent = sum(path.stat().st_size for path in landing.rglob("*") if path.is_file())
    wanted = max(LEAST_FREE, 3 * sent)
    sentence = (
        f"{free / GIB:.1f} GiB free, {wanted / GIB:.1f} wanted (three times landing, at least {LEAST_FREE // GIB})"
    )
    yield CheckStatus.OK if free >= wanted else CheckStatus.LOOK, sentence


def _check_memory(landing: Path) -> Answers:
    # under a limit of 2 GiB the system killed the linkage of England without a word, after two minutes
    there, wanted = get_memory_gib(), estimate_run_gib(list_councils(landing) if landing.is_dir() else [])
    sentence = f"{there:.1f} GiB may be used, {wanted:.1f} wanted to link the children of the councils that take part"
    yield CheckStatus.OK if there >= wanted else CheckStatus.LOOK, sentence


def _check_privacy(folder: Path) -> Answers:
    if folder.stat().st_mode & _MODE_OF_OTHERS:
        yield CheckStatus.LOOK, f"others may look into {folder}; run: chmod 700 {quote(str(folder))}"


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest parent that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _check_ledger(home: Home, published: str | None) -> Answers:
    where = home.ledger
    shown = "PostgreSQL" if isinstance(where, str) and "://" in where else str(where)
    stated, kept = read_published_charges(home, place=published), read_charges(home.restricted)
    if not home.has_ledger:
        spent = stated or kept
        sentence = (
            "measurements or bundles are there that it must know: restore it" if spent else "the first release makes it"
        )
        yield CheckStatus.MISSING if spent else CheckStatus.OK, f"{shown} does not exist; {sentence}"
        return
    # a ledger that lacks a measurement or a bundle would refuse every charge
    ledger = home.open_ledger()
    number = len(ledger.copy().entries)
    unknown = ledger.list_unknown([*stated, *kept])
    for each in unknown:
        sentence = f"{each.place} was charged for {each.family} of release {each.release}, cohort {each.cohort}"
        yield (
            CheckStatus.MISSING,
            f"{sentence}, and the ledger does not know it: restore newer records; nothing is charged",
        )
    if not unknown:
        charged = "with the charges for every kept measurement and every bundle found"
        yield CheckStatus.OK, f"{shown}: {number} entries, unbroken, {charged}"
    if doubt := explain_unconfirmed_ledger(home):
        yield CheckStatus.LOOK, doubt
    if ignored := home.read_sign_offs().ignored:
        yield CheckStatus.LOOK, describe_ignored(ignored)
    if any(charge.end is None for charge in ledger.list_charges()):
        yield (
            CheckStatus.LOOK,
            "a charge has not ended: a run draws noise now, or one stopped and the next gives it back",
        )


def _check_disclosures(home: Home) -> Answers:
    lines = check_anchored(home)
    yield CheckStatus.OK, f"{lines} lines, none changed or removed" if lines else "no return was made here"


def _check_removals(home: Home, keys: Path) -> Answers:
    if home.is_removal_unfinished:
        yield CheckStatus.LOOK, "rows are being removed, or a removal was interrupted: `readiness run` finishes it"
    try:
        left = find_due_items(home, None, None, clock.now()).held
        if left:
            yield CheckStatus.LOOK, f"{len(left)} things are past their retention period: `readiness retention`"
    except InvalidRetention:
        return
    if not read_objections(home):
        return
    try:
        lost = list_out_of_reach(home, KeyRing.load(keys, RESTRICTED))
    except KeyProblem:
        return
    if lost:
        sentence = (
            f"{len(lost)} objections were made under other keys or versions: take in again the extracts that held"
            " the children, or object again with `readiness forget --objection` when a new delivery brings them"
        )
        yield CheckStatus.LOOK, sentence


def _check_backup(home: Home) -> Answers:
    """Yield whether data that can be lost for good has been backed up since it last changed."""
    for entry in reversed(read_entries(home)):
        if entry.what == Processing.BACKUP and not entry.note.startswith("keys"):
            yield CheckStatus.OK, f"nothing was measured or removed since that of {entry.time[:10]}"
            return
        if entry.what in _NEVER_AGAIN:
            done = "measured" if entry.what == Processing.MEASUREMENT else "removed"
            yield (
                CheckStatus.LOOK,
                f"something was {done} on {entry.time[:10]} and not backed up since: `readiness backup`",
            )
            return
    yield CheckStatus.OK, "nothing was measured or removed yet"


def _check_dagster(home: Home) -> Answers:
    own = environment.get_dagster_home()
    folder = own or home.dagster
    file = folder / "dagster.yaml"
    if not file.is_file():
        sentence = "copy the project's dagster.yaml there" if own else "`readiness run` makes it"
        yield CheckStatus.LOOK, f"{file} does not exist; {sentence}"
        return
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if content.get("telemetry", {}).get("enabled") is not False:
        yield CheckStatus.LOOK, f"{file}: telemetry is on; set telemetry: {{enabled: false}}"
    if content.get("compute_logs", {}).get("class") != "NoOpComputeLogManager":
        yield CheckStatus.LOOK, f"{file}: output of steps is kept; use the project's compute_logs"
    kind = "PostgreSQL" if "postgres" in content.get("storage", {}) else "SQLite"
    yield CheckStatus.OK, f"{folder}, storage in {kind}"


def _check_clock(home: Home) -> Answers:
    now = clock.now()
    last = []
    try:
        last += [dt.datetime.fromisoformat(entry.time) for entry in read_entries(home)[-1:]]
        if home.has_ledger:
            last += [dt.datetime.fromisoformat(entry.recorded_at) for entry in home.open_ledger().list_entries()[-1:]]
    except (LedgerError, LogBroken):
        # the checks of ledger and log report these
        pass
    behind = [time for time in last if now + _CLOCK_TOLERANCE < time]
    if behind:
        yield CheckStatus.MISSING, f"it says {now:%Y-%m-%d %H:%M} UTC, and something was recorded at {behind[0]}"
    else:
        yield CheckStatus.OK, f"{now:%Y-%m-%d %H:%M} UTC, after everything that was recorded"
    if simulated := clock.describe_simulation():
        yield CheckStatus.LOOK, simulated
    try:
        zoneinfo.ZoneInfo(TIMEZONE)
    except zoneinfo.ZoneInfoNotFoundError:
        yield CheckStatus.MISSING, f"the time zone {TIMEZONE} of the schedules is not known: install tzdata"


def _check_optional_modules(settings: environment.ProcessSettings) -> Answers:
    wanted = {"dagster_postgres": "://" in (settings.ledger or "")}
    for module, use in _OPTIONAL_MODULES.items():
        found = _find_version(module.replace("_", "-"))
        if found:
            yield CheckStatus.OK, f"{module} {found}: {use}"
        else:
            state = CheckStatus.MISSING if wanted.get(module) else CheckStatus.OPTIONAL
            yield state, f"{module} is not installed: {use}"


def _find_version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
