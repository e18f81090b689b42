-- The Profile that counts for each child, with the records linked to it.
WITH counted AS (PROFILES)
SELECT counted.*, census.* EXCLUDE (child_id), settings.entitlement, reviews.asq3,
       reviews.child_id IS NOT NULL AS seen_by_hv, coalesce(reviews.concern, false) AS hv_concern,
       settings.child_id IS NOT NULL AS seen_by_setting, coalesce(settings.concern, false) AS setting_concern,
       concerns.first_concern, timings.* EXCLUDE (child_id), agreement.cell, agreement.joined, agreement.numbered, coalesce(agreement.too_little, false) AS unsearchable
  FROM counted
  LEFT JOIN census USING (child_id)
  LEFT JOIN reviews USING (child_id)
  LEFT JOIN settings USING (child_id)
  LEFT JOIN concerns USING (child_id)
  LEFT JOIN timings USING (child_id)
  LEFT JOIN agreement USING (child_id)
