"""What is fixed with a release before its first charge: its cohorts, and of each what is missing, from which deliveries
it is measured and which share of the policy's split it spends.

One record a release, written here, so that its bundle is the same however often it is made. A release measures its own
cohort. Others stand beside it as a time series: with the noisy counts that an earlier published release drew for them,
which costs nothing, or measured now where none ever did.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assets.home.home_lock import with_cohort_lock
from assets.home.paths import Home
from assets.linkage.inputs import (
    PROFILE,
    Extracts,
    NotLinked,
    changed,
    delivered,
    deliveries_in,
    extracts_in,
    named,
    record_of_tables,
)
from assets.release.expected_accuracy import NotAccurateEnough, check_accuracy
from assets.release.planning import plan_family
from assets.release.record import (
    WHOLE,
    CohortRecord,
    NotBegun,
    ReleaseRecord,
    read_record,
    requested_tables,
    with_review,
    write_record,
)
from assets.release.requests.register import NoSuchRequest
from assets.release.requests.supplement import RecordsMoved, used_again, with_requests
from ndl_export.facts.directory_files import withdrawals
from ndl_export.facts.missing import Missing, short
from ndl_export.facts.previous import cohort_statements
from ndl_export.facts.release_facts import InvalidPublisher, InvalidVersion, Version, load_publisher
from ndl_export.facts.released import PRIVACY_RECORD_FILE, versions
from ndl_export.tables import FAMILIES
from privacy.chained_log import LogBroken
from privacy.release.approval import nobody_may_sign
from privacy.release.ledger import NANO, BudgetExceeded, Ledger, ReleaseConflict
from privacy.release.ledger_storage import CHILD, LedgerError
from privacy.release.policy import Account, Policy, PolicyError, load_policy
from privacy.release.store import StoreError
from sources.reference.cohorts import Cohort, InvalidCohort

Series = Mapping[str, str]
"""By cohort of a release, the release that it was measured for."""
LEAST_SHARE = 0.001
"""Less is noise alone."""


class CouncilsMissing(Exception):
    """A council takes part but has sent no EYFS Profile extract for the cohort."""


class OutOfDate(Exception):
    """The confidential tables are not of the extracts that are in."""


class SeriesRefused(Exception):
    """A release cannot be of these cohorts; the message says why and what to do."""


REFUSALS = (
    *(CouncilsMissing, OutOfDate, SeriesRefused, NotBegun, NotLinked),
    *(InvalidVersion, InvalidCohort, NotAccurateEnough, InvalidPublisher, PolicyError, LedgerError),
    *(RecordsMoved, NoSuchRequest, StoreError, LogBroken),
)
"""What `fix_release` raises."""


@dataclass(frozen=True)
class ReleaseOptions:
    """What a person asks of a release besides its cohort: whether councils may be missing, the share of the split to
    spend (by default the whole, or what the release was begun with), and other cohorts that stand beside its own; none
    for those that it was begun with.

    With `reuse`, its own is not measured either: all are published from what was drawn before, and with it what is
    measured for the `requests` of these names.
    """

    allow_missing: bool = False
    share: float | None = None
    others: Sequence[str] = ()
    reuse: bool = False
    requests: Sequence[str] = ()


@with_cohort_lock
def fix_release(home: Home, cohort: str, version: str, councils: Sequence[str], asked: ReleaseOptions) -> list[str]:
    """Fix what a release is of and return the cohorts that it measures itself. To be called before each measurement.

    Of a cohort that it has measured already, from the deliveries that are in, no table is looked at. Whatever is
    refused is refused before the first charge, with nothing fixed: all families are looked at, so that a release does
    not stop halfway.

    Raises `NotLinked`, `OutOfDate`, `CouncilsMissing` where a council has no EYFS Profile extract in and that is not
    allowed, `ReleaseConflict` where the release was begun with other cohorts, another share or other councils missing,
    `InvalidPublisher` where nobody could publish it, or people may sign it and only a placeholder says who would,
    what `series_for` and `check_fits` raise, and `NotAccurateEnough` where the plan of a family is not expected to be
    worth its budget: a cohort's first release is held to it whatever its share, a revision only where it spends the
    whole.
    """
    load_publisher(demonstration=nobody_may_sign(Ledger(home.ledger), load_policy().sign_off))
    series = series_for(home, cohort, version, asked)
    cohorts = measured_now(series, version)
    before, charged = read_record(home, version), Ledger(home.ledger).cohorts_charged(version)
    tables = {each: record_of_tables(home, each) for each in cohorts if not is_current(home, each, version, councils)}
    for each, linked in tables.items():
        if each not in charged:
            _check_of_what_is_in(home, each, councils, linked.extracts)
        if not asked.allow_missing:
            _check_complete(each, linked.missing(councils))
    record = {each: CohortRecord(version) for each in cohorts}
    for each in cohorts:
        begun = before.get(each, record[each])
        spent = _share(home, each, version, asked.share, begun.share, each in charged)
        if each in charged and each in before:
            record[each] = begun
        else:
            from_now = {} if each in charged else delivered(tables[each].extracts)
            record[each] = CohortRecord(version, spent, tables[each].missing(councils), from_now)
            if each not in charged:
                split = load_policy().scaled(spent).accounts[CHILD].split
                record[each] = replace(record[each], further=with_review(home, each, version, split))
    for each, linked in tables.items():
        _check_missing(each, version, record[each].missing, linked.missing(councils))
    _check_new(home, version, councils, {each: record[each].share for each in cohorts if each not in charged})
    others = {each: origin for each, origin in series.items() if each not in cohorts}
    record |= _used_again(home, version, others, before, asked.requests)
    record = {each: record[each] for each in series}
    if record != before:
        write_record(home, version, record)
    return cohorts


def _used_again(
    home: Home, version: str, origins: Series, before: ReleaseRecord, requests: Sequence[str]
) -> ReleaseRecord:
    """The cohorts that earlier releases measured: as they were fixed, or with what is asked for now."""
    begun = {
        each: before[each] for each, origin in origins.items() if each in before and before[each].measured_in == origin
    }
    named = {table.name for table in requested_tables(begun) if table.release == version}
    if len(begun) == len(origins) and (not requests or named == set(requests)):
        return begun
    if named and (Ledger(home.ledger).cohorts_charged(version) or (home.release / version).exists()):
        raise ReleaseConflict(
            f"release {version} was begun to answer {', '.join(sorted(named))}. Other requests are another release:"
            " give it a version of its own."
        )
    record = {each: used_again(home, each, origin, version) for each, origin in origins.items()}
    return with_requests(home, version, record, requests) if requests else record


def is_current(home: Home, cohort: str, version: str, councils: Sequence[str]) -> bool:
    """Whether every family is measured and paid for, and nobody has sent anything else since: a repeat needs no table.

    Rows that were removed on request since are in what was published, and in no later release. A correction is another
    matter: whoever sent it expects it in, so the release is refused as charged with another table.
    """
    fixed = read_record(home, version).get(cohort)
    if fixed is None or not fixed.measured_from:
        return False
    if not Ledger(home.ledger).is_measured(cohort, version, fixed.measured_by(version)):
        return False
    return fixed.measured_from == deliveries_in(home, cohort, councils)


def series_for(home: Home, cohort: str, version: str, asked: ReleaseOptions) -> Series:
    """What the release is of: as it was begun, or as it would be begun now. Writes nothing.

    Raises `ReleaseConflict` where it was begun with other cohorts, `SeriesRefused`, and, for what is no version, cohort
    or share, `InvalidVersion`, `InvalidCohort` or `PolicyError`.
    """
    check_asked(home, cohort, version, asked)
    if cohort in asked.others:
        raise SeriesRefused(f"cohort {cohort} is the release's own: name only others beside it")
    wanted, charged = {cohort, *asked.others}, Ledger(home.ledger).cohorts_charged(version)
    fixed = read_record(home, version)
    answers = [table.name for table in requested_tables(fixed) if table.release == version]
    if answers and not asked.reuse:
        raise ReleaseConflict(
            f"release {version} was begun to answer {', '.join(answers)} (readiness request fulfil). Anything else is"
            " another release: give it a version of its own."
        )
    if fixed and (charged or (home.release / version).exists()):
        if (asked.others and fixed.keys() != wanted) or cohort not in fixed:
            raise ReleaseConflict(
                f"release {version} was begun with cohorts {', '.join(fixed)}, not {', '.join(sorted(wanted))}."
                " Another set of cohorts is another release: give it a version of its own."
            )
        return {each: entry.measured_in for each, entry in fixed.items()}
    if strangers := charged - wanted:
        raise ReleaseConflict(
            f"release {version} was charged for cohort {', '.join(sorted(strangers))}. Another set of cohorts is"
            " another release: give it a version of its own."
        )
    own = set() if asked.reuse else {cohort}
    found = {each: version if each in own else _origin(home, each, version) for each in sorted(wanted)}
    if asked.reuse and (unmeasured := measured_now(found, version)):
        raise SeriesRefused(f"cohort {', '.join(unmeasured)} was never measured: there is nothing to use again")
    return found


def check_asked(home: Home, cohort: str, version: str, asked: ReleaseOptions) -> None:
    """Raise `InvalidVersion`, `InvalidCohort` or `PolicyError` for what is no version, cohort or share, and for a new
    release whose version is not above all that were charged or made here."""
    parsed = Version.parse(version)
    for each in (cohort, *asked.others):
        Cohort(each)
    if asked.share is not None:
        _policy_at(asked.share)
    charged = (Version.parse(charge.entry.release) for charge in Ledger(home.ledger).charges())
    known = {*charged, *versions(home.release), *versions(home.held)}
    if parsed in known:
        return
    if not read_record(home, version):
        parsed.check_is_new(dt.date.today())
    if (newest := max(known, default=parsed)) > parsed:
        raise InvalidVersion(
            f"Release {version} is older than {newest}, which was measured or published here. Versions only rise, so"
            f" no budget was spent. Give the new release a version above {newest}."
        )


def _policy_at(share: float) -> Policy:
    """The policy with a share of its split; raises `PolicyError` for what is no share, or too small to be spent."""
    policy = load_policy().scaled(share)
    if share < LEAST_SHARE:
        raise PolicyError(f"a release spends a share of at least {LEAST_SHARE:g}, not {share:g}")
    return policy


def measured_now(series: Series, version: str) -> list[str]:
    """Cohorts that the release measures itself."""
    return [cohort for cohort, origin in series.items() if origin == version]


def _origin(home: Home, cohort: str, version: str) -> str:
    """The newest release before this one that measured the cohort and is published; this one where none ever did."""
    measured = Ledger(home.ledger).releases_charged(cohort)
    if version in measured or not measured:
        return version
    withdrawn = withdrawals(home.release)
    published = [str(each) for each in versions(home.release) if each < Version.parse(version)]
    fit = [
        each for each in published if each in measured and each not in withdrawn and _measured_there(home, cohort, each)
    ]
    if not fit:
        raise SeriesRefused(
            f"cohort {cohort} was charged for release {', '.join(sorted(measured))}, and none of these is published"
            f" before {version} and stands. Publish the cohort on its own first (readiness run --cohort {cohort})."
        )
    return fit[-1]


def _measured_there(home: Home, cohort: str, version: str) -> bool:
    stated = cohort_statements(json.loads((home.release / version / PRIVACY_RECORD_FILE).read_bytes()))
    return cohort in stated and stated[cohort]["measured_in"] == version


def _check_of_what_is_in(home: Home, cohort: str, councils: Sequence[str], linked: Extracts) -> None:
    """Raises `OutOfDate` where an extract came in, or changed, since the confidential tables were made."""
    if moved := changed(linked, extracts_in(home, cohort, councils)):
        raise OutOfDate(
            f"cohort {cohort}: {named(moved)} came in or changed since it was linked: run the linkage, then the"
            " release; nothing was charged"
        )


def _check_complete(cohort: str, missing: Missing) -> None:
    """Raises `CouncilsMissing` where a council that takes part has no EYFS Profile extract in."""
    if absent := missing.get(PROFILE):
        raise CouncilsMissing(
            f"cohort {cohort} has no EYFS Profile extract from {', '.join(absent)}."
            " Take it in and link again, or release without them by saying so (allow_missing, --allow-missing)."
        )


def _share(home: Home, cohort: str, version: str, asked: float | None, before: float, is_charged: bool) -> float:
    """The share to spend, where it fits; raises `ReleaseConflict` where the release was charged with another."""
    share = before if asked is None else asked
    if is_charged and share != before:
        raise ReleaseConflict(
            f"release {version} of cohort {cohort} was charged with a share of {before:g}, not {share:g}. "
            "A revision is a new release, and draws on the same budget."
        )
    check_fits(home, cohort, version, share)
    return share


def _check_missing(cohort: str, version: str, fixed: Missing, now: Missing) -> None:
    if fixed != now:
        raise ReleaseConflict(
            f"release {version} of cohort {cohort} was measured with this missing: {_listed(cohort, fixed)};"
            f" now it is: {_listed(cohort, now)}. A revision is a new release, and draws on the same budget."
        )


def _listed(cohort: str, missing: Missing) -> str:
    return ", ".join(short({cohort: missing})) or "nothing"


def _check_new(home: Home, version: str, councils: Sequence[str], new: Mapping[str, float]) -> None:
    """Raises `ReleaseConflict` where something lies already where a release that is to be charged would go, and
    `NotAccurateEnough`; `new` are the shares of the cohorts that it would be charged to."""
    taken = [path for suffix in ("", ".zip", ".tar") if (path := home.release / f"{version}{suffix}").exists()]
    if new and taken:
        raise ReleaseConflict(
            f"{taken[0]} is there, and cohort {', '.join(new)} was not measured for it: give the release a version of"
            " its own; nothing was charged"
        )
    for share in {share for cohort, share in new.items() if _is_held_to_accuracy(home, cohort, share)}:
        _check_worth(councils, load_policy().scaled(share))


def _is_held_to_accuracy(home: Home, cohort: str, share: float) -> bool:
    return share == WHOLE or not Ledger(home.ledger).releases_charged(cohort)


def _check_worth(councils: Sequence[str], policy: Policy) -> None:
    """Raises `NotAccurateEnough` where a family of a release under this policy is not worth its budget."""
    for family in FAMILIES:
        check_accuracy(family, plan_family(family, councils, policy), councils, policy)


def check_fits(home: Home, cohort: str, version: str, share: float) -> None:
    """See that every family of a release can be charged at this share. The budget of a cohort that has none yet is the
    policy's, which is approved with the first signatures.

    Raises `PolicyError` for what is no share, and `BudgetExceeded`, which names the largest share that fits.
    """
    policy, ledger = load_policy(), Ledger(home.ledger)
    for unit, account in policy.scaled(share).accounts.items():
        if not ledger.cap(cohort, unit):
            continue
        ledger.approve(cohort, account.cap_rho, unit=unit)
        try:
            ledger.check_fits(cohort, version, account.split, unit=unit)
        except BudgetExceeded as refused:
            largest = room_for(home, cohort, share).largest_share
            fitting = f"; as a share of the policy's split, {largest:g} would (--share {largest:g})" if largest else ""
            raise BudgetExceeded(f"{refused}{fitting}", asked=refused.asked, left=refused.left) from None


@dataclass(frozen=True)
class Room:
    """What a new release of a cohort would charge to the account of each unit, and what is left there, in rho; the
    largest share that fits in all of them.

    `releases` are those that were measured and paid for, the newest last: each made again charges nothing. Unless a
    `share_was_asked`, it is that of the newest of them, or the whole where there is none.
    """

    releases: Sequence[str]
    share_was_asked: bool
    share: float
    asked_rho: Mapping[str, float]
    left_rho: Mapping[str, float]
    fits: bool
    largest_share: float


def room_for(home: Home, cohort: str, asked_share: float | None) -> Room:
    """Whether a new release that spends this share of the split would fit. Spends nothing, and approves nothing.

    Raises `PolicyError` for what is no share, and `LedgerError`.
    """
    releases = _measured(home, cohort)
    as_before = _share_of(home, cohort, releases[-1]) if releases else WHOLE
    share = as_before if asked_share is None else asked_share
    whole, wanted = load_policy().accounts, _policy_at(share).accounts
    left = left_of(home, cohort)
    asked = {unit: _nano(account) for unit, account in wanted.items()}
    return Room(
        releases,
        asked_share is not None,
        share,
        {unit: amount / NANO for unit, amount in asked.items()},
        left,
        all(amount <= round(left[unit] * NANO) for unit, amount in asked.items()),
        min(_largest_share(account, left[unit]) for unit, account in whole.items()),
    )


def _measured(home: Home, cohort: str) -> list[str]:
    """The releases of which every family is measured and paid for the cohort, in order."""
    if has_no_ledger(home):
        return []
    ledger = Ledger(home.ledger)
    charged = sorted(ledger.releases_charged(cohort), key=Version.parse)
    return [version for version in charged if ledger.is_measured(cohort, version, FAMILIES)]


def _share_of(home: Home, cohort: str, version: str) -> float:
    record = read_record(home, version)
    return record[cohort].share if cohort in record else WHOLE


def has_no_ledger(home: Home) -> bool:
    """Return whether nothing was ever charged from this home, and no ledger is shared with another."""
    return isinstance(home.ledger, Path) and not home.ledger.exists()


def _largest_share(account: Account, left: float) -> float:
    """The largest share, in thousandths, for which there is room."""
    return min(WHOLE, 1000 * round(left * NANO) // _nano(account) / 1000)


def _nano(account: Account) -> int:
    return sum(round(rho * NANO) for rho in account.split.values())


def left_of(home: Home, cohort: str) -> dict[str, float]:
    """What is left of a cohort's budget by unit, rho; the policy's cap, where none was approved yet."""
    accounts = load_policy().accounts
    if has_no_ledger(home):
        return {unit: account.cap_rho for unit, account in accounts.items()}
    ledger = Ledger(home.ledger)
    return {
        unit: ledger.remaining(cohort, unit) if ledger.cap(cohort, unit) else account.cap_rho
        for unit, account in accounts.items()
    }
