"""Queries that ship with the analyst database: questions people ask of these tables, and SQL that answers them well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkedQuery:
    """`sql` runs as it stands in the database."""

    title: str
    question: str
    sql: str
    meaning: str = ""


WORKED_QUERIES = (
    WorkedQuery(
        "Compare councils",
        "What share of children reached a good level of development in each council, and how sure is it?",
        """
SELECT area_name, gld_children_percent, gld_children_percent_lower_ci, gld_children_percent_upper_ci,
       gld_children_percent_flag
FROM latest.gld_headline
WHERE geographic_level = 'Local authority' AND breakdown = 'Total' AND sex = 'Total'
ORDER BY gld_children_percent DESC""",
    ),
    WorkedQuery(
        "Free school meal gap",
        "How far are children eligible for free school meals behind the others, by council?",
        """
SELECT area_name, gld_difference_points, gld_difference_points_lower_ci, gld_difference_points_upper_ci,
       gld_difference_points_flag
FROM latest.gld_differences
WHERE geographic_level = 'Local authority' AND comparison = 'Not eligible less eligible'
ORDER BY gld_difference_points DESC""",
    ),
    WorkedQuery(
        "Which councils differ from all together",
        "Which councils are surely ahead of or behind all councils together?",
        """
SELECT area_name, gld_difference_points, gld_difference_points_lower_ci, gld_difference_points_upper_ci
FROM latest.gld_differences
WHERE geographic_level = 'Local authority' AND comparison = 'All children: area less all councils together'
  AND (gld_difference_points_lower_ci > 0 OR gld_difference_points_upper_ci < 0)
ORDER BY gld_difference_points DESC""",
    ),
    WorkedQuery(
        "Difference of two councils",
        "How far is one council ahead of another, and how sure is it? Their noise is almost independent.",
        """
WITH rate AS (
    SELECT area_name, gld_children_percent AS p, gld_children_percent_lower_ci AS l, gld_children_percent_upper_ci AS u
    FROM latest.gld_headline
    WHERE geographic_level = 'Local authority' AND breakdown = 'Total' AND sex = 'Total' AND p IS NOT NULL)
SELECT one.area_name AS council, other.area_name AS less, round(one.p - other.p, 1) AS points,
       round(one.p - other.p - sqrt((one.p - one.l) ^ 2 + (other.u - other.p) ^ 2), 2) AS lower_ci,
       round(one.p - other.p + sqrt((one.u - one.p) ^ 2 + (other.p - other.l) ^ 2), 2) AS upper_ci
FROM rate AS one JOIN rate AS other ON one.area_name <> other.area_name
ORDER BY points DESC""",
    ),
    WorkedQuery(
        "Small groups, as a model sees them",
        "Which ethnic groups in which councils may be furthest behind? For a map or a ranking, not for a statement.",
        """
SELECT area_name, breakdown, round(gld_children_percent_model, 1) AS model_percent, gld_children_percent,
       gld_children_percent_flag
FROM latest.gld_headline
WHERE geographic_level = 'Local authority' AND breakdown_topic = 'Ethnic group' AND sex = 'Total'
ORDER BY gld_children_percent_model""",
    ),
    WorkedQuery(
        "Children no one joined up",
        "How many children had a concern raised by one service only, and how did they do?",
        """
SELECT area_name, seen_by, concern_by, children_count, children_count_lower_ci, children_count_upper_ci,
       gld_children_percent, gld_children_percent_flag
FROM latest.joined_dots
WHERE concern_by IN ('Health visitor only', 'Setting only') AND seen_by = 'Both'
ORDER BY area_name, concern_by""",
    ),
    WorkedQuery(
        "From the two-year review to school",
        "What became of children by the outcome of their review at 2 to 2.5 years?",
        """
SELECT asq3_outcome, children_count, gld_children_percent, gld_children_percent_lower_ci, gld_children_percent_upper_ci
FROM latest.readiness_pathway
WHERE is_all_together AND fsm_eligibility = 'Total'""",
    ),
    WorkedQuery(
        "Add up a group of councils",
        "How many children reached a good level of development in councils of my choice? Add estimates, never counts.",
        """
SELECT round(sum(gld_children_count_estimate)) AS gld_children, round(sum(children_count_estimate)) AS children,
       round(100 * sum(gld_children_count_estimate) / sum(children_count_estimate), 1) AS gld_percent
FROM latest.gld_headline
WHERE geographic_level = 'Local authority' AND region_name = 'North West' AND breakdown = 'Total' AND sex = 'Total'""",
    ),
    WorkedQuery(
        "Weakest goals",
        "In which early learning goals are the fewest children at the expected level?",
        """
SELECT early_learning_goal, expected_children_percent, expected_children_percent_lower_ci,
       expected_children_percent_upper_ci
FROM latest.early_learning_goals
WHERE is_all_together AND breakdown = 'Total'
ORDER BY expected_children_percent""",
    ),
    WorkedQuery(
        "Is linkage even?",
        "Are some groups of children linked to a review less often than others?",
        """
SELECT breakdown_topic, breakdown, linked_children_percent, linked_children_percent_lower_ci,
       linked_children_percent_upper_ci
FROM latest.linkage_quality
WHERE is_all_together AND linked_to_review = 'Total'
ORDER BY linked_children_percent""",
    ),
    WorkedQuery(
        "If missed links are not random: from review to school",
        "Would the pathway from the two-year review look different if every group of children were linked as often?"
        " Each linked child counts as the inverse of the published share linked in its free school meal group: right"
        " where children of a group without a link are like those with one. Compare with the interval of the"
        " unweighted figure.",
        """
WITH link_rates AS (
    SELECT breakdown AS fsm_eligibility, linked_children_percent / 100 AS linked_share
    FROM latest.linkage_quality
    WHERE is_all_together AND linked_to_review = 'Total' AND breakdown_topic = 'Free school meal eligibility'
      AND linked_children_percent > 0
), weighted AS (
    SELECT asq3_outcome, 100 * sum(gld_children_count_estimate / linked_share)
                             / sum(children_count_estimate / linked_share) AS percent
    FROM latest.readiness_pathway JOIN link_rates USING (fsm_eligibility)
    WHERE is_all_together
    GROUP BY asq3_outcome
)
SELECT asq3_outcome, gld_children_percent AS unweighted_percent, round(percent, 1) AS weighted_percent,
       gld_children_percent_lower_ci, gld_children_percent_upper_ci
FROM latest.readiness_pathway JOIN weighted USING (asq3_outcome)
WHERE is_all_together AND fsm_eligibility = 'Total' AND asq3_outcome NOT IN ('Total', 'No linked review')""",
    ),
    WorkedQuery(
        "If missed links are not random: funded entitlement",
        "The same for children linked to a setting, weighted by the share linked in each free school meal group.",
        """
WITH link_rates AS (
    SELECT fsm_eligibility,
           1 - sum(children_count_estimate) FILTER (two_year_old_entitlement = 'Not linked to a setting')
               / sum(children_count_estimate) FILTER (two_year_old_entitlement = 'Total') AS linked_share
    FROM latest.funded_entitlement
    WHERE is_all_together AND fsm_eligibility <> 'Total'
    GROUP BY fsm_eligibility
), weighted AS (
    SELECT two_year_old_entitlement,
           sum(gld_children_percent * children_count_estimate / linked_share)
               / sum(children_count_estimate / linked_share) AS percent
    FROM latest.funded_entitlement JOIN link_rates USING (fsm_eligibility)
    WHERE is_all_together AND linked_share > 0 AND gld_children_percent IS NOT NULL
    GROUP BY two_year_old_entitlement
)
SELECT two_year_old_entitlement, gld_children_percent AS unweighted_percent, round(percent, 1) AS weighted_percent,
       gld_children_percent_lower_ci, gld_children_percent_upper_ci
FROM latest.funded_entitlement JOIN weighted USING (two_year_old_entitlement)
WHERE is_all_together AND fsm_eligibility = 'Total'
  AND two_year_old_entitlement NOT IN ('Total', 'Not linked to a setting')""",
    ),
    WorkedQuery(
        "If missed links are not random: children seen by both services",
        "The same for children seen by both services, weighted by each council's share of them: the table is"
        " published by council, not by a characteristic of the child.",
        """
WITH link_rates AS (
    SELECT area_code,
           sum(children_count_estimate) FILTER (seen_by = 'Both')
               / sum(children_count_estimate) FILTER (seen_by = 'Total') AS linked_share
    FROM latest.joined_dots
    WHERE geographic_level = 'Local authority' AND concern_by = 'Total'
    GROUP BY area_code
)
SELECT concern_by, count(*) AS councils_with_a_figure,
       round(sum(gld_children_percent * children_count_estimate) / sum(children_count_estimate), 1)
           AS unweighted_percent,
       round(sum(gld_children_percent * children_count_estimate / linked_share)
             / sum(children_count_estimate / linked_share), 1) AS weighted_percent
FROM latest.joined_dots JOIN link_rates USING (area_code)
WHERE geographic_level = 'Local authority' AND seen_by = 'Both' AND concern_by <> 'Total'
  AND linked_share > 0 AND gld_children_percent IS NOT NULL
GROUP BY concern_by
ORDER BY concern_by""",
    ),
    WorkedQuery(
        "What parents say",
        "How often did parents have to tell their child's story again?",
        """
SELECT area_name, answer, response_percent, response_percent_lower_ci, response_percent_upper_ci
FROM latest.parent_experience
WHERE question = 'Times the child''s story had to be repeated' AND breakdown = 'Total'
ORDER BY area_name, response_percent DESC""",
    ),
    WorkedQuery(
        "Follow a figure through releases",
        "How did a figure change from release to release?",
        """
SELECT release_version, time_period, area_name, gld_children_percent, gld_children_percent_lower_ci,
       gld_children_percent_upper_ci
FROM releases.gld_headline
WHERE geographic_level = 'Local authority' AND breakdown = 'Total' AND sex = 'Total'
ORDER BY area_name, time_period, release_version""",
    ),
)
