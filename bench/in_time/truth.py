"""What the rows of a world say, from its generator alone, and whether a fact that was told is right.

Both generators give one line for each row of a file (`COLUMNS`): its child, the day on which it is sent, the day from
which it no longer counts because its record was deleted (or none), the month of the contact, the review, whether the
row has a concern, and the month of that.
"""

import datetime as dt

import duckdb
import pandas as pd
import pyarrow as pa

from privacy.services import SERVICES, Fact
from sources.synthetic.growing import GrowingWorld
from tests.support.returns.accuracy import build_concern_sql

COLUMNS = [
    *("source", "council", "file", "source_row", "cohort", "person_id", "day", "gone"),
    *("seen", "review", "concern", "concern_month"),
]
_SEEN = {
    "hv_reviews": "strftime(review_date, '%Y-%m')",
    "early_years_census": "file",
    "school_census": "(left(cohort, 4)::INT + 1)::VARCHAR || '-01'",
    "eyfsp": "(left(cohort, 4)::INT + 1)::VARCHAR || '-06'",
}
"""SQL for the month of a contact: a January census names it, and the Profile is made in June."""
_CONCERN_MONTHS = {
    "early_years_census": "CASE WHEN sen_provision IN ('K', 'E') THEN file"
    " ELSE coalesce(strftime(progress_check_date, '%Y-%m'), file) END"
}
"""SQL for the month of a concern, if it is not that of the contact."""


def list_rows_of_growing_world(world: GrowingWorld) -> pd.DataFrame:
    """Return the rows of every file that the pipeline's own generator ever sends."""
    found = []
    with duckdb.connect() as con:
        for source, of_cohorts in world.sent.items():
            files = [file for file in world.files if file.source == source]
            children = pa.concat_tables(map(world.build_truth, files))
            sent = [of_cohorts[index].table[rows] for file in files for index, rows in file.parts]
            con.register("children", children)
            con.register("content", pa.concat_tables(sent, promote_options="default"))
            review = "review::VARCHAR" if source == "hv_reviews" else "NULL::VARCHAR"
            said = f"{_SEEN[source]} AS seen, {review} AS review, {build_concern_sql(source)} AS concern"
            month = _CONCERN_MONTHS.get(source, "seen")
            query = (
                f"SELECT children.*, {said}, CASE WHEN {build_concern_sql(source)} THEN {month} END AS concern_month"
                " FROM children POSITIONAL JOIN content"
            )
            found.append(con.sql(query).df())
    rows = pd.concat(found, ignore_index=True)
    of = ["source", "council", "person_id"]
    deleted = rows[rows.deletes].groupby(of).day.min().rename("gone").reset_index()
    return rows.merge(deleted, "left", on=of)[COLUMNS]


def judge(facts: pd.DataFrame, rows: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """Return each fact about a row (source, council, file, source_row) with its child and whether it is right."""
    if facts.empty:
        return facts.assign(person_id=0, right=True)
    with duckdb.connect() as con:
        con.register("facts", facts)
        con.register("services", pa.table({"source": list(SERVICES), "service": list(SERVICES.values())}))
        con.register("sent", rows[pd.to_datetime(rows.day) <= pd.Timestamp(day)])
        found = con.execute(_JUDGED, {"day": day, "month": f"{day:%Y-%m}"}).df()
    assert not found.person_id.isna().any(), "a fact is about a row that was never sent"
    return found


_JUDGED = f"""
WITH told AS (
    SELECT DISTINCT source, council, person_id, kind, facts.sender, said
      FROM facts LEFT JOIN sent USING (source, council, file, source_row)
), records AS (
    SELECT *, council || '/' || service AS sender FROM sent JOIN services USING (source)
     WHERE gone IS NULL OR gone > $day
), known AS (
    SELECT person_id, sender, max(seen) FILTER (seen <= $month) AS seen,
           coalesce(bool_or(concern), false) AS concern, max(concern_month) AS concern_month
      FROM records GROUP BY ALL
), of_child AS (
    SELECT person_id, list(sender) AS senders,
           coalesce(list(sender || ' ' || review) FILTER (review IS NOT NULL), []) AS reviews FROM records GROUP BY ALL
)
SELECT source, council, told.person_id, kind,
       CASE kind WHEN '{Fact.NO_OTHER}' THEN '' WHEN '{Fact.REVIEW}' THEN said ELSE told.sender END AS sender, said,
       CASE kind WHEN '{Fact.NO_OTHER}' THEN NOT list_has_any(coalesce(senders, []), string_split(told.sender, ','))
                 WHEN '{Fact.REVIEW}'
                 THEN NOT list_has_any(coalesce(reviews, []),
                          list_transform(string_split(told.sender, ','), lambda of: of || ' ' || said))
                 WHEN '{Fact.KNOWN_TO}' THEN known.sender IS NOT NULL
                 WHEN '{Fact.LAST_CONTACT}' THEN coalesce(said = known.seen, false)
                 WHEN '{Fact.CONCERN_MONTH}' THEN coalesce(said = known.concern_month, false)
                 ELSE coalesce(said = known.concern::VARCHAR, false) END AS "right"
  FROM told LEFT JOIN of_child ON of_child.person_id = told.person_id
  LEFT JOIN known ON known.person_id = told.person_id AND known.sender = told.sender
"""
