-- The rows of a sender's extract (`own`), each with its child's situation according to the return (`returned`).
-- `expected` has the records that other services make of a child: from an age, or from a day, and when each is due.
-- IDENTITY stands for the columns that tell children apart, SHOWN for those that the team sees.
WITH facts AS (
    SELECT unnest(from_json(fact, '{"row": "BIGINT", "known_to": [{"council": "VARCHAR", "service": "VARCHAR",
        "last_contact": "VARCHAR", "concern": "BOOLEAN", "concern_month": "VARCHAR", "concern_is_latest": "BOOLEAN"}],
        "known_to_no_other": "BOOLEAN",
        "reviews_not_recorded": ["VARCHAR"]}')) FROM returned
), rows AS (
    SELECT own.*, dense_rank() OVER (ORDER BY IDENTITY) AS child, known_to, known_to_no_other,
           reviews_not_recorded
      FROM own LEFT JOIN facts ON facts.row = own.source_row
), contacts AS (
    SELECT child, contact.council || '/' || contact.service AS sender, max(contact.last_contact) AS last_contact,
           bool_or(contact.concern) AS concern, max(contact.concern_month) AS concern_month,
           bool_or(contact.concern_is_latest) AS concern_is_latest
      FROM (SELECT child, unnest(known_to) AS contact FROM rows) GROUP BY ALL
), of_child AS (
    SELECT child, list({'sender': sender, 'last_contact': last_contact, 'concern': concern,
               'concern_month': concern_month, 'concern_is_latest': concern_is_latest} ORDER BY sender) AS contacts,
           bool_or(concern) AS concern, max(concern_month) AS concern_month, max(last_contact) AS last_contact
      FROM contacts GROUP BY child
), children AS (
    SELECT rows.child, bool_or(rows.concern) AS own_concern, bool_or(known_to_no_other) AS known_to_no_other,
           list_distinct(flatten(list(reviews_not_recorded))) AS missing, any_value(born) AS born,
           any_value(contacts) AS contacts, bool_or(of_child.concern) AS concern,
           max(of_child.last_contact) AS last_contact, max(of_child.concern_month) AS concern_month
      FROM rows LEFT JOIN of_child USING (child) GROUP BY rows.child
), awaited AS (
    SELECT child, max(strftime(coalesce(from_day, birth + to_months(from_months)), '%Y-%m')) AS since
      FROM (SELECT child, coalesce(born, $youngest::DATE) AS birth,
                   unnest(list_distinct(list_transform(contacts, lambda each: string_split(each.sender, '/')[2])))
                       AS service
              FROM children) JOIN expected USING (service)
     WHERE coalesce(due_day, birth + to_months(due_months) + to_days(due_days)) <= $made_on::DATE
     GROUP BY child
), judged AS (
    SELECT child, contacts, missing, born, concern_month,
           CASE WHEN concern AND NOT own_concern THEN $concern_elsewhere
                WHEN concern THEN $concern_both
                WHEN known_to_no_other AND contacts IS NULL THEN $no_other
                WHEN len(missing) > 0 THEN $review
                WHEN last_contact < strftime($made_on::DATE - to_months($lately_months), '%Y-%m')
                 AND last_contact < since THEN $not_lately
                WHEN contacts IS NOT NULL THEN $known
                ELSE $not_said END AS situation
      FROM children LEFT JOIN awaited USING (child)
)
SELECT source_row, child, situation, contacts, missing, judged.born, SHOWN FROM rows JOIN judged USING (child)
 ORDER BY situation, concern_month DESC NULLS LAST, min(source_row) OVER (PARTITION BY child), source_row
