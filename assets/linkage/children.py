"""The tables that noise is added over: one row a unit, every column a category of its public domain.

`children` (family pupil), `reviewed_children` (health) and `responses` (parents). Each derivation is a fixed rule about
the rows of one child; no category, cut-off or order comes from the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from ndl_export.tables import FAMILIES, dimensions, health, parents, pupil
from privacy.doors.database import in_memory
from privacy.doors.sql import quoted
from sources.contracts import CONTRACTS, Kind, Role, concerns
from sources.contracts.hv_reviews import TWO_YEAR_REVIEW
from sources.reference import survey
from sources.reference.asq3 import DOMAINS, cut_offs
from sources.reference.ethnicity import MAJOR_GROUP
from sources.reference.goals import GLD_GOALS, GOALS


def build_confidential_tables(links: Path, extracts: Mapping[str, list[Path]], out: Mapping[str, Path]) -> None:
    """Write the confidential table of each family in `out` (family -> Parquet file), sorted by council and source row.

    `extracts` gives the pseudonymised files of each source. Children without an EYFS Profile are in no pupil row;
    duplicates of a child are resolved here, immediately before counting, so that each counts once.
    """
    con = in_memory()
    con.execute(f"CREATE VIEW links AS SELECT * FROM '{links}'")
    for source, paths in extracts.items():
        _view(con, source, paths)
    con.execute(f"CREATE TEMP TABLE reviews AS {_reviews()}")
    con.execute(f"CREATE TEMP TABLE settings AS {_settings()}")
    con.execute(f"CREATE TEMP TABLE census AS {_census()}")
    queries = {"pupil": _pupil(), "health": _health(), "parents": _parents()}
    for family, path in out.items():
        names = ", ".join(attribute.name for attribute in FAMILIES[family].attributes)
        con.execute(
            f"COPY (SELECT child_id, council, {names} FROM ({queries[family]}) ORDER BY council, source_row)"
            f" TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )


def _view(con: duckdb.DuckDBPyConnection, source: str, paths: list[Path]) -> None:
    """The rows of a source, with the child of each; empty, with the contract's columns, where none has been sent."""
    files = ", ".join(f"'{path}'" for path in paths)
    rows = f"SELECT * FROM read_parquet([{files}], hive_partitioning = false)" if paths else _no_rows(source)
    linked = (
        f"SELECT rows.*, links.child_id FROM ({rows}) AS rows"
        f" JOIN links ON links.source = '{source}' AND links.council = rows.council"
        " AND links.source_row = rows.source_row"
    )
    con.execute(f"CREATE VIEW {source} AS {rows if source == 'parent_experience' else linked}")


_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.CODE: "VARCHAR",
    Kind.DATE: "DATE",
    Kind.INTEGER: "INTEGER",
    Kind.DECIMAL: "DOUBLE",
}


def _no_rows(source: str) -> str:
    payload = [(column.name, _SQL_TYPES[column.kind]) for column in CONTRACTS[source].with_role(Role.PAYLOAD)]
    columns = [
        ("council", "VARCHAR"),
        ("source_row", "BIGINT"),
        *payload,
        ("term_of_birth", "VARCHAR"),
        ("imd_quintile", "INTEGER"),
    ]
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in columns)} WHERE false"


def _pupil() -> str:
    """The Profile that counts: assessed before not assessed; then by council; then the last row sent."""
    goals = ", ".join(
        f"CASE WHEN {goal} = '2' THEN '{pupil.EXPECTED}' ELSE '{pupil.NOT_EXPECTED}' END AS {goal}" for goal in GOALS
    )
    gld = " AND ".join(f"{goal} = '2'" for goal in GLD_GOALS)
    dots = f"format('{pupil.dots_category('{}', '{}')}', seen_by, concern_by)"
    return f"""
        WITH profiles AS (
            SELECT * FROM eyfsp
            QUALIFY row_number() OVER (
                PARTITION BY child_id ORDER BY (com_e01 = 'A'), council, source_row DESC
            ) = 1
        ), facts AS (
            SELECT profiles.*, census.fsm, census.ethnic_group, census.sen_provision, census.first_language,
                   reviews.asq3, reviews.child_id IS NOT NULL AS seen_by_hv, reviews.concern AS hv_concern,
                   settings.entitlement, settings.child_id IS NOT NULL AS seen_by_setting,
                   settings.concern AS setting_concern
              FROM profiles
              LEFT JOIN census USING (child_id)
              LEFT JOIN reviews USING (child_id)
              LEFT JOIN settings USING (child_id)
        ), services AS (
            SELECT *, {_who("seen_by_hv", "seen_by_setting", pupil.NEITHER)} AS seen_by,
                   {_who("coalesce(hv_concern, false)", "coalesce(setting_concern, false)", pupil.NONE)} AS concern_by
              FROM facts
        )
        SELECT child_id, council, source_row, {goals}, {_sex("sex")} AS sex,
               coalesce(fsm, '{dimensions.UNKNOWN}') AS fsm,
               coalesce(ethnic_group, '{dimensions.UNKNOWN}') AS ethnic_group,
               coalesce(sen_provision, '{dimensions.UNKNOWN}') AS sen_provision,
               coalesce(first_language, '{dimensions.UNKNOWN}') AS first_language,
               coalesce(term_of_birth, '{dimensions.UNKNOWN}') AS term_of_birth,
               {_imd("imd_quintile")} AS imd_quintile,
               CASE WHEN {gld} THEN 'Yes' ELSE 'No' END AS gld,
               coalesce(asq3, '{pupil.NO_REVIEW}') AS asq3,
               coalesce(entitlement, '{pupil.NOT_LINKED_TO_SETTING}') AS entitlement,
               {dots} AS dots
          FROM services
    """


def _census() -> str:
    """One row per child of the school census: eligible if any row says so; else by the last row with a value."""
    eligible, not_eligible, _ = dimensions.FSM.categories
    none, support, plan, _ = pupil.SEN.categories
    english, other, _ = pupil.LANGUAGE.categories
    groups = " ".join(f"WHEN '{code}' THEN '{group}'" for code, group in MAJOR_GROUP.items())
    latest = "ORDER BY council DESC, source_row"
    return f"""
        SELECT child_id,
               CASE WHEN bool_or(fsm_eligible = 'Y') THEN '{eligible}'
                    WHEN bool_or(fsm_eligible = 'N') THEN '{not_eligible}' END AS fsm,
               CASE last(ethnicity {latest}) FILTER (ethnicity IS NOT NULL) {groups} END AS ethnic_group,
               CASE WHEN bool_or(sen_provision = 'E') THEN '{plan}'
                    WHEN bool_or(sen_provision = 'K') THEN '{support}'
                    WHEN bool_or(sen_provision = 'N') THEN '{none}' END AS sen_provision,
               last(CASE WHEN upper(first_language) IN ('ENG', 'ENB') THEN '{english}' ELSE '{other}' END {latest})
                   FILTER (first_language IS NOT NULL) AS first_language
          FROM school_census GROUP BY child_id
    """


def _reviews() -> str:
    """One row per child with a two-year review: the latest with a complete ASQ-3 counts, else the latest."""
    outcomes = ", ".join(f"{_outcome(domain)} AS {domain}_outcome" for domain in DOMAINS)
    below = " + ".join(f"({domain}_outcome = '{health.BELOW}')::INTEGER" for domain in DOMAINS)
    scored = " + ".join(f"({domain}_outcome <> '{health.NO_SCORE}')::INTEGER" for domain in DOMAINS)
    all_above, one, several, without, _ = pupil.ASQ3.categories
    return f"""
        WITH outcomes AS (
            SELECT *, {outcomes} FROM hv_reviews WHERE review = '{TWO_YEAR_REVIEW}'
        ), counted AS (
            SELECT *, {below} AS below, {scored} AS scored FROM outcomes
        ), of_child AS (
            SELECT *, bool_or({concerns.of_review("below > 0")}) OVER (PARTITION BY child_id) AS any_concern
              FROM counted
        )
        SELECT * EXCLUDE (concern, any_concern), any_concern AS concern,
               CASE WHEN below >= 2 THEN '{several}' WHEN below = 1 THEN '{one}'
                    WHEN scored = {len(DOMAINS)} THEN '{all_above}' ELSE '{without}' END AS asq3,
               CASE WHEN below >= 1 THEN '{health.BELOW}' WHEN scored = {len(DOMAINS)} THEN '{health.AT_OR_ABOVE}'
                    ELSE '{health.NO_SCORE}' END AS {health.ALL_FIVE}_outcome
          FROM of_child
        QUALIFY row_number() OVER (
            PARTITION BY child_id
            ORDER BY (scored = {len(DOMAINS)}) DESC, review_date DESC NULLS LAST, council, source_row DESC
        ) = 1
    """


def _settings() -> str:
    taken, not_taken, _ = pupil.ENTITLEMENT.categories
    return f"""
        SELECT child_id,
               CASE WHEN bool_or(entitlement = '2YO') THEN '{taken}' ELSE '{not_taken}' END AS entitlement,
               bool_or({concerns.of_setting()}) AS concern
          FROM early_years_census GROUP BY child_id
    """


def _health() -> str:
    outcomes = ", ".join(f"{domain}_outcome AS {domain}" for domain in health.DOMAINS)
    return f"""
        SELECT child_id, council, source_row, {_sex("sex")} AS sex, {_imd("imd_quintile")} AS imd_quintile, {outcomes}
          FROM (SELECT * EXCLUDE ({", ".join(DOMAINS)}) FROM reviews)
    """


def _parents() -> str:
    labels = {"child_age_band": survey.CHILD_AGE_BAND, "fsm_or_funded": survey.FSM_OR_FUNDED} | {
        name: question.answers for name, question in survey.QUESTIONS.items()
    }
    columns = ", ".join(
        f"CASE {name} {' '.join(f'WHEN {quoted(code)} THEN {quoted(label)}' for code, label in answers.items())}"
        f" ELSE '{parents.NOT_ANSWERED}' END AS {name}"
        for name, answers in labels.items()
    )
    return f"""
        SELECT concat_ws('-', council, source_row) AS child_id, council, source_row, {columns} FROM parent_experience
    """


def _outcome(domain: str) -> str:
    cases = " ".join(
        f"WHEN asq3_months = '{months}' THEN CASE WHEN {domain} < {cut_off} THEN '{health.BELOW}'"
        f" WHEN {domain} >= {cut_off} THEN '{health.AT_OR_ABOVE}' ELSE '{health.NO_SCORE}' END"
        for (column, months), cut_off in cut_offs().items()
        if column == domain
    )
    return f"CASE {cases} ELSE '{health.NO_SCORE}' END"


def _who(health_visitor: str, setting: str, nobody: str) -> str:
    return (
        f"CASE WHEN {health_visitor} AND {setting} THEN '{pupil.BOTH}' WHEN {health_visitor} THEN '{pupil.HV_ONLY}'"
        f" WHEN {setting} THEN '{pupil.SETTING_ONLY}' ELSE '{nobody}' END"
    )


def _sex(column: str) -> str:
    female, male, unknown = dimensions.SEX.categories
    return f"CASE {column} WHEN 'F' THEN '{female}' WHEN 'M' THEN '{male}' ELSE '{unknown}' END"


def _imd(column: str) -> str:
    *quintiles, unknown = dimensions.IMD.categories
    cases = " ".join(f"WHEN {number} THEN '{label}'" for number, label in enumerate(quintiles, 1))
    return f"CASE {column} {cases} ELSE '{unknown}' END"
