"""Holds that stop a release before any charge until a named person has accepted each of them by name.

The rules and their bounds are in `sources.contracts.extract_rules`. Rules about one extract are applied at intake;
those that compare extracts are applied here. A hold has two sentences: one for logs and consoles, with every count in a
band, and one for the decision sheet, which may show a sender's own numbers.

An acceptance is signed, kept and judged as a sign-off is (`privacy.release.approval`). It is bound to the ledger, the
list of holds that was read, the cohort and what each hold is about, such as the MAC of a delivery: a different
file brings a new hold, which nobody has accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from assets.home.paths import CohortStore, Home
from assets.home.signers import is_demonstration, open_signature_log
from assets.release.hold_rules import Hold, iter_holds
from assets.release.release import Release
from privacy.doors import files
from privacy.doors.typed import A_REASON, is_reason
from privacy.keys import KeyRing
from privacy.release.approval import MayNotSign
from privacy.release.canonical import compute_sha256
from privacy.release.signature_log import parse_signature
from privacy.release.signed_lines import Acceptance


@dataclass(frozen=True)
class Accepted:
    """An acceptance that counts: who signed it, the reason, the day it was recorded and its signature."""

    name: str
    role: str
    reason: str
    day: str
    signature: str


@dataclass(frozen=True)
class HoldState:
    """Holds of a release, and the acceptances that count."""

    holds: Sequence[Hold]
    accepted: Mapping[Hold, Accepted]

    @property
    def open(self) -> list[Hold]:
        return [hold for hold in self.holds if hold not in self.accepted]

    @property
    def closed(self) -> list[tuple[Hold, Accepted]]:
        return [(hold, self.accepted[hold]) for hold in self.holds if hold in self.accepted]


def read_release_state(release: Release) -> HoldState:
    """Return the holds of the cohorts that the release has yet to charge for. Raises `Refused` and `NotLinked`."""
    measured, charged = release.read_begun_record().measured, release.charged_cohorts
    return read_state(release.home, [cohort for cohort in measured if cohort not in charged])


def read_state(home: Home, cohorts: Sequence[str]) -> HoldState:
    """Return the holds of these cohorts, which must be linked."""
    found = [hold for cohort in cohorts for hold in iter_holds(home.get_cohort(cohort))]
    # opening a ledger that does not exist would create it
    if not found:
        return HoldState([], {})
    accepted = list(_iter_accepted(home))
    # the newest acceptance of a hold is the one that is shown
    return HoldState(found, {hold: own for hold in found for signed, own in accepted if signed == hold.signed})


def select_hold_names(
    store: CohortStore, names: Sequence[str], causes: Sequence[str], councils: Sequence[str]
) -> tuple[str, ...]:
    """Return `names`, and the names of open holds with these causes in these or all councils. Raises `MayNotSign`."""
    waiting = read_state(store.home, [store.cohort]).open if causes else []
    found = [hold for hold in waiting if hold.cause in causes and (not councils or hold.council in councils)]
    lacking = {*causes} - {hold.cause for hold in found} or {*councils} - {hold.council for hold in found}
    if lacking:
        listed = ", ".join(sorted({f"{hold.cause} of {hold.council}" for hold in waiting})) or "nothing"
        raise MayNotSign(
            f"nothing is held for {', '.join(sorted(lacking))}; of cohort {store.cohort}, this is: {listed}"
        )
    return tuple(dict.fromkeys((*names, *(hold.name for hold in found))))


def accept_configured(store: CohortStore, keys: KeyRing, names: Sequence[str], reason: str, code: str) -> None:
    """Accept the holds named in a run's configuration, with the signature given there or a demonstration's own key."""
    log, own = open_signature_log(store.home, keys), keys.demonstration_key
    unsigned = build_acceptance(store, names, reason, list_sha256(store))
    if code or (own and is_demonstration(store.home)):
        by = parse_signature(code) if code else own
        assert by is not None
        log.record_acceptance(log.sign_content(unsigned, by)[1])
    else:
        raise MayNotSign(
            f"{', '.join(names)}: accepted with a person's signature alone. Nothing was recorded: put what"
            " `readiness accept --for-dagster` prints into the configuration of the run"
        )


def build_acceptance(store: CohortStore, names: Sequence[str], reason: str, sheet_sha256: str) -> Acceptance:
    """Return the unsigned acceptance. Raises `MayNotSign`, also for a reason that is not fit for the sheet."""
    found = {hold.name: hold.signed for hold in iter_holds(store)}
    for name in names:
        if name not in found:
            listed = ", ".join(found) or "nothing"
            raise MayNotSign(f"{name} is not held; of cohort {store.cohort}, this is: {listed}")
    if not is_reason(reason):
        raise MayNotSign(f"{A_REASON}. Nothing was recorded")
    ledger, held = store.home.open_ledger().get_identity(), [found[name] for name in sorted(names)]
    return Acceptance("", "", ledger, held, reason, sheet_sha256)


def _iter_accepted(home: Home) -> Iterator[tuple[Mapping[str, str], Accepted]]:
    """Yield the signed content of each accepted hold, with its acceptance, if that counts now; oldest first."""
    books, identity = home.read_sign_offs(), home.open_ledger().get_identity()
    for each, line in books.iter_lines(Acceptance):
        if each.ledger == identity:
            person, why_not = books.identify_signer(each)
            if not why_not:
                accepted = Accepted(person.name, person.role, each.reason, line.recorded_at[:10], each.signature)
                yield from ((signed, accepted) for signed in each.holds)


def list_sha256(store: CohortStore) -> str:
    """Write the page of a cohort's holds, with the sender's own numbers, and return its SHA-256."""
    lines = (f"{hold.name}\n  {hold.numbers}\n  {hold.about}\n" for hold in iter_holds(store))
    page = f"What a release of {store.cohort} is held for\n\n{''.join(lines)}".encode()
    files.write(store.list_of_holds, page)
    return compute_sha256(page)
