-- What is told of the rows of one source ($source) of a receiver ($council, $service), as `facts_of` says. $least is the
-- probability of a sure link, $absence whether it may be told that no other service knows a child. A row has stood
-- since $since or earlier in $deliveries deliveries; $waiting_known says whether a row that has not stood may be told who
-- knows the child, and $bare_... what may be told of one without a number of its own.
WITH RECURSIVE seen AS (
    SELECT *, coalesce((at_start AND $first_at_once) OR (first_day <= $since AND deliveries >= $deliveries), false)
               AS stands
      FROM records WHERE (council = $council AND service = $service)
        OR (council, service) IN (SELECT (council, service) FROM told_by)
), waiting AS (
    -- Senders of a row that has not stood and that is the child's, or could be by a chain of doubts.
    SELECT DISTINCT child_id, council, service FROM seen WHERE NOT stands
    UNION
    SELECT other_child_id, council, service FROM waiting JOIN doubts USING (child_id)
     WHERE other_child_id IN (SELECT child_id FROM seen)
), held AS (
    SELECT child_id, list((council, service)) AS senders FROM waiting GROUP BY child_id
), mine AS (
    SELECT seen.*, senders FROM seen LEFT JOIN held USING (child_id) WHERE council = $council AND source = $source
), theirs AS (
    SELECT seen.*, tells_contact, tells_concern FROM seen JOIN told_by USING (council, service)
), linked AS (
    SELECT mine.row_key, mine.numbered AS own_number, len(list_filter(senders, lambda each: each <>
               (theirs.council, theirs.service))) > 0 AS held, theirs.* EXCLUDE (row_key, child_id, probability),
           mine.probability * theirs.probability >= $least AS sure
      FROM mine JOIN theirs USING (child_id)
), perhaps AS (
    SELECT mine.row_key, theirs.council, theirs.service, bool_or(likely) AS likely
      FROM mine JOIN doubts USING (child_id) JOIN theirs ON theirs.child_id = other_child_id GROUP BY ALL
), known AS (
    SELECT row_key, council, service, any_value(tells_contact) AS tells_contact,
           any_value(tells_concern) AS tells_concern, coalesce(any_value(linked.held), false) AS held,
           any_value(own_number) AS own_number,
           NOT bool_and(sure) OR coalesce(bool_or(perhaps.likely), false) AS unsettled,
           max(last_contact) FILTER (sure) AS last_contact, bool_or(concern) FILTER (sure) AS concern
      FROM linked LEFT JOIN perhaps USING (row_key, council, service)
     GROUP BY row_key, council, service HAVING bool_or(sure)
), told AS (
    SELECT row_key, council, service,
           CASE WHEN tells_contact AND NOT unsettled AND NOT held AND (own_number OR $bare_contact) THEN last_contact
                END AS last_contact,
           CASE WHEN tells_concern AND (concern OR NOT unsettled) AND NOT held AND (own_number OR $bare_concern)
                THEN concern END AS concern
      FROM known WHERE (NOT held OR $waiting_known) AND (own_number OR $bare_known)
), of_known AS (
    SELECT row_key, list(json_merge_patch(
               json_object('council', council, 'service', service),
               CASE WHEN last_contact IS NULL THEN json('{}') ELSE json_object('last_contact', last_contact) END,
               CASE WHEN concern IS NULL THEN json('{}') ELSE json_object('concern', concern) END
           ) ORDER BY council, service) AS known_to
      FROM told GROUP BY row_key
), unfound AS (
    FROM mine WHERE $absence AND findable AND senders IS NULL AND (numbered OR $bare_absence)
       AND row_key NOT IN (SELECT row_key FROM linked) AND row_key NOT IN (SELECT row_key FROM perhaps)
), strangers AS (
    FROM theirs WHERE child_id NOT IN
        (SELECT child_id FROM seen WHERE council = $council AND service = $service AND stands)
), alike AS (
    ALIKE
), numbers AS (
    SELECT row_key, row FROM mine
), of_nobody AS (
    SELECT row_key FROM unfound WHERE row_key NOT IN (SELECT row_key FROM alike)
)
SELECT row, json_object('row', row, 'known_to', known_to)::VARCHAR AS fact FROM of_known JOIN numbers USING (row_key)
UNION ALL
SELECT row, json_object('row', row, 'known_to_no_other', true)::VARCHAR FROM of_nobody JOIN numbers USING (row_key)
ORDER BY row
