-- Queries that ship with the analyst database: questions people ask of these tables, and SQL that answers them well.
-- Above each: its title, the question, and how to read the answer and what not to make of it. `help.py` reads them.

-- # One council at a glance
--
-- What share of each group of children reached a good level of development in one council?
--
-- The short view of the published table: lower and upper say what it was for these children, give or take the noise; an
-- empty flag means that the figure can be used. To say that one group is ahead of another, ask gld_difference.
SELECT child_group, children, percent, lower, upper, flag
FROM gld_headline
WHERE area = 'Leeds' AND cohort = (SELECT max(cohort) FROM gld_headline);

-- # Compare councils
--
-- What share of children reached a good level of development in each council, and how sure is it?
--
-- Intervals say what it was for these children, without chance. Compare councils by the queries on differences, ranks and
-- the funnel, which count chance too, and not by whether intervals overlap. A flag of u is a wide interval; a figure that
-- is too uncertain is withheld.
SELECT area_name, gld_children_percent AS percent, round(gld_children_percent_lower_ci, 1) AS lower_ci,
       round(gld_children_percent_upper_ci, 1) AS upper_ci, gld_children_percent_flag AS flag
FROM latest.gld_headline
WHERE time_period = latest_cohort()
  AND geographic_level = 'Local authority' AND breakdown = 'Total' AND sex = 'Total'
ORDER BY gld_children_percent DESC;

-- # How far from the national ambition?
--
-- How many more children would have to reach a good level of development for 75%, in each area, and how sure is that?
--
-- Points and children that these children lacked, with the interval of the noise; a negative number is above the
-- target. If the verdict is 'cannot say', the noise is larger than the distance. A local target has a
-- row of its own.
SELECT area_name, target, target_percent, gld_percent, points_to_go, children_to_go, children_lower_ci,
       children_upper_ci, verdict, points_a_year
FROM gld_to_target('Total');

-- # Own sums
--
-- What share of children eligible for free school meals reached a good level of development in several councils together?
--
-- Children and rate of the areas and groups named, added up, with intervals that count what their noise has in common:
-- what it was for these children. Never work an interval of a sum out from those of its parts. Groups must be of one
-- characteristic: a child can be eligible for free school meals and a girl.
FROM gld_sum('Leeds + Wirral + Liverpool', 'FSM');

-- # Free school meal gap
--
-- How far are children eligible for free school meals behind the others, by council?
--
-- Points that eligible children are behind. lower_ci, upper_ci and is_certain are for children like these: noise and
-- chance, with allowance for the number of areas. these_children_lower_ci and these_children_upper_ci are those of the
-- gap as it was, without chance. Do not work either out from the intervals of the two rates, which share noise.
SELECT area_name, points, round(lower_end, 1) AS lower_ci, round(upper_end, 1) AS upper_ci, is_certain,
       round(low, 1) AS these_children_lower_ci, round(high, 1) AS these_children_upper_ci
FROM gld_compared(meaning_of('group', 'Not eligible for free school meals'), meaning_of('group', 'FSM'), true,
                  cohort_or_newest(NULL), cohort_or_newest(NULL))
WHERE is_council AND less_child_group = 'Eligible for free school meals'
ORDER BY points DESC;

-- # Widest free school meal gap, with certainty
--
-- Which councils' gaps are surely wider or narrower than others'?
--
-- A council is surely among the widest where surely_narrower_than is 0 and surely_wider_than is most of the others, by
-- more than noise and chance would explain, with allowance for the number of pairs. Councils with nothing in either column
-- do not differ clearly from any other. Councils whose gap is withheld are left out.
SELECT area_name, any_value(percent) AS points, count(*) FILTER (verdict = 'ahead') AS surely_wider_than,
       count(*) FILTER (verdict = 'behind') AS surely_narrower_than, count(*) AS other_councils
FROM gld_compared('Not eligible less eligible', 'Not eligible less eligible', false, cohort_or_newest(NULL),
                  cohort_or_newest(NULL))
WHERE is_council AND less_is_council AND points IS NOT NULL
GROUP BY area_name
ORDER BY any_value(percent) DESC;

-- # Which councils differ from all together
--
-- Which councils are surely ahead of or behind all councils together?
--
-- Those named are ahead of (above 0) or behind all councils by more than noise and chance would explain, with allowance for
-- the number of councils. The table gld_differences has the interval for the children of this cohort, without chance.
SELECT area_name, points, round(lower_end, 1) AS lower_ci, round(upper_end, 1) AS upper_ci, verdict
FROM gld_compared('Total', 'Total', false, cohort_or_newest(NULL), cohort_or_newest(NULL))
WHERE is_council AND less_is_all AND is_certain
ORDER BY points DESC;

-- # Difference of two councils
--
-- How far is one council ahead of another, and how sure is it?
--
-- is_certain says whether the interval for noise and chance, lower_ci to upper_ci, leaves out 0: it would be so for
-- children like these too. The interval allows for every pair of areas, so it does not matter which pairs you ask for.
-- basis says how the noise was worked out. The macro takes any two groups, areas and cohorts.
FROM gld_difference('Leeds', 'Total', 'Liverpool', 'Total');

-- # Rank councils with their uncertainty
--
-- Which council is highest and which lowest, and how likely is each to be so?
--
-- Any rank from best_rank to worst_rank is possible for children like these: noise and chance. The sets hold the ranks of
-- all councils together in 95 of 100 releases. lower_ci and upper_ci are of the noise. chance_highest and chance_lowest
-- say how likely each end is, and are no verdict.
FROM gld_rank('Total');

-- # Funnel of councils
--
-- Which councils differ from all together by more than chance and noise would make them?
--
-- For children like these: a council outside its limits is ahead or behind, by more than noise and chance would explain, with
-- allowance for the number of councils. The limits know nothing of who lives there.
FROM gld_funnel('Total');

-- # All councils against England
--
-- How do the councils together compare with the official figure for England?
--
-- England's figure is exact, ours has noise. lower_ci and upper_ci say what it was for these children: noise;
-- is_certain says that England lies further from our figure than noise and the chance of our number of children
-- explain, with allowance for the number of groups: it would for children like these. These councils are not a sample
-- of England. Groups without an official figure are left out.
SELECT time_period, breakdown_topic, breakdown, percent AS ours, round(low, 1) AS lower_ci, round(high, 1) AS upper_ci,
       round(england, 2) AS england, round(points, 2) AS points_ahead, verdict <> 'cannot say' AS is_certain
FROM gld_against_england(NULL)
WHERE is_all_together AND sex = 'Total'
ORDER BY breakdown_topic, breakdown;

-- # By characteristic, beside official figures
--
-- How do groups of children do in each council, beside England's official figure and the council's own?
--
-- official is the Department for Education's figure of the same children: it should lie within lower_ci to upper_ci,
-- which are of the noise, in 95 of 100 rows, and tells of the extracts where it does not. beside_england is for children
-- like these: by more than noise and chance would explain, with allowance for the number of rows. Official figures count every
-- child assessed in the academic year; of some characteristics there are none by council. source says whose they are.
SELECT e.time_period, e.area_name, e.breakdown_topic, e.breakdown, e.percent, round(e.low, 1) AS lower_ci,
       round(e.high, 1) AS upper_ci, round(own.gld_children_percent, 2) AS official, round(e.england, 2) AS england,
       e.verdict AS beside_england, coalesce(own.source, e.source) AS source
FROM gld_against_england(NULL) AS e
LEFT JOIN official.gld AS own
  ON own.area_code = e.area_code AND own.sex = 'Total' AND own.time_period = e.time_period
 AND own.breakdown_topic = e.breakdown_topic::VARCHAR AND own.breakdown = e.breakdown::VARCHAR
WHERE e.geographic_level = 'Local authority' AND e.sex = 'Total'
ORDER BY e.time_period, e.breakdown_topic, e.breakdown, e.area_name;

-- # The two-year review, beside official figures
--
-- How many children were at or above the cut-off at the two-year review, beside England's official figure, and in how
-- many reviews was ASQ-3 used?
--
-- The two are defined otherwise, so nothing here says ahead or behind: ours counts every child reviewed, also without a
-- score, and the children of a cohort; the official figure those with a score, and the children who turned 2½ in a
-- financial year, eleven in twelve of them of our cohort. Where few reviews used ASQ-3, ours is low for want of scores,
-- and the official one is about fewer children. lower_ci and upper_ci say what it was for these children: noise. A
-- council's own official figure is in Fingertips (C08a, indicator 93436).
SELECT ours.time_period, ours.area_name, ours.asq3_domain, ours.at_or_above_children_percent AS percent,
       round(ours.at_or_above_children_percent_lower_ci, 1) AS lower_ci,
       round(ours.at_or_above_children_percent_upper_ci, 1) AS upper_ci, expected.percent AS england_expected_level,
       used.percent AS reviews_that_used_asq3, england.percent AS england_reviews_that_used_asq3,
       england.financial_year
FROM latest.asq3_outcomes AS ours
LEFT JOIN official.asq3 AS england
       ON england.geographic_level = 'National' AND england.measure = 'Reviews that used ASQ-3'
      AND england.time_period = ours.time_period
LEFT JOIN official.asq3 AS expected
       ON expected.geographic_level = 'National' AND expected.measure = 'Children at or above the expected level'
      AND expected.time_period = ours.time_period AND expected.asq3_domain = ours.asq3_domain::VARCHAR
LEFT JOIN official.asq3 AS used
       ON used.area_code = ours.area_code AND used.measure = 'Reviews that used ASQ-3'
      AND used.time_period = ours.time_period
WHERE ours.breakdown = 'Total'
ORDER BY ours.time_period, ours.is_all_together DESC, ours.area_name, ours.asq3_domain;

-- # Small groups, as a model sees them
--
-- Which ethnic groups in which councils may be furthest behind? For a map or a ranking.
--
-- The model draws each group towards what its council and its group have in general, unless it differs by more than
-- noise explains. lower_ci and upper_ci are the model's own 95% interval, for these children: a group that looks
-- furthest behind may do so by chance.
SELECT area_name, breakdown, round(gld_children_percent_model, 1) AS model_percent,
       round(gld_children_percent_model_lower_ci, 1) AS lower_ci,
       round(gld_children_percent_model_upper_ci, 1) AS upper_ci, gld_children_percent, gld_children_percent_flag
FROM latest.gld_headline
WHERE time_period = latest_cohort()
  AND geographic_level = 'Local authority' AND breakdown_topic = 'Ethnic group' AND sex = 'Total'
ORDER BY gld_children_percent_model;

-- # Children no one joined up
--
-- How many children had a concern raised by one service only, or were seen by neither, and how did they do?
--
-- The first two rows of an area are children whom both services saw, and of whom only one was concerned; the third
-- those whom neither saw, as a share of all children as well. Figures and intervals are for these children and allow
-- for missed links; children_count_as_linked is the number before that. Between groups and areas ask gld_difference.
SELECT area_name, seen_by, concern_by, children_count, round(children_count_lower_ci) AS children_lower_ci,
       round(children_count_upper_ci) AS children_upper_ci, children_count_as_linked, children_percent,
       round(children_percent_lower_ci, 2) AS share_lower_ci, round(children_percent_upper_ci, 2) AS share_upper_ci,
       gld_children_percent,
       round(gld_children_percent_lower_ci, 1) AS gld_lower_ci, round(gld_children_percent_upper_ci, 1) AS gld_upper_ci,
       gld_children_percent_flag
FROM latest.joined_dots
WHERE time_period = latest_cohort()
  AND ((seen_by = 'Both' AND concern_by IN ('Health visitor only', 'Setting only'))
       OR (seen_by = 'Neither' AND concern_by = 'Total'))
ORDER BY is_all_together DESC, area_name, seen_by, concern_by;

-- # From the two-year review to school
--
-- What became of children by the outcome of their review at 2 to 2.5 years?
--
-- lower_ci and upper_ci are for these children: noise and missed links. points_behind is how far a group is behind the
-- children at or above the cut-off in all five domains; is_behind says that it would be so for children like these, by
-- more than these and chance explain, with allowance for the number of pairs of outcomes. It is an association among
-- linked children, not an effect of the review; children without a linked review are a row of their own.
SELECT one.asq3_outcome, one.children_count, one.gld_children_percent AS percent,
       round(one.gld_children_percent_lower_ci, 1) AS lower_ci, round(one.gld_children_percent_upper_ci, 1) AS upper_ci,
       d.points AS points_behind, d.verdict = 'ahead' AS is_behind
FROM latest.readiness_pathway AS one
LEFT JOIN gld_compared(meaning_of('group', 'All five domains at or above the cut-off'),
                       meaning_of('group', 'Two or more domains below the cut-off'), true, cohort_or_newest(NULL),
                       cohort_or_newest(NULL)) AS d
       ON d.child_group = 'All five domains at or above the cut-off' AND d.area_code = one.area_code
      AND d.less_child_group = one.asq3_outcome::VARCHAR
WHERE one.time_period = latest_cohort() AND one.is_all_together AND one.fsm_eligibility = 'Total'
ORDER BY one.asq3_outcome;

-- # Add up a group of councils
--
-- How many children reached a good level of development in councils of my choice? Add estimates, never counts.
--
-- What it was for these children. Estimates add up without bias, rounded counts do not. The sum has no interval here,
-- so compare it with nothing: the published one of a region or devolved area is to be preferred where there is one.
SELECT round(sum(gld_children_count_estimate)) AS gld_children, round(sum(children_count_estimate)) AS children,
       round(100 * sum(gld_children_count_estimate) / sum(children_count_estimate), 1) AS gld_percent
FROM latest.gld_headline
WHERE time_period = latest_cohort()
  AND geographic_level = 'Local authority' AND region_name = 'North West' AND breakdown = 'Total' AND sex = 'Total';

-- # Weakest goals
--
-- In which early learning goals are the fewest children at the expected level?
--
-- The lowest share comes first. lower_ci and upper_ci are for these children: noise. could_be_lowest says which goals
-- could be the lowest for children like these: no other is lower by more than noise and chance would explain, with allowance
-- for the number of goals. Goals are of the same children, who do alike in them, so that chance is rather overstated.
SELECT item AS early_learning_goal, percent, round(low, 1) AS lower_ci, round(high, 1) AS upper_ci,
       could_be AS could_be_lowest
FROM could_be_extreme(NULL)
WHERE direction < 0 AND of_what = 'Total' AND area_code IN (SELECT area_code FROM dimension.area WHERE is_all_together)
ORDER BY percent, early_learning_goal;

-- # How wide are the intervals?
--
-- How sure are the figures of councils, by characteristic?
--
-- Points to either side of a figure. The smaller the groups, the wider: the noise is the same number of children
-- whatever the size of the group.
SELECT characteristic, count(*) AS figures,
       round(min((gld_children_percent_upper_ci - gld_children_percent_lower_ci) / 2), 1) AS narrowest_half_width,
       round(median((gld_children_percent_upper_ci - gld_children_percent_lower_ci) / 2), 1) AS middle_half_width,
       count(*) FILTER (gld_children_percent_flag = 'u') AS unreliable,
       count(*) FILTER (gld_children_percent_flag = 'withheld') AS withheld
FROM latest.gld_by_group
WHERE time_period = latest_cohort()
  AND geographic_level = 'Local authority'
GROUP BY characteristic
ORDER BY min(position);

-- # Which figures should I not use?
--
-- How many figures of each group are unreliable or withheld, and in which councils?
--
-- Leave withheld figures out, and give unreliable ones only with their interval. Flags come from published figures
-- alone, so that they give nothing away.
SELECT characteristic, child_group, count(*) AS areas,
       count(*) FILTER (gld_children_percent_flag IS NULL) AS usable,
       count(*) FILTER (gld_children_percent_flag = 'u') AS unreliable,
       count(*) FILTER (gld_children_percent_flag = 'withheld') AS withheld,
       string_agg(area_name, '; ' ORDER BY area_name) FILTER (gld_children_percent_flag IS NOT NULL) AS not_to_be_used
FROM latest.gld_by_group
WHERE time_period = latest_cohort()
GROUP BY characteristic, child_group, position
ORDER BY position;

-- # Is linkage even?
--
-- Are some groups of children linked to a review less often than others?
--
-- A group that is linked less often is under-represented in every figure about linked children: see the queries on
-- missed links. lower_ci and upper_ci are for these children; compare groups by like_these_lower_ci and
-- like_these_upper_ci, which count chance too, and of which all hold together in 95 of 100 releases.
WITH figure AS (
    SELECT breakdown_topic, breakdown, linked_children_percent AS percent, linked_children_percent_lower_ci AS low,
           linked_children_percent_upper_ci AS high, linked_children_percent_flag AS flag,
           chance_variance(percent, children_count_estimate) AS chance,
           normal_beyond(0.025 / count(*) OVER ()) / 1.959964 AS times
    FROM latest.linkage_quality
    WHERE time_period = latest_cohort() AND is_all_together AND linked_to_review = 'Total'
)
SELECT breakdown_topic, breakdown, percent, round(low, 1) AS lower_ci, round(high, 1) AS upper_ci,
       round(percent - times * arm_with_chance(percent - low, chance), 1) AS like_these_lower_ci,
       round(percent + times * arm_with_chance(high - percent, chance), 1) AS like_these_upper_ci, flag
FROM figure
ORDER BY percent;

-- # If missed links are not random: from review to school
--
-- Would the pathway from the two-year review look different if every group of children were linked as often? Each
-- linked child counts as the inverse of the published share linked in its free school meal group: right where children
-- of a group without a link are like those with one. Compare with the interval of the unweighted figure.
--
-- Where the weighted figure lies inside the interval of the unweighted one, the table does not hang on which groups
-- are missed. It is a check and no better figure: it has no interval of its own.
WITH link_rates AS (
    SELECT breakdown AS fsm_eligibility, linked_children_percent / 100 AS linked_share
    FROM latest.linkage_quality
    WHERE time_period = latest_cohort()
      AND is_all_together AND linked_to_review = 'Total' AND breakdown_topic = 'Free school meal eligibility'
      AND linked_children_percent > 0
), weighted AS (
    SELECT asq3_outcome, 100 * sum(gld_children_count_estimate / linked_share)
                             / sum(children_count_estimate / linked_share) AS percent
    FROM latest.readiness_pathway JOIN link_rates USING (fsm_eligibility)
    WHERE time_period = latest_cohort()
      AND is_all_together
    GROUP BY asq3_outcome
)
SELECT asq3_outcome, gld_children_percent AS unweighted_percent, round(percent, 1) AS weighted_percent,
       gld_children_percent_lower_ci, gld_children_percent_upper_ci
FROM latest.readiness_pathway JOIN weighted USING (asq3_outcome)
WHERE time_period = latest_cohort()
  AND is_all_together AND fsm_eligibility = 'Total' AND asq3_outcome NOT IN ('Total', 'No linked review', 'Record cannot be looked for');

-- # If missed links are not random: funded entitlement
--
-- The same for children linked to a setting, weighted by the share linked in each free school meal group.
--
-- Where the weighted figure lies inside the interval of the unweighted one, the table does not hang on which groups
-- are missed. It is a check and no better figure: it has no interval of its own.
WITH link_rates AS (
    SELECT fsm_eligibility,
           1 - sum(children_count_estimate) FILTER (two_year_old_entitlement = 'Not linked to a setting')
               / sum(children_count_estimate) FILTER (two_year_old_entitlement = 'Total') AS linked_share
    FROM latest.funded_entitlement
    WHERE time_period = latest_cohort()
      AND is_all_together AND fsm_eligibility <> 'Total'
    GROUP BY fsm_eligibility
), weighted AS (
    SELECT two_year_old_entitlement,
           sum(gld_children_percent * children_count_estimate / linked_share)
               / sum(children_count_estimate / linked_share) AS percent
    FROM latest.funded_entitlement JOIN link_rates USING (fsm_eligibility)
    WHERE time_period = latest_cohort()
      AND is_all_together AND linked_share > 0 AND gld_children_percent IS NOT NULL
    GROUP BY two_year_old_entitlement
)
SELECT two_year_old_entitlement, gld_children_percent AS unweighted_percent, round(percent, 1) AS weighted_percent,
       gld_children_percent_lower_ci, gld_children_percent_upper_ci
FROM latest.funded_entitlement JOIN weighted USING (two_year_old_entitlement)
WHERE time_period = latest_cohort()
  AND is_all_together AND fsm_eligibility = 'Total'
  AND two_year_old_entitlement NOT IN ('Total', 'Not linked to a setting', 'Record cannot be looked for');

-- # If missed links are not random: children seen by both services
--
-- The same for children seen by both services, weighted by each council's share of them: the table is published by
-- council, not by a characteristic of the child.
--
-- Where the weighted figure lies inside the interval of the unweighted one, the table does not hang on which groups
-- are missed. It is a check and no better figure: it has no interval of its own.
WITH link_rates AS (
    SELECT area_code,
           sum(children_count_estimate) FILTER (seen_by = 'Both')
               / sum(children_count_estimate) FILTER (seen_by = 'Total') AS linked_share
    FROM latest.joined_dots
    WHERE time_period = latest_cohort()
      AND geographic_level = 'Local authority' AND concern_by = 'Total'
    GROUP BY area_code
)
SELECT concern_by, count(*) AS councils_with_a_figure,
       round(sum(gld_children_percent * children_count_estimate) / sum(children_count_estimate), 1)
           AS unweighted_percent,
       round(sum(gld_children_percent * children_count_estimate / linked_share)
             / sum(children_count_estimate / linked_share), 1) AS weighted_percent
FROM latest.joined_dots JOIN link_rates USING (area_code)
WHERE time_period = latest_cohort()
  AND geographic_level = 'Local authority' AND seen_by = 'Both' AND concern_by <> 'Total'
  AND linked_share > 0 AND gld_children_percent IS NOT NULL
GROUP BY concern_by
ORDER BY concern_by;

-- # What parents say
--
-- How often did parents have to tell their child's story again?
--
-- Of those who answered the survey, with the interval of the noise; it is no sample of all parents. Answers of one
-- council add up to 100% within the noise. Councils with few responses differ by chance as well.
SELECT area_name, answer, response_percent AS percent, round(response_percent_lower_ci, 1) AS lower_ci,
       round(response_percent_upper_ci, 1) AS upper_ci, response_percent_flag AS flag
FROM latest.parent_experience
WHERE time_period = latest_cohort()
  AND question = 'Times the child''s story had to be repeated' AND breakdown = 'Total'
ORDER BY is_all_together DESC, area_name, answer;

-- # Follow a figure through releases
--
-- How did a figure change from release to release?
--
-- One line for each release and cohort, with the interval of the noise. A later release of the same cohort is about the
-- same children with fresh noise, or with the same counts and further ones where it answers requests: a difference there
-- is noise or a correction, never progress. Between cohorts ask the next query.
SELECT release_version, time_period, area_name, gld_children_percent, gld_children_percent_lower_ci,
       gld_children_percent_upper_ci
FROM releases.gld_headline
WHERE geographic_level = 'Local authority' AND breakdown = 'Total' AND sex = 'Total'
ORDER BY area_name, time_period, release_version;

-- # A figure over cohorts
--
-- How did an area's figure change from cohort to cohort?
--
-- change_points compares the releases that stand, cohort by cohort. is_certain says that it would be a change for
-- children like these: more than noise and chance would explain. It is empty where a break lies between, and with one cohort
-- alone.
FROM gld_over_time('Liverpool City Region', 'Total');

-- # This release and the one before
--
-- Which councils' figures for the same cohort moved from one release to the next by more than the noise of both?
--
-- Both releases are about the same children, with noise of their own, so chance has no part in it. More than noise, with
-- allowance for the number of figures, means that the extracts were corrected; changes.csv in the bundle has every such
-- figure. Where the later one answers requests it has the counts of the earlier one and more: then figures move less
-- than this allows for, and changes.csv judges by what was measured besides. Without an earlier release the columns are empty.
WITH figure AS (
    SELECT position, release_version, time_period, area_name, gld_children_percent AS p,
           gld_children_percent_lower_ci AS l, gld_children_percent_upper_ci AS u
    FROM releases.gld_headline JOIN releases.release USING (release_version)
    WHERE geographic_level = 'Local authority' AND breakdown = 'Total' AND sex = 'Total' AND withdrawn_on IS NULL)
SELECT new.area_name, new.time_period, new.release_version, new.p AS percent, old.release_version AS earlier_version,
       old.p AS earlier_percent, round(new.p - old.p, 1) AS moved,
       abs(new.p - old.p) > normal_beyond(0.025 / greatest(count(old.p) OVER (), 1)) / 1.959964
           * CASE WHEN new.p > old.p THEN combined_arm(new.p - new.l, old.u - old.p, 0)
                  ELSE combined_arm(new.u - new.p, old.p - old.l, 0) END AS is_more_than_noise
FROM figure AS new
JOIN releases.current AS standing USING (release_version, time_period)
ASOF LEFT JOIN figure AS old
    ON old.time_period = new.time_period AND old.area_name = new.area_name AND old.position < new.position
ORDER BY new.time_period, new.area_name;
