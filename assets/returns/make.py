"""Returns of a cohort: for every sender that an agreement names, what may be told of its own rows, sealed.

Off unless a folder of sharing agreements is given. Everything stays in the restricted zone; what is said outside names
councils, services and agreements, never a number of rows or children.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet

from assets.home.home_lock import while_in_use, with_cohort_lock
from assets.home.paths import Home
from assets.home.software import software
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.linkage.inputs import changed, councils_in, extracts_in
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.standing import linked_extracts
from assets.linkage.tokens import readers
from assets.returns import told
from assets.returns.disclosing import check_anchored, disclose
from assets.returns.evidence import show_cohort, show_service
from assets.returns.standing import Unusual, observe
from assets.returns.summary import held_mac, write_summary
from privacy.doors import files
from privacy.doors.database import in_memory
from privacy.doors.sql import parquet, quoted
from privacy.doors.typed import A_REASON, is_reason
from privacy.keys import KeyRing
from privacy.returns import disclosures
from privacy.returns.agreement import Agreement, NewChildren, Permitted, Sender, permitted, rule_of_new
from privacy.returns.disclosures import Disclosure, ReturnState, Told
from privacy.returns.facts import Absence, absence, facts_of
from privacy.returns.own_file import sender_key
from privacy.returns.seal import TOLD_FORMAT, Header, content, seal, seal_document
from privacy.returns.stood import note_waiting
from privacy.returns.traits import traits
from privacy.services import SERVICE_NAMES, SERVICES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort


class NothingToReturn(Exception):
    """The cohort's links cannot be used for returns; the message says why and what to do."""


@dataclass(frozen=True)
class Made:
    """What became of the return of one council and source: `sentence` names no number."""

    council: str
    source: str
    sentence: str
    written: bool = False


@while_in_use
@with_cohort_lock
def make_returns(
    home: Home, cohort: str, agreements: Mapping[str, Agreement], keys: KeyRing, on: dt.date
) -> list[Made]:
    """Make every return that the agreements allow on a day, and withdraw those that they do not allow any more.

    A return whose content has not changed stays as it is. Raises `NothingToReturn`, `LogBroken` and `ReturnProblem`.
    """
    extracts = _extracts(home, cohort)
    check_anchored(home)
    log = disclosures.told(home.disclosures, cohort)
    _stop_if_set_back(on, log.last_day)
    in_full = _in_full(extracts)
    standing = {name for name, agreement in agreements.items() if agreement.why_not(on) is None}
    with in_memory() as con:
        con.register("traits", _traits(home, cohort, extracts, keys))
        con.register("links", _links(home, cohort, keys))
        _records(con, home, Cohort(cohort), extracts, on)
        watched = {key: extract for key, extract in extracts.items() if key[0] in standing}
        unusual = observe(con, home, cohort, watched, log.released, on)
        making = _Making(home, cohort, agreements, keys, on, extracts, log, in_full, unusual, con)
        note_waiting(con, making.rules(), on)
        done = [one for service in SERVICE_NAMES for one in making.for_service(service)]
        show_cohort(con, home, cohort)
        for council in agreements:
            if council in standing:
                held = {source: found for (of, source), found in unusual.items() if of == council}
                write_summary(con, home, cohort, council, in_full, held)
            else:
                for suffix in (".json", ".html"):
                    home.return_summary(cohort, council).with_suffix(suffix).unlink(missing_ok=True)
    return sorted(done, key=lambda one: (one.council, one.source))


@while_in_use
@with_cohort_lock
def release(home: Home, cohort: str, council: str, source: str, reason: str) -> None:
    """Record that a person has looked at an unusual delivery. Raises `NothingToReturn` where none waits, and for
    what is no reason."""
    if not is_reason(reason):
        raise NothingToReturn(f"{A_REASON}: nothing was recorded")
    extract = deliveries.current(home, source, cohort, council)
    if extract is None or held_mac(home, cohort, council, source) != extract.file_mac:
        raise NothingToReturn(
            f"{council}/{source}, cohort {cohort}: no delivery waits for somebody to look at it; make the returns first"
        )
    line = Disclosure(ReturnState.RELEASED, cohort, council, source, SERVICES[source], software())
    disclose(home, replace(line, extract_mac=extract.file_mac, reason=reason))


def _stop_if_set_back(on: dt.date, last_day: dt.date | None) -> None:
    """An agreement must not come to life again because a clock went back. A day either way is a time zone."""
    if last_day and on < last_day - dt.timedelta(days=1):
        raise NothingToReturn(
            f"this machine's clock says {on}, and the disclosure log goes on to {last_day}: put the clock right, then"
            " make the returns again"
        )


class _Terms(NamedTuple):
    """On which a receiver is told anything."""

    allowed: Permitted
    of_absence: Absence
    rule: NewChildren


@dataclass(frozen=True)
class _Making:
    """The returns of a cohort on a day; by council and source the extracts and the deliveries that are `unusual`; the
    disclosure `log`.

    `con` has the records that `privacy.returns.facts` reads; every extract of the senders `in_full` is in.
    """

    home: Home
    cohort: str
    agreements: Mapping[str, Agreement]
    keys: KeyRing
    on: dt.date
    extracts: Mapping[tuple[str, str], ExtractQuality]
    log: Told
    in_full: Collection[Sender]
    unusual: Mapping[tuple[str, str], Unusual]
    con: duckdb.DuckDBPyConnection

    def rules(self) -> dict[Sender, NewChildren]:
        """The rule for new children of each service that can receive something."""
        recipients = [
            Sender(council, service)
            for council, agreement in self.agreements.items()
            if agreement.why_not(self.on) is None
            for service in agreement.recipients
        ]
        return {each: rule_of_new(self.agreements, each, self._allowed(each)) for each in recipients}

    def for_service(self, service: str) -> list[Made]:
        """What becomes of the returns of a service in every council, and of what it is told of who was told.

        All of it rests on links without its own rows that have not stood. Facts for other services are worked out
        only to tell `service` about them.
        """
        payload = _payload(self.home, self.cohort, self.extracts)
        show_service(self.con, self.home, self.cohort, self.keys, payload, service)
        told.begin(self.con)
        made = []
        for council, source in sorted({*self.extracts, *_made_before(self.home, self.cohort)}):
            why_not = self._why_none(council, source)
            facts = [] if why_not else self._facts(council, source)
            told.remember(self.con, Sender(council, SERVICES[source]), source, facts)
            if SERVICES[source] == service:
                file = self.home.return_file(source, self.cohort, council)
                if why_not:
                    made.append(self._withdraw(file, council, source, why_not))
                else:
                    made.append(self._one(file, council, source, facts))
        return made + self._tell_tellers(service)

    def _allowed(self, receiver: Sender) -> Permitted:
        return permitted(self.agreements, receiver, self.on)

    def _why_none(self, council: str, source: str) -> str | None:
        """Why there is no return of an extract; None where there is one."""
        if (council, source) not in self.extracts:
            return "its extract is not in"
        receiver = Sender(council, SERVICES[source])
        why_nothing = _why_nothing(self.agreements, receiver, self._allowed(receiver), self.on)
        return why_nothing or self._why_held(council, source)

    def _terms(self, receiver: Sender) -> _Terms:
        allowed = self._allowed(receiver)
        of_absence = absence(receiver, allowed, SERVICE_NAMES, self.in_full)
        return _Terms(allowed, of_absence, rule_of_new(self.agreements, receiver, allowed))

    def _facts(self, council: str, source: str) -> list[str]:
        receiver = Sender(council, SERVICES[source])
        found: list[str] = facts_of(self.con, receiver, source, *self._terms(receiver))["fact"].to_pylist()
        return found

    def _one(self, file: Path, council: str, source: str, facts: list[str]) -> Made:
        """Make or leave one return."""
        header = self._header(Sender(council, SERVICES[source]), source, len(facts))
        mac = self._mac(content(header, facts))
        if _same(file, self.log.newest.get((council, source)), ReturnState.MADE, mac):
            return Made(council, source, "unchanged since it was last made")
        sealed = seal(header, facts, self.keys.signing_key)
        self._hand_over(file, sealed, header, mac)
        return Made(council, source, f"made for {header.recipient_name}, encrypted to its key", written=True)

    def _mac(self, document: bytes) -> str:
        return hmac.digest(self.keys.subkey("input-mac", "return"), document, hashlib.sha256).hex()

    def _why_held(self, council: str, source: str) -> str | None:
        if (found := self.unusual.get((council, source))) is None:
            return None
        return (
            f"its delivery is unusual ({'; '.join(found.reasons)}): somebody must look at it, with the summary of"
            f" {council}, and release it (readiness returns release)"
        )

    def _hand_over(self, file: Path, sealed: bytes, header: Header, mac: str) -> None:
        """Put a return in place, after it was logged."""
        disclose(self.home, self._line(header, mac, hashlib.sha256(sealed).hexdigest()))
        files.write(file, sealed)

    def _withdraw(self, file: Path, council: str, source: str, reason: str) -> Made:
        """Nothing is made; a file that was made before, and may not be handed over any more, goes."""
        if not file.exists():
            return Made(council, source, f"nothing is made: {reason}")
        if before := self.log.newest.get((council, source)):
            disclose(self.home, replace(before, what=ReturnState.WITHDRAWN, reason=reason, rows=0))
        file.unlink()
        return Made(council, source, f"the return made before is withdrawn, nothing is made: {reason}")

    def _header(self, receiver: Sender, source: str, rows: int) -> Header:
        allowed, of_absence, rule = self._terms(receiver)
        own, extract = self.agreements[receiver.council], self.extracts[receiver.council, source]
        recipient = own.recipients[receiver.service]
        councils = sorted({own.council, *(teller.council for teller in allowed)})
        return Header(
            council=receiver.council,
            source=source,
            service=receiver.service,
            cohort=self.cohort,
            recipient=recipient.key,
            recipient_name=recipient.name,
            sender_key=sender_key(self.keys, source, own.council).hex(),
            sender_mac=extract.sender_mac,
            extract_mac=extract.file_mac,
            extract_rows=_rows_of_files(extract),
            parts=_senders_parts(extract),
            reference=own.reference,
            legal_basis=own.legal_basis,
            impact_assessment=own.impact_assessment,
            expires=own.expires.isoformat(),
            agreements={council: self.agreements[council].version for council in councils},
            tells={_named(teller): sorted(fact.value for fact in facts) for teller, facts in allowed.items()},
            absence_of=[_named(sender) for sender in of_absence.of],
            absence_why_not=of_absence.why_not,
            new_children=rule.content(),
            rows=rows,
            serial=self.log.made[receiver.council, source] + 1,
            made_on=self.on.isoformat(),
        )

    def _tell_tellers(self, service: str) -> list[Made]:
        """Tell `service` of each council that may tell others who was told about its rows; take back what may not be
        told now."""
        tellers = told.flows(self.agreements, self.on)
        before = {
            Sender(file.parent.name, file.stem.removeprefix("told-").removesuffix(f"-{self.cohort}"))
            for file in self.home.returns.glob(f"*/told-*-{self.cohort}.age")
        }
        of_service = sorted(teller for teller in {*tellers, *before} if teller.service == service)
        return [self._tell(teller, tellers.get(teller, {})) for teller in of_service]

    def _tell(self, teller: Sender, receivers: Mapping[str, list[str]]) -> Made:
        council, what = teller.council, f"told-{teller.service}"
        file = self.home.told_file(teller.service, self.cohort, council)
        if not receivers:
            return self._withdraw(file, council, what, "it may tell nobody under the agreements")
        own, found = self.agreements[council], told.told_about(self.con, teller)
        recipient = own.recipients[teller.service]
        header = {**teller._asdict(), "cohort": self.cohort, "recipient": recipient.key, "may_tell": receivers, **found}
        mac = self._mac(told.document(header))
        if _same(file, self.log.newest.get((council, what)), ReturnState.TOLD, mac):
            return Made(council, what, "unchanged since it was last made")
        document = told.document(header | {"made_on": self.on.isoformat()})
        sealed = seal_document(TOLD_FORMAT, document, recipient.key, self.keys.signing_key)
        line = Disclosure(
            what=ReturnState.TOLD,
            cohort=self.cohort,
            council=council,
            source=what,
            service=teller.service,
            software=software(),
            recipient=recipient.key,
            recipient_name=recipient.name,
            rows=len(found["rows"]),
            agreements={council: own.version},
            return_mac=mac,
            file_sha256=hashlib.sha256(sealed).hexdigest(),
        )
        disclose(self.home, line)
        files.write(file, sealed)
        return Made(council, what, f"made for {recipient.name}: who was told about its rows", written=True)

    @staticmethod
    def _line(header: Header, mac: str, file_sha256: str) -> Disclosure:
        same = {name: getattr(header, name) for name in _SHARED_FIELDS}
        return Disclosure(what=ReturnState.MADE, return_mac=mac, file_sha256=file_sha256, software=software(), **same)


_SHARED_FIELDS = (
    "cohort council source service recipient recipient_name tells rows agreements extract_mac serial".split()
)


def _named(sender: Sender) -> str:
    return f"{sender.council}/{sender.service}"


def _senders_parts(extract: ExtractQuality) -> dict[str, int]:
    """The number of each file of the sender's that has rows in force, by its MAC; none of a whole extract."""
    parts = extract.parts.parts if extract.parts else ()
    return {part.sender_mac: part.number for part in parts if part.in_force}


def _rows_of_files(extract: ExtractQuality) -> int:
    """How many rows the sender's files have that the return is about."""
    if not extract.parts:
        return extract.rows_read
    return sum(part.rows_read for part in extract.parts.parts if part.in_force)


def _same(file: Path, before: Disclosure | None, what: ReturnState, mac: str) -> bool:
    """Whether the file is there that was disclosed last, and says what would be said now."""
    if before is None or (before.what, before.return_mac) != (what, mac) or not file.is_file():
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest() == before.file_sha256


def _why_nothing(agreements: Mapping[str, Agreement], receiver: Sender, allowed: Permitted, on: dt.date) -> str | None:
    own = agreements.get(receiver.council)
    if own is None:
        return "no sharing agreement is on file"
    if why := own.why_not(on):
        return why
    if receiver.service not in own.recipients:
        return f"the agreement {own.reference} names no recipient for {receiver.service}"
    if not allowed:
        return f"no agreement lets any service tell {receiver.service} anything"
    return None


def _made_before(home: Home, cohort: str) -> Iterator[tuple[str, str]]:
    for file in home.returns.glob(f"*/*/{cohort}.age"):
        yield file.parent.parent.name, file.parent.name


def _extracts(home: Home, cohort: str) -> dict[tuple[str, str], ExtractQuality]:
    """The extracts that the links are of, by council and source; all of them must be those that are in now."""
    linked = linked_extracts(home, cohort)
    if not linked:
        raise NothingToReturn(
            f"cohort {cohort} has not been linked by this version: run the job linkage first (or `readiness run`)"
        )
    found = {}
    moved = changed(linked, extracts_in(home, cohort, councils_in(home, cohort, SERVICES), SERVICES))
    for name in linked:
        council, _, source = name.partition("/")
        quality = deliveries.current(home, source, cohort, council)
        if quality is None:
            moved.append(name)
        else:
            found[council, source] = quality
    if moved:
        raise NothingToReturn(
            f"cohort {cohort}: {', '.join(sorted(set(moved)))} changed since the cohort was linked; run the job linkage"
            " first, so that row numbers are those of the files that are in"
        )
    return found


def _in_full(extracts: Collection[tuple[str, str]]) -> set[Sender]:
    """Senders of whom every extract is in."""
    councils = {council for council, _ in extracts}
    return {
        Sender(council, service)
        for council in councils
        for service in SERVICE_NAMES
        if all((council, source) in extracts for source in SERVICES if SERVICES[source] == service)
    }


def _records(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    cohort: Cohort,
    extracts: Collection[tuple[str, str]],
    on: dt.date,
) -> None:
    """`records` as `privacy.returns.facts` has them, from `links` and `traits`."""
    selects = []
    for source, paths in _payload(home, cohort.code, extracts).items():
        if paths:
            selects.append(
                f"SELECT {quoted(source)} AS source, council, {quoted(SERVICES[source])} AS service, row_key,"
                f" {_last_contact(source, cohort, on)} AS last_contact,"
                f" {CONTRACTS[source].concern or 'NULL::BOOLEAN'} AS concern"
                f" FROM {parquet(paths, hive_partitioning=False)}"
            )
    con.execute(
        f"""
        CREATE TEMP TABLE records AS
        SELECT said.*, traits.* EXCLUDE (source, council, row_key), row, child_id,
               coalesce(match_probability, 1) AS probability
          FROM ({" UNION ALL ".join(selects)}) AS said JOIN links USING (source, council, row_key)
          JOIN traits USING (source, council, row_key)
        """
    )


def _payload(home: Home, cohort: str, extracts: Collection[tuple[str, str]]) -> dict[str, list[Path]]:
    """The payload files of the extracts, by source."""
    return {
        source: [home.pseudonymised(source, cohort, council) for council, of in sorted(extracts) if of == source]
        for source in SERVICES
    }


def _traits(home: Home, cohort: str, extracts: Collection[tuple[str, str]], keys: KeyRing) -> pa.Table:
    return traits(readers(home, keys, cohort, _payload(home, cohort, extracts)), keys)


def _links(home: Home, cohort: str, keys: KeyRing) -> pa.Table:
    """The links, and `row`: the number by which its sender knows a row."""
    links = pyarrow.parquet.read_table(home.links(cohort))
    return links.append_column("row", RowNumbers(home, keys, cohort).numbers(links))


def _last_contact(source: str, cohort: Cohort, on: dt.date) -> str:
    """Month in which the service last had to do with the child, by what its record says.

    A review's own date; the day of the school census in January and the end of the Profile's assessments in June of the
    cohort's Reception year; census day of the early years census in January before it. A date still to come is none.
    """
    match source:
        case "hv_reviews":
            return f"CASE WHEN review_date <= {quoted(on.isoformat())}::DATE THEN strftime(review_date, '%Y-%m') END"
        case "eyfsp":
            return quoted(f"{cohort.first_year + 1}-06")
        case "school_census":
            return quoted(f"{cohort.first_year + 1}-01")
        case _:
            return quoted(f"{CONTRACTS[source].due.on(cohort).year}-01")
