"""Freezes a release's inputs before its first charge.

For each cohort these are the councils without extracts, the deliveries it is measured from, and the share of the
policy's split it spends. One record per release is written here, so that its bundle is the same however often it is
made. A release measures its own cohort. Other cohorts are published beside it as a time series: from the noisy counts
of an earlier published release, which costs nothing, or measured now if no release has measured them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.home.home_lock import with_cohort_lock
from assets.home.paths import CohortStore
from assets.linkage import inputs
from assets.release.planning import check_accuracy, plan_family
from assets.release.record import WHOLE, CohortRecord, ReleaseRecord
from assets.release.release import CohortRelease, Release
from assets.release.requests.register import add_requests, reuse_record
from ndl_export.facts.release_facts import (
    InvalidVersion,
    Version,
    list_not_withdrawn,
    list_versions,
    load_publisher,
    load_withdrawals,
)
from ndl_export.tables import FAMILIES
from privacy.doors import clock
from privacy.release.ledger import NANO, BudgetExceeded, ReleaseConflict
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
def fix_release(begun: CohortRelease, councils: Sequence[str], options: ReleaseOptions) -> None:
    """Freeze a release's contents; call before each measurement.

    Everything is checked for all families before the first charge, and a refusal freezes nothing, so a release does not
    stop halfway. Once charged, a cohort keeps its record: what arrives later is for the next release. Raises
    `ReleaseConflict`, `CouncilsMissing`, `NotLinked` and `NotAccurateEnough`.
    """
    release, version, policy = begun.release, begun.version, begun.home.load_policy()
    # a placeholder in the publisher's file must stop a release before it is charged, not at the bundle
    load_publisher(demonstration=begun.home.has_no_signers)
    series = find_series(begun, options)
    charged = release.charged_cohorts
    before = release.read_begun_record() if charged else release.read_record()
    parts = [release.get_cohort(cohort) for cohort in series.measured]
    tables = {part.cohort: inputs.read_complete_record(part.store) for part in parts if not part.is_measured}
    for cohort, linked in tables.items():
        part = release.get_cohort(cohort)
        if cohort in charged:
            _check_same_deliveries(part, before[cohort], linked.extracts)
            continue
        _check_current_extracts(part.store, councils, linked.extracts)
        if not options.allow_missing and (absent := linked.list_missing(councils).get(inputs.PROFILE)):
            raise CouncilsMissing(
                f"cohort {cohort} has no EYFS Profile extract from {', '.join(absent)}."
                " Ingest it and link again, or release without them (allow_missing, --allow-missing)."
            )
    record = ReleaseRecord(version)
    for part in parts:
        entry = before.get(part.cohort, CohortRecord(version))
        share = _find_share(part, options.share, entry.share, part.cohort in charged)
        # once charged, a cohort stays as it was begun, whatever has arrived since
        if part.cohort not in charged:
            linked = tables[part.cohort]
            entry = CohortRecord(
                version,
                share,
                tuple(sorted(councils)),
                linked.list_missing(councils),
                inputs.get_delivery_macs(linked.extracts),
                on_request=part.add_review(policy.scale(share).accounts[CHILD].split),
            )
        record[part.cohort] = entry
    new = {cohort: entry.share for cohort, entry in record.items() if cohort not in charged}
    _check_new(release, councils, new)
    others = {cohort: entry.measured_in for cohort, entry in series.items() if cohort not in record}
    record |= _reuse_records(release, others, before, options.requests)
    record = ReleaseRecord(version, {cohort: record[cohort] for cohort in series})
    if record != before:
        release.write_record(record)


def _reuse_records(
    release: Release, origins: Mapping[str, str], before: ReleaseRecord, requests: Sequence[str]
) -> Mapping[str, CohortRecord]:
    """Return the records of cohorts measured by earlier releases: as frozen, or with the requests named now."""
    version = release.version
    kept = {code for code, origin in origins.items() if code in before and before[code].measured_in == origin}
    begun = ReleaseRecord(version, {code: before[code] for code in origins if code in kept})
    named = {table.name for table in begun.answers}
    if len(begun) == len(origins) and (not requests or named == set(requests)):
        return begun
    # until something is charged or published, the same version may be begun anew for other requests
    if named and (release.charged_cohorts or release.bundle.exists()):
        raise ReleaseConflict(
            f"release {version} was begun to answer {', '.join(sorted(named))}. Other requests are another release:"
            " give it a new version."
        )
    record = {code: reuse_record(release.get_cohort(code), origin) for code, origin in origins.items()}
    return add_requests(release, record, requests) if requests else record


def describe_later_deliveries(measured: CohortRelease, councils: Sequence[str]) -> str:
    """Return a sentence about extracts that changed after a cohort was measured; empty if none did."""
    entry = measured.read_entry()
    if entry is None or not measured.is_measured:
        return ""
    if not (later := _list_other_deliveries(entry, inputs.read_delivery_macs(measured.store, councils))):
        return ""
    return (
        f"Release {measured.version} stays as it was measured. {inputs.join_names(later)} came in, changed or left"
        f" since then, and the next release of cohort {measured.cohort} will use what is there now."
    )


def _list_other_deliveries(fixed: CohortRecord, now: Mapping[str, str]) -> list[str]:
    """Return the names of extracts that a cohort was not measured from as they are now."""
    before = fixed.measured_from
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _check_same_deliveries(part: CohortRelease, before: CohortRecord, extracts: inputs.Extracts) -> None:
    """Raise `ReleaseConflict` if a cohort that is charged in part would be measured further from other deliveries."""
    if other := _list_other_deliveries(before, inputs.get_delivery_macs(extracts)):
        version, families, ledger = part.version, before.list_measured_families(part.version), part.home.open_ledger()
        done = {family for family in families if ledger.is_measured(part.cohort, version, [family])}
        raise ReleaseConflict(
            f"Release {version} of cohort {part.cohort} is half measured: {', '.join(sorted(done))} was drawn, and"
            f" {', '.join(sorted({*families} - done))} was not. {inputs.join_names(other)} came in, changed or left in"
            " between, and one release has one set of deliveries. No more budget was spent. Put the earlier files back"
            f" into landing and run release {version} again: it draws only what it lacks. Deliver the new files after"
            " that; a later release will use them."
        )


def find_series(begun: CohortRelease, options: ReleaseOptions) -> ReleaseRecord:
    """Return the record of a release as begun or, if begun now, which release measured each cohort. Writes nothing."""
    check_options(begun, options)
    release, version = begun.release, begun.version
    if begun.cohort in options.others:
        raise ReleaseConflict(f"cohort {begun.cohort} is the release's own: name only others beside it")
    wanted, charged = {begun.cohort, *options.others}, release.charged_cohorts
    fixed = release.read_record()
    answers = [table.name for table in fixed.answers]
    if answers and not options.reuse:
        raise ReleaseConflict(
            f"release {version} was begun to answer {', '.join(answers)} (readiness request fulfil). Anything else is"
            " another release: give it a new version."
        )
    # until something is charged or published, a release may be begun anew with other cohorts
    if fixed and (charged or release.bundle.exists()):
        if (options.others and fixed.keys() != wanted) or begun.cohort not in fixed:
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
    series = ReleaseRecord(version)
    for cohort in sorted(wanted):
        is_measured_now = cohort == begun.cohort and not options.reuse
        series[cohort] = CohortRecord(version if is_measured_now else _find_origin(release.get_cohort(cohort)))
    if options.reuse and series.measured:
        raise ReleaseConflict(f"cohort {', '.join(series.measured)} was never measured: there is nothing to use again")
    return series


def choose_release(store: CohortStore) -> str:
    """Return the version for a run that names none, so that by default a repeated run never spends again.

    This is the version that people have signed for the cohort and that is not measured yet, or the cohort's newest
    release, or the first unused version of this month. A revision must name its version.
    """
    ledger, signed = store.home.open_ledger(), store.home.read_sign_offs().approvals
    # what people have signed comes first: another version would need their signatures again
    of_cohort = [each.request for each in signed if each.approval.cohort == store.cohort and not each.why_not]
    newest = [request["release"] for request in of_cohort if request["stage"] == Stage.MEASUREMENT]
    if newest and not ledger.list_charged_cohorts(newest[-1]):
        return str(newest[-1])
    if earlier := [Version.parse(version) for version in ledger.list_charged_releases(store.cohort)]:
        return str(max(earlier))
    today = clock.today()
    published = {str(version) for version in list_versions(store.home.release)}
    number = 0
    while (version := f"{today.year}.{today.month:02d}.{number}") in published or ledger.list_charged_cohorts(version):
        number += 1
    return version


def choose_request_release(base: Release, names: Sequence[str]) -> str:
    """Return the version for answering these requests if none is named.

    This is the version that was begun for them and is not withdrawn, or the first unused one of this month after
    `base`.
    """
    home = base.home
    begun = {path.stem.partition("=")[2] for path in home.release_record("*").parent.glob("release=*.json")}
    for version in sorted(begun - load_withdrawals(home.release).keys(), key=Version.parse, reverse=True):
        if {table.name for table in Release(home, version).read_record().answers} == set(names):
            return version
    today, after = clock.today(), base.number
    year, month = max((today.year, today.month), (after.year, after.month))
    number = after.number + 1 if (year, month) == (after.year, after.month) else 0
    while (version := f"{year}.{month:02d}.{number}") in begun or (home.release / version).exists():
        number += 1
    return version


def check_options(begun: CohortRelease, options: ReleaseOptions) -> None:
    """Raise an error for an invalid cohort or share, or for a new version that is not above all versions used here."""
    home, number = begun.home, begun.release.number
    for cohort in (begun.cohort, *options.others):
        Cohort(cohort)
    if options.share is not None:
        _scale_policy(home.load_policy(), options.share)
    charged = (Version.parse(charge.entry.release) for charge in home.open_ledger().list_charges())
    # an unpublished bundle counts too: it is published as soon as people have signed it
    known = {*charged, *list_versions(home.release), *list_versions(home.held)}
    if number in known:
        return
    if not begun.release.read_record():
        # versions only rise, so a mistyped 9999.12.0 would leave none for later releases
        number.check_is_new(clock.today())
    if (newest := max(known, default=number)) > number:
        raise InvalidVersion(
            f"Release {number} is older than {newest}, which was measured or published here. Versions only rise, so"
            f" no budget was spent. Give the new release a version above {newest}."
        )


def _scale_policy(policy: Policy, share: float) -> Policy:
    """Return the policy with a share of its split. Raises `PolicyError` for an invalid share or one too small."""
    scaled = policy.scale(share)
    if share < LEAST_SHARE:
        raise PolicyError(f"a release spends a share of at least {LEAST_SHARE:g}, not {share:g}")
    return scaled


def _find_origin(part: CohortRelease) -> str:
    """Return the newest earlier, published release that measured the cohort; this release if none ever did."""
    measured = part.home.open_ledger().list_charged_releases(part.cohort)
    if part.version in measured or not measured:
        return part.version
    usable = (version for version in list_not_withdrawn(part.home.release) if version < part.release.number)
    earlier = [Release(part.home, str(version)) for version in usable if str(version) in measured]
    # a bundle may publish the cohort from the noisy counts of a release before it
    fit = [release for release in earlier if part.cohort in release.read_record().measured]
    if not fit:
        raise ReleaseConflict(
            f"cohort {part.cohort} was charged for release {', '.join(sorted(measured))}, and none of these was"
            f" published before {part.version} without being withdrawn. Publish the cohort on its own first"
            f" (readiness run --cohort {part.cohort})."
        )
    return fit[-1].version


def _check_current_extracts(store: CohortStore, councils: Sequence[str], linked: inputs.Extracts) -> None:
    """Raise `NotLinked` if an extract arrived or changed since the confidential tables were made."""
    if moved := inputs.find_changes(linked, inputs.read_extracts(store, councils)):
        raise inputs.NotLinked(
            f"cohort {store.cohort}: {inputs.join_names(moved)} came in or changed since it was linked: run the"
            " linkage, then the release; nothing was charged"
        )


def _find_share(part: CohortRelease, requested: float | None, before: float, is_charged: bool) -> float:
    """Return the share to spend, if it fits. Raises `ReleaseConflict` if the release was charged with another."""
    share = before if requested is None else requested
    if is_charged and share != before:
        raise ReleaseConflict(
            f"release {part.version} of cohort {part.cohort} was charged with a share of {before:g}, not {share:g}. "
            "A revision is a new release, and draws on the same budget."
        )
    check_fits(part, share)
    return share


def _check_new(release: Release, councils: Sequence[str], new: Mapping[str, float]) -> None:
    """Raise `ReleaseConflict` if this version exists, or `NotAccurateEnough`; `new` has shares to charge, by cohort."""
    home, ledger = release.home, release.home.open_ledger()
    files = (home.release / f"{release.version}{suffix}" for suffix in ("", ".zip", ".tar"))
    taken = [path for path in files if path.exists()]
    if new and taken:
        raise ReleaseConflict(
            f"{taken[0]} is there, and cohort {', '.join(new)} was not measured for it: give the release a"
            " new version; nothing was charged"
        )
    for share in {share for cohort, share in new.items() if share == WHOLE or not ledger.list_charged_releases(cohort)}:
        policy = home.load_policy().scale(share)
        for family in FAMILIES:
            check_accuracy(family, plan_family(family, councils, policy), councils, policy)


def check_fits(part: CohortRelease, share: float) -> None:
    """Raise `BudgetExceeded`, naming the largest share that fits, unless every approved account can pay `share`."""
    policy, ledger = part.home.load_policy(), part.home.open_ledger()
    for unit, account in policy.scale(share).accounts.items():
        if not ledger.get_cap(part.cohort, unit):
            continue
        # writes nothing, but refuses a policy whose cap is not the approved one: a budget is approved once
        ledger.approve(part.cohort, account.cap_rho, unit=unit)
        try:
            ledger.check_fits(part.cohort, part.version, account.split, unit=unit)
        except BudgetExceeded as refused:
            largest = compute_remaining_budget(part.store, share).largest_share
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
    newest = CohortRelease(store, releases[-1]).read_entry() if releases else None
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
