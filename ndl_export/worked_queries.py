"""Queries that ship with the analyst database: questions people ask of these tables, and SQL that answers them well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkedQuery:
    """`sql` runs as it stands in the database."""

    title: str
    question: str
    sql: str


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
