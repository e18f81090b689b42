{# Figures of one measure in both releases (`before`, `now`), their change, and how far its 95% interval reaches down and
   up. `sharpened` are cohorts for which one release has the noisy counts of the other and further ones. The interval of
   a count is cut off at 0, so its longer side is used for both. #}
INSERT INTO changed
WITH pairs AS (
    SELECT now.position, now.time_period, now.geographic_level, now.area_code, now.area_name,
        {% for entry in table.filters %}{{ entry.label | sql }} || ': ' || now.{{ entry.name }}{{ " || '; ' || " if not loop.last }}{% endfor %} AS "row",
        before.{{ value }} AS p, before.{{ lower }} AS pl, before.{{ upper }} AS pu,
        now.{{ value }} AS c, now.{{ lower }} AS cl, now.{{ upper }} AS cu,
        {{ decimals.before }} AS p_decimals, {{ decimals.now }} AS c_decimals
    FROM now JOIN before ON {{ same }}
    WHERE before.{{ value }} IS NOT NULL AND now.{{ value }} IS NOT NULL
),
widths AS (
    SELECT *,
        {% for name in "pc" %}
        {% if measure.is_count %}
        greatest({{ name }}u - {{ name }}, {{ name }} - {{ name }}l) AS {{ name }}_below, {{ name }}_below AS {{ name }}_above,
        {% else %}
        greatest({{ name }} - {{ name }}l, 0) AS {{ name }}_below, greatest({{ name }}u - {{ name }}, 0) AS {{ name }}_above,
        {% endif %}
        {% endfor %}
        {% if sharpened %}time_period IN ({% for cohort in sharpened %}{{ cohort | sql }}{{ ", " if not loop.last }}{% endfor %}){% else %}false{% endif %} AS sharpened
    FROM pairs
)
SELECT {{ table.name | sql }}, {{ measure.name | sql }}, {{ [measure.decimals, 1] | max }}, {{ table.measures.index(measure) }},
    position, time_period, geographic_level, area_code, area_name, "row", p, pl, pu, p_decimals, c, cl, cu, c_decimals, sharpened,
    {% set shown = "greatest(%s, 0)" if measure.is_count else "%s" %}
    round({{ shown | format("p") }}, {{ measure.decimals }}) <> round({{ shown | format("c") }}, {{ measure.decimals }}), c - p,
    sqrt(c_below ** 2 + p_above ** 2), sqrt(c_above ** 2 + p_below ** 2)
FROM widths
