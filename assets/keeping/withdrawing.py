"""Withdraws a part of an extract that should not have been sent, such as another council's or the wrong file.

Its rows are removed from the restricted zone, rows that they replaced come back into force, and dependent files are
rebuilt. The part's note stays, with the reason, so that its file is not read again. The ledger, stored measurements and
releases do not change: a correction needs a new release.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from pydantic import TypeAdapter

from assets.home.errors import Refused
from assets.home.home_lock import lock_home
from assets.home.paths import ExtractStore, Home
from assets.home.processing_log import Key, Processing, record
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.parts import Part, PartStore, SortedFiles, compute_moved_mac
from assets.intake.suppressions import Gone, write_without
from assets.keeping import forgetting
from privacy import row_keys
from privacy.doors.environment import get_settings
from privacy.doors.files import write_json
from privacy.doors.typed import A_REASON, is_reason
from privacy.keys import RESTRICTED, KeyProblem, KeyRing
from sources.errors import ExtractStopped
from sources.extract.landing import Landed, list_cohorts


@dataclass(frozen=True)
class _Withdrawal:
    """A withdrawal in progress, with the landing folder for the rebuild."""

    key: Key
    number: int
    reason: str
    landing: str


Withdrawn: TypeAlias = dict[tuple[ExtractStore, int], bool]
"""For each extract and part withdrawn from it: whether another part is left, and the rest was not stopped."""


def withdraw(
    landing: Path, store: ExtractStore, keys: KeyRing, number: int, reason: str
) -> tuple[Withdrawn, list[str]]:
    """Withdraw a part and, for a multi-cohort file, the parts of other cohorts from the same file.

    Returns the result for each extract, and a sentence for each cohort that a run must link again. `finish` completes
    an interrupted withdrawal. Raises what `list_parts_to_withdraw` raises, `InUse` if a run is in progress,
    `TokensUnusable` and `InvalidExpectedRows`.
    """
    home = store.home
    with lock_home(home):
        finish(home, keys)
        for place, own in list_parts_to_withdraw(store, keys, number, reason):
            record(home, Processing.WITHDRAWAL, *place.key, file_mac=own.file_mac, note=f"part {own.number}")
        # an absolute path, because another process, started elsewhere, may have to finish it
        withdrawal = _Withdrawal(store.key, number, reason, str(landing.absolute()))
        write_json(home.unfinished_withdrawal, asdict(withdrawal))
        return _finish(home, keys, withdrawal)


def open_home(home: Home, keys: Path | None = None) -> Home:
    """Finish an interrupted removal with the key set in `keys`, and return the home. Raises `InUse`.

    A part of the installation without these keys leaves it to the part that has them.
    """
    if home.is_removal_unfinished:
        try:
            ring = KeyRing.load(keys or get_settings().keys, RESTRICTED)
        except KeyProblem:
            return home
        finish(home, ring)
    return home


def finish(home: Home, keys: KeyRing) -> None:
    """Complete an interrupted removal or withdrawal. Raises what `withdraw` raises."""
    with lock_home(home):
        forgetting.finish(home, keys)
        if home.unfinished_withdrawal.exists():
            _finish(home, keys, TypeAdapter(_Withdrawal).validate_json(home.unfinished_withdrawal.read_bytes()))


def _finish(home: Home, keys: KeyRing, withdrawal: _Withdrawal) -> tuple[Withdrawn, list[str]]:
    landing, store = Path(withdrawal.landing), home.get_extract(*withdrawal.key)
    entries = list_parts_to_withdraw(store, keys, withdrawal.number, withdrawal.reason)
    for store, part in entries:
        # if the withdrawal is repeated, the first reason is kept
        _withdraw_part(store, keys, replace(part, withdrawn=part.withdrawn or withdrawal.reason))
        if part.of_several:
            # a multi-cohort file is not read again for any of its cohorts
            SortedFiles(home, store.source, store.council).close(part.file_mac)
    intake = Intake(landing, home, keys)
    done = {(store, part.number): _rebuild(landing, intake, store) for store, part in entries}
    gone = {store: _build_part_filter(keys, store, number) for store, number in done}
    not_linked = []
    for store in gone:
        not_linked += forgetting.link_again(
            store.cohort_store, keys, lambda extract: gone.get(extract, lambda own: np.zeros(len(own), bool))
        )
    home.unfinished_withdrawal.unlink()
    return done, not_linked


def list_parts_to_withdraw(
    store: ExtractStore, keys: KeyRing, number: int, reason: str
) -> list[tuple[ExtractStore, Part]]:
    """Return the part with this number and, for a multi-cohort file, the parts of other cohorts that came from it.

    Raises `Refused` if the part does not exist or the reason is not valid, and `KeyProblem` if a part was read under
    other keys.
    """
    if not is_reason(reason):
        raise Refused(f"{A_REASON}: nothing was withdrawn")
    noted = {part.number: part for part in PartStore(store).list_all() if not part.moved}
    if number not in noted:
        there = f"it has {', '.join(map(str, noted))}" if noted else "it does not come in parts"
        raise Refused(f"{store.name} has no part {number}: {there}")
    part = noted[number]
    macs = {part.file_mac, compute_moved_mac(keys, part.file_mac)}
    stores = [replace(store, cohort=cohort) for cohort in list_cohorts()] if part.of_several else [store]
    found = [(place, each) for place in stores for each in PartStore(place).list_all() if each.file_mac in macs]
    for place, each in found:
        then = each.made_under.get("keys", {})
        if any(then.get(name) != keys.fingerprints[name] for name in ("row", "tokens")):
            raise KeyProblem(f"{place.name}: part {each.number} was read under other keys: give the keys of that time")
    return found


def _withdraw_part(store: ExtractStore, keys: KeyRing, part: Part) -> None:
    """Mark a part as withdrawn, so that it is not read again, and then remove its rows."""
    parts = PartStore(store)
    parts.note(replace(part, headings={}, rules=(), rows_read=0, rows_kept=0, rows_deleted=0, rows_forgotten=0))
    holders = parts.get_files(part.kept_in).holders
    write_without(store.home, keys, holders, _build_part_filter(keys, store, part.number))
    parts.clear()
    quality = deliveries.read(store.quality)
    found = quality.parts.parts if quality and quality.parts else ()
    if not any(each.number == part.number and each.withdrawn for each in found):  # not rebuilt since
        deliveries.take_out(store)


def _build_part_filter(keys: KeyRing, store: ExtractStore, number: int) -> Gone:
    """Return the `Gone` function for the rows of a part."""
    of_extract = row_keys.derive_part_keys(keys, *store.key)
    return lambda own: np.asarray(row_keys.split_number(of_extract.find_rows(own))[0] == number)


def _rebuild(landing: Path, intake: Intake, store: ExtractStore) -> bool:
    """Ingest the parts that are left, and return whether they are in."""
    source, cohort, council = store.key
    landed = Landed(council, source, cohort, landing / council / source / cohort)
    if any(not part.moved for part in PartStore(store).list_kept()):
        return isinstance(intake.ingest_kept_parts(landed), deliveries.ExtractQuality)
    stopped = ExtractStopped(f"{landed.name}: every part of it was withdrawn; no part is in")
    intake.refuse(council, source, cohort, stopped)
    return False
