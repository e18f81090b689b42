"""Records about returns: the disclosure log, receipts, summaries, and what the returns were made from.

- The disclosure log has a line for every return made or withdrawn: its recipient, kinds of facts, number of rows and
  agreements, but no rows, children or facts. A line is added before a return is put in place, and anchored in the
  processing log: if the log is lost, cut short or replaced by an older copy, it lacks a line that the processing log
  knows. If both logs are lost, extracts and returns remain that no line knows. `privacy.chained_log` detects a line
  that was changed or removed.
- A receipt says who was told about a service's rows, and is encrypted to that service. For each row, it says no more
  than the service's own return: which of the receivers named there were told about that row's child, and what. For
  receivers that may not tell the service anything, it gives a rounded number of children. The service's new rows count
  in neither, so nobody can find out about a child by sending it. For the same reason a receipt is based on links
  without those rows (`make`), and can differ by a few children from what a receiver was told.
- A summary says how many children of a council only one service knows: true counts, kept in the restricted zone.
- A record beside the returns says what they were made from, so that a night without a change costs nothing: a
  fingerprint of their inputs, a hash of every file, and the first day on which they change although no input does,
  because a row is no longer new or the date of a review has passed. It holds no rows.
"""

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import BaseModel, TypeAdapter, ValidationError

from assets.home import processing_log
from assets.home.paths import CohortStore, ExtractStore, Home
from assets.home.software import get_software_version
from assets.linkage.inputs import hash_file
from assets.returns.row_history import Unusual
from assets.returns.team_files import TEMPLATES, WORDS
from ndl_export.pages import kit
from privacy import chained_log
from privacy.doors import clock, files
from privacy.doors.sql import quote_text
from privacy.returns.agreement import Agreement, Sender, list_permitted
from privacy.services import SERVICES, Fact
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

# The recipient's name before it is free text, so the anchor is read from the end.
_ANCHOR = re.compile(r".*; line (\d+) ([0-9a-f]{64})", re.DOTALL)


class ReturnState(StrEnum):
    """What happened to a return."""

    MADE = "made"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"
    """A person has looked at an unusual delivery: returns may be made from it."""
    TOLD = "told"
    """A service received a receipt, which says who was told about its rows."""


@dataclass(frozen=True)
class DisclosureEntry:
    """One line of the disclosure log.

    `tells` are the kinds of facts by teller, `agreements` the version of each agreement by council. `return_mac`
    identifies the content, `file_sha256` the encrypted file. `serial` counts the returns of a cohort, council and
    source from 1.
    """

    what: str
    cohort: str
    council: str
    source: str
    service: str
    software: str = field(default_factory=get_software_version)
    recipient: str = ""
    recipient_name: str = ""
    tells: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    agreements: dict[str, str] = field(default_factory=dict)
    extract_mac: str = ""
    return_mac: str = ""
    file_sha256: str = ""
    reason: str = ""
    serial: int = 0


@dataclass(frozen=True)
class LogState:
    """What has been disclosed about a cohort so far.

    By council and source, `newest` is the last entry about each return, and `made` the number made. `released` are the
    MACs of deliveries that a person released, and `last_day` (UTC) is the day of the log's last line.
    """

    newest: dict[tuple[str, str], DisclosureEntry]
    made: Counter[tuple[str, str]]
    released: frozenset[str]
    last_day: dt.date | None


def read_state(store: CohortStore) -> LogState:
    """Read every line of the log. Raises `LogBroken`."""
    lines = chained_log.read_entries(store.home.disclosures)
    own = [line for line in lines if line["cohort"] == store.cohort]
    return LogState(
        newest={
            # Without the line's time, its account and its place in the chain, which pydantic passes over.
            (line["council"], line["source"]): TypeAdapter(DisclosureEntry).validate_python(line)
            for line in own
            if line["what"] != ReturnState.RELEASED
        },
        made=Counter((line["council"], line["source"]) for line in own if line["what"] == ReturnState.MADE),
        released=frozenset(line["extract_mac"] for line in own if line["what"] == ReturnState.RELEASED),
        # The last line of any cohort, because it is compared with the clock.
        last_day=dt.datetime.fromisoformat(lines[-1]["time"]).date() if lines else None,
    )


def record_entry(home: Home, entry: DisclosureEntry) -> None:
    """Add a line to the log, and its anchor to the processing log, durably. Raises `LogBroken`."""
    now = clock.format_now()
    # The line first: without its anchor it passes the check, while an anchor without its line stops every return.
    line = chained_log.append(home.disclosures, {"time": now, "by": chained_log.get_account_name(), **asdict(entry)})
    processing_log.record(
        home,
        processing_log.Processing.RETURN,
        entry.source,
        entry.cohort,
        entry.council,
        file_mac=entry.extract_mac,
        note=f"{entry.what}: {entry.recipient_name}; line {line['seq']} {line['entry_hash']}",
    )


def check_anchored(home: Home) -> int:
    """Check that the log is unbroken and has the lines the processing log knows; count them. Raises `LogBroken`.

    Extracts and returns that no log knows show that both logs were lost.
    """
    lines, processed = chained_log.read_entries(home.disclosures), processing_log.verify(home)
    _check_known(home, lines, processed)
    hashes = [line["entry_hash"] for line in lines]
    notes = (entry.note for entry in processed if entry.what == processing_log.Processing.RETURN)
    for number, known in (anchor.groups() for note in notes if (anchor := _ANCHOR.fullmatch(note))):
        if hashes[int(number) - 1 : int(number)] != [known]:
            raise chained_log.LogBroken(
                f"{home.disclosures}: it lacks line {number}, which the processing log knows: it was removed, or"
                " this is an old copy. Restore the newest copy of the log from a backup, with its head; until then no"
                " return is made or withdrawn"
            )
    return len(hashes)


def _check_known(home: Home, lines: Sequence[Mapping[str, Any]], processed: Sequence[processing_log.LogEntry]) -> None:
    """Raise `LogBroken` if an extract is in no line of the processing log, or a return in none of the disclosure log.

    A line is added before either is put in place, and logs that were deleted with their heads look like new ones.
    """
    taken = {(e.source, e.cohort, e.council) for e in processed if e.what == processing_log.Processing.INTAKE}
    made = {(line["council"], line["source"], line["cohort"]) for line in lines if line["what"] == ReturnState.MADE}
    returned = {(*path.parts[-3:-1], path.stem) for path in home.returns.glob("*/*/*.age")}
    lost = [
        (home.processing_log, [each.name for each in home.iter_extracts("quality", "json") if each.key not in taken]),
        (home.disclosures, ["/".join(each) for each in sorted(returned - made)]),
    ]
    for log, unknown in lost:
        if unknown:
            raise chained_log.LogBroken(
                f"{log}: it does not know {unknown[0]}, which is here: the log was lost or begun again. Restore the"
                " newest copies of the processing log and the disclosure log from a backup, with their heads; until"
                " then no return is made or withdrawn"
            )


ROUNDED_TO = 10
"""Numbers of children are rounded to a multiple of this."""


def load_facts(con: duckdb.DuckDBPyConnection, facts: Mapping[tuple[str, str], Sequence[str]]) -> None:
    """Create `told_facts`: each receiver's row with each service named for it, from the facts of every return.

    `facts` are the JSON texts made by `find_facts`, by council and source.
    """
    rows = [
        {"council": council, "service": SERVICES[source], "source": source, "facts": texts}
        for (council, source), texts in facts.items()
    ]
    con.register("returned", pa.Table.from_pylist(rows, _RETURNED))
    con.execute(_TOLD)
    con.unregister("returned")


def build_receipt(con: duckdb.DuckDBPyConnection, teller: Sender) -> dict[str, Any]:
    """Return the rounded number of the teller's children by receiver, and its rows by source and number."""
    of_teller = teller._asdict()
    counted = con.sql(_COUNTED, params={**of_teller, "to": ROUNDED_TO}).to_arrow_table().to_pylist()
    return {"receivers": counted, "rows": con.sql(_ROWS, params=of_teller).to_arrow_table().to_pylist()}


def list_permitted_flows(agreements: Mapping[str, Agreement], on: dt.date) -> dict[Sender, dict[str, list[str]]]:
    """Return the facts that each service with a key may tell today, by receiver."""
    found: dict[Sender, dict[str, list[str]]] = {}
    services = [Sender(council, service) for council, each in agreements.items() for service in each.recipients]
    for receiver in services:
        for teller, facts in list_permitted(agreements, receiver, on).items():
            # A service without a key may tell others, but nothing can be encrypted to it.
            if teller in services:
                found.setdefault(teller, {})["/".join(receiver)] = sorted(fact.value for fact in facts)
    return found


_RETURNED = pa.schema(
    [*((name, pa.string()) for name in ("council", "service", "source")), ("facts", pa.list_(pa.string()))]
)
_TOLD = """
CREATE OR REPLACE TEMP TABLE told_facts AS
SELECT council, service, source, row, contact.council AS teller_council, contact.service AS teller_service,
       contact.last_contact IS NOT NULL AS contact, contact.concern IS NOT NULL AS concern,
       contact.concern_month IS NOT NULL AS concern_month
  FROM (SELECT council, service, source, parsed.row, unnest(parsed.known_to) AS contact
          FROM (SELECT council, service, source, from_json(fact, '{"row": "BIGINT", "known_to": [{"council": "VARCHAR",
                "service": "VARCHAR", "last_contact": "VARCHAR", "concern": "BOOLEAN", "concern_month": "VARCHAR"}]}')
                       AS parsed
                  FROM (SELECT council, service, source, unnest(facts) AS fact FROM returned)))
"""
_OF_CHILD = """
    SELECT child_id, told_facts.council || '/' || told_facts.service AS receiver, bool_or(contact) AS contact,
           bool_or(told_facts.concern) AS concern, bool_or(told_facts.concern_month) AS concern_month
      FROM told_facts JOIN records USING (council, source, row)
     WHERE teller_council = $council AND teller_service = $service AND child_id IN (
           SELECT child_id FROM records WHERE council = $council AND service = $service
            GROUP BY child_id HAVING NOT bool_or(waiting))
     GROUP BY ALL
"""
"""SQL for what each receiver was told about the teller's children, without children who have a new row at the
teller."""
_COUNTED = f"""
SELECT receiver, (round(count(*) / $to) * $to)::BIGINT AS children_about FROM ({_OF_CHILD})
 GROUP BY receiver ORDER BY receiver
"""
_ROWS = f"""
SELECT own.source, own.row, receiver, list_sort(list_filter([
           {quote_text(Fact.KNOWN_TO)}, CASE WHEN contact THEN {quote_text(Fact.LAST_CONTACT)} END,
           CASE WHEN told.concern THEN {quote_text(Fact.CONCERN)} END,
           CASE WHEN told.concern_month THEN {quote_text(Fact.CONCERN_MONTH)} END], lambda fact: fact IS NOT NULL))
           AS told
  FROM ({_OF_CHILD}) AS told JOIN records AS own USING (child_id)
  JOIN (SELECT council, source, row, teller_council || '/' || teller_service AS receiver
          FROM told_facts) AS named USING (council, source, row, receiver)
 WHERE own.council = $council AND own.service = $service ORDER BY ALL
"""


_COUNTS = Path(__file__).with_name("summary.sql")


def write_summary(
    con: duckdb.DuckDBPyConnection,
    store: CohortStore,
    council: str,
    missing: Sequence[str],
    held: Mapping[str, Unusual],
) -> None:
    """Write the summary of a council as JSON and as a page, from `records` and `doubts` of `con`.

    Per service: its children; those in no other service's rows in any council (`alone`); and those who may be alone
    (`perhaps_alone`), because another service's record may be theirs, or they could not have been found. The last two
    are None if another service of the council is `missing`: it has not sent all that was due, and could know children
    who seem to be known to one service only. `held` are the deliveries that wait for a person, by source.
    """
    counted = con.execute(_COUNTS.read_text(encoding="utf-8"), {"council": council}).fetchall()
    services = [
        {"service": service, "children": children}
        | dict(zip(("alone", "perhaps_alone"), (None, None) if set(missing) - {service} else alone, strict=True))
        for service, children, *alone in counted
    ]
    waiting = {source: asdict(found) for source, found in held.items()}
    facts = {"council": council, "cohort": store.cohort, "services": services, "missing": missing, "held": waiting}
    page = kit.render(
        TEMPLATES,
        "summary.html.j2",
        **facts | {"council": get_place(council).la_name, "cohort": Cohort(store.cohort).label},
        titles=WORDS["summary"],
        sources={source: CONTRACTS[source].heading for source in held},
    )
    path = store.get_return_summary_path(council)
    files.write_json(path, facts)
    files.write(path.with_suffix(".html"), page.encode())


def read_held_mac(store: ExtractStore) -> str | None:
    """Return the MAC of the delivery that waits for a person, according to the latest summary."""
    path = store.cohort_store.get_return_summary_path(store.council)
    waiting = json.loads(path.read_bytes())["held"] if path.exists() else {}
    return str(waiting[store.source]["file_mac"]) if store.source in waiting else None


@dataclass(frozen=True)
class Made:
    """What happened to the return of one council and source; `sentence` contains no number."""

    council: str
    source: str
    sentence: str
    written: bool = False


UNCHANGED, WITHDRAWN = "unchanged since it was last made", "the return made before is withdrawn, "


class _Record(BaseModel):
    """Inputs of a cohort's returns on a day (a SHA-256), the hash of each file, and the outcomes to report while
    nothing changes."""

    inputs: str
    made_on: dt.date
    until: dt.date | None
    files: dict[str, str]
    made: list[Made]


def read_unchanged(store: CohortStore, inputs: str, on: dt.date) -> list[Made] | None:
    """Return the outcomes to report if the current returns are what these inputs would give on a day, or None."""
    try:
        record = _Record.model_validate_json(store.returns_record.read_bytes())
    # If the record is missing or damaged, the returns are made again.
    except (OSError, ValidationError):
        return None
    is_in_time = record.made_on <= on and (record.until is None or on < record.until)
    return record.made if is_in_time and record.inputs == inputs and record.files == _hash_files(store) else None


def write_record(store: CohortStore, inputs: str, on: dt.date, until: dt.date | None, made: Sequence[Made]) -> None:
    """Record the returns that now exist. They stay current until the day `until`, or indefinitely if it is None."""
    repeated = [
        Made(one.council, one.source, UNCHANGED if one.written else one.sentence.removeprefix(WITHDRAWN))
        for one in made
    ]
    record = _Record(inputs=inputs, made_on=on, until=until, files=_hash_files(store), made=repeated)
    files.write_json(store.returns_record, record.model_dump(mode="json"))


def _hash_files(store: CohortStore) -> dict[str, str]:
    paths: list[Path] = [path for path in (*store.all_returns, store.row_history) if path.is_file()]
    return {str(path.relative_to(store.home.returns)): hash_file(path) for path in paths}
