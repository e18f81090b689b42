-- What is told of the rows of one source ($source) of a receiver ($council), as `facts_of` says. $least is the
-- probability of a sure link, and $absence whether it may be told that no other service knows a child.
WITH mine AS (
    FROM records WHERE council = $council AND source = $source
), asked AS (
    FROM lookalikes WHERE council = $council AND source = $source
), theirs AS (
    SELECT records.*, tells_contact, tells_concern FROM records JOIN told_by USING (council, service)
), linked AS (
    SELECT mine.row_key, theirs.* EXCLUDE (row_key, child_id, probability),
           mine.probability * theirs.probability >= $least AS sure
      FROM mine JOIN theirs USING (child_id)
), perhaps AS (
    SELECT mine.row_key, theirs.council, theirs.service, bool_or(likely) AS likely
      FROM mine JOIN doubts USING (child_id) JOIN theirs ON theirs.child_id = other_child_id GROUP BY ALL
), known AS (
    SELECT row_key, council, service, any_value(tells_contact) AS tells_contact,
           any_value(tells_concern) AS tells_concern,
           NOT bool_and(sure) OR coalesce(bool_or(perhaps.likely), false) AS unsettled,
           max(last_contact) FILTER (sure) AS last_contact, bool_or(concern) FILTER (sure) AS concern
      FROM linked LEFT JOIN perhaps USING (row_key, council, service)
     GROUP BY row_key, council, service HAVING bool_or(sure)
), told AS (
    SELECT row_key,
           CASE WHEN tells_contact AND NOT unsettled THEN last_contact END AS last_contact,
           CASE WHEN tells_concern AND (concern OR NOT unsettled) THEN concern END AS concern, council, service
      FROM known
), of_known AS (
    SELECT row_key, list(json_merge_patch(
               json_object('council', council, 'service', service),
               CASE WHEN last_contact IS NULL THEN json('{}') ELSE json_object('last_contact', last_contact) END,
               CASE WHEN concern IS NULL THEN json('{}') ELSE json_object('concern', concern) END
           ) ORDER BY council, service) AS known_to
      FROM told GROUP BY row_key
), unfound AS (
    FROM mine WHERE $absence AND row_key IN (SELECT row_key FROM asked)
       AND row_key NOT IN (SELECT row_key FROM linked) AND row_key NOT IN (SELECT row_key FROM perhaps)
), alike AS (
    SELECT row_key FROM asked JOIN told_by ON told_by.council = other_council AND told_by.service = other_service
), of_nobody AS (
    SELECT row_key FROM unfound WHERE row_key NOT IN (SELECT row_key FROM alike)
)
SELECT row, json_object('row', row, 'known_to', known_to)::VARCHAR AS fact FROM of_known JOIN numbers USING (row_key)
UNION ALL
SELECT row, json_object('row', row, 'known_to_no_other', true)::VARCHAR FROM of_nobody JOIN numbers USING (row_key)
ORDER BY row
