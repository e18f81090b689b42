-- The Profile that counts, with what is linked to it: assessed before not assessed; by council; then by what it says
-- (CONTENT), so that no place in a file settles it.
WITH profiles AS (
    SELECT * FROM eyfsp
    QUALIFY row_number() OVER (
        PARTITION BY child_id ORDER BY (com_e01 = 'A'), council, CONTENT
    ) = 1
)
SELECT profiles.*, census.* EXCLUDE (child_id), settings.entitlement, reviews.asq3,
       reviews.child_id IS NOT NULL AS seen_by_hv, coalesce(reviews.concern, false) AS hv_concern,
       settings.child_id IS NOT NULL AS seen_by_setting, coalesce(settings.concern, false) AS setting_concern
  FROM profiles
  LEFT JOIN census USING (child_id)
  LEFT JOIN reviews USING (child_id)
  LEFT JOIN settings USING (child_id)
