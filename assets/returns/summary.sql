-- Counts, by service, of the children with a row of the service in a council ($council), from `records` and `doubts`:
-- all; those whom certainly no other service knows; those for whom this is uncertain.
WITH of_child AS (
    SELECT child_id, service, bool_or(council = $council) AS here, bool_or(findable) AS findable
      FROM records GROUP BY child_id, service
), others AS (
    SELECT DISTINCT mine.child_id, mine.service, false AS perhaps
      FROM of_child AS mine JOIN of_child AS theirs USING (child_id) WHERE theirs.service <> mine.service
    UNION ALL
    SELECT DISTINCT mine.child_id, mine.service, true
      FROM of_child AS mine JOIN doubts USING (child_id) JOIN of_child AS theirs ON theirs.child_id = other_child_id
     WHERE theirs.service <> mine.service
), judged AS (
    SELECT service, findable, coalesce(bool_or(NOT perhaps), false) AS with_others,
           coalesce(bool_or(perhaps), false) AS perhaps_with_others
      FROM of_child LEFT JOIN others USING (child_id, service)
     WHERE here GROUP BY child_id, service, findable
)
SELECT service, count(*), count(*) FILTER (NOT with_others AND NOT perhaps_with_others AND findable),
       count(*) FILTER (NOT with_others AND (perhaps_with_others OR NOT findable))
  FROM judged GROUP BY service ORDER BY service
