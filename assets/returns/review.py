"""Draws the clerical review of a cohort's links, seals it to the services concerned, and takes in their decisions.

Everything stays in the restricted zone except the sheets, each of which gives one sender numbers of its own rows. The
review's results leave the zone only as noisy counts that are charged to a release (`assets/release/record.py`).
"""

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from assets.home.errors import Refused
from assets.home.home_lock import with_cohort_lock, with_removals_blocked
from assets.home.paths import CohortStore
from assets.home.processing_log import Processing, record
from assets.intake import deliveries
from assets.linkage import inputs
from assets.linkage.inputs import Sample, list_measured_reviews
from assets.linkage.row_numbers import RowNumbers, encode_table
from assets.linkage.tokens import open_readers
from privacy.doors import files
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_identifier, quote_parquet, quote_text
from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.review import Decision, ReviewPairs, build_reviewed_sql
from privacy.returns.agreement import Agreement, Sender, find_new_children_rule, list_permitted
from privacy.returns.seal import ReturnProblem, check_recipient, seal_document, unseal_document
from privacy.row_keys import ROW_KEY, format_row_number, split_number
from privacy.services import SERVICES, Fact

SHEET_FORMAT = "readiness-review-1"
DECIDES, HANDS_OVER = "decide", "hand over"
"""What a service does with a line of its sheet: say whether it knows the child whom the school shows to it, or show the
row's child to that service."""
_NEEDED = ("pair", "decision", "reviewer")
_PROBLEMS_SHOWN = 20
_REVIEWERS = 2
"""Maximum number of reviewers of a pair."""


@with_removals_blocked
@with_cohort_lock
def draw_review(
    store: CohortStore, agreements: Mapping[str, Agreement], keys: KeyRing, on: dt.date
) -> tuple[int, list[str]]:
    """Draw the sample of a cohort, or keep the one drawn from the same links, and seal a sheet to each sender.

    Only senders whose agreements allow it take part. Returns the sample's number and a sentence for each sheet. The
    linkage is run again for this. Raises `Refused` if the links are of other extracts, and what the linkage raises.
    """
    councils = inputs.list_councils(store)
    if not inputs.are_links_current(store, inputs.build_current_fingerprint(store, councils)):
        raise Refused(f"Cohort {store.cohort} is not linked from the extracts that are in. Link it, then draw again.")
    record(store.home, Processing.REVIEW, cohort=store.cohort, note="sample drawn")
    folder, sample = store.review, Sample.read(store)
    if sample is None or not sample.is_of_links(store):
        # The key of the draw changes only when a release has measured a sample, so nobody can draw again and again
        # until a sample suits.
        number = 1 + len(list_measured_reviews(store))
        watcher = ReviewPairs()
        parameters, children = inputs.read_link_parameters(store)
        extracts = {source: inputs.list_extract_paths(store, source, councils) for source in SERVICES}
        links = pyarrow.parquet.read_table(store.links)
        link(open_readers(store, keys, extracts), links, [watcher], children)
        # Decisions on an earlier sample are about other pairs.
        shutil.rmtree(folder, ignore_errors=True)
        key = keys.derive_subkey("row", f"review/{store.cohort}/{number}")
        files.write(folder / "pairs.parquet", encode_table(watcher.sample(links, children, key), ".parquet"))
        sample = Sample(number, inputs.get_delivery_macs(inputs.read_linked_extracts(store)), parameters, children)
        files.write_json(folder / "sample.json", vars(sample))
    # Agreements may have changed, so every sheet is made again from those of today.
    for path in folder.glob("*/*.age"):
        path.unlink()
    numbers = RowNumbers(store, keys)
    permitted = _select_permitted_pairs(pyarrow.parquet.read_table(folder / "pairs.parquet"), agreements, on)
    made = []
    for council, source, sheet in _iter_sheets(_drop_new_rows(store, permitted, numbers), numbers):
        to, path = agreements[council].recipients[SERVICES[source]], folder / council / f"{source}.age"
        header = {
            "council": council,
            "source": source,
            "cohort": store.cohort,
            "sample": sample.number,
            "recipient": to.key,
        }
        document = json.dumps(header, sort_keys=True).encode() + b"\n" + sheet
        files.write(path, seal_document(SHEET_FORMAT, document, to.key, keys.signing_key))
        made.append(f"{path}: for {to.name}")
    return sample.number, made


def _select_permitted_pairs(pairs: pa.Table, agreements: Mapping[str, Agreement], on: dt.date) -> pa.Table:
    """Return the pairs whose two services may tell each other that they know a child, because their sheets do.

    `in_since` is the last day on which the rows of a pair may have come in under the agreements' rule on new children.
    """
    names = ["council", "other_council", "service"]
    found = []
    for group in pairs.select(names).group_by(names).aggregate([]).to_pylist():
        ends = Sender(group["council"], "education"), Sender(group["other_council"], group["service"])
        allowed = [list_permitted(agreements, to, on) for to in ends]
        if all(Fact.KNOWN_TO in facts.get(teller, ()) for facts, teller in zip(allowed, ends[::-1], strict=True)):
            rules = (find_new_children_rule(agreements, to, facts) for to, facts in zip(ends, allowed, strict=True))
            days = max(0 if Fact.KNOWN_TO in rule.until_then else rule.after_days for rule in rules)
            found.append(group | {"in_since": on - dt.timedelta(days)})
    schema = pa.schema([*(pairs.schema.field(name) for name in names), ("in_since", pa.date32())])
    return pairs.join(pa.Table.from_pylist(found, schema), names, join_type="inner")


def _drop_new_rows(store: CohortStore, pairs: pa.Table, numbers: RowNumbers) -> pa.Table:
    """Return the pairs without those of which a row came in after the day `in_since`.

    A sender could plant a row, and learn from its sheet that another service has, or lacks, such a child. A row came in
    when the file, or the part, that holds it was read.
    """
    days = []
    for source in SERVICES:
        for council in inputs.list_councils(store):
            if extract := deliveries.read_current(store.get_extract(source, council)):
                for number, read_on in extract.days_read.items():
                    days.append({"source": source, "council": council, "part": number, "read_on": read_on})
    read = pa.Table.from_pylist(days, _READ_DAYS)
    pairs = pairs.append_column("source", pa.repeat("eyfsp", pairs.num_rows))
    for prefix in ("", "other_"):
        ends = pa.table({name: pairs[f"{prefix}{name}"] for name in ("source", "council", ROW_KEY)})
        ends = ends.append_column("pair", pairs["pair"]).filter(pc.is_valid(pc.field(ROW_KEY)))
        part, _ = split_number(numbers.find_numbers(ends).to_numpy())
        known = (
            ends.append_column("part", pa.array(part))
            .join(read, ["source", "council", "part"], join_type="inner")
            .select(["pair", "read_on"])
        )
        joined = pairs.join(known, "pair", join_type="left outer")
        # Where no record is near, the other service has no row that may be new.
        is_old = pc.less_equal(joined["read_on"], joined["in_since"])
        has_row = pc.is_valid(joined[f"{prefix}{ROW_KEY}"])
        pairs = joined.filter(pc.if_else(has_row, pc.fill_null(is_old, False), True)).select(pairs.column_names)
    return pairs


_READ_DAYS = pa.schema(
    [("source", pa.string()), ("council", pa.string()), ("part", pa.int64()), ("read_on", pa.date32())]
)


def _iter_sheets(compared: pa.Table, numbers: RowNumbers) -> Iterator[tuple[str, str, bytes]]:
    """Yield council, source and sheet (CSV) of each sender. The service decides, and the school hands over."""
    with open_in_memory() as con:
        con.register("compared", compared)
        # Ordered by the pair's id, a hash, so that the order of a sheet says nothing about the strata.
        ends = con.sql(
            f"""
            SELECT pair, council, 'eyfsp' AS source, row_key, other_council || '/' || service AS compare_with,
                   {quote_text(HANDS_OVER)} AS what_to_do, second_review, '' AS decision, '' AS reviewer FROM compared
            UNION ALL
            SELECT pair, other_council, other_source, other_row_key, council || '/education',
                   {quote_text(DECIDES)}, second_review, '', '' FROM compared ORDER BY ALL
            """
        ).to_arrow_table()
    has_row = pc.is_valid(ends[ROW_KEY]).to_numpy()
    named = np.full(len(ends), "", object)
    named[has_row] = [format_row_number(each) for each in numbers.find_numbers(ends.filter(has_row)).to_pylist()]
    ends = ends.set_column(ends.column_names.index(ROW_KEY), "row", pa.array(named, pa.string()))
    senders = ends.select(["council", "source"]).group_by(["council", "source"]).aggregate([])
    for council, source in sorted(tuple(each.values()) for each in senders.to_pylist()):
        own = (pc.field("council") == council) & (pc.field("source") == source)
        yield council, source, encode_table(ends.filter(own).drop_columns(["council", "source"]), ".csv")


def open_sheet(file: Path, key: Path, signer: Path) -> bytes:
    """Return the sheet of a sender as CSV, with empty columns for decisions. Raises `ReturnProblem`."""
    document, recipient = unseal_document(SHEET_FORMAT, file, key, signer)
    first, _, sheet = document.partition(b"\n")
    try:
        check_recipient(file, json.loads(first)["recipient"], recipient)
    except (ValueError, KeyError, TypeError):
        raise ReturnProblem(f"{file.name}: is of another version of the software; ask for a new sheet") from None
    return sheet


@with_removals_blocked
@with_cohort_lock
def take_review(store: CohortStore, decided: Sequence[Path]) -> Path:
    """Take in the decisions on the cohort's latest sample, replacing earlier ones; return the restricted report's path.

    Raises `Refused` with every problem in the files; nothing is taken in then.
    """
    sample = Sample.read(store)
    if sample is None:
        raise Refused(f"Cohort {store.cohort} has no sample yet. Draw one: readiness review sample")
    if not sample.is_of_links(store):
        raise Refused(f"Cohort {store.cohort} was linked from other extracts since the sample was drawn. Draw again.")
    folder = store.review
    with open_in_memory() as con:
        con.register("pairs", pyarrow.parquet.read_table(folder / "pairs.parquet"))
        con.register("rows", pa.concat_tables(_read(path) for path in decided))
        if problems := con.sql(_PROBLEMS).fetchall():
            lines = [f"{file}, row {row}, column {column}: {rule}" for file, row, column, rule in problems]
            more = [f"and {len(lines) - _PROBLEMS_SHOWN} more"] if len(lines) > _PROBLEMS_SHOWN else []
            raise Refused("\n".join(["The decisions were not taken in:", *lines[:_PROBLEMS_SHOWN], *more]))
        con.execute(f"CREATE TEMP TABLE decided AS {_DECIDED}").fetchall()
        if not con.sql("FROM decided LIMIT 1").fetchall():
            raise Refused("The files hold no decision. Fill in the columns decision and reviewer.")
        record(store.home, Processing.REVIEW, cohort=store.cohort, note="decisions taken in")
        con.execute(f"CREATE VIEW children AS FROM {quote_parquet(store.get_confidential_path('pupil'))}").fetchall()
        strata = con.sql(_count_strata_sql()).to_arrow_table().to_pylist()
        report = {"sample": sample.number, "strata": strata, "reviewers": _compute_agreement(con)}
        files.write_json(folder / "report.json", report)
        files.write(store.reviewed, encode_table(con.sql(build_reviewed_sql()).to_arrow_table(), ".parquet"))
    return folder / "report.json"


def _read(path: Path) -> pa.Table:
    """Return the rows of a file of decisions as text: file, line, pair, decision, reviewer."""
    try:
        # As text: a code such as 007 would lose its zeros as a number.
        rows = pyarrow.csv.read_csv(
            path, convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(_NEEDED, pa.string()))
        )
    except (pa.ArrowInvalid, OSError):
        raise Refused(
            f"{path.name}: is not a CSV file in UTF-8 with commas between columns. Save the sheet as CSV again."
        ) from None
    if missing := [name for name in _NEEDED if rows.column_names.count(name) != 1]:
        raise Refused(f"{path.name}, row 1: the column {missing[0]} is needed once. Keep the sheet's headings.")
    # Row 1 of the file is the heading.
    own = {name: pc.fill_null(pc.utf8_trim_whitespace(rows[name]), "") for name in _NEEDED}
    return pa.table({"file": pa.repeat(path.name, len(rows)), "line": pa.array(range(2, len(rows) + 2)), **own})


_PROBLEMS = f"""
WITH decisions AS (FROM rows WHERE decision <> '' OR reviewer <> ''),
numbered AS (SELECT *, count(*) OVER (PARTITION BY pair, reviewer) AS times,
                dense_rank() OVER (PARTITION BY pair ORDER BY reviewer) AS place FROM decisions)
SELECT file, line, 'pair', 'is no pair of this sample' FROM decisions WHERE pair NOT IN (SELECT pair FROM pairs)
UNION ALL
SELECT file, line, 'decision', 'is not one of {", ".join(Decision)}' FROM decisions
 WHERE decision NOT IN ({", ".join(f"{quote_text(each)}" for each in Decision)})
UNION ALL
SELECT file, line, 'reviewer', 'is not a code of 1 to 20 letters or digits' FROM decisions
 WHERE NOT regexp_full_match(reviewer, '[A-Za-z0-9]{{1,20}}')
UNION ALL
SELECT file, line, 'reviewer', 'has decided this pair more than once' FROM numbered WHERE times > 1
UNION ALL
SELECT file, line, 'reviewer', 'is the third to decide this pair: at most {_REVIEWERS} do' FROM numbered
 WHERE place > {_REVIEWERS}
 ORDER BY ALL
"""
_DECIDED = f"""
SELECT pair, list(decision ORDER BY reviewer) AS each,
       CASE WHEN count(DISTINCT decision) = 1 THEN min(decision) ELSE {quote_text(Decision.UNKNOWN)} END AS decision
  FROM rows WHERE decision <> '' GROUP BY pair
"""
"""SQL for the decided pairs: a disagreement between reviewers counts as undecidable."""


def _count_strata_sql() -> str:
    """Return SQL for the counts by service and stratum.

    Columns: the pairs of the stratum, in the sample and by decision, and the estimated matches of the whole stratum,
    where each sampled pair is weighted by the number of pairs it represents.
    """
    counted = ", ".join(
        f"count(*) FILTER (decision = {quote_text(each)}) AS {quote_identifier(each)}" for each in Decision
    )
    return f"""
    SELECT service, stratum, any_value(stratum_pairs) AS pairs, count(*) AS sampled, {counted},
           coalesce(sum(weight) FILTER (decision = {quote_text(Decision.MATCH)}), 0) AS matches_weighted
      FROM pairs LEFT JOIN decided USING (pair) GROUP BY ALL ORDER BY ALL
    """


def _compute_agreement(con: Any) -> dict[str, Any]:
    """Return how well two reviewers agree: Cohen's kappa, or None if chance alone would agree on every pair."""
    pairs = np.array([each for (each,) in con.sql("SELECT each FROM decided WHERE len(each) > 1").fetchall()])
    if not len(pairs):
        return {"pairs": 0, "same": None, "kappa": None}
    same = float((pairs[:, 0] == pairs[:, 1]).mean())
    by_chance = sum(float((pairs == each).mean(axis=0).prod()) for each in Decision)
    kappa = None if by_chance == 1 else round((same - by_chance) / (1 - by_chance), 3)
    return {"pairs": len(pairs), "same": round(same, 3), "kappa": kappa}
