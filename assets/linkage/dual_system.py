"""Bounds the number of children seen by neither service, without a model of how records differ.

Three comparisons, each with its assumption. A higher threshold drops the weaker links, so it gives a larger number. A
missed link leaves a record without a pupil, so subtracting all such records gives the smallest number. And if the two
services saw children independently, the other three numbers would give the fourth (Sekar and Deming, Journal of the
American Statistical Association 44, 1949). Services mostly see the same children, so the true number is larger.
"""

from pathlib import Path

from assets.linkage.report import HEADLINE, LINKED_TO, Facts
from ndl_export.tables import pupil
from privacy.doors.counts import round_share
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_parquet, quote_text
from privacy.linkage.link import FURTHER_THRESHOLD, THRESHOLD
from privacy.linkage.report import OTHER_THRESHOLDS

THRESHOLDS = (THRESHOLD, max(OTHER_THRESHOLDS), FURTHER_THRESHOLD)


def compute_bounds(children: Path, links: Path, published: int) -> Facts:
    """Return the shares of children seen by each service under rising thresholds, and what they bound.

    `children` is the table of family pupil, `links` the links of its cohort, and `published` the number of children
    that official statistics give for the councils. Of the children who could be looked for:

    - `by_threshold`: by least probability of a link, the share of each of `HEADLINE`, and `independent`, the share seen
      by neither if the services had seen children independently (None if no child was seen by both);
    - `without_a_pupil`: children of a service's records without a pupil, relative to the pupils, by service;
    - `neither_at_least`: the share seen by neither if all of these were missed links;
    - `of_published`: pupils relative to `published`.

    All are rounded by `round_share`, so None for fewer than a hundred children.
    """
    linked, of_threshold = quote_parquet(links), ", ".join(f"({each}::DOUBLE)" for each in THRESHOLDS)
    records = f"""
        SELECT child_id, bool_or(source = 'eyfsp') AS pupil, {_select_surest_sql("hv_reviews", "review")},
               {_select_surest_sql("early_years_census", "setting")} FROM {linked} GROUP BY child_id
    """
    review, setting = (f"coalesce({linked_to} AND {name} >= least, false)" for name, linked_to in LINKED_TO.items())
    with open_in_memory() as con:
        con.execute(f"CREATE TABLE records AS {records}").fetchall()
        counted = con.execute(
            f"""
            SELECT least, {_count_sql("r AND s", "r AND NOT s", "NOT r AND s", "NOT r AND NOT s")}
              FROM (SELECT least, {review} AS r, {setting} AS s
                      FROM {quote_parquet(children)} JOIN records USING (child_id), (VALUES {of_threshold}) AS t (least)
                     WHERE asq3 <> {quote_text(pupil.UNSEARCHABLE)})
             GROUP BY least ORDER BY least
            """
        ).fetchall()
        left = con.execute(
            f"SELECT {_count_sql('review IS NOT NULL', 'setting IS NOT NULL')} FROM records WHERE NOT pupil"
        ).fetchall()[0]
    everyone = sum(counted[0][1:]) if counted else 0
    return {
        "by_threshold": [
            {
                "threshold": least,
                **{name: round_share(count, everyone) for name, count in zip(HEADLINE, seen, strict=True)},
                "independent": round_share(seen[1] * seen[2] / seen[0], everyone) if seen[0] else None,
            }
            for least, *seen in counted
        ],
        "without_a_pupil": {name: round_share(count, everyone) for name, count in zip(LINKED_TO, left, strict=True)},
        "neither_at_least": round_share(max(counted[0][-1] - sum(left), 0), everyone) if counted else None,
        "of_published": round_share(everyone, published),
    }


def _select_surest_sql(source: str, name: str) -> str:
    """Return SQL for the probability of a child's surest link to a source; NULL if it has no row there."""
    return f"max(coalesce(match_probability, 1)::DOUBLE) FILTER (source = {quote_text(source)}) AS {name}"


def _count_sql(*conditions: str) -> str:
    return ", ".join(f"count(*) FILTER ({each})" for each in conditions)
