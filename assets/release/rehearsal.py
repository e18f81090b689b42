"""Rehearses a release before it is charged: makes and verifies all of it from made-up counts, and throws it away.

A release that cannot be finished must not cost any budget. So everything that happens after the charge is done first,
by the same functions, in a copy of the home folder: a copy of the ledger is charged, OpenDP draws noise, and the bundle
is written, published beside the earlier ones, and verified. Only the counts differ. They follow from public sizes
(`planning.estimate_counts`); no confidential table is opened.

Nothing of a rehearsal can be published. It is in the restricted zone, signed with a key that exists only meanwhile, and
every page of it says what it is. What succeeded once is not rehearsed again until something changes that decides it.
"""

import json
import os
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home import errors
from assets.home.paths import Home
from assets.home.signers import is_demonstration
from assets.linkage.inputs import hash_file
from assets.release.bundle import announce, list_causes, make_bundle
from assets.release.holds import read_release_state
from assets.release.planning import estimate_counts
from assets.release.release import CohortRelease, Release
from assets.release.requests.register import publish_register
from ndl_export.analyst_db.build import build_database
from ndl_export.bundle.make import hash_sums, publish_held
from ndl_export.bundle.verify import verify
from ndl_export.tables import FAMILIES
from privacy import chained_log
from privacy.doors import clock, files
from privacy.keys import SIGNING_FILE, KeyRing
from privacy.release.canonical import hash_json
from privacy.release.mechanism import Counts
from privacy.release.plan import Plan
from privacy.release.session import build_measurement_path, measure_once

NOTICE = "This is a rehearsal: every figure is made up. It is not a release, and nobody has approved it."
_TEMPLATES = (".j2", ".md", ".css", ".js", ".txt", ".xml")
_REVIEWED = 25
"""Pairs in every category of a rehearsed clerical review."""


class NotReleasable(Exception):
    """A release that could not be made in its rehearsal; the message says why, and nothing was charged."""


class _Copy(Home):
    """The copy of a home folder for a rehearsal. Its ledger is always its own, whatever the settings say."""

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"


def rehearse(begun: CohortRelease) -> None:
    """Make a begun release from made-up counts, unless nothing is left to be charged or it succeeded before.

    Raises `NotReleasable`, and errors of the disk as they are.
    """
    home, version, release = begun.home, begun.version, begun.release
    due = list(_iter_due(release))
    # what is held cannot be charged: its holds come first
    if not due or read_release_state(release).open:
        return
    path, made_from = home.rehearsed(version), _hash_causes(release)
    if path.exists() and json.loads(path.read_bytes()) == made_from:
        return
    with _copy_home(release) as copy:
        try:
            _make(CohortRelease(copy.get_cohort(begun.cohort), version), due)
        except Exception as error:
            if errors.is_of_machine(error):
                raise
            why = _explain(error).replace(str(copy.root), str(home.root))
            raise NotReleasable(
                f"release {version} cannot be made, so nothing was charged. In its rehearsal: {why}"
            ) from None
    files.write_json(path, made_from)


def _iter_due(release: Release) -> Iterator[tuple[str, Plan]]:
    """Yield the cohort and plan of every measurement that the release is still to be charged for."""
    ledger, version = release.home.open_ledger(), release.version
    for cohort, entry in release.read_begun_record().items():
        for family in entry.list_measured_families(version):
            if not ledger.is_measured(cohort, version, [family]):
                yield cohort, release.get_cohort(cohort).find_plan(family)


def _make(copied: CohortRelease, due: list[tuple[str, Plan]]) -> None:
    """Charge, draw, publish and verify in the copy of the home."""
    copy, release = copied.home, copied.release
    ledger, accounts, keys = copy.open_ledger(), copy.load_policy().accounts, _make_keys(copy)
    for cohort, plan in due:
        unit = plan.family.unit
        ledger.approve(cohort, accounts[unit].cap_rho, unit=unit)
        measure_once(
            ledger,
            copy.restricted,
            cohort=cohort,
            release=copied.version,
            plan=plan,
            input_mac="rehearsal",
            count=partial(_make_up_counts, plan),
            published=tuple,
        )
    announce(release, keys, clock.today())
    unpublished = make_bundle(copied, keys, NOTICE)
    bundle = publish_held(copy.held, copy.release, copied.version, hash_sums(unpublished))
    publish_register(copy)
    build_database(copy.release)
    if not (verification := verify(bundle)).ok:
        raise NotReleasable(str(verification))


def _make_up_counts(plan: Plan) -> Counts:
    if plan.family.name in FAMILIES:
        return estimate_counts(plan)
    # a clerical review
    return {names: np.full(plan.family.get_shape(names), _REVIEWED, dtype=np.int64) for names in plan.sigmas}


def _make_keys(home: Home) -> KeyRing:
    """Return a key set that is kept nowhere, of a demonstration if the installation is one."""
    keys = KeyRing(Path(), {SIGNING_FILE: Ed25519PrivateKey.generate()}, 1)
    if is_demonstration(home):
        keys.demonstration_key = Ed25519PrivateKey.generate()
    return keys


@contextmanager
def _copy_home(release: Release) -> Iterator[Home]:
    """Yield a copy of what a release is made from, removed afterwards: records, ledger, noisy counts, releases."""
    home, version = release.home, release.version
    with home.open_staging() as folder:
        copy = _Copy(folder)
        copy.prepare()
        shutil.copytree(home.release_record(version).parent, copy.release_record(version).parent)
        for file in chained_log.list_files(home.requests):
            shutil.copy(file, copy.requests.parent)
        copy.open_ledger().restore(home.open_ledger().copy())
        # cohort and release are placeholders: only the folder above all measurements is wanted
        kept, place = (build_measurement_path(each.restricted, "c", "r", "f").parents[2] for each in (home, copy))
        for source, target in ((kept, place), (home.release, copy.release)):
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        yield copy


def _link(source: str, target: str) -> None:
    """Give a file a second name, because files of releases are only ever replaced; copy it to another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _hash_causes(release: Release) -> str:
    """Return the hash of everything that decides whether a release can be made."""
    home = release.home
    causes = list_causes(release, _make_keys(home), _TEMPLATES)
    there = {
        str(path.relative_to(home.root)): hash_file(path) if path.is_file() else path.is_dir()
        for path in [*home.release.rglob("*"), home.requests]
    }
    return hash_json(causes | {"files": there})


def _explain(error: Exception) -> str:
    """Return the message of a project's own error or, because made-up counts hide nothing, any other in full."""
    if errors.is_own(error):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename2 or error.filename}: {error.strerror}. Put back what belongs there, and run again"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno}); please report this"
