"""The clerical review of a cohort's links: drawn, sealed to the services whose rows it is about, and taken in again.

Everything stays in the restricted zone but the sheets, each of which gives one sender numbers of its own rows. What the
reviewers found leaves it only as noisy tallies that a release is charged for (`assets/release/review.py`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from assets.home.at_work import in_turn, while_in_use
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.linkage.inputs import councils_in, delivered, extracts_of
from assets.linkage.row_numbers import NotLinkedAsIs, RowNumbers
from assets.linkage.standing import linked_extracts, linked_with, not_as_linked
from assets.linkage.tokens import readers
from privacy.doors import files
from privacy.doors.database import in_memory
from privacy.doors.sql import identifier, parquet, quoted
from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.review import ReviewPairs, chances
from privacy.linkage.review_rates import COLUMNS, OUTSIDE, SHARE, Decision
from privacy.returns.agreement import Agreement, Fact, Sender, permitted
from privacy.returns.seal import ReturnProblem, check_recipient, seal_document, unseal_document
from privacy.row_keys import ROW_KEY, written
from privacy.services import SERVICES

SHEET_FORMAT = "readiness-review-1"
DECIDES, HANDS_OVER = "decide", "hand over"
"""What a service does with a row of its sheet: compare it with the other's, or let that one see it."""
_NEEDED = ("pair", "decision", "reviewer")
_PROBLEMS_SHOWN = 20
_REVIEWERS = 2
"""Reviewers of a pair at most."""


class ReviewProblem(Exception):
    """A review that cannot be drawn or taken in. The message names file, row, column and rule, never a value."""


@dataclass(frozen=True)
class Sample:
    """What is known of a drawn sample: its number among the cohort's, the deliveries and the linkage parameters that it
    was drawn from, the published number of children, and pairs in each stratum of each service."""

    number: int
    deliveries: Mapping[str, str]
    parameters: str
    children: int
    sizes: Mapping[str, int]

    @classmethod
    def read(cls, home: Home, cohort: str) -> Sample | None:
        """The newest sample of a cohort; None where none was drawn."""
        path = home.review(cohort) / "sample.json"
        return cls(**json.loads(path.read_bytes())) if path.exists() else None

    def is_of_links(self, home: Home, cohort: str) -> bool:
        """Whether the cohort's links are of the deliveries that the sample was drawn from. Rows that were removed on
        request since make no difference."""
        now = delivered(linked_extracts(home, cohort))
        return (self.deliveries, self.parameters) == (now, linked_with(home, cohort)[0])


@while_in_use
@in_turn
def draw_review(
    home: Home, cohort: str, agreements: Mapping[str, Agreement], keys: KeyRing, on: dt.date
) -> tuple[int, list[str]]:
    """Draw the sample of a cohort, or keep the one drawn from the same links, and seal a sheet to each sender that an
    agreement lets take part; its number, and a sentence for each sheet. The linkage is run again for it.

    Raises `NotLinkedAsIs`, and what the linkage does.
    """
    councils = councils_in(home, cohort)
    if not home.links(cohort).exists() or not_as_linked(home, cohort, councils):
        raise NotLinkedAsIs(f"Cohort {cohort} is not linked from the extracts that are in. Link it, then draw again.")
    record(home, Processing.REVIEW, cohort=cohort, note="sample drawn")
    folder, before = home.review(cohort), Sample.read(home, cohort)
    if before is None or not before.is_of_links(home, cohort):
        sample = _draw(home, cohort, councils, keys, before.number + 1 if before else 1)
        for path in folder.glob("**/*.*"):
            path.unlink()
        files.make_folder(folder)
        files.write(folder / "pairs.parquet", _as_parquet(sample[1]))
        files.write_json(folder / "sample.json", vars(sample[0]))
        before = sample[0]
    pairs = pyarrow.parquet.read_table(folder / "pairs.parquet")
    compared = _compared(pairs, agreements, on)
    made = [
        _seal(home, cohort, before.number, sender, sheet, agreements, keys)
        for sender, sheet in _sheets(compared, RowNumbers(home, keys, cohort))
    ]
    alone = pairs.filter(pc.invert(pc.is_in(pairs["pair"], compared["pair"])))
    files.write(folder / "patterns.csv", _as_csv(_patterns(alone)))
    return before.number, sorted(made)


def _draw(home: Home, cohort: str, councils: Sequence[str], keys: KeyRing, number: int) -> tuple[Sample, pa.Table]:
    parameters, children = linked_with(home, cohort)
    watcher = ReviewPairs(keys.subkey("row", f"review/{cohort}/{number}"))
    extracts = {source: extracts_of(home, source, cohort, councils) for source in SERVICES}
    links = pyarrow.parquet.read_table(home.links(cohort))
    again = link(readers(home, keys, cohort, extracts), links, [watcher], children).links
    same = ("source", "council", "row_key", "child_id", "match_rule")
    if not again.select(same).equals(links.select(same)):
        raise NotLinkedAsIs(f"Cohort {cohort} was linked by another version of the program. Link it, then draw again.")
    pairs, sizes = watcher.sample(links, children)
    return Sample(number, delivered(linked_extracts(home, cohort)), parameters, children, sizes), pairs


def _compared(pairs: pa.Table, agreements: Mapping[str, Agreement], on: dt.date) -> pa.Table:
    """The pairs of two services that may tell each other that they know a child: the sheet of each says as much."""
    with in_memory() as con:
        con.register("pairs", pairs)
        con.register("may", _flows(agreements, on))
        return con.sql(
            """
            FROM pairs
            SEMI JOIN may AS theirs
                   ON (theirs.to_council, theirs.receiver, theirs.council, theirs.teller)
                    = (pairs.council, 'education', pairs.other_council, pairs.service)
            SEMI JOIN may AS own
                   ON (own.to_council, own.receiver, own.council, own.teller)
                    = (pairs.other_council, pairs.service, pairs.council, 'education')
            """
        ).to_arrow_table()


def _flows(agreements: Mapping[str, Agreement], on: dt.date) -> pa.Table:
    """Who may tell whom that it knows a child, both with a key to seal to."""
    senders = [Sender(council, service) for council in agreements for service in agreements[council].recipients]
    flows = [
        {"to_council": to.council, "receiver": to.service, "council": teller.council, "teller": teller.service}
        for to in senders
        for teller, facts in permitted(agreements, to, on).items()
        if Fact.KNOWN_TO in facts and teller in senders
    ]
    names = ("to_council", "receiver", "council", "teller")
    return pa.Table.from_pylist(flows, pa.schema([(name, pa.string()) for name in names]))


def _sheets(compared: pa.Table, numbers: RowNumbers) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    """The sheet of each sender (council, source), with the numbers of its own rows. The pupil's side decides."""
    with in_memory() as con:
        con.register("compared", compared)
        ends = con.sql(
            f"""
            WITH ends AS (
                SELECT pair, council, 'eyfsp' AS source, row_key, other_council || '/' || service AS compare_with,
                       {quoted(DECIDES)} AS what_to_do, second_review FROM compared
                UNION ALL
                SELECT pair, other_council, other_source, other_row_key, council || '/education',
                       {quoted(HANDS_OVER)}, second_review FROM compared
            )
            SELECT * EXCLUDE (second_review), CASE WHEN second_review THEN 'yes' ELSE 'no' END AS second_review,
                   '' AS decision, '' AS reviewer
              FROM ends ORDER BY ALL
            """
        ).to_arrow_table()
    named = [written(number) for number in numbers.numbers(ends).to_pylist()]
    ends = ends.set_column(ends.column_names.index(ROW_KEY), "row", pa.array(named, pa.string()))
    for sender in ends.select(["council", "source"]).group_by(["council", "source"]).aggregate([]).to_pylist():
        own = (pc.field("council") == sender["council"]) & (pc.field("source") == sender["source"])
        yield (sender["council"], sender["source"]), ends.filter(own).drop_columns(["council", "source"])


def _seal(
    home: Home,
    cohort: str,
    number: int,
    sender: tuple[str, str],
    sheet: pa.Table,
    agreements: Mapping[str, Agreement],
    keys: KeyRing,
) -> str:
    council, source = sender
    recipient = agreements[council].recipients[SERVICES[source]]
    header = {"council": council, "source": source, "cohort": cohort, "sample": number, "recipient": recipient.key}
    document = json.dumps(header, sort_keys=True).encode() + b"\n" + _as_csv(sheet)
    path = home.review(cohort) / council / f"{source}.age"
    files.write(path, seal_document(SHEET_FORMAT, document, recipient.key, keys.signing_key))
    return f"{path}: for {recipient.name}"


def open_sheet(file: Path, key: Path, signer: Path) -> bytes:
    """The sheet of a sender as CSV, with empty columns for decisions. Raises `ReturnProblem`."""
    document, recipient = unseal_document(SHEET_FORMAT, file, key, signer)
    first, _, sheet = document.partition(b"\n")
    try:
        check_recipient(file, json.loads(first)["recipient"], recipient)
    except (ValueError, KeyError, TypeError):
        raise ReturnProblem(f"{file.name}: is of another version of the software; ask for a new sheet") from None
    return sheet


def _patterns(pairs: pa.Table) -> pa.Table:
    """Of pairs that no two services may compare: which kinds of tokens agree, for the linkage team to look at."""
    with in_memory() as con:
        con.register("pairs", pairs)
        return con.sql(
            "SELECT pair, service, stratum, array_to_string(agree, ' ') AS agree FROM pairs ORDER BY ALL"
        ).to_arrow_table()


@while_in_use
@in_turn
def take_review(home: Home, cohort: str, decided: Sequence[Path]) -> Path:
    """Take in the decisions of the cohort's newest sample, in the place of any before; the restricted report's path.

    Raises `ReviewProblem` with everything that is wrong with the files; nothing is taken in then.
    """
    sample = Sample.read(home, cohort)
    if sample is None:
        raise ReviewProblem(f"Cohort {cohort} has no sample yet. Draw one: readiness review sample")
    if not sample.is_of_links(home, cohort):
        raise ReviewProblem(f"Cohort {cohort} was linked from other extracts since the sample was drawn. Draw again.")
    folder = home.review(cohort)
    with in_memory() as con:
        con.register("pairs", pyarrow.parquet.read_table(folder / "pairs.parquet"))
        con.register("rows", pa.concat_tables(_read(path) for path in decided))
        if problems := con.sql(_PROBLEMS).fetchall():
            said = [f"{file}, row {row}, column {column}: {rule}" for file, row, column, rule in problems]
            more = [f"and {len(said) - _PROBLEMS_SHOWN} more"] if len(said) > _PROBLEMS_SHOWN else []
            raise ReviewProblem("\n".join(["The decisions were not taken in:", *said[:_PROBLEMS_SHOWN], *more]))
        con.execute(f"CREATE TEMP TABLE decided AS {_DECIDED}").fetchall()
        if not con.sql("FROM decided LIMIT 1").fetchall():
            raise ReviewProblem("The files hold no decision. Fill in the columns decision and reviewer.")
        record(home, Processing.REVIEW, cohort=cohort, note="decisions taken in")
        con.execute(f"CREATE VIEW children AS FROM {parquet(home.confidential('pupil', cohort))}").fetchall()
        report = {"sample": sample.number, "strata": _strata(con, sample), "reviewers": _agreement(con)}
        files.write_json(folder / "report.json", report)
        files.write(home.reviewed(cohort), _as_parquet(con.sql(_reviewed_sql()).to_arrow_table()))
    return folder / "report.json"


def _read(path: Path) -> pa.Table:
    """The rows of a file of decisions as text, with the number of each line: file, line, pair, decision, reviewer."""
    try:
        rows = pyarrow.csv.read_csv(
            path, convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(_NEEDED, pa.string()))
        )
    except (pa.ArrowInvalid, OSError):
        raise ReviewProblem(
            f"{path.name}: is not a CSV file in UTF-8 with commas between columns. Save the sheet as CSV again."
        ) from None
    if missing := [name for name in _NEEDED if rows.column_names.count(name) != 1]:
        raise ReviewProblem(f"{path.name}, row 1: the column {missing[0]} is needed once. Keep the sheet's headings.")
    own = {name: pc.fill_null(pc.utf8_trim_whitespace(rows[name]), "") for name in _NEEDED}
    return pa.table({"file": pa.repeat(path.name, len(rows)), "line": pa.array(range(2, len(rows) + 2)), **own})


_PROBLEMS = f"""
WITH given AS (FROM rows WHERE decision <> '' OR reviewer <> ''),
told AS (SELECT *, count(*) OVER (PARTITION BY pair, reviewer) AS times,
                dense_rank() OVER (PARTITION BY pair ORDER BY reviewer) AS place FROM given)
SELECT file, line, 'pair', 'is no pair of this sample' FROM given WHERE pair NOT IN (SELECT pair FROM pairs)
UNION ALL
SELECT file, line, 'decision', 'is none of {", ".join(Decision)}' FROM given
 WHERE decision NOT IN ({", ".join(f"{quoted(each)}" for each in Decision)})
UNION ALL
SELECT file, line, 'reviewer', 'is not a code of 1 to 20 letters or digits' FROM given
 WHERE NOT regexp_full_match(reviewer, '[A-Za-z0-9]{{1,20}}')
UNION ALL
SELECT file, line, 'reviewer', 'has decided this pair more than once' FROM told WHERE times > 1
UNION ALL
SELECT file, line, 'reviewer', 'is the third to decide this pair: at most {_REVIEWERS} do' FROM told
 WHERE place > {_REVIEWERS}
 ORDER BY ALL
"""
_DECIDED = f"""
SELECT pair, CASE WHEN count(DISTINCT decision) = 1 THEN min(decision) ELSE {quoted(Decision.UNKNOWN)} END AS decision,
       list(decision ORDER BY reviewer) AS each
  FROM rows WHERE decision <> '' GROUP BY pair
"""
"""SQL of the pairs that were decided: reviewers who disagree cannot tell."""


def _reviewed_sql() -> str:
    """SQL of the table that is measured: a pair that nobody decided could not be told."""
    measured = ", ".join(f"{quoted(stratum)}" for stratum in SHARE)
    of_service = ", ".join(
        f"coalesce(max(cell) FILTER (service = {quoted(service)}), {quoted(OUTSIDE)}) AS {column}"
        for service, column in COLUMNS.items()
    )
    return f"""
    SELECT child_id, {of_service} FROM children LEFT JOIN (
        SELECT child_id, service, stratum || ': ' || coalesce(decision, {quoted(Decision.UNKNOWN)}) AS cell
          FROM pairs LEFT JOIN decided USING (pair) WHERE stratum IN ({measured})
    ) USING (child_id) GROUP BY child_id ORDER BY child_id
    """


def _strata(con: Any, sample: Sample) -> list[dict[str, Any]]:
    """By service and stratum, for the restricted zone: pairs there, in the sample, by decision, and the matches in the
    whole stratum, weighted by how many pairs each in the sample stands for."""
    counted = ", ".join(f"count(*) FILTER (decision = {quoted(each)}) AS {identifier(each)}" for each in Decision)
    found = con.sql(
        f"SELECT service, stratum, count(*) AS sampled, {counted} FROM pairs LEFT JOIN decided USING (pair)"
        " GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()
    drawn, lines = chances(sample.children), []
    for line in found.to_pylist():
        pairs = sample.sizes[f"{line['service']}/{line['stratum']}"]
        weight = 1 / drawn.get(line["stratum"], line["sampled"] / pairs)
        lines.append({**line, "pairs": pairs, "matches_weighted": round(weight * line[Decision.MATCH], 1)})
    return lines


def _agreement(con: Any) -> dict[str, Any]:
    """How well two reviewers of one pair agree: Cohen's kappa, None where chance alone would agree on all."""
    pairs = [each for (each,) in con.sql("SELECT each FROM decided WHERE len(each) > 1").fetchall()]
    if not pairs:
        return {"pairs": 0, "same": None, "kappa": None}
    same = sum(one == other for one, other in pairs) / len(pairs)
    shares = [[sum(pair[side] == each for pair in pairs) / len(pairs) for each in Decision] for side in (0, 1)]
    by_chance = sum(one * other for one, other in zip(*shares, strict=True))
    kappa = None if by_chance == 1 else round((same - by_chance) / (1 - by_chance), 3)
    return {"pairs": len(pairs), "same": round(same, 3), "kappa": kappa}


def forget_reviewed(home: Home, cohort: str) -> None:
    """Remove from a review what is about rows that are linked no more, and sheets that may name them."""
    folder = home.review(cohort)
    if not (folder / "pairs.parquet").exists() or not home.links(cohort).exists():
        return
    with in_memory() as con:
        con.execute(f"CREATE VIEW links AS FROM {parquet(home.links(cohort))}").fetchall()
        con.register("pairs", pyarrow.parquet.read_table(folder / "pairs.parquet"))
        kept = con.sql(
            """
            FROM pairs SEMI JOIN links own ON own.source = 'eyfsp' AND own.council = pairs.council
                                          AND own.row_key = pairs.row_key
                       SEMI JOIN links theirs ON theirs.source = other_source AND theirs.council = other_council
                                             AND theirs.row_key = other_row_key
            """
        ).to_arrow_table()
        files.write(folder / "pairs.parquet", _as_parquet(kept))
        if home.reviewed(cohort).exists():
            con.register("reviewed", pyarrow.parquet.read_table(home.reviewed(cohort)))
            left = con.sql("FROM reviewed SEMI JOIN links USING (child_id) ORDER BY child_id").to_arrow_table()
            files.write(home.reviewed(cohort), _as_parquet(left))
    for path in (*folder.glob("*/*.age"), folder / "patterns.csv"):
        path.unlink(missing_ok=True)


def _as_csv(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, buffer, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return buffer.getvalue().to_pybytes()


def _as_parquet(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue().to_pybytes()
