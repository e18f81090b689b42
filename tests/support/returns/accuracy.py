"""Accuracy of returned facts, and share of true facts withheld, in data with a known truth.

There are two independent generators: `readiness synth`, and the linkage's stress extracts, whose records have many more
errors. Extracts go through intake, linkage, agreements and sealed files.
"""

import datetime as dt
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from assets.linkage.row_numbers import RowNumbers
from privacy.services import SERVICES, Fact
from sources.contracts import CONTRACTS, Role
from sources.reference.code_lists import load_cut_offs
from sources.reference.places import PILOT, get_place
from sources.synthetic import generate
from tests.support.extracts import PERSON, build_row
from tests.support.linkage import stress
from tests.support.returns.agreements import EVERY_FACT, format_all_terms, format_terms, write
from tests.support.returns.pipeline import COHORT, REVIEW_DAYS, TODAY, Pipeline, make_pipeline

Counts = dict[str, tuple[int, int, int]]
"""Numbers of right, wrong and withheld facts, by kind."""

_PAYLOAD = {
    source: {
        name: value
        for name, value in build_row(source).items()
        if name not in PERSON and CONTRACTS[source][name].role is not Role.IDENTIFIER
    }
    for source in SERVICES
}
"""Values of every row of the stress extracts, except the council's code, months of review and concerns."""


BEFORE_SCHOOL = dt.date(2024, 4, 1)
"""A day on which the last early years census of the cohort is in, and schools have sent nothing."""


def ingest_synthetic(
    folder: Path, seed: int, scale: float, councils: Sequence[str] = PILOT, *, before_school: bool = False
) -> Pipeline:
    """Ingest and link extracts of `readiness synth`, with the truth in the same folder."""
    pipeline = make_pipeline(folder)
    generate(pipeline.landing, COHORT, scale=scale, seed=seed, councils="pilot")
    for extracts in pipeline.landing.glob("*/*") if before_school else ():
        if SERVICES.get(extracts.name) == "education":
            shutil.rmtree(extracts)
    pipeline.ingest_and_link(sorted(councils))
    return pipeline


def ingest_stressed(
    folder: Path, seed: int, children: int, slips: float = 1.0, *, before_school: bool = False
) -> Pipeline:
    """Ingest and link stress extracts with `slips` times the usual errors."""
    frames = stress.draw_extracts(children, seed, slips=slips)
    return ingest_frames(folder, {s: f for s, f in frames.items() if not before_school or SERVICES[s] != "education"})


def ingest_frames(folder: Path, frames: Mapping[str, pd.DataFrame]) -> Pipeline:
    """Write frames as extracts with reviews of several months and some concerns; ingest and link them.

    `frames` are in contract columns by source, with council, child and row_key.
    """
    pipeline = make_pipeline(folder)
    truths = []
    for source, frame in frames.items():
        number = frame.child
        said = frame.drop(columns=["child", "row_key"]).drop(columns="twin", errors="ignore").assign(**_PAYLOAD[source])
        if source == "hv_reviews":
            said["review_date"] = (number % len(REVIEW_DAYS)).map(dict(enumerate(REVIEW_DAYS)))
            said["concern"] = (number % 4 == 0).map({True: "Y", False: "N"})
        elif source == "early_years_census":
            said["progress_check_outcome"] = (number % 5 == 0).map({True: "concern", False: "on_track"})
        for council, rows in said.groupby("council"):
            path = pipeline.landing / str(council) / source / f"{COHORT}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            code = {"la_code": get_place(str(council)).old_la_code} if source == "eyfsp" else {}
            rows.drop(columns="council").assign(**code).to_csv(path, index=False)
        truths.append(frame[["council"]].assign(source_row=frame.row_key, source=source, person_id=number))
    pa.parquet.write_table(pa.Table.from_pandas(pd.concat(truths), preserve_index=False), folder / "truth.parquet")
    pipeline.ingest_and_link(sorted(PILOT))
    return pipeline


def agree(pipeline: Pipeline, councils: Collection[str], across: bool, on: dt.date = TODAY) -> None:
    """Write agreements by which every service discloses everything to the others of its council and, if `across`, to
    those of all other councils; make the returns as of a day."""
    for council in councils:
        others = [other for other in councils if other != council] if across else []
        away = "".join(format_terms(a, b, EVERY_FACT[a], to) for to in others for a in EVERY_FACT for b in EVERY_FACT)
        write(pipeline.agreements, council, pipeline.recipients, format_all_terms() + away, accepts_from=others)
    pipeline.make(on)


def judge(pipeline: Pipeline, councils: Collection[str]) -> dict[str, Counts]:
    with duckdb.connect() as con:
        _create_truth(con, pipeline)
        con.register("sealed", _read_sealed(pipeline, councils))
        con.execute(_TOLD)
        con.execute(_TRUE)
        found = con.execute(_JUDGED).fetchall()
    counts: dict[str, Counts] = {}
    for source, kind, *numbers in found:
        counts.setdefault(source, {})[kind] = tuple(numbers)
    return counts


def sum_counts(counts: dict[str, Counts], kind: str) -> tuple[int, int, int]:
    of_kind = [found[kind] for found in counts.values() if kind in found]
    return tuple(map(sum, zip(*of_kind, strict=True)))


def build_concern_sql(source: str) -> str:
    """Return SQL for whether a row of a source has a concern, or NULL for a source without any."""
    below = " OR ".join(
        f"(asq3_months = '{months}' AND TRY_CAST({domain} AS DOUBLE) < {cut})"
        for (domain, months), cut in load_cut_offs().items()
    )
    concerns = {
        "early_years_census": "progress_check_outcome = 'concern' OR sen_provision IN ('K', 'E')",
        "hv_reviews": f"concern = 'Y' OR referral = 'Y' OR {below}",
    }
    return f"coalesce({concerns[source]}, false)" if source in concerns else "NULL::BOOLEAN"


def _create_truth(con: duckdb.DuckDBPyConnection, pipeline: Pipeline) -> None:
    """Create the table `rows`: each row with its person, and its contact and concern from the extracts' payload."""
    said = {
        "eyfsp": ("'2025-06'", "NULL"),
        "school_census": ("'2025-01'", "NULL"),
        "early_years_census": ("'2024-01'", "NULL"),
        "hv_reviews": ("strftime(review_date, '%Y-%m')", "review"),
    }
    selects = " UNION ALL ".join(
        f"SELECT '{source}' AS source, '{SERVICES[source]}' AS service, council, row_key, {contact} AS last_contact,"
        f" {build_concern_sql(source)} AS concern, {review} AS review"
        f" FROM read_parquet('{pipeline.home.restricted}/pseudonymised/source={source}"
        f"/cohort={COHORT}/*.parquet', hive_partitioning = false)"
        for source, (contact, review) in said.items()
        if (pipeline.home.restricted / "pseudonymised" / f"source={source}" / f"cohort={COHORT}").is_dir()
    )
    links = pa.parquet.read_table(pipeline.home.get_cohort(COHORT).links)
    numbers = RowNumbers(pipeline.home.get_cohort(COHORT), pipeline.keys).find_numbers(links)
    con.register("numbered", links.append_column("source_row", numbers))
    con.execute(
        f"CREATE TABLE rows AS SELECT person_id, said.*, source_row FROM ({selects}) AS said"
        " JOIN (SELECT source, council, row_key, source_row FROM numbered) USING (source, council, row_key)"
        f" JOIN '{pipeline.root / 'truth.parquet'}' USING (source, council, source_row)"
    )


def _read_sealed(pipeline: Pipeline, councils: Collection[str]) -> pa.Table:
    """Return a row per return: sender, facts as JSON, services that tell, and absences of services and reviews."""
    places = [(council, source) for council in councils for source in SERVICES]
    opened = [pipeline.read_opened(*place) for place in places if pipeline.get_file(*place).exists()]
    return pa.table(
        {
            "source": [one.header.source for one in opened],
            "council": [one.header.council for one in opened],
            "service": [one.header.service for one in opened],
            "facts": [list(one.facts) for one in opened],
            "tells": [list(one.header.tells) for one in opened],
            "absence_of": [list(one.header.absence_of) for one in opened],
            "reviews": pa.array([list(one.header.reviews.items()) for one in opened], _REVIEWS),
        }
    )


_REVIEWS = pa.map_(pa.string(), pa.list_(pa.string()))
_TOLD = f"""
CREATE TABLE facts AS
SELECT source, council, unnest(from_json(fact, '{{"row": "BIGINT", "known_to": [{{"council": "VARCHAR",
       "service": "VARCHAR", "last_contact": "VARCHAR", "concern": "BOOLEAN"}}], "known_to_no_other": "BOOLEAN",
       "reviews_not_recorded": ["VARCHAR"]}}'))
  FROM (SELECT source, council, unnest(facts) AS fact FROM sealed);
CREATE TABLE contacts AS
SELECT source, council, row, contact.council || '/' || contact.service AS sender, contact.last_contact, contact.concern
  FROM (SELECT source, council, row, unnest(known_to) AS contact FROM facts);
CREATE TABLE told AS
SELECT source, council, row, '{Fact.KNOWN_TO}' AS kind, sender, '' AS said FROM contacts
UNION ALL SELECT source, council, row, '{Fact.LAST_CONTACT}', sender, last_contact FROM contacts
 WHERE last_contact IS NOT NULL
UNION ALL SELECT source, council, row, '{Fact.CONCERN}', sender, concern::VARCHAR FROM contacts
 WHERE concern IS NOT NULL
UNION ALL SELECT source, council, row, '{Fact.NO_OTHER}', '', '' FROM facts WHERE known_to_no_other
UNION ALL SELECT source, council, row, '{Fact.REVIEW}', unnest(reviews_not_recorded), '' FROM facts;
"""
_TRUE = f"""
CREATE TABLE known AS
SELECT person_id, council || '/' || service AS sender, max(last_contact) AS last_contact, bool_or(concern) AS concern
  FROM rows GROUP BY ALL;
CREATE TABLE seen AS
SELECT sealed.source, sealed.council, source_row AS row, known.*, list_contains(absence_of, sender) AS counts,
       len(absence_of) > 0 AS is_absence_told
  FROM sealed JOIN rows USING (source, council)
  LEFT JOIN known ON known.person_id = rows.person_id AND list_contains(tells, sender);
CREATE TABLE due AS
SELECT source, council, row, person_id, entry.key AS review, entry.value AS covered
  FROM (SELECT sealed.source, sealed.council, source_row AS row, person_id, unnest(map_entries(reviews)) AS entry
          FROM sealed JOIN rows USING (source, council));
CREATE TABLE true_facts AS
SELECT source, council, row, '{Fact.KNOWN_TO}' AS kind, sender, '' AS said FROM seen WHERE sender IS NOT NULL
UNION ALL SELECT source, council, row, '{Fact.LAST_CONTACT}', sender, last_contact FROM seen
 WHERE last_contact IS NOT NULL
UNION ALL SELECT source, council, row, '{Fact.CONCERN}', sender, concern::VARCHAR FROM seen WHERE concern IS NOT NULL
UNION ALL SELECT source, council, row, '{Fact.NO_OTHER}', '', '' FROM seen WHERE is_absence_told
 GROUP BY source, council, row HAVING NOT coalesce(bool_or(counts), false)
UNION ALL SELECT source, council, row, '{Fact.REVIEW}', review, '' FROM due
 WHERE NOT EXISTS (FROM rows WHERE rows.person_id = due.person_id AND rows.review = due.review
                     AND list_contains(covered, rows.council || '/' || rows.service));
"""
_JUDGED = """
SELECT source, kind, count(*) FILTER (told.said = true_facts.said),
       count(*) FILTER (told.said IS NOT NULL AND told.said IS DISTINCT FROM true_facts.said),
       count(*) FILTER (told.said IS NULL)
  FROM told FULL JOIN true_facts USING (source, council, row, kind, sender) GROUP BY ALL ORDER BY ALL
"""
