"""Freezes a release's inputs before its first charge.

For each cohort these are the councils without extracts, the deliveries it is measured from, and the share of the
policy's split it spends. One record per release is written here, so that its bundle is the same however often it is
made. A release measures its own cohort. Other cohorts are published beside it as a time series: from the noisy counts
of an earlier published release, which costs nothing, or measured now if no release has measured them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.home.home_lock import with_cohort_lock
from assets.home.paths import CohortStore, Home
from assets.linkage import inputs
from assets.release.planning import check_accuracy, plan_family
from assets.release.record import (
    WHOLE,
    CohortRecord,
    ReleaseRecord,
    add_review,
    read_fixed_record,
    read_record,
    write_record,
)
from assets.release.requests.register import add_requests, reuse_record
from ndl_export.facts.release_facts import InvalidVersion, Version, list_versions, load_publisher, load_withdrawals
from ndl_export.tables import FAMILIES
from privacy.doors import clock
from privacy.release.ledger import NANO, BudgetExceeded, Ledger, ReleaseConflict
from privacy.release.ledger_storage import CHILD
from privacy.release.policy import Account, Policy, PolicyError, Stage
from sources.reference.cohorts import Cohort

LEAST_SHARE = 0.001
"""Smallest share of the split; less would give noise alone."""


class CouncilsMissing(Exception):
    """A participating council has sent no EYFS Profile extract for the cohort."""


@dataclass(frozen=True)
class ReleaseOptions:
    """Options of a release, as a person requests them.

    - `allow_missing`: release without councils that sent no EYFS Profile
    - `share`: share of the split to spend; by default the share the release was begun with, or the whole
    - `others`: other cohorts to publish beside its own; by default those it was begun with
    - `reuse`: measure nothing; publish every cohort from earlier noisy counts
    - `requests`: with `reuse`, names of requests to measure and publish
    """

    allow_missing: bool = False
    share: float | None = None
    others: Sequence[str] = ()
    reuse: bool = False
    requests: Sequence[str] = ()


@with_cohort_lock
def fix_release(store: CohortStore, version: str, councils: Sequence[str], options: ReleaseOptions) -> None:
    """Freeze a release's contents; call before each measurement.

    Everything is checked for all families before the first charge, and a refusal freezes nothing, so a release does not
    stop halfway. Once charged, a cohort keeps its record: what arrives later is for the next release. Raises
    `ReleaseConflict`, `CouncilsMissing`, `NotLinked` and `NotAccurateEnough`.
    """
    ledger, policy = store.home.open_ledger(), store.home.load_policy()
    # a placeholder in the publisher's file must stop a release before it is charged, not at the bundle
    load_publisher(demonstration=store.home.has_no_signers)
    series = find_series(store, version, options)
    charged = ledger.list_charged_cohorts(version)
    before = (read_fixed_record if charged else read_record)(store.home, version)
    tables = {
        each: inputs.read_complete_record(store.home.get_cohort(each))
        for each in series.measured
        if not is_measured(store.home.get_cohort(each), version)
    }
    for each, linked in tables.items():
        if each in charged:
            _check_same_deliveries(ledger, before, each, linked.extracts)
            continue
        _check_current_extracts(store.home.get_cohort(each), councils, linked.extracts)
        if not options.allow_missing and (absent := linked.list_missing(councils).get(inputs.PROFILE)):
            raise CouncilsMissing(
                f"cohort {each} has no EYFS Profile extract from {', '.join(absent)}."
                " Ingest it and link again, or release without them (allow_missing, --allow-missing)."
            )
    record = ReleaseRecord(version)
    for each in series.measured:
        begun = before.get(each, CohortRecord(version))
        spent = _find_share(store.home.get_cohort(each), version, options.share, begun.share, each in charged)
        # once charged, a cohort stays as it was begun, whatever has arrived since
        if each in charged:
            record[each] = begun
        else:
            linked = tables[each]
            split = policy.scale(spent).accounts[CHILD].split
            record[each] = CohortRecord(
                version,
                spent,
                tuple(sorted(councils)),
                linked.list_missing(councils),
                inputs.get_delivery_macs(linked.extracts),
                on_request=add_review(store.home.get_cohort(each), version, split),
            )
    new = {each: entry.share for each, entry in record.items() if each not in charged}
    _check_new(store.home, ledger, version, councils, new)
    others = {each: entry.measured_in for each, entry in series.items() if each not in record}
    record |= _reuse_records(store.home, ledger, others, before, options.requests)
    record = ReleaseRecord(version, {each: record[each] for each in series})
    if record != before:
        write_record(store.home, version, record)


def _reuse_records(
    home: Home, ledger: Ledger, origins: Mapping[str, str], before: ReleaseRecord, requests: Sequence[str]
) -> Mapping[str, CohortRecord]:
    """Return the records of cohorts measured by earlier releases: as frozen, or with the requests named now."""
    version = before.version
    kept = {each for each, origin in origins.items() if each in before and before[each].measured_in == origin}
    begun = ReleaseRecord(version, {each: before[each] for each in origins if each in kept})
    named = {table.name for table in begun.answers}
    if len(begun) == len(origins) and (not requests or named == set(requests)):
        return begun
    # until something is charged or published, the same version may be begun anew for other requests
    if named and (ledger.list_charged_cohorts(version) or (home.release / version).exists()):
        raise ReleaseConflict(
            f"release {version} was begun to answer {', '.join(sorted(named))}. Other requests are another release:"
            " give it a new version."
        )
    record = {each: reuse_record(home.get_cohort(each), origin, version) for each, origin in origins.items()}
    return add_requests(home, version, record, requests) if requests else record


def is_measured(store: CohortStore, version: str) -> bool:
    """Return whether the release measured every family of the cohort, and paid for it.

    A repeated run then needs no confidential table. Corrections since then are for the next release
    (`describe_later_deliveries`); rows removed on request are in no later release, but stay in what was published.
    """
    fixed = read_record(store.home, version).get(store.cohort)
    if fixed is None or fixed.measured_in != version:
        return False
    return store.home.open_ledger().is_measured(store.cohort, version, fixed.list_measured_families(version))


def describe_later_deliveries(store: CohortStore, version: str, councils: Sequence[str]) -> str:
    """Return a sentence about extracts that changed after a cohort was measured; empty if none did."""
    fixed = read_record(store.home, version).get(store.cohort)
    if fixed is None or not is_measured(store, version):
        return ""
    if not (later := _list_other_deliveries(fixed, inputs.read_delivery_macs(store, councils))):
        return ""
    return (
        f"Release {version} stays as it was measured. {inputs.join_names(later)} came in, changed or left since then,"
        f" and the next release of cohort {store.cohort} will use what is there now."
    )


def _list_other_deliveries(fixed: CohortRecord, now: Mapping[str, str]) -> list[str]:
    """Return the names of extracts that a cohort was not measured from as they are now."""
    before = fixed.measured_from
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _check_same_deliveries(ledger: Ledger, before: ReleaseRecord, cohort: str, extracts: inputs.Extracts) -> None:
    """Raise `ReleaseConflict` if a cohort that is charged in part would be measured further from other deliveries."""
    if other := _list_other_deliveries(before[cohort], inputs.get_delivery_macs(extracts)):
        version, families = before.version, before[cohort].list_measured_families(before.version)
        done = {family for family in families if ledger.is_measured(cohort, version, [family])}
        raise ReleaseConflict(
            f"Release {version} of cohort {cohort} is half measured: {', '.join(sorted(done))} was drawn, and"
            f" {', '.join(sorted({*families} - done))} was not. {inputs.join_names(other)} came in, changed or left in"
            " between, and one release has one set of deliveries. No more budget was spent. Put the earlier files back"
            f" into landing and run release {version} again: it draws only what it lacks. Deliver the new files after"
            " that; a later release will use them."
        )


def find_series(store: CohortStore, version: str, options: ReleaseOptions) -> ReleaseRecord:
    """Return the record of a release as begun or, if begun now, which release measured each cohort. Writes nothing."""
    check_options(store, version, options)
    if store.cohort in options.others:
        raise ReleaseConflict(f"cohort {store.cohort} is the release's own: name only others beside it")
    ledger, wanted = store.home.open_ledger(), {store.cohort, *options.others}
    charged = ledger.list_charged_cohorts(version)
    fixed = read_record(store.home, version)
    answers = [table.name for table in fixed.answers]
    if answers and not options.reuse:
        raise ReleaseConflict(
            f"release {version} was begun to answer {', '.join(answers)} (readiness request fulfil). Anything else is"
            " another release: give it a new version."
        )
    # until something is charged or published, a release may be begun anew with other cohorts
    if fixed and (charged or (store.home.release / version).exists()):
        if (options.others and fixed.keys() != wanted) or store.cohort not in fixed:
            raise ReleaseConflict(
                f"release {version} was begun with cohorts {', '.join(fixed)}, not {', '.join(sorted(wanted))}."
                " Another set of cohorts is another release: give it a new version."
            )
        return fixed
    if strangers := charged - wanted:
        raise ReleaseConflict(
            f"release {version} was charged for cohort {', '.join(sorted(strangers))}. Another set of cohorts is"
            " another release: give it a new version."
        )
    own = set() if options.reuse else {store.cohort}
    found = ReleaseRecord(version)
    for each in sorted(wanted):
        origin = version if each in own else _find_origin(store.home.get_cohort(each), ledger, version)
        found[each] = CohortRecord(origin)
    if options.reuse and found.measured:
        raise ReleaseConflict(f"cohort {', '.join(found.measured)} was never measured: there is nothing to use again")
    return found


def choose_release(home: Home, cohort: str) -> str:
    """Return the version for a run that names none, so that by default a repeated run never spends again.

    This is the version that people have signed for the cohort and that is not measured yet, or the cohort's newest
    release, or the first unused version of this month. A revision must name its version.
    """
    ledger = home.open_ledger()
    # what people have signed comes first: another version would need their signatures again
    signed = [each for each in home.read_sign_offs().approvals if each.approval.cohort == cohort and not each.why_not]
    newest = [each.request["release"] for each in signed if each.request["stage"] == Stage.MEASUREMENT]
    if newest and not ledger.list_charged_cohorts(newest[-1]):
        return str(newest[-1])
    if earlier := [Version.parse(version) for version in ledger.list_charged_releases(cohort)]:
        return str(max(earlier))
    today = clock.today()
    published = {str(version) for version in list_versions(home.release)}
    number = 0
    while (version := f"{today.year}.{today.month:02d}.{number}") in published or ledger.list_charged_cohorts(version):
        number += 1
    return version


def choose_request_release(home: Home, base: str, names: Sequence[str]) -> str:
    """Return the version for answering these requests if none is named.

    This is the version that was begun for them and is not withdrawn, or the first unused one of this month after
    `base`.
    """
    begun = {path.stem.partition("=")[2] for path in home.release_record("*").parent.glob("release=*.json")}
    for version in sorted(begun - load_withdrawals(home.release).keys(), key=Version.parse, reverse=True):
        own = {table.name for table in read_record(home, version).answers}
        if own == set(names):
            return version
    today, after = clock.today(), Version.parse(base)
    year, month = max((today.year, today.month), (after.year, after.month))
    number = after.number + 1 if (year, month) == (after.year, after.month) else 0
    while (version := f"{year}.{month:02d}.{number}") in begun or (home.release / version).exists():
        number += 1
    return version


def check_options(store: CohortStore, version: str, options: ReleaseOptions) -> None:
    """Raise an error for an invalid cohort or share, or for a new version that is not above all versions used here."""
    parsed = Version.parse(version)
    for each in (store.cohort, *options.others):
        Cohort(each)
    if options.share is not None:
        _scale_policy(store.home.load_policy(), options.share)
    charged = (Version.parse(charge.entry.release) for charge in store.home.open_ledger().list_charges())
    # a held bundle counts too: it is published as soon as people have signed it
    known = {*charged, *list_versions(store.home.release), *list_versions(store.home.held)}
    if parsed in known:
        return
    if not read_record(store.home, version):
        # versions only rise, so a mistyped 9999.12.0 would leave none for later releases
        parsed.check_is_new(clock.today())
    if (newest := max(known, default=parsed)) > parsed:
        raise InvalidVersion(
            f"Release {version} is older than {newest}, which was measured or published here. Versions only rise, so"
            f" no budget was spent. Give the new release a version above {newest}."
        )


def _scale_policy(policy: Policy, share: float) -> Policy:
    """Return the policy with a share of its split. Raises `PolicyError` for an invalid share or one too small."""
    scaled = policy.scale(share)
    if share < LEAST_SHARE:
        raise PolicyError(f"a release spends a share of at least {LEAST_SHARE:g}, not {share:g}")
    return scaled


def _find_origin(store: CohortStore, ledger: Ledger, version: str) -> str:
    """Return the newest earlier, published release that measured the cohort; this release if none ever did."""
    measured = ledger.list_charged_releases(store.cohort)
    if version in measured or not measured:
        return version
    published = [str(each) for each in list_versions(store.home.release) if each < Version.parse(version)]
    usable = [each for each in published if each in measured and each not in load_withdrawals(store.home.release)]
    # a bundle may publish the cohort from the noisy counts of a release before it
    fit = [each for each in usable if store.cohort in read_record(store.home, each).measured]
    if not fit:
        raise ReleaseConflict(
            f"cohort {store.cohort} was charged for release {', '.join(sorted(measured))}, and none of these was"
            f" published before {version} without being withdrawn. Publish the cohort on its own first"
            f" (readiness run --cohort {store.cohort})."
        )
    return fit[-1]


def _check_current_extracts(store: CohortStore, councils: Sequence[str], linked: inputs.Extracts) -> None:
    """Raise `NotLinked` if an extract arrived or changed since the confidential tables were made."""
    if moved := inputs.find_changes(linked, inputs.read_extracts(store, councils)):
        raise inputs.NotLinked(
            f"cohort {store.cohort}: {inputs.join_names(moved)} came in or changed since it was linked: run the"
            " linkage, then the release; nothing was charged"
        )


def _find_share(store: CohortStore, version: str, requested: float | None, before: float, is_charged: bool) -> float:
    """Return the share to spend, if it fits. Raises `ReleaseConflict` if the release was charged with another."""
    share = before if requested is None else requested
    if is_charged and share != before:
        raise ReleaseConflict(
            f"release {version} of cohort {store.cohort} was charged with a share of {before:g}, not {share:g}. "
            "A revision is a new release, and draws on the same budget."
        )
    check_fits(store, version, share)
    return share


def _check_new(home: Home, ledger: Ledger, version: str, councils: Sequence[str], new: Mapping[str, float]) -> None:
    """Raise `ReleaseConflict` if this version exists, or `NotAccurateEnough`; `new` has shares to charge, by cohort."""
    taken = [path for suffix in ("", ".zip", ".tar") if (path := home.release / f"{version}{suffix}").exists()]
    if new and taken:
        raise ReleaseConflict(
            f"{taken[0]} is there, and cohort {', '.join(new)} was not measured for it: give the release a"
            " new version; nothing was charged"
        )
    for share in {share for cohort, share in new.items() if share == WHOLE or not ledger.list_charged_releases(cohort)}:
        policy = home.load_policy().scale(share)
        for family in FAMILIES:
            check_accuracy(family, plan_family(family, councils, policy), councils, policy)


def check_fits(store: CohortStore, version: str, share: float) -> None:
    """Raise `BudgetExceeded`, naming the largest share that fits, unless every approved account can pay `share`."""
    policy, ledger = store.home.load_policy(), store.home.open_ledger()
    for unit, account in policy.scale(share).accounts.items():
        if not ledger.get_cap(store.cohort, unit):
            continue
        # writes nothing, but refuses a policy whose cap is not the approved one: a budget is approved once
        ledger.approve(store.cohort, account.cap_rho, unit=unit)
        try:
            ledger.check_fits(store.cohort, version, account.split, unit=unit)
        except BudgetExceeded as refused:
            largest = compute_remaining_budget(store, share).largest_share
            fitting = f"; as a share of the policy's split, {largest:g} would (--share {largest:g})" if largest else ""
            raise BudgetExceeded(f"{refused}{fitting}", requested=refused.requested, left=refused.left) from None


@dataclass(frozen=True)
class RemainingBudget:
    """Budget for a new release of a cohort: what it would charge each unit's account, and what is left, in rho.

    `releases` are those already measured and paid for, the newest last; repeating one charges nothing. Unless
    `share_was_asked`, `share` is that of the newest of them, or the whole if there are none. `largest_share` fits in
    all accounts.
    """

    releases: Sequence[str]
    share_was_asked: bool
    share: float
    asked_rho: Mapping[str, float]
    left_rho: Mapping[str, float]
    fits: bool
    largest_share: float


def compute_remaining_budget(store: CohortStore, asked_share: float | None) -> RemainingBudget:
    """Return the budget available for a new release at this share of the split. Spends and approves nothing."""
    releases: list[str] = []
    if store.home.has_ledger:
        ledger = store.home.open_ledger()
        charged = sorted(ledger.list_charged_releases(store.cohort), key=Version.parse)
        releases = [version for version in charged if ledger.is_measured(store.cohort, version, FAMILIES)]
    newest = read_record(store.home, releases[-1]).get(store.cohort) if releases else None
    as_before = newest.share if newest else WHOLE
    share = as_before if asked_share is None else asked_share
    policy = store.home.load_policy()
    whole, wanted = policy.accounts, _scale_policy(policy, share).accounts
    left = get_budget_left(store)
    amounts = {unit: _sum_nano_rho(account) for unit, account in wanted.items()}
    return RemainingBudget(
        releases,
        asked_share is not None,
        share,
        {unit: amount / NANO for unit, amount in amounts.items()},
        left,
        # in billionths, as in the ledger, so that the ledger never refuses later what fits here
        all(amount <= round(left[unit] * NANO) for unit, amount in amounts.items()),
        # in thousandths, rounded down
        min(WHOLE, *(1000 * round(left[unit] * NANO) // _sum_nano_rho(each) / 1000 for unit, each in whole.items())),
    )


def _sum_nano_rho(account: Account) -> int:
    return sum(round(rho * NANO) for rho in account.split.values())


def get_budget_left(store: CohortStore) -> dict[str, float]:
    """Return the remaining budget of a cohort by unit, rho; the policy's cap if none was approved yet."""
    accounts = store.home.load_policy().accounts
    if not store.home.has_ledger:
        return {unit: account.cap_rho for unit, account in accounts.items()}
    ledger = store.home.open_ledger()
    return {
        unit: ledger.compute_remaining(store.cohort, unit) if ledger.get_cap(store.cohort, unit) else account.cap_rho
        for unit, account in accounts.items()
    }
