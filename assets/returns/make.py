"""Makes the returns of a cohort: for every sender named in an agreement, facts about its own rows, sealed to it.

The returns of a service are based on the links of the cohort or, if the service has new rows, on a linkage without them
(`privacy.returns.facts`). Disabled unless a folder of sharing agreements is given. Everything stays in the restricted
zone. Messages name councils, services and agreements, never a number of rows or children.
"""

import datetime as dt
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.errors import Refused
from assets.home.home_lock import with_cohort_lock, with_removals_blocked
from assets.home.paths import CohortStore, ExtractStore
from assets.intake import deliveries
from assets.linkage import inputs
from assets.linkage.arrivals import is_in_full, list_able_services, list_census_months, list_complete_reviews
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.tokens import StoredPairs, open_readers, read_last_keys
from assets.returns import accounts
from assets.returns.accounts import DisclosureEntry, Made, ReturnState
from assets.returns.row_history import Extracts, Unusual, observe
from privacy.doors import files
from privacy.doors.database import open_in_memory
from privacy.doors.program import compute_program_sha256
from privacy.doors.sql import quote_parquet, quote_text
from privacy.doors.typed import A_REASON, is_reason
from privacy.keys import KeyRing, derive_sender_key
from privacy.linkage.link import link
from privacy.linkage.rows import ROW, Extract
from privacy.release.canonical import compute_sha256, encode_canonical_json, hash_json
from privacy.returns import facts
from privacy.returns.agreement import Agreement, NewChildren, Permitted, Sender, find_new_children_rule, list_permitted
from privacy.returns.seal import RECEIPT_FORMAT, Header, encode_content, seal, seal_document
from privacy.row_keys import build_part_sql
from privacy.services import SERVICE_NAMES, SERVICES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort


@with_removals_blocked
@with_cohort_lock
def make_returns(store: CohortStore, agreements: Mapping[str, Agreement], keys: KeyRing, on: dt.date) -> list[Made]:
    """Make every return that the agreements allow on a day, and withdraw those they no longer allow.

    A return whose content has not changed is left alone. Raises `Refused`, `LogBroken` and `ReturnProblem`.
    """
    extracts = _read_linked_deliveries(store)
    # Once a run: for 600 returns, checking the log for each takes 76 s.
    accounts.check_anchored(store.home)
    log = accounts.read_state(store)
    # A clock that was put back must not bring an expired agreement back into force.
    if log.last_day and on < log.last_day - dt.timedelta(days=1):  # time zones differ by up to a day
        raise Refused(
            f"this machine's clock says {on}, and the disclosure log goes on to {log.last_day}: put the clock right,"
            " then make the returns again"
        )
    with open_in_memory() as con:
        maker = Maker(store, agreements, keys, on, extracts, log, con)
        made_from = maker.hash_inputs()
        if unchanged := accounts.read_unchanged(store, made_from, on):
            return unchanged
        maker.load_records()
        # No history is kept of councils without an agreement in force.
        watched = {key: extract for key, extract in extracts.items() if key[0] in maker.active}
        maker.unusual |= observe(con, store, watched, log.released, on)
        facts.record_overdue_reviews(con, maker.list_rules(), on)
        made = [one for service in SERVICE_NAMES for one in maker.make_for(service)]
        if maker.active:
            # Summaries stay in the restricted zone, so new rows count in them.
            maker.use_cohort_links()
        for council in agreements:
            if council in maker.active:
                waiting = {source: found for (of, source), found in maker.unusual.items() if of == council}
                missing = [service for service in maker.able if Sender(council, service) not in maker.in_full]
                accounts.write_summary(con, store, council, missing, waiting)
            else:
                # No true counts are kept once an agreement has ended.
                for suffix in (".json", ".html"):
                    store.get_return_summary_path(council).with_suffix(suffix).unlink(missing_ok=True)
        # Whether a delivery counts as unusual can change from one day to the next.
        until = on if maker.unusual else min(maker.find_days_of_change(), default=None)
    made.sort(key=lambda one: (one.council, one.source))
    if maker.active:
        accounts.write_record(store, made_from, on, until, made)
    else:
        # Without an agreement in force nothing is kept.
        store.returns_record.unlink(missing_ok=True)
    return made


@with_removals_blocked
@with_cohort_lock
def release(store: ExtractStore, reason: str) -> None:
    """Record that a person has looked at a delivery. Raises `Refused` if none waits, or without a reason."""
    if not is_reason(reason):
        raise Refused(f"{A_REASON}: nothing was recorded")
    extract = deliveries.read_current(store)
    if extract is None or accounts.read_held_mac(store) != extract.file_mac:
        raise Refused(
            f"{store.council}/{store.source}, cohort {store.cohort}: no delivery is waiting for review; make the"
            " returns first"
        )
    what = ReturnState.RELEASED, store.cohort, store.council, store.source, SERVICES[store.source]
    accounts.record_entry(store.home, DisclosureEntry(*what, extract_mac=extract.file_mac, reason=reason))


@dataclass
class Maker:
    """The maker of a cohort's returns on one day. `extracts` and `unusual` deliveries are by council and source."""

    store: CohortStore
    agreements: Mapping[str, Agreement]
    keys: KeyRing
    on: dt.date
    extracts: Extracts
    log: accounts.LogState
    con: duckdb.DuckDBPyConnection
    unusual: dict[tuple[str, str], Unusual] = field(default_factory=dict)
    found: dict[str, dict[tuple[str, str], list[str]]] = field(default_factory=dict)
    """Facts of every return, by the service without whose new rows they were found ("" for the cohort's links)."""

    @cached_property
    def active(self) -> list[str]:
        """Councils whose agreement is in force."""
        return [
            council for council, agreement in self.agreements.items() if agreement.explain_not_in_force(self.on) is None
        ]

    @cached_property
    def able(self) -> Sequence[str]:
        """Services that can know every child of the cohort by the day."""
        return list_able_services(Cohort(self.store.cohort), self.on)

    @cached_property
    def in_full(self) -> list[Sender]:
        """Senders of the `able` services whose extracts due by the day are all in."""
        cohort, sent = Cohort(self.store.cohort), dict[str, dict[str, deliveries.ExtractQuality]]()
        for (council, source), extract in self.extracts.items():
            sent.setdefault(council, {})[source] = extract
        senders = [Sender(council, service) for council in sorted(sent) for service in self.able]
        return [each for each in senders if is_in_full(each.service, cohort, sent[each.council], self.on)]

    @cached_property
    def complete_reviews(self) -> dict[Sender, list[str]]:
        """Codes of the reviews for which a health-visiting team has sent every month that was due, by team."""
        cohort, found = Cohort(self.store.cohort), dict[Sender, list[str]]()
        for council, source in sorted(self.extracts):
            if source == "hv_reviews":
                path = self.store.get_extract(source, council).pseudonymised
                counted = self.con.execute(
                    "SELECT review, strftime(review_date, '%Y-%m'), count(*)"
                    f" FROM {quote_parquet([path], hive_partitioning=False)} GROUP BY ALL"
                ).fetchall()
                reviews = {(code, month): rows for code, month, rows in counted}
                complete = list_complete_reviews(cohort, self.extracts[council, source], reviews, self.on)
                found[Sender(council, SERVICES[source])] = complete
        return found

    @cached_property
    def payload(self) -> Mapping[str, Sequence[Path]]:
        """Payload files by source."""
        found = {source: list[Path]() for source in SERVICES}
        for council, source in sorted(self.extracts):
            found[source].append(self.store.get_extract(source, council).pseudonymised)
        return found

    def hash_inputs(self) -> str:
        """Return a hash of all inputs of the returns, except which rows are new and which reviews have a later date."""
        returns = {
            f"{council}/{source}": self._explain_no_return(council, source)
            or encode_content(self._build_header(Sender(council, SERVICES[source]), source, 0), []).decode()
            for council, source in self.extracts
        }
        signer = self.keys.signing_key.public_key().public_bytes_raw()
        content = {
            "program": compute_program_sha256(("assets", "privacy", "sources"), ("duckdb", "numpy", "scipy", "splink")),
            "keys": [self.keys.fingerprints, signer.hex()],
            "agreements": {council: agreement.version for council, agreement in self.agreements.items()},
            "returns": returns,
            "summaries": [self.active, self.able, self.in_full],
            "census_months": list_census_months(self.extracts, Cohort(self.store.cohort)).to_pylist(),
            "linked": inputs.hash_file(self.store.links),
            "extracts": {"/".join(key): extract.file_mac for key, extract in self.extracts.items()},
            "released": sorted(self.log.released),
        }
        return hash_json(content)

    def find_days_of_change(self) -> list[dt.date]:
        """Return later days on which a row is no longer new, or a review with a future date has taken place."""
        later: list[tuple[dt.date | None]] = []
        if paths := self.payload["hv_reviews"]:
            query = (
                f"SELECT min(review_date) FROM {quote_parquet(paths, hive_partitioning=False)} WHERE review_date > ?"
            )
            later = self.con.execute(query, [self.on]).fetchall()
        of_age = facts.find_days_of_growing_old(self.con, self.list_rules(), self.on)
        return [*of_age, *(day for (day,) in later if day)]

    def load_records(self) -> None:
        """Create `records`, as read by `privacy.returns.facts`; `row` is the number in the newest part that has it."""
        self.con.register("sent_again", read_last_keys(self.store, self.keys, self.payload))
        links = self.con.sql(
            "SELECT links.*, coalesce(last_key, row_key) AS last_key"
            f" FROM {quote_parquet([self.store.links], hive_partitioning=False)} AS links"
            " LEFT JOIN sent_again USING (source, council, row_key)"
        ).to_arrow_table()
        sent_last = links.select(["source", "council", "last_key"]).rename_columns([*ROW])
        numbers = RowNumbers(self.store, self.keys).find_numbers(sent_last)
        self.con.register("links", links.append_column("row", numbers))
        self.con.register("census_months", list_census_months(self.extracts, Cohort(self.store.cohort)))
        self.con.register("traits", facts.derive_traits(open_readers(self.store, self.keys, self.payload), self.keys))
        # the month of a review, unless it is in the future; the other sources have no date of contact
        month = (
            f"CASE WHEN review_date <= {quote_text(self.on.isoformat())}::DATE THEN strftime(review_date, '%Y-%m') END"
        )
        selects = [
            f"SELECT {quote_text(source)} AS source, council, {quote_text(SERVICES[source])} AS service, row_key,"
            f" {month if source == 'hv_reviews' else 'NULL'} AS last_contact,"
            f" {CONTRACTS[source].concern or 'NULL::BOOLEAN'} AS concern,"
            f" {CONTRACTS[source].concern_month or 'NULL'} AS dated_concern,"
            f" {'review' if source == 'hv_reviews' else 'NULL'} AS review"
            f" FROM {quote_parquet(paths, hive_partitioning=False)}"
            for source, paths in self.payload.items()
            if paths
        ]
        # A row without a probability is alone, or the one to which the others were linked: its place is certain.
        self.con.execute(
            f"""
            CREATE TEMP TABLE records AS
            SELECT sent.* EXCLUDE (last_contact, dated_concern), traits.* EXCLUDE (source, council, row_key), row,
                   child_id,
                   coalesce(last_contact, census_month) AS last_contact,
                   CASE WHEN concern THEN coalesce(dated_concern, last_contact, census_month) END AS concern_month,
                   coalesce(match_probability, 1) AS probability
              FROM ({" UNION ALL ".join(selects)}) AS sent JOIN links USING (source, council, row_key)
              JOIN traits USING (source, council, row_key)
              LEFT JOIN census_months ON census_months.source = sent.source AND census_months.council = sent.council
                   AND part = {build_part_sql("row")}
            """
        )

    def use_cohort_links(self) -> None:
        """Create the views `records` and `doubts` of the cohort's linkage."""
        self.con.register("cohort_doubts", self.doubts)
        self.con.execute("CREATE OR REPLACE TEMP VIEW records AS FROM all_records")
        self.con.execute("CREATE OR REPLACE TEMP VIEW doubts AS FROM cohort_doubts")

    def use_links_without_new_rows(self, service: str) -> bool:
        """Create the views `records` and `doubts` on which the returns of a service may be based.

        Returns whether these differ from the cohort's links.
        """
        self.use_cohort_links()
        out = facts.select_left_out(self.con, service)
        if not out.num_rows:
            return False
        sources = out["source"].unique().to_pylist()
        links, doubts = self._link_again({each: out.filter(pc.equal(out["source"], each)) for each in sources})
        self.con.register("links_without", links)
        self.con.register("doubts_without", doubts.list_children(links))
        self.con.execute(_WITHOUT)
        return True

    @cached_property
    def doubts(self) -> pa.Table:
        """Pairs of the cohort's children who may be one child: computed here, because only returns need them."""
        return self._link_again({})[1].list_children(pyarrow.parquet.read_table(self.store.links))

    def _link_again(self, out: Mapping[str, pa.Table]) -> tuple[pa.Table, facts.Doubts]:
        """Return the links without the rows of `out` (by source), and the doubts about them.

        Pairs that the cohort's linkage scored are not scored again.
        """
        doubts, children = facts.Doubts(), inputs.read_link_parameters(self.store)[1]
        kept: dict[str, Extract] = dict(open_readers(self.store, self.keys, self.payload))
        for source, rows in out.items():
            kept[source] = facts.drop_rows(kept[source], rows)
        # Read only: the next linkage needs the pairs of all rows.
        with StoredPairs(self.store, None, self.keys, inputs.build_fingerprint(children)) as cache:
            return link(kept, watchers=[doubts], children=children, cache=cache).links, doubts

    def list_rules(self) -> dict[Sender, NewChildren]:
        """Return the rule about new rows for each service that can receive something."""
        return {
            receiver: self._find_terms(receiver)[-1]
            for council in self.active
            for receiver in (Sender(council, service) for service in self.agreements[council].recipients)
        }

    def make_for(self, service: str) -> list[Made]:
        """Make the returns of a service in every council, and its receipts of who was told about its rows.

        Everything is based on links without the service's new rows. Facts for other services are computed only for the
        receipts.
        """
        found, made = self._find_facts(service), []
        before = {
            (file.parent.parent.name, file.parent.name)
            for file in self.store.home.returns.glob(f"*/*/{self.store.cohort}.age")
        }
        # Returns made before are included, so that those no longer allowed are withdrawn.
        for council, source in sorted({*self.extracts, *before}):
            if SERVICES[source] == service:
                file = self.store.get_extract(source, council).return_file
                if why_not := self._explain_no_return(council, source):
                    made.append(self._withdraw(file, council, source, why_not))
                else:
                    receiver = Sender(council, service)
                    made.append(self._make_return(file, receiver, source, found[council, source]))
        accounts.load_facts(self.con, found)
        return [*made, *self._make_receipts(service)]

    def _find_facts(self, service: str) -> dict[tuple[str, str], list[str]]:
        """Return the facts of every return, by council and source, on links without the service's new rows."""
        if not self.active:
            return {}
        # Services without new rows share the cohort's links, and so the facts.
        links = service if self.use_links_without_new_rows(service) else ""
        if links not in self.found:
            self.found[links] = {
                (council, source): facts.find_facts(self.con, receiver, source, *self._find_terms(receiver))
                for council, source in sorted(self.extracts)
                for receiver in [Sender(council, SERVICES[source])]
                if not self._explain_no_return(council, source)
            }
        return self.found[links]

    def _find_terms(self, receiver: Sender) -> tuple[Permitted, facts.Absence, facts.Absence, NewChildren]:
        """Return what a receiver may be told, what is decided on absence and missing reviews, and the new-rows rule."""
        allowed = list_permitted(self.agreements, receiver, self.on)
        of_absence = facts.decide_absence(receiver, allowed, self.able, self.in_full)
        of_reviews = facts.decide_missing_reviews(receiver, allowed, self.able, self.complete_reviews)
        return allowed, of_absence, of_reviews, find_new_children_rule(self.agreements, receiver, allowed)

    def _explain_no_return(self, council: str, source: str) -> str | None:
        """Return why an extract gets no return, or None."""
        own, service = self.agreements.get(council), SERVICES[source]
        if (council, source) not in self.extracts:
            return "its extract is not in"
        if own is None:
            return "no sharing agreement is on file"
        if why := own.explain_not_in_force(self.on):
            return why
        if service not in own.recipients:
            return f"the agreement {own.reference} names no recipient for {service}"
        if not list_permitted(self.agreements, Sender(council, service), self.on):
            return f"no agreement lets any service tell {service} anything"
        if found := self.unusual.get((council, source)):
            return (
                f"its delivery is unusual ({'; '.join(found.reasons)}): a person must review it, with the summary of"
                f" {council}, and release it (readiness returns release)"
            )
        return None

    def _make_return(self, file: Path, receiver: Sender, source: str, disclosed: list[str]) -> Made:
        header = self._build_header(receiver, source, len(disclosed))
        shared = "cohort council source service recipient recipient_name tells rows agreements extract_mac serial"
        entry = DisclosureEntry(
            what=ReturnState.MADE,
            return_mac=self._compute_mac(encode_content(header, disclosed)),
            **{name: getattr(header, name) for name in shared.split()},
        )
        sentence = f"made for {header.recipient_name}, encrypted to its key"
        return self._hand_over(file, entry, lambda: seal(header, disclosed, self.keys.signing_key), sentence)

    def _make_receipts(self, service: str) -> Iterator[Made]:
        """Make the receipts of a service in each council that may tell others, and withdraw those no longer allowed."""
        flows = accounts.list_permitted_flows(self.agreements, self.on)
        name, what = self.store.get_extract(service, "").told_file.name, f"told-{service}"
        before = {Sender(file.parent.name, service) for file in self.store.home.returns.glob(f"*/{name}")}
        for teller in sorted({teller for teller in flows if teller.service == service} | before):
            if teller in flows:
                yield self._make_receipt(teller, what, flows[teller])
            else:
                file = self.store.get_extract(service, teller.council).told_file
                yield self._withdraw(file, teller.council, what, "no agreement lets it tell anybody anything")

    def _make_receipt(self, teller: Sender, what: str, receivers: Mapping[str, list[str]]) -> Made:
        council, file = teller.council, self.store.get_extract(teller.service, teller.council).told_file
        own, found = self.agreements[council], accounts.build_receipt(self.con, teller)
        to = own.recipients[teller.service]
        document = {
            **teller._asdict(),
            "cohort": self.store.cohort,
            "recipient": to.key,
            "may_tell": receivers,
            **found,
        }
        entry = DisclosureEntry(
            what=ReturnState.TOLD,
            cohort=self.store.cohort,
            **teller._asdict(),
            source=what,
            recipient=to.key,
            recipient_name=to.name,
            rows=len(found["rows"]),
            agreements={council: own.version},
            return_mac=self._compute_mac(encode_canonical_json(document)),
        )

        def seal_dated() -> bytes:
            dated = encode_canonical_json(document | {"made_on": self.on.isoformat()})
            return seal_document(RECEIPT_FORMAT, dated, to.key, self.keys.signing_key)

        return self._hand_over(file, entry, seal_dated, f"made for {to.name}: what was disclosed about its rows")

    def _hand_over(self, file: Path, entry: DisclosureEntry, seal_it: Callable[[], bytes], sentence: str) -> Made:
        """Log a file and put it in place, unless it was the last one logged and its content is unchanged."""
        before = self.log.newest.get((entry.council, entry.source))
        # Encrypting the same content again gives other bytes, so the MAC of the content shows whether it changed.
        same = before and (before.what, before.return_mac) == (entry.what, entry.return_mac)
        if before and same and file.is_file() and compute_sha256(file.read_bytes()) == before.file_sha256:
            return Made(entry.council, entry.source, accounts.UNCHANGED)
        sealed = seal_it()
        # Logged first: a return that could be handed over is never missing from the log.
        accounts.record_entry(self.store.home, replace(entry, file_sha256=compute_sha256(sealed)))
        files.write(file, sealed)
        return Made(entry.council, entry.source, sentence, written=True)

    def _withdraw(self, file: Path, council: str, source: str, reason: str) -> Made:
        """Remove a file that was made before and may no longer be handed over."""
        if not file.exists():
            return Made(council, source, f"nothing is made: {reason}")
        if before := self.log.newest.get((council, source)):
            accounts.record_entry(self.store.home, replace(before, what=ReturnState.WITHDRAWN, reason=reason, rows=0))
        file.unlink()
        return Made(council, source, f"{accounts.WITHDRAWN}nothing is made: {reason}")

    def _compute_mac(self, document: bytes) -> str:
        # A MAC, because a guess at the content could be tested against a plain hash in the log.
        return hmac.digest(self.keys.derive_subkey("input-mac", "return"), document, "sha256").hex()

    def _build_header(self, receiver: Sender, source: str, rows: int) -> Header:
        allowed, of_absence, of_reviews, rule = self._find_terms(receiver)
        own, extract = self.agreements[receiver.council], self.extracts[receiver.council, source]
        recipient, parts = own.recipients[receiver.service], extract.parts.parts if extract.parts else ()
        newest = [part for part in parts if part.sent_last]
        councils = sorted({own.council, *(teller.council for teller in allowed)})
        return Header(
            **receiver._asdict(),
            source=source,
            cohort=self.store.cohort,
            recipient=recipient.key,
            recipient_name=recipient.name,
            sender_key=derive_sender_key(self.keys, source, own.council).hex(),
            sender_mac=extract.sender_mac,
            extract_mac=extract.file_mac,
            # Under another council file the same file can have other row numbers, so the recipient compares the count.
            extract_rows=sum(part.rows_read - part.deletions for part in newest)
            if extract.parts
            else extract.rows_read,
            parts={part.sender_mac: part.number for part in newest},
            several=[part.number for part in newest if part.of_several],
            **own.model_dump(include={"reference", "purpose", "legal_basis", "impact_assessment"}),
            expires=own.expires.isoformat(),
            agreements={council: self.agreements[council].version for council in councils},
            tells={"/".join(teller): sorted(fact.value for fact in facts) for teller, facts in allowed.items()},
            contacts={
                "/".join(teller): found.contact.model_dump()
                for teller in allowed
                if (found := self.agreements[teller.council].recipients.get(teller.service)) and found.contact
            },
            absence_of=["/".join(sender) for sender in of_absence.of],
            absence_why_not=of_absence.why_not,
            reviews={review: ["/".join(sender) for sender in of_reviews.of] for review in of_reviews.reviews},
            reviews_why_not=of_reviews.why_not,
            new_children=rule.model_dump(mode="json"),
            rows=rows,
            serial=self.log.made[receiver.council, source] + 1,
            made_on=self.on.isoformat(),
        )


def _read_linked_deliveries(store: CohortStore) -> Extracts:
    """Return the extracts whose rows are in the links. Raises `Refused` unless they are today's."""
    linked = [(council, source) for council, source in (name.split("/") for name in inputs.read_linked_extracts(store))]
    if not linked:
        raise Refused(f"cohort {store.cohort} has not been linked: run the job linkage first (or `readiness run`)")
    current = {
        (council, source): deliveries.read_current(store.get_extract(source, council)) for council, source in linked
    }
    gone = {f"{council}/{source}" for (council, source), quality in current.items() if quality is None}
    moved = gone.union(inputs.find_changes_since_linkage(store, inputs.list_councils(store, SERVICES)))
    if moved:
        raise Refused(
            f"cohort {store.cohort}: {', '.join(sorted(moved))} changed since the cohort was linked; run the job"
            " linkage first, so that row numbers are those of the files that are in"
        )
    return {key: quality for key, quality in current.items() if quality}


_WITHOUT = """
CREATE OR REPLACE TEMP TABLE records_without AS
SELECT all_records.* EXCLUDE (child_id, probability), links_without.child_id,
       coalesce(match_probability, 1) AS probability
  FROM all_records JOIN links_without USING (source, council, row_key);
CREATE OR REPLACE TEMP VIEW records AS FROM records_without;
CREATE OR REPLACE TEMP VIEW doubts AS FROM doubts_without;
"""
