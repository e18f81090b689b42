"""What a release is held for before any charge, until a named person has accepted each hold by its name.

The rules and their bounds are in `sources.contracts.extract_rules`; those about one extract were judged when it was
taken in, those that need more than one are judged here. A hold has two sentences: one for logs and consoles, in which
every count is a band, and one for the decision sheet, which may say a sender's own numbers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from assets.home.paths import Home
from assets.home.signers import note_signers
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.linkage.arrivals import landing_seen
from assets.linkage.inputs import PROFILE, read_record, record_of_tables
from assets.linkage.replaced import replaced
from assets.release.record import fixed_record
from ndl_export.facts.missing import SOURCES
from privacy.doors import files
from privacy.doors.counts import about, rows, share_of_rows
from privacy.keys import KeyRing
from privacy.release import acceptance
from privacy.release.acceptance import Accepted, Held
from privacy.release.approval import MayNotSign, is_demonstration, signature_of
from privacy.release.canonical import sha256_hex
from privacy.release.ledger import Ledger
from privacy.release.policy import load_policy
from sources.contracts import CONTRACTS
from sources.contracts.extract_rules import (
    FAR_FROM_CENSUS,
    FAR_FROM_EXPECTED,
    FAR_FROM_LAST,
    HOLD_ABOVE,
    HOLD_BELOW,
    MANY_ROWS,
    MIN_SHARED_CHILDREN,
    MISSING,
    NOT_READ,
    OF_OTHERS,
    OTHER_CHILDREN,
    OTHER_COUNCILS,
    ROWS_OF_OTHERS,
    SMALL_TRIAL,
    STOPPED,
    share_of,
)
from sources.reference.cohorts import Cohort
from sources.reference.expected_rows import SOURCES_OF_CHILDREN
from sources.reference.places import place


class NoSuchHold(Exception):
    """Nothing of that name is held; the message lists what is."""


@dataclass(frozen=True)
class Hold:
    """One thing that a release waits for: a sentence in bands, and one with the sender's own numbers."""

    held: Held
    sentence: str
    numbers: str

    @property
    def name(self) -> str:
        """`council/source/rule`, or the folder that is not read in place of council and source."""
        return self.held.name


@dataclass(frozen=True)
class State:
    """Holds of a release, each with its acceptance where it has one that counts."""

    holds: Mapping[Held, Hold]
    accepted: Mapping[Held, Accepted]

    @property
    def open(self) -> list[Hold]:
        return [hold for held, hold in self.holds.items() if held not in self.accepted]

    @property
    def closed(self) -> list[tuple[Hold, Accepted]]:
        return [(hold, self.accepted[held]) for held, hold in self.holds.items() if held in self.accepted]


def state_of_release(home: Home, version: str) -> State:
    """Of every cohort that the release measures itself and has not charged yet. Raises `NotBegun` and `NotLinked`."""
    charged = Ledger(home.ledger).cohorts_charged(version)
    measured = [each for each, fixed in fixed_record(home, version).items() if fixed.measured_in == version]
    return state(home, [each for each in measured if each not in charged])


def state(home: Home, cohorts: Sequence[str]) -> State:
    """The same of cohorts that are linked."""
    found = {hold.held: hold for cohort in cohorts for hold in holds(home, cohort)}
    if not found:
        return State({}, {})
    accepted = acceptance.counting(Ledger(home.ledger))
    return State(found, {held: accepted[held] for held in found if held in accepted})


def named(home: Home, cohort: str, name: str) -> Hold:
    """The hold of that name; raises `NoSuchHold`."""
    found = {hold.name: hold for hold in holds(home, cohort)}
    if name not in found:
        listed = ", ".join(found) or "nothing"
        raise NoSuchHold(f"{name} is not held; of cohort {cohort}, this is: {listed}")
    return found[name]


def accept_configured(home: Home, keys: KeyRing, cohort: str, name: str, reason: str, code: str) -> None:
    """Accept a hold as the configuration of a run says: by a person's signature, as `readiness accept --for-dagster`
    prints it, or in a demonstration by its own key. Raises `NoSuchHold` and `MayNotSign`."""
    ledger, sign_off, own = note_signers(home, keys), load_policy().sign_off, keys.demonstration_key
    unsigned = acceptance.acceptance_of(ledger, named(home, cohort, name).held, reason, list_sha256(home, cohort))
    if code or (own and is_demonstration(ledger, sign_off)):
        by = signature_of(code) if code else own
        assert by is not None
        acceptance.accept(ledger, acceptance.sign(ledger, sign_off, unsigned, by)[1])
    else:
        raise MayNotSign(
            f"{name} is accepted with a person's signature: put what `readiness accept --for-dagster` prints into the"
            " configuration of the run; nothing was recorded"
        )


def list_of_holds(home: Home, cohort: str) -> bytes:
    """The page that a person reads before accepting: every hold of a cohort with the sender's own numbers, whoever has
    accepted it. Raises `NotLinked`."""
    lines = (f"{hold.name}\n  {hold.numbers}\n  {hold.held.about}\n" for hold in holds(home, cohort))
    return f"What a release of {cohort} is held for\n\n{''.join(lines)}".encode()


def list_sha256(home: Home, cohort: str) -> str:
    """Write the list of holds and return its SHA-256, which an acceptance names."""
    page = list_of_holds(home, cohort)
    files.write(home.list_of_holds(cohort), page)
    return sha256_hex(page)


def holds(home: Home, cohort: str) -> Iterator[Hold]:
    """Everything that a release of the cohort waits for, whoever has accepted it. Raises `NotLinked`."""
    councils = list(read_record(home, cohort).taking_part)
    extracts = {
        (source, council): quality
        for source in CONTRACTS
        for council in councils
        if (quality := deliveries.read(home.quality(source, cohort, council)))
    }
    trials = {source for source in SOURCES_OF_CHILDREN if _is_trial(home, source, extracts)}
    per_child = {source: _per_child(source, extracts, trials) for source in OF_OTHERS}
    for (source, council), quality in extracts.items():
        for finding in quality.holds:
            if not (finding.rule == FAR_FROM_EXPECTED.id and source in trials):
                yield _of_rows(quality, finding.rule)
        if source in per_child:
            yield from _against_others(quality, per_child[source])
        yield from _against_census(source, council, extracts)
    yield from _replaced(home, cohort, extracts)
    yield from _stopped(home, cohort, councils)
    yield from _missing(home, cohort, councils)
    for folder, (sentence, seen) in landing_seen(home).not_read.items():
        yield Hold(Held(cohort, f"{folder}/{NOT_READ.id}", seen), sentence, sentence)


_Extracts = Mapping[tuple[str, str], ExtractQuality]
"""What is in, by source and council."""


def _is_trial(home: Home, source: str, extracts: _Extracts) -> bool:
    """Whether every extract of a demonstration is far smaller than what is expected, and so made up at its own size."""
    shares = [share_of(each.rows_kept, each.rows_expected) for (of, _), each in extracts.items() if of == source]
    known = [share for share in shares if share is not None]
    small = bool(known) and max(known) < SMALL_TRIAL
    return small and is_demonstration(Ledger(home.ledger), load_policy().sign_off)


def _of_rows(quality: ExtractQuality, rule: str) -> Hold:
    """Far fewer or far more rows than the last delivery, or than are expected."""
    kept, of_last = quality.rows_kept, rule == FAR_FROM_LAST.id
    reference = quality.rows_last if of_last else quality.rows_expected
    share = about(kept / reference) if reference else "another number"
    of_what = "of the rows of the last delivery" if of_last else "of the rows that are expected"
    unit = "children" if quality.source in SOURCES_OF_CHILDREN else "rows"
    exactly = f"{kept:,} of about {reference or 0:,} {unit} {'last time' if of_last else 'that are expected'}"
    return _about_extract(quality, rule, f"{share} {of_what} ({rows(kept)})", exactly)


def _per_child(source: str, extracts: _Extracts, trials: set[str]) -> dict[str, float]:
    """Rows for each child, by council."""
    return {
        council: quality.rows_kept / children
        for (of, council), quality in extracts.items()
        if of == source and (children := _children(extracts.get((PROFILE, council)), trials))
    }


def _against_others(quality: ExtractQuality, per_child: Mapping[str, float]) -> Iterator[Hold]:
    own, others = per_child.get(quality.council), [each for of, each in per_child.items() if of != quality.council]
    if own is None or len(others) < OTHER_COUNCILS:
        return
    usual, (low, high) = median(others), OF_OTHERS[quality.source]
    expected = round(usual * quality.rows_kept / own) if own else 0
    share = own / usual if usual else 1.0
    if expected >= MANY_ROWS and not low <= share <= high:
        yield _about_extract(
            quality,
            ROWS_OF_OTHERS.id,
            f"for each child {about(share)} of the rows that other councils have ({rows(quality.rows_kept)})",
            f"{quality.rows_kept:,} rows; at the other councils' median for each child there would be {expected:,}",
        )


def _against_census(source: str, council: str, extracts: _Extracts) -> Iterator[Hold]:
    """A Profile of a council whose number of children nobody has published, beside its school census."""
    profile, census = extracts.get((PROFILE, council)), extracts.get(("school_census", council))
    if source != PROFILE or not profile or not census or profile.rows_expected:
        return
    share = share_of(profile.rows_kept, census.rows_kept)
    if share is not None and not HOLD_BELOW <= share <= HOLD_ABOVE:
        yield _about_extract(
            profile,
            FAR_FROM_CENSUS.id,
            f"{about(share)} of the rows of the school census ({rows(profile.rows_kept)})",
            f"{profile.rows_kept:,} children, and {census.rows_kept:,} in the school census",
        )


def _children(profile: ExtractQuality | None, trials: set[str]) -> int | None:
    """How many children a council has: by its Profile, or as expected where that is held for its number of rows."""
    if profile is None:
        return None
    doubtful = PROFILE not in trials and FAR_FROM_EXPECTED.id in {finding.rule for finding in profile.holds}
    return profile.rows_expected if doubtful else profile.rows_kept


def _replaced(home: Home, cohort: str, extracts: _Extracts) -> Iterator[Hold]:
    for name, entry in replaced(home, cohort).items():
        council, source = name.split("/")
        quality = extracts.get((source, council))
        share = 1.0 if entry.shared is None else entry.shared
        if quality and entry.file_mac == quality.file_mac and share < MIN_SHARED_CHILDREN:
            few = share_of_rows(round(100 * share), 100).replace("rows", "children")
            yield _about_extract(
                quality,
                OTHER_CHILDREN.id,
                f"{few} of the delivery before are in it",
                f"{share:.0%} of the children of the delivery before are in it (estimated from a sample of tokens)",
            )


def _stopped(home: Home, cohort: str, councils: Sequence[str]) -> Iterator[Hold]:
    for source in CONTRACTS:
        for council in councils:
            note = deliveries.stopped(home, source, cohort, council)
            if note:
                said = (
                    f"{_title(council, source)}: a newer delivery was stopped on {note.stopped_at[:10]}, and is not in"
                )
                held = Held(cohort, f"{council}/{source}/{STOPPED.id}", note.file_mac or note.stopped_at)
                yield Hold(held, said, said)


def _missing(home: Home, cohort: str, councils: Sequence[str]) -> Iterator[Hold]:
    """Sources that were due. Without an EYFS Profile, a release is refused before this unless that is allowed."""
    sent, folders, before = record_of_tables(home, cohort).sent, landing_seen(home).folders, Cohort(cohort).previous
    for source, contract in CONTRACTS.items():
        due = contract.due.on(Cohort(cohort))
        if due >= dt.date.today():
            continue
        for council in sorted(set(councils) - set(sent.get(source, ()))):
            earlier = before is not None and home.quality(source, before.code, council).exists()
            if sent.get(source) or earlier or f"{council}/{source}" in folders:
                said = f"{_title(council, source)}: it was due on {due.isoformat()}, and has not come"
                yield Hold(Held(cohort, f"{council}/{source}/{MISSING.id}", f"due {due.isoformat()}"), said, said)


def _about_extract(quality: ExtractQuality, rule: str, sentence: str, numbers: str) -> Hold:
    held = Held(quality.cohort, f"{quality.council}/{quality.source}/{rule}", quality.file_mac)
    title = _title(quality.council, quality.source)
    return Hold(held, f"{title}: {sentence}", f"{title}: {numbers}")


def _title(council: str, source: str) -> str:
    return f"{place(council).la_name}, {SOURCES[source].title}"
