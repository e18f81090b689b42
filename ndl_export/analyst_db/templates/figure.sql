{# Every figure of one measure, one row a figure. Rows are numbered as in the release's file, in whose order they are
   inserted; `most` and `base` are SQL, NULL for a count or a difference. #}
SELECT t.release_version, t.time_period, t.geographic_level, t.area_code, t.area_name, t.is_all_together,
    {{ table.name | sql }} AS table_name, t.rowid - min(t.rowid) OVER (PARTITION BY t.release_version) + 1 AS row_number,
    [{% for each in table.filters %}t.{{ each.name | identifier }}::VARCHAR{{ ", " if not loop.last }}{% endfor %}] AS levels, {{ measure.name | sql }} AS measure, {{ measure.kind.label | sql }} AS kind,
    t.{{ measure.name }}::DOUBLE AS figure, t.{{ measure.name }}{{ "_estimate" if measure.is_count }}::DOUBLE AS estimate,
    t.{{ measure.name }}_lower_ci AS lower_ci, t.{{ measure.name }}_upper_ci AS upper_ci, {{ unit | sql }} AS unit,
    t.{{ measure.name }}_flag::VARCHAR AS flag, coalesce(t.series_break::VARCHAR = {{ broken | sql }}, false) AS is_broken,
    {{ most }}::INTEGER AS most, {{ base }}::DOUBLE AS of_children
FROM releases.{{ table.name | identifier }} AS t
