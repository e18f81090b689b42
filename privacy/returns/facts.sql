-- Facts about the rows of one source ($source) of a receiver ($council, $service), as `find_facts` describes. $least is
-- the probability of a sure link, $absence whether the receiver may learn that no other service knows a child,
-- $least_absent the least share of rows for that, $reviews the codes of reviews that it may be told are not recorded,
-- $most_unreviewed the greatest share of rows for that, $waiting_known whether it learns who knows the child of a new
-- row, and $bare_... what it learns about a row without a UPN or NHS number.
WITH seen AS (
    FROM records WHERE (council = $council AND service = $service)
        OR (council, service) IN (SELECT (council, service) FROM told_by)
), mine AS (
    FROM seen WHERE council = $council AND source = $source AND (NOT waiting OR $waiting_known)
), theirs AS (
    SELECT seen.*, tells_contact, tells_concern, tells_concern_month, tells_review FROM seen JOIN told_by USING (council, service)
), linked AS (
    SELECT mine.row_key, mine.numbered AS own_number, mine.waiting AS early,
           theirs.* EXCLUDE (row_key, child_id, probability), mine.probability * theirs.probability >= $least AS sure
      FROM mine JOIN theirs USING (child_id)
), numbered_children AS (
    SELECT DISTINCT child_id, t_upn, t_nhs FROM seen WHERE service = $service AND numbered AND NOT waiting
    QUALIFY max(probability) OVER (PARTITION BY child_id) >= $least
), perhaps AS (
    SELECT mine.row_key, theirs.council, theirs.service, bool_or(likely) AS likely,
           bool_and(other.child_id IS NOT NULL) AS other_number,
           max(theirs.last_contact) AS perhaps_later, bool_or(theirs.concern) AS perhaps_concern,
           max(theirs.concern_month) AS perhaps_concern_month
      FROM mine JOIN doubts USING (child_id) JOIN theirs ON theirs.child_id = other_child_id
      LEFT JOIN numbered_children AS other
             ON other.child_id = other_child_id AND (other.t_upn <> mine.t_upn OR other.t_nhs <> mine.t_nhs)
     GROUP BY ALL
), known AS (
    SELECT row_key, council, service, any_value(tells_contact) AS tells_contact,
           any_value(tells_concern) AS tells_concern, any_value(tells_concern_month) AS tells_concern_month,
           any_value(early) AS early, any_value(own_number) AS own_number,
           NOT bool_and(sure) OR coalesce(bool_or(perhaps.likely), false) AS unsettled,
           max(last_contact) FILTER (sure) AS last_contact, bool_or(concern) FILTER (sure) AS concern,
           CASE WHEN bool_and(concern_month IS NOT NULL) FILTER (sure AND concern)
                THEN max(concern_month) FILTER (sure AND concern) END AS concern_month,
           coalesce(max(last_contact) FILTER (sure AND concern) = max(last_contact) FILTER (sure), false)
               AS concern_is_latest,
           coalesce(max(perhaps.perhaps_later) > max(last_contact) FILTER (sure), false) AS perhaps_later,
           coalesce(bool_or(perhaps_concern), false) AS perhaps_concern,
           coalesce(max(perhaps_concern_month) > max(concern_month) FILTER (sure AND concern), false)
               AS perhaps_concern_later
      FROM linked LEFT JOIN perhaps USING (row_key, council, service)
     GROUP BY row_key, council, service HAVING bool_or(sure)
), told AS (
    SELECT row_key, council, service,
           CASE WHEN tells_contact AND NOT (unsettled OR perhaps_later OR early) AND (own_number OR $bare_last_contact)
                THEN last_contact END AS last_contact,
           CASE WHEN tells_concern AND (concern OR NOT (unsettled OR perhaps_later AND perhaps_concern)) AND NOT early
                 AND (own_number OR $bare_concern) THEN concern END AS concern,
           CASE WHEN tells_concern_month AND concern AND NOT (unsettled OR perhaps_later OR perhaps_concern_later OR early)
                 AND (own_number OR $bare_concern_month) THEN concern_month END AS concern_month, concern_is_latest
      FROM known WHERE own_number OR $bare_known_to
), of_known AS (
    SELECT row_key, list(json_merge_patch(
               json_object('council', council, 'service', service),
               CASE WHEN last_contact IS NULL THEN json('{}') ELSE json_object('last_contact', last_contact) END,
               CASE WHEN concern IS NULL THEN json('{}') ELSE json_object('concern', concern) END,
               CASE WHEN concern_month IS NULL THEN json('{}') ELSE json_object('concern_month', concern_month,
                    'concern_is_latest', concern_is_latest) END
           ) ORDER BY council, service) AS known_to
      FROM told GROUP BY row_key
), unfound AS (
    FROM mine WHERE $absence AND findable AND NOT waiting AND (numbered OR $bare_no_other)
       AND row_key NOT IN (SELECT row_key FROM linked)
       AND row_key NOT IN (SELECT row_key FROM perhaps WHERE NOT other_number)
), strangers AS (
    SELECT *, child_id IN (SELECT child_id FROM numbered_children) AS has_number FROM theirs WHERE child_id NOT IN
        (SELECT child_id FROM seen WHERE service = $service AND council <> $council AND NOT waiting)
), alike AS (
    ALIKE
), of_nobody AS (
    SELECT row_key FROM unfound WHERE row_key NOT IN (SELECT row_key FROM alike)
), of_enough AS (
    FROM of_nobody WHERE (SELECT count(*) FROM of_nobody)
        >= $least_absent * (SELECT count(*) FROM mine WHERE NOT waiting)
), reviewed AS (
    SELECT row_key, review FROM linked WHERE tells_review
    UNION
    SELECT mine.row_key, theirs.review
      FROM mine JOIN doubts USING (child_id) JOIN theirs ON theirs.child_id = other_child_id WHERE tells_review
), asked AS (
    FROM mine WHERE findable AND NOT waiting AND (numbered OR $bare_review)
       AND row_key NOT IN (SELECT row_key FROM linked WHERE tells_review AND NOT sure)
), unreviewed AS (
    SELECT asked.*, missing FROM asked CROSS JOIN (SELECT unnest($reviews::VARCHAR[]) AS missing)
      ANTI JOIN reviewed ON reviewed.row_key = asked.row_key AND reviewed.review = missing
), alike_reviewed AS (
    ALIKE_REVIEWED
), of_no_review AS (
    SELECT row_key, missing FROM unreviewed ANTI JOIN alike_reviewed USING (row_key, missing)
), of_reviews AS (
    SELECT row_key, list(missing ORDER BY missing) AS reviews FROM of_no_review
     WHERE missing IN (SELECT missing FROM of_no_review GROUP BY missing
            HAVING count(*) >= $least_absent * (SELECT count(*) FROM mine WHERE NOT waiting))
       AND missing IN (SELECT missing FROM unreviewed GROUP BY missing
            HAVING count(*) <= $most_unreviewed * (SELECT count(*) FROM asked))
     GROUP BY row_key
)
SELECT json_merge_patch(
           json_object('row', row),
           CASE WHEN known_to IS NULL THEN json('{}') ELSE json_object('known_to', known_to) END,
           CASE WHEN nobody IS NULL THEN json('{}') ELSE json_object('known_to_no_other', true) END,
           CASE WHEN reviews IS NULL THEN json('{}') ELSE json_object('reviews_not_recorded', reviews) END
       )::VARCHAR AS fact
  FROM mine LEFT JOIN of_known USING (row_key) LEFT JOIN (SELECT row_key, true AS nobody FROM of_enough) USING (row_key)
  LEFT JOIN of_reviews USING (row_key)
 WHERE known_to IS NOT NULL OR nobody OR reviews IS NOT NULL
 ORDER BY row
