"""The register of requests, and what a release that answers some of them measures.

Requests are registered as written, and a refusal is added with its reason, in a log that shows any change. The
answers follow from the published releases.

A release that answers requests reuses the noisy counts of an earlier one, and measures the additions on the same
confidential tables, so that all counts describe the same children. What is measured is decided here, from public facts
alone, and kept as a plan before anybody signs.
"""

import datetime as dt
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from assets.home.errors import Refused
from assets.home.paths import CohortStore, Home
from assets.linkage.inputs import get_delivery_macs, read_complete_record
from assets.release.record import CohortRecord
from assets.release.release import CohortRelease, Release
from assets.release.requests.planning import Known, find_release
from assets.release.requests.request import Request, parse_request
from ndl_export.bundle.release_directory import replace_register
from ndl_export.facts.directory_files import REGISTER_FILE, AskedTable, Budget, Status
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.release_facts import list_not_withdrawn
from privacy import chained_log
from privacy.doors.typed import A_REASON, is_reason
from privacy.release.ledger import Ledger, ReleaseConflict


@dataclass(frozen=True)
class Registered:
    """A registered request; `refused` is the reason for a refusal, `answered_in` the release that answered it."""

    request: Request
    asked_on: str
    refused: str = ""
    answered_in: str = ""

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def state(self) -> str:
        """The state of the request, in words."""
        if self.refused:
            return f"refused: {self.refused}"
        return f"answered in release {self.answered_in}" if self.answered_in else "waits for an answer"

    def build_table(self, release: str) -> RequestedTable:
        """Return the table as stated by `release`, the first to publish it."""
        own = self.request
        about = own.asked_by, self.asked_on, own.purpose
        return RequestedTable(own.definition, own.family, own.cohorts, release, *about)


def register(home: Home, request: Request, today: dt.date) -> Registered:
    """Add a request; repeating the same one changes nothing. Raises `Refused` and `LogBroken`."""
    for known in read_registered_requests(home).values():
        if known.request == request:
            return known
        if known.name == request.name:
            raise Refused(
                f"{known.name} was registered on {known.asked_on} and asks for something else: give this request"
                " another name"
            )
        # a refused request may be made again under another name
        if not known.refused and _build_request_key(known.request) == _build_request_key(request):
            raise Refused(
                f"{request.name} asks what {known.name} asks, which was registered on {known.asked_on}"
                f"{f', and release {known.answered_in} answered it' if known.answered_in else ''}"
            )
        if not known.refused and known.request.title == request.title:
            raise Refused(f"{request.name} has the title of {known.name}: give each table its own title")
    chained_log.append(home.requests, {"what": "asked", "on": str(today), "request": request.build_document()})
    return read_registered_requests(home)[request.name]


def _build_request_key(request: Request) -> object:
    """Return a key of what a request is for, whatever its wording: equal for requests for the same table."""
    columns = frozenset(
        (each.attribute, each.total, frozenset(map(frozenset, each.levels.values())) if each.levels else None)
        for each in request.columns
    )
    figure = request.figure and (request.figure.attribute, frozenset(request.figure.categories))
    return request.family, columns, figure, request.geography, frozenset(request.cohorts)


def refuse(home: Home, name: str, reason: str, today: dt.date) -> Registered:
    """Record that people refused an open request, with a reason of one line. Raises `Refused` and ValueError."""
    found = open_request(home, name)
    if found.answered_in:
        raise Refused(
            f"{name} was answered in release {found.answered_in}: withdraw that release if it should not have been"
        )
    if not is_reason(reason):
        raise ValueError(A_REASON)
    chained_log.append(home.requests, {"what": "refused", "on": str(today), "name": name, "reason": reason})
    return read_registered_requests(home)[name]


def open_request(home: Home, name: str) -> Registered:
    """Return a request that was not refused. Raises `Refused`."""
    known = read_registered_requests(home)
    found = known.get(name)
    if found is None:
        names = [each.name for each in known.values() if not each.refused and not each.answered_in]
        raise Refused(
            f"no request is called {name}: {'those that wait are ' + ', '.join(names) if names else 'none waits'}."
            " To register one: readiness request register FILE"
        )
    if found.refused:
        raise Refused(f"{name} was refused: {found.refused}")
    return found


def read_registered_requests(home: Home) -> dict[str, Registered]:
    """Return every request by name, in the order of registration. Raises `LogBroken`."""
    answered: dict[str, str] = {}
    for version in map(str, list_not_withdrawn(home.release)):
        # the first release that published its table and is not withdrawn
        entries = Release(home, version).read_record().values()
        tables = (table for entry in entries for table in entry.requested)
        answered = {table["definition"]["name"]: version for table in tables} | answered
    found: dict[str, Registered] = {}
    for line in chained_log.read_entries(home.requests):
        if line["what"] == "asked":
            request = parse_request(line["request"])
            found[request.name] = Registered(request, line["on"], answered_in=answered.get(request.name, ""))
        else:
            known = found[line["name"]]
            found[known.name] = Registered(known.request, known.asked_on, line["reason"], known.answered_in)
    return found


def publish_register(home: Home) -> None:
    """Publish what was requested, answered and refused, what it cost and the remaining budget."""
    known = read_registered_requests(home)
    if known or (home.release / REGISTER_FILE).exists():
        ledger = home.open_ledger()
        budgets = [
            # the ledger counts in billionths of rho
            Budget(cohort, unit, cap := ledger.get_cap(cohort, unit), round(cap - left, 9), left)
            for cohort in sorted({charge.entry.cohort for charge in ledger.list_charges()})
            for unit in home.load_policy().accounts
            for left in [ledger.compute_remaining(cohort, unit)]
        ]
        replace_register(home.release, [_build_public_entry(ledger, each) for each in known.values()], budgets)


def _build_public_entry(ledger: Ledger, each: Registered) -> AskedTable:
    request = each.request
    status = Status.REFUSED if each.refused else Status.ANSWERED if each.answered_in else Status.ASKED
    # a release charges a family once for all tables that it answers together
    charges = {cohort: ledger.find(cohort, each.answered_in, request.family) for cohort in request.cohorts}
    rho = {cohort: charge.rho if charge else 0.0 for cohort, charge in charges.items()} if each.answered_in else {}
    own = request.model_dump(include={"name", "title", "asked_by", "purpose", "cohorts"})
    own |= {"asked_on": each.asked_on, "answered_in": each.answered_in, "reason": each.refused}
    return AskedTable(**own, status=status, rho=rho)


def reuse_record(part: CohortRelease, origin: str) -> CohortRecord:
    """Return the record of a cohort measured by `origin`, with the requested tables of the newest earlier release."""
    record = CohortRecord(origin)
    for earlier in list_not_withdrawn(part.home.release):
        if earlier < part.release.number:
            published = CohortRelease(part.store, str(earlier)).read_entry()
            if published and published.measured_in == origin:
                record = CohortRecord(origin, requested=published.requested, on_request=published.on_request)
    return record


def find_base_release(home: Home, names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the release on which these requests are checked, and its cohorts, the newest first."""
    found = find_release(home, [open_request(home, name).request for name in names], None)
    return found.version, sorted(found.cohorts, reverse=True)


def add_requests(release: Release, record: Mapping[str, CohortRecord], names: Sequence[str]) -> dict[str, CohortRecord]:
    """Return the record of a release that answers these requests; keep the plans of what is to be measured."""
    version, requests = release.version, [open_request(release.home, name) for name in dict.fromkeys(names)]
    for each in requests:
        # answered in this version means that its run is repeated
        if each.answered_in not in ("", version):
            raise Refused(f"{each.name} was answered in release {each.answered_in} already")
    wanted = sorted({cohort for each in requests for cohort in each.request.cohorts})
    for cohort in wanted:
        if cohort not in record or record[cohort].measured_in == version:
            raise ReleaseConflict(
                f"release {version} does not publish cohort {cohort} from the noisy counts of an earlier release; a"
                f" request of it is answered by one that does (--with-cohort {cohort})"
            )
    return dict(record) | {
        cohort: _add_cohort_requests(
            release.get_cohort(cohort),
            record[cohort],
            [each for each in requests if cohort in each.request.cohorts],
        )
        for cohort in wanted
    }


def read_known(part: CohortRelease, entry: CohortRecord) -> Known:
    """Return the earlier noisy counts from which a release publishes a cohort. Raises `StoreError`."""
    origin, on_request = CohortRelease(part.store, entry.measured_in), part.read_request_plans(entry)
    return Known.read(
        part.home.load_policy(),
        origin.release.bundle,
        part.cohort,
        origin.read_published_plans(),
        (plan for _, plan in on_request),
    )


def _add_cohort_requests(part: CohortRelease, entry: CohortRecord, requests: Sequence[Registered]) -> CohortRecord:
    version, store = part.version, part.store
    planned = read_known(part, entry).plan_requests(each.request for each in requests)
    plans = {family: plan for family, plan in planned.items() if plan is not None}
    if plans:
        measured_from = Release(part.home, entry.measured_in).read_begun_record()[part.cohort].measured_from
        # whether every row is the same is checked at the measurement, by the MAC that the ledger recorded
        if get_delivery_macs(read_complete_record(store).extracts) != measured_from:
            raise _build_moved_error(part.cohort, entry.measured_in)
        ledger = part.home.open_ledger()
        for unit in {plan.family.unit for plan in plans.values()}:
            own = {family: plan.rho for family, plan in plans.items() if plan.family.unit == unit}
            ledger.check_fits(part.cohort, version, own, unit=unit)
    for plan in plans.values():
        part.keep_plan(plan)
    documents = tuple(each.build_table(version).build_document() for each in requests)
    on_request = {**entry.on_request, version: tuple(plans)} if plans else entry.on_request
    return replace(entry, requested=(*entry.requested, *documents), on_request=on_request)


def check_same_table(store: CohortStore, origin: str, family: str, mac: str) -> None:
    """Raise `Refused` unless a table's MAC, apart from removals on request, is the one that `origin` measured."""
    charged = store.home.open_ledger().find(store.cohort, origin, family)
    same = charged is not None and hmac.compare_digest(charged.entry.input_mac, mac)
    # the few children removed are far below the noise, and a revision would cost everybody budget
    if not (same or store.any_forgotten):
        raise _build_moved_error(store.cohort, origin)


def _build_moved_error(cohort: str, origin: str) -> Refused:
    return Refused(
        f"the records of cohort {cohort} have changed since release {origin} measured them, and a table on request is"
        " made from the same ones, so that it agrees with what is published. Nothing was charged. Put the files that"
        f" {origin} measured back into landing and link them, or answer the request from the next release of the cohort"
    )
