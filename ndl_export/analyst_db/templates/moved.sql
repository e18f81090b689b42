{# The figures of a table that moved, with intervals as wide as all comparisons of the cohort require. None has moved in a
   cohort with further noisy counts of the same children, nor by less than is printed. 1.959964 is the 97.5% quantile of
   the standard normal distribution. #}
WITH distances AS (
    SELECT *, CASE WHEN change = 0 THEN 0 ELSE 1.959964 * abs(change) / if(change > 0, down, up) END AS distance
    FROM changed WHERE NOT sharpened),
ranked AS (
    SELECT *, count(*) OVER of_cohort AS many,
           row_number() OVER (of_cohort ORDER BY distance DESC, "table", number, position) AS place
    FROM distances WINDOW of_cohort AS (PARTITION BY time_period)),
needed AS (
    SELECT time_period, certain_from(distance, asked_at(0.05, many, place)) / 1.959964 AS wider
    FROM ranked GROUP BY time_period)
SELECT "table", measure, time_period, geographic_level, area_code, area_name, "row",
    {% for decimals, numbers in {"p_decimals": ["p", "pl", "pu"], "c_decimals": ["c", "cl", "cu"], "decimals": ["change", "change - wider * down", "change + wider * up"]}.items() %}
    {% set outer = loop %}
    {% for number in numbers %}
    printf('%.' || {{ decimals }} || 'f', round({{ number }}, {{ decimals }}) + 0.0){{ "," if not (loop.last and outer.last) }}
    {% endfor %}
    {% endfor %}
FROM distances JOIN needed USING (time_period) WHERE distance > 1.959964 * wider AND round(change, decimals) <> 0 AND "table" = {{ table.name | sql }}
ORDER BY number, position
