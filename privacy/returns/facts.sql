-- What is told of the rows of one source ($source) of a receiver ($council, $service), as `facts_of` says. $least is the
-- probability of a sure link, and $absence whether it may be told that no other service knows a child.
WITH mine AS (
    FROM records WHERE council = $council AND source = $source
), theirs AS (
    SELECT records.*, tells_contact, tells_concern FROM records JOIN told_by USING (council, service)
), linked AS (
    SELECT mine.source_row, theirs.* EXCLUDE (source_row, child_id, probability),
           mine.probability * theirs.probability >= $least AS sure
      FROM mine JOIN theirs USING (child_id)
), perhaps AS (
    SELECT mine.source_row, theirs.council, theirs.service, bool_or(likely) AS likely
      FROM mine JOIN doubts USING (child_id) JOIN theirs ON theirs.child_id = other_child_id GROUP BY ALL
), known AS (
    SELECT source_row, council, service, any_value(tells_contact) AS tells_contact,
           any_value(tells_concern) AS tells_concern,
           NOT bool_and(sure) OR coalesce(bool_or(perhaps.likely), false) AS unsettled,
           max(last_contact) FILTER (sure) AS last_contact, bool_or(concern) FILTER (sure) AS concern
      FROM linked LEFT JOIN perhaps USING (source_row, council, service)
     GROUP BY source_row, council, service HAVING bool_or(sure)
), told AS (
    SELECT source_row,
           CASE WHEN tells_contact AND NOT unsettled THEN last_contact END AS last_contact,
           CASE WHEN tells_concern AND (concern OR NOT unsettled) THEN concern END AS concern, council, service
      FROM known
), of_known AS (
    SELECT source_row, list(json_merge_patch(
               json_object('council', council, 'service', service),
               CASE WHEN last_contact IS NULL THEN json('{}') ELSE json_object('last_contact', last_contact) END,
               CASE WHEN concern IS NULL THEN json('{}') ELSE json_object('concern', concern) END
           ) ORDER BY council, service) AS known_to
      FROM told GROUP BY source_row
), unfound AS (
    FROM mine WHERE $absence AND findable
       AND source_row NOT IN (SELECT source_row FROM linked) AND source_row NOT IN (SELECT source_row FROM perhaps)
), strangers AS (
    FROM theirs WHERE child_id NOT IN (SELECT child_id FROM records WHERE council = $council AND service = $service)
), alike AS (
    ALIKE
), of_nobody AS (
    SELECT source_row FROM unfound WHERE source_row NOT IN (SELECT source_row FROM alike)
)
SELECT source_row, json_object('row', source_row, 'known_to', known_to)::VARCHAR AS fact FROM of_known
UNION ALL
SELECT source_row, json_object('row', source_row, 'known_to_no_other', true)::VARCHAR FROM of_nobody
ORDER BY source_row
