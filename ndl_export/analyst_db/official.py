"""Schema `official`: the Department for Education's own percentages, to compare ours with."""

from __future__ import annotations

import duckdb

from ndl_export.analyst_db.ddl import Field, TableShape, fill_table
from ndl_export.analyst_db.published import Release
from ndl_export.documents.reconciliation import official_figures
from sources.reference.places import COUNTRY

GLD = TableShape(
    "official.gld",
    "Percentages at a good level of development that the Department for Education has published of the cohorts in this"
    " database: exact counts of all children assessed, without noise. For England and for councils",
    (
        Field("time_period", "VARCHAR", "Academic year of the assessment; see dimension.cohort"),
        Field("geographic_level", "VARCHAR NOT NULL", "Kind of area"),
        Field("area_code", "VARCHAR", "Official code of the area; see dimension.area"),
        Field("area_name", "VARCHAR NOT NULL", "Name of the area"),
        Field("breakdown_topic", "VARCHAR", "The characteristic that the row breaks down by"),
        Field("breakdown", "VARCHAR", "The level of the breakdown topic, in the words of our tables"),
        Field("sex", "VARCHAR", "Sex"),
        Field("gld_children_percent", "DOUBLE NOT NULL", "Percentage of children with a good level of development"),
    ),
    ("time_period", "area_code", "breakdown_topic", "breakdown", "sex"),
)


def add_official(connection: duckdb.DuckDBPyConnection, found: list[Release]) -> None:
    cohorts = sorted({cohort for release in found for cohort in release.cohorts})
    rows = (
        (
            figure.cohort,
            figure.geographic_level,
            figure.area_code,
            figure.area_name or COUNTRY[1],
            figure.breakdown_topic,
            figure.breakdown,
            figure.sex,
            figure.percent,
        )
        for cohort in cohorts
        for figure in official_figures(cohort)
    )
    fill_table(connection, GLD, rows)
