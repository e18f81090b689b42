"""The register of requests: what was requested, what was refused and why, and which release answered.

Requests are registered as written, and a refusal is added with its reason, in a log in which any change shows. The
answers follow from the published releases. Nothing here depends on a confidential table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from assets.home.paths import Home
from assets.release.record import read_record
from assets.release.requests.request import Request, request_of
from ndl_export.bundle.release_directory import tell_of_requests
from ndl_export.facts.directory_files import REGISTER_FILE, AskedTable, Budget, Status, withdrawals
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.released import versions
from privacy import chained_log
from privacy.doors.typed import A_REASON, is_reason
from privacy.release.ledger import NANO, Ledger
from privacy.release.policy import load_policy


class AskedBefore(Exception):
    """A request that duplicates another one under another name or wording; the message names that one."""


class NoSuchRequest(Exception):
    """A name of no open request: unknown, refused or answered; the message says which."""


@dataclass(frozen=True)
class Registered:
    """A registered request.

    It has the day of registration, the reason for a refusal (or empty), and the release that answered it (or empty).
    """

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

    def table(self, release: str) -> RequestedTable:
        """Return the table as stated by `release`, the first to publish it."""
        asked = self.request
        return RequestedTable(
            asked.definition, asked.family, asked.cohorts, release, asked.asked_by, self.asked_on, asked.purpose
        )


def register(home: Home, request: Request, today: dt.date) -> Registered:
    """Add a request; repeating the same one changes nothing. Raises `AskedBefore` and `LogBroken`."""
    for known in registered(home).values():
        if known.request == request:
            return known
        if known.name == request.name:
            raise AskedBefore(
                f"{known.name} was registered on {known.asked_on} and asks something else: call this request otherwise"
            )
        if not known.refused and _asks(known.request) == _asks(request):
            raise AskedBefore(
                f"{request.name} asks what {known.name} asks, which was registered on {known.asked_on}"
                f"{f' and stands in release {known.answered_in}' if known.answered_in else ''}"
            )
        if not known.refused and known.request.title == request.title:
            raise AskedBefore(f"{request.name} has the title of {known.name}: give each table words of its own")
    chained_log.append(home.requests, {"what": "asked", "on": str(today), "request": request.document()})
    return registered(home)[request.name]


def _asks(request: Request) -> object:
    """Return what a request is for, whatever its wording: equal for requests that ask for the same."""
    columns = frozenset(
        (each.attribute, each.total, frozenset(map(frozenset, each.levels.values())) if each.levels else None)
        for each in request.columns
    )
    figure = request.figure and (request.figure.attribute, frozenset(request.figure.categories))
    return request.family, columns, figure, request.geography, frozenset(request.cohorts)


def refuse(home: Home, name: str, reason: str, today: dt.date) -> Registered:
    """Record that people have refused a request, with a reason of one line.

    Raises `NoSuchRequest` if it is not open, ValueError for an invalid reason, and `LogBroken`.
    """
    found = open_request(home, name)
    if found.answered_in:
        raise NoSuchRequest(f"{name} stands in release {found.answered_in}: withdraw that, where it should not")
    if not is_reason(reason):
        raise ValueError(A_REASON)
    chained_log.append(home.requests, {"what": "refused", "on": str(today), "name": name, "reason": reason})
    return registered(home)[name]


def open_request(home: Home, name: str) -> Registered:
    """Return a request that was not refused. Raises `NoSuchRequest`."""
    known = registered(home)
    found = known.get(name)
    if found is None:
        names = [each.name for each in known.values() if not each.refused and not each.answered_in]
        raise NoSuchRequest(
            f"no request is called {name}: {'those that wait are ' + ', '.join(names) if names else 'none waits'}."
            " To register one: readiness request register FILE"
        )
    if found.refused:
        raise NoSuchRequest(f"{name} was refused: {found.refused}")
    return found


def registered(home: Home) -> dict[str, Registered]:
    """Return every request by name, in the order of registration. Raises `LogBroken`."""
    answered = _answered(home)
    found: dict[str, Registered] = {}
    for line in chained_log.entries(home.requests):
        if line["what"] == "asked":
            request = request_of(line["request"])
            found[request.name] = Registered(request, line["on"], answered_in=answered.get(request.name, ""))
        else:
            known = found[line["name"]]
            found[known.name] = Registered(known.request, known.asked_on, line["reason"], known.answered_in)
    return found


def publish_register(home: Home) -> None:
    """Publish what was requested, answered and refused, what it cost and the remaining budget.

    Raises `LogBroken` and `LedgerError`.
    """
    known = registered(home)
    if known or (home.release / REGISTER_FILE).exists():
        ledger = Ledger(home.ledger)
        tell_of_requests(home.release, [_told(ledger, each) for each in known.values()], _budgets(home, ledger))


def _answered(home: Home) -> Mapping[str, str]:
    """Return, by name of a request, the first release that published its table and is not withdrawn."""
    withdrawn, found = withdrawals(home.release), dict[str, str]()
    for version in map(str, versions(home.release)):
        for entry in read_record(home, version).values() if version not in withdrawn else ():
            for table in entry.requested:
                found.setdefault(table["definition"]["name"], version)
    return found


def _told(ledger: Ledger, each: Registered) -> AskedTable:
    asked = each.request
    status = Status.REFUSED if each.refused else Status.ANSWERED if each.answered_in else Status.ASKED
    return AskedTable(
        name=each.name,
        title=asked.definition.title,
        asked_by=asked.asked_by,
        purpose=asked.purpose,
        asked_on=each.asked_on,
        cohorts=asked.cohorts,
        status=status,
        answered_in=each.answered_in,
        reason=each.refused,
        rho={cohort: _charged(ledger, cohort, each) for cohort in asked.cohorts} if each.answered_in else {},
    )


def _charged(ledger: Ledger, cohort: str, each: Registered) -> float:
    """Return what the answering release charged for the family, rho, for all tables that it answered together."""
    charge = ledger.find(cohort, each.answered_in, each.request.family)
    return charge.entry.nano_rho / NANO if charge else 0.0


def _budgets(home: Home, ledger: Ledger) -> list[Budget]:
    cohorts = sorted({charge.entry.cohort for charge in ledger.charges()})
    return [
        Budget(cohort, unit, cap, round(cap - left, 9), left)
        for cohort in cohorts
        for unit in load_policy().accounts
        for cap, left in [(ledger.cap(cohort, unit), ledger.remaining(cohort, unit))]
    ]
