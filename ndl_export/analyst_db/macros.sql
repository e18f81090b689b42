-- The macros of the analyst database, for DuckDB 1.2 and later: it is the reader's version that parses them. Above
-- each: what it answers, how its figures are made, and a call that runs as it stands. `help.py` puts them into the
-- database.
--
-- Two questions have two intervals. "What was it for these children?" is uncertain by the noise alone (of linked
-- children by missed links too): rates and what lacks to a target have that interval, as in the tables. "Would it be so
-- for children like these?" is uncertain by chance as well: differences, changes, ranks, the funnel and is_certain
-- answer that one, because nobody acts on a difference that chance would make. Across a break in the series neither is
-- answered. 1.959964 and 3.090232 are the normal quantiles of intervals of 95% and of 99.8%.

-- A name without letter case and punctuation.
--
-- Names that are equal after it are taken for one.
--
--     SELECT plain_name('St. Helens')
CREATE MACRO plain_name(words) AS (
    trim(regexp_replace(replace(lower(words::VARCHAR), '&', ' and '), '[^a-z0-9]+', ' ', 'g')));

-- What a name stands for: the code of an area, the year of a cohort, a characteristic or the key of a group.
--
-- A name that is not in dimension.name is an error that names the nearest three. Of two kinds ('characteristic or
-- group') the first that has the name counts. Groups that only tables on request have are not among them.
--
--     SELECT meaning_of('area', 'st helens')
CREATE MACRO meaning_of(sort_of, asked) AS (
    SELECT coalesce(
        min_by(n.meaning, list_position(string_split(sort_of, ' or '), n.kind))
            FILTER (plain_name(n.called) = plain_name(asked)),
        error(concat(CASE WHEN sort_of = 'area' AND plain_name(asked) IN ('england', 'e92000001')
                          THEN 'No release here is of all England; its official figures: FROM official.gld. ' END,
                     'No ', sort_of, ' is called ''', asked, '''. Did you mean ''',
                     (SELECT string_agg(h.shown, ''', or ''' ORDER BY h.likeness DESC, h.shown)
                      FROM (SELECT o.shown, max(jaro_winkler_similarity(plain_name(o.called), plain_name(asked)))
                                   AS likeness
                            FROM dimension.name AS o WHERE o.kind IN (SELECT unnest(string_split(sort_of, ' or ')))
                            GROUP BY o.shown ORDER BY likeness DESC, o.shown LIMIT 3) AS h),
                     '''? All names: FROM dimension.name WHERE kind = ''',
                     replace(sort_of, ' or ', ''' OR kind = '''), '''',
                     CASE WHEN sort_of LIKE '%group' AND EXISTS (FROM releases.requests)
                          THEN '. Groups of tables on request have views of their own: FROM requests' END)))
    FROM dimension.name AS n WHERE n.kind IN (SELECT unnest(string_split(sort_of, ' or '))));

-- The cohort asked for as the tables write it, or the newest where it is NULL.
--
-- Of releases that are not withdrawn.
--
--     SELECT cohort_or_newest(NULL)
CREATE MACRO cohort_or_newest(asked) AS (
    CASE WHEN asked IS NOT NULL THEN meaning_of('cohort', asked)
        ELSE coalesce((SELECT max(c.time_period) FROM releases.current AS c),
                      error('Every release in this database is withdrawn: FROM releases.release')) END);

-- The newest cohort in the views latest.*.
--
-- A release may hold several cohorts: filter time_period by it where one is wanted.
--
--     SELECT latest_cohort()
CREATE MACRO latest_cohort() AS (SELECT max(h.time_period) FROM latest.gld_headline AS h);

-- The code of an area that has figures for a cohort.
--
-- It is an error if it has none, or if there is no such area.
--
--     SELECT area_in('Leeds', cohort_or_newest(NULL))
CREATE MACRO area_in(asked, of_cohort) AS (
    CASE WHEN EXISTS (SELECT 1 FROM releases.gld_headline AS f JOIN releases.current AS c
                              ON c.time_period = f.time_period AND c.release_version = f.release_version
                         WHERE f.area_code = meaning_of('area', asked) AND f.time_period = of_cohort)
             THEN meaning_of('area', asked)
             ELSE error('There are no figures of ' || asked || ' for the cohort ' || of_cohort
                        || ': FROM dimension.area_member says which areas each release has') END);

-- What a category is called in a narrow column.
--
-- The label of its filter or the name of its characteristic, and the category. Where there is nothing shorter it is the
-- category itself.
--
--     SELECT in_short('Sex', 'Female')
CREATE MACRO in_short(filter_of, category_of) AS (
    coalesce((SELECT max(s.short_name) FROM dimension.short_name AS s
              WHERE s.filter_label = filter_of::VARCHAR AND s.category = category_of::VARCHAR),
             category_of::VARCHAR));

-- Lower end of an interval as it is shown, to one decimal.
--
-- Never above the figure that it is shown beside, whichever way both are rounded.
--
--     SELECT lower_shown(45.25, 45.2)
CREATE MACRO lower_shown(lower_end, figure) AS (least(round(lower_end, 1), coalesce(figure, round(lower_end, 1))));

-- Upper end of an interval as it is shown, to one decimal.
--
-- Never below the figure that it is shown beside, whichever way both are rounded.
--
--     SELECT upper_shown(46.43, 45.2)
CREATE MACRO upper_shown(upper_end, figure) AS (greatest(round(upper_end, 1), coalesce(figure, round(upper_end, 1))));

-- A count as it is shown: whole, and not below 0.
--
-- NULL stays NULL. To be added up are estimates, never counts as shown.
--
--     SELECT not_below_0(-3.2)
CREATE MACRO not_below_0(counted) AS (CASE WHEN counted IS NOT NULL THEN round(greatest(counted, 0)) END);

-- Standard error of the noise in a figure, from the wider side of its 95% interval.
--
-- The other side may be cut off at 0 or 100.
--
--     SELECT standard_error(50, 48, 52)
CREATE MACRO standard_error(figure, lower_end, upper_end) AS (
    greatest(upper_end - figure, figure - lower_end) / 1.959964);

-- One side of the interval of a difference, from the sides of the two intervals.
--
-- MOVER (Zou and Donner 2008), for noise that is correlated by `correlation` at most, in whichever direction.
--
--     SELECT combined_arm(3, 4, 0)
CREATE MACRO combined_arm(one, other, correlation) AS (
    sqrt(greatest(one ^ 2 + other ^ 2 + 2 * correlation * one * other, 0)));

-- Variance by chance of a percentage of so many children, in squared percentage points.
--
-- Binomial: as if the children of a cohort were drawn from many who live like them. A cohort is no such sample; the
-- variance says how far a rate moves between cohorts of this size though nothing else changes. A rate that is withheld
-- is taken for 50%, which varies most.
--
--     SELECT chance_variance(64.1, 9000)
CREATE MACRO chance_variance(percentage, children) AS (
    greatest(coalesce(percentage * (100 - percentage), 2500), 0) / greatest(children, 1));

-- One side of an interval for noise and chance together, from the side for noise and the variance by chance.
--
-- The two are independent: squares add.
--
--     SELECT arm_with_chance(1.2, chance_variance(64.1, 9000))
CREATE MACRO arm_with_chance(arm, variance) AS (
    sqrt(arm ^ 2 + 1.959964 ^ 2 * variance));

-- Probability that a standard normal value is below z.
--
-- Abramowitz and Stegun 26.2.17; off by less than 1e-7.
--
--     SELECT normal_cdf(1.96)
CREATE MACRO normal_cdf(z) AS (
    CASE WHEN z >= 0 THEN 1 - exp(-z * z / 2) / 2.5066282746310002 * (
            0.319381530 / (1 + 0.2316419 * z) - 0.356563782 / (1 + 0.2316419 * z) ^ 2
            + 1.781477937 / (1 + 0.2316419 * z) ^ 3 - 1.821255978 / (1 + 0.2316419 * z) ^ 4
            + 1.330274429 / (1 + 0.2316419 * z) ^ 5)
        ELSE exp(-z * z / 2) / 2.5066282746310002 * (
            0.319381530 / (1 - 0.2316419 * z) - 0.356563782 / (1 - 0.2316419 * z) ^ 2
            + 1.781477937 / (1 - 0.2316419 * z) ^ 3 - 1.821255978 / (1 - 0.2316419 * z) ^ 4
            + 1.330274429 / (1 - 0.2316419 * z) ^ 5) END);

-- Share of children at a good level of development in an area, by the groups of a characteristic or of one group, with
-- its interval.
--
-- The published figure and its 95% interval: what it was for these children. It covers the noise added for privacy and,
-- for groups that come from linked records, missed links; not chance. Where no figure of a group is published, a row
-- says so. To compare groups ask gld_difference.
--
--     FROM gld_rate('Leeds', 'FSM')
CREATE MACRO gld_rate(area, characteristic, cohort := NULL) AS TABLE
WITH wanted AS (
    SELECT cohort_or_newest(cohort) AS time_period, meaning_of('characteristic or group', characteristic) AS asked),
placed AS (SELECT w.*, area_in(area, w.time_period) AS area_code FROM wanted AS w),
figures AS (
    SELECT f.*, y.label, m.meaning FROM placed AS p JOIN releases.gld_by_group AS f
           ON f.time_period = p.time_period AND f.area_code = p.area_code
          AND (f.characteristic = p.asked OR f.group_key = p.asked)
    JOIN releases.current AS c ON c.time_period = f.time_period AND c.release_version = f.release_version
    JOIN dimension.cohort AS y ON y.time_period = f.time_period
    LEFT JOIN dimension.flag AS m ON m.flag = f.gld_children_percent_flag),
answers AS (
    SELECT f.time_period, f.area_name, f.characteristic, f.child_group, f.gld_children_percent AS gld_percent,
           lower_shown(f.gld_children_percent_lower_ci, f.gld_children_percent) AS lower_ci,
           upper_shown(f.gld_children_percent_upper_ci, f.gld_children_percent) AS upper_ci,
           f.gld_children_percent_flag AS flag,
           concat(f.area_name, ', ', f.child_group, ', ', f.label, ': ',
                  CASE WHEN f.gld_children_percent IS NOT NULL
                       THEN concat(f.gld_children_percent, '%') ELSE f.meaning END,
                  CASE WHEN f.gld_children_percent_lower_ci IS NOT NULL
                       THEN concat(' (95% interval ', lower_ci, ' to ', upper_ci, ')') END) AS in_words, f.position
    FROM figures AS f
    UNION ALL
    SELECT p.time_period, a.area_name, g.characteristic, g.child_group, NULL, NULL, NULL, NULL,
           concat(a.area_name, ', ', g.child_group, ', ', y.label,
                  ': no figure of this group is published here: it would be too uncertain'), g.position
    FROM placed AS p JOIN dimension.area AS a ON a.area_code = p.area_code
    JOIN dimension.child_group AS g ON g.characteristic = p.asked OR g.group_key = p.asked
    JOIN dimension.cohort AS y ON y.time_period = p.time_period
    WHERE (SELECT count(*) FROM figures) = 0)
SELECT * EXCLUDE (position) FROM answers ORDER BY position;

-- Children and their rate over any areas and groups that you add up, with intervals that count what their noise shares.
--
-- Areas and groups are names with + between; an area of several councils stands for them, and no council counts twice.
-- Groups are of one characteristic, and none may lie within another; `sex` chooses girls or boys of them. What was it
-- for these children: the noise alone, as in the tables. Sums of estimates, with the exact covariances of the noise
-- (releases.noise_covariance); the rate by Fieller's theorem, as every published one. To add up the squares of
-- published intervals would be wrong: parts of a whole share noise. For the characteristics of gld_headline, where each
-- council has a row of its own; groups that come from linked records have corrections of their own, and no covariances
-- are held.
--
--     FROM gld_sum('Leeds + Wirral', 'FSM')
CREATE MACRO gld_sum(areas, child_groups, sex := 'Total', cohort := NULL) AS TABLE
WITH asked AS (
    SELECT cohort_or_newest(cohort) AS time_period,
           CASE replace(meaning_of('group', sex), 'Sex: ', '') WHEN 'Female' THEN 'Female' WHEN 'Male' THEN 'Male'
                WHEN 'Total' THEN 'Total' ELSE error('sex is girls, boys or Total') END AS sex),
standing AS (
    SELECT a.*, c.release_version FROM asked AS a JOIN releases.current AS c ON c.time_period = a.time_period),
places AS (
    SELECT DISTINCT area_in(p.called, p.time_period) AS area_code
    FROM (SELECT trim(unnest(string_split(areas, '+'))) AS called, s.time_period FROM standing AS s) AS p),
councils AS (
    SELECT DISTINCT m.council_code, a.area_name, a.region_code
    FROM standing AS s JOIN dimension.area_member AS m ON m.release_version = s.release_version
         AND m.time_period = s.time_period AND m.family = 'pupil'
    JOIN places AS p ON p.area_code = m.area_code JOIN dimension.area AS a ON a.area_code = m.council_code),
chosen AS (
    SELECT DISTINCT meaning_of('group', g.called) AS group_key
    FROM (SELECT trim(unnest(string_split(child_groups, '+'))) AS called) AS g),
groups AS (
    SELECT g.characteristic, g.child_group, g.position,
           CASE WHEN k.table_name <> 'gld_headline'
                THEN error(concat('Sums are of groups in gld_headline, not of ', g.group_key,
                                  ', whose figures are corrected for missed links'))
                WHEN g.characteristic = 'Sex' THEN 'Total' ELSE g.characteristic END AS breakdown_topic,
           CASE WHEN g.characteristic = 'Sex' THEN 'Total' ELSE g.child_group END AS breakdown,
           CASE WHEN g.characteristic <> 'Sex' THEN s.sex WHEN s.sex IN ('Total', g.child_group) THEN g.child_group
                ELSE error(concat(g.child_group, ' and ', s.sex, ': choose one')) END AS sex
    FROM chosen AS c JOIN dimension.child_group AS g ON g.group_key = c.group_key
    JOIN dimension.characteristic AS k ON k.characteristic = g.characteristic, standing AS s),
sound AS (
    SELECT CASE WHEN count(DISTINCT g.characteristic) > 1
                THEN error(concat('Groups of ',
                                  string_agg(DISTINCT g.characteristic, ' and of ' ORDER BY g.characteristic),
                                  ' are not added up: a child can be in both'))
                WHEN (SELECT count(*) FROM groups AS o JOIN dimension.breakdown AS d
                             ON d.breakdown_topic::VARCHAR = o.breakdown_topic AND d.breakdown::VARCHAR = o.breakdown
                      JOIN groups AS e ON e.child_group <> o.child_group
                      JOIN dimension.breakdown AS f
                             ON f.breakdown_topic::VARCHAR = e.breakdown_topic AND f.breakdown::VARCHAR = e.breakdown
                      WHERE list_has_any(d.adds_up, f.adds_up)) > 0
                THEN error(concat('One of these groups lies within another: ',
                                  string_agg(g.child_group, ' and ' ORDER BY g.position)))
                ELSE count(*) END AS number_of_groups
    FROM groups AS g),
cells AS (
    SELECT c.council_code, c.area_name, c.region_code, g.breakdown, g.sex, h.children_count_estimate AS y,
           h.gld_children_count_estimate AS x
    FROM standing AS s CROSS JOIN councils AS c CROSS JOIN groups AS g
    LEFT JOIN releases.gld_headline AS h ON h.release_version = s.release_version AND h.time_period = s.time_period
         AND h.area_code = c.council_code AND h.breakdown_topic::VARCHAR = g.breakdown_topic
         AND h.breakdown::VARCHAR = g.breakdown AND h.sex::VARCHAR = g.sex),
totals AS (
    SELECT count(*) FILTER (y IS NULL) AS lacking, CASE WHEN lacking = 0 THEN sum(y) END AS y,
           CASE WHEN lacking = 0 THEN sum(x) END AS x,
           string_agg(DISTINCT area_name, ', ' ORDER BY area_name) FILTER (y IS NULL) AS lacking_in
    FROM cells),
pairs AS (
    SELECT k.*, n.councils FROM standing AS s JOIN releases.noise_covariance AS k
           ON k.release_version = s.release_version AND k.time_period = s.time_period
    JOIN (SELECT region_code, count(*) AS councils FROM councils GROUP BY region_code
          UNION ALL SELECT '', count(*) FROM councils) AS n ON n.region_code = k.region_code
    JOIN groups AS one ON one.breakdown_topic = k.breakdown_topic::VARCHAR AND one.breakdown = k.breakdown::VARCHAR
         AND one.sex = k.sex::VARCHAR
    JOIN groups AS other ON other.breakdown = k.other_breakdown::VARCHAR AND other.sex = k.other_sex::VARCHAR),
variances AS (
    SELECT sum(councils * (same_children + (councils - 1) * apart_children)) AS yy,
           sum(councils * (same_gld_children + (councils - 1) * apart_gld_children)) AS xy,
           sum(councils * (same_gld + (councils - 1) * apart_gld)) AS xx
    FROM pairs),
moments AS (
    SELECT s.time_period, n.number_of_groups, t.*, v.*,
           1.959964 * sqrt(v.xx) AS x_arm, 1.959964 * sqrt(v.yy) AS y_arm,
           t.y ^ 2 - 1.959964 ^ 2 * v.yy AS square, x * y - 1.959964 ^ 2 * v.xy AS middle,
           x ^ 2 - 1.959964 ^ 2 * v.xx AS constant, sqrt(greatest(middle ^ 2 - square * constant, 0)) AS root,
           y > 0 AND square > 0 AS is_bounded
    FROM standing AS s, totals AS t, variances AS v, sound AS n),
rates AS (
    SELECT m.*, CASE WHEN is_bounded THEN round(100 * least(greatest(x / y, 0), 1), 1) END AS percent,
           CASE WHEN is_bounded THEN 100 * greatest((middle - root) / square, 0) END AS low,
           CASE WHEN is_bounded THEN 100 * least((middle + root) / square, 1) END AS high
    FROM moments AS m WHERE m.number_of_groups > 0)
SELECT (SELECT string_agg(a.area_name, ' + ' ORDER BY a.area_name)
        FROM places AS p JOIN dimension.area AS a ON a.area_code = p.area_code) AS area_name,
       (SELECT concat(string_agg(g.child_group, ' + ' ORDER BY g.position),
                      CASE WHEN any_value(g.sex) <> 'Total' AND any_value(g.characteristic) <> 'Sex'
                           THEN concat(', ', any_value(g.sex)) END)
        FROM groups AS g) AS child_group,
       r.time_period, r.percent AS gld_percent, lower_shown(r.low, r.percent) AS lower_ci,
       upper_shown(r.high, r.percent) AS upper_ci, not_below_0(r.y) AS children,
       not_below_0(r.y - r.y_arm) AS children_lower_ci, not_below_0(r.y + r.y_arm) AS children_upper_ci,
       not_below_0(r.x) AS gld_children, not_below_0(r.x - r.x_arm) AS gld_children_lower_ci,
       not_below_0(r.x + r.x_arm) AS gld_children_upper_ci,
       CASE WHEN percent IS NOT NULL
            THEN concat(percent, '% (95% interval ', lower_ci, ' to ', upper_ci, ') of ', children::BIGINT,
                        ' children (', children_lower_ci::BIGINT, ' to ', children_upper_ci::BIGINT, ')') END
           AS in_words,
       CASE WHEN r.lacking > 0 THEN concat('no figure: no row of this group in ', r.lacking_in)
            WHEN r.yy IS NULL THEN 'no interval: the release holds no covariances'
            WHEN NOT r.is_bounded THEN 'no rate: too few children beside the noise'
            ELSE 'exact: covariances of the noise' END AS basis
FROM rates AS r;

-- How many percentage points one group of children is ahead of another, in the same or another area or cohort.
--
-- lower_ci, upper_ci and is_certain are for children like these: noise and chance. these_children_lower_ci and
-- _upper_ci are for the children of the cohorts themselves: noise alone. Where a break in the series lies between two
-- cohorts, is_certain is empty: what was recorded is not the same. Of the noise: where gld_differences has the pair,
-- its exact interval; two councils, MOVER with the bound on the correlation of their noise in releases.release; two
-- cohorts, independent noise; any other pair (two groups of one area without a published comparison, an area and one
-- that it is part of), the sum of both sides, which holds whatever the correlation. Of chance: two groups of children
-- who are not the same are independent; children who stand in both of a group or council and of what it is part of are
-- counted so.
--
--     FROM gld_difference('Leeds', 'Not eligible for free school meals', 'Leeds', 'Eligible for free school meals')
CREATE MACRO gld_difference(area, child_group, less_area, less_group, cohort := NULL, less_cohort := NULL) AS TABLE
WITH cohorts AS (
    SELECT cohort_or_newest(cohort) AS c1, cohort_or_newest(coalesce(less_cohort, cohort)) AS c2),
asked AS (
    SELECT k.*, area_in(area, k.c1) AS a1, area_in(less_area, k.c2) AS a2,
           meaning_of('group', child_group) AS g1, meaning_of('group', less_group) AS g2 FROM cohorts AS k),
figures AS (SELECT f.* FROM releases.gld_by_group AS f
    JOIN releases.current AS c ON c.time_period = f.time_period AND c.release_version = f.release_version),
pair AS (
    SELECT one.time_period AS period, one.area_name AS name, one.child_group AS grp, two.time_period AS less_period,
           two.area_name AS less_name, two.child_group AS less_grp,
           one.gld_children_percent AS p1, one.gld_children_percent_lower_ci AS l1,
           one.gld_children_percent_upper_ci AS u1,
           two.gld_children_percent AS p2, two.gld_children_percent_lower_ci AS l2,
           two.gld_children_percent_upper_ci AS u2,
           chance_variance(p1, one.children_count_estimate) AS v1,
           chance_variance(p2, two.children_count_estimate) AS v2,
           -- Those of the smaller are among those of the larger: their covariance is the smaller's variance by its
           -- share.
           CASE WHEN k.c1 = k.c2 AND ((k.a1 = k.a2 AND 'Total' IN (one.characteristic, two.characteristic))
                                      OR (k.g1 = k.g2 AND (one.is_all_together OR two.is_all_together)))
                THEN least(one.children_count_estimate, two.children_count_estimate)
                     / greatest(one.children_count_estimate, two.children_count_estimate, 1)
                     * CASE WHEN one.children_count_estimate < two.children_count_estimate THEN v1 ELSE v2 END
                ELSE 0 END AS shared,
           CASE WHEN k.c1 <> k.c2 THEN 0
                WHEN k.a1 <> k.a2 AND one.geographic_level = 'Local authority'
                     AND two.geographic_level = 'Local authority' THEN r.council_noise_correlation
                ELSE 1 END AS correlation,
           EXISTS (SELECT 1 FROM figures AS b
                   WHERE b.series_break = 'b' AND ((b.area_code = k.a1 AND b.group_key = k.g1)
                                                   OR (b.area_code = k.a2 AND b.group_key = k.g2))
                     AND b.time_period > least(k.c1, k.c2) AND b.time_period <= greatest(k.c1, k.c2)) AS is_broken
    FROM asked AS k
    JOIN figures AS one ON one.area_code = k.a1 AND one.group_key = k.g1 AND one.time_period = k.c1
    JOIN figures AS two ON two.area_code = k.a2 AND two.group_key = k.g2 AND two.time_period = k.c2
    JOIN releases.release AS r ON r.release_version = one.release_version),
together AS (SELECT t.area_code FROM dimension.area AS t WHERE t.is_all_together),
signed AS (
    SELECT d.time_period, d.release_version, d.gld_difference_points AS points,
           d.gld_difference_points_lower_ci AS low, d.gld_difference_points_upper_ci AS high,
           CASE WHEN c.second_group IS NULL THEN CASE WHEN d.area_code = k.a1 THEN 1 ELSE -1 END
                WHEN c.first_group = k.g1 THEN 1 ELSE -1 END AS direction
    FROM asked AS k
    JOIN dimension.comparison AS c ON k.c1 = k.c2 AND (
        (k.a1 = k.a2 AND ((c.first_group = k.g1 AND c.second_group = k.g2)
                          OR (c.first_group = k.g2 AND c.second_group = k.g1)))
        OR (k.a1 <> k.a2 AND c.second_group IS NULL AND c.first_group = k.g1 AND k.g1 = k.g2))
    JOIN releases.gld_differences AS d ON d.comparison = c.comparison AND d.time_period = k.c1 AND (
        (c.second_group IS NOT NULL AND d.area_code = k.a1)
        OR (c.second_group IS NULL AND NOT d.is_all_together AND (
            (d.area_code = k.a1 AND k.a2 IN (SELECT area_code FROM together))
            OR (d.area_code = k.a2 AND k.a1 IN (SELECT area_code FROM together)))))),
published AS (
    SELECT s.direction * s.points AS points, least(s.direction * s.low, s.direction * s.high) AS low,
           greatest(s.direction * s.low, s.direction * s.high) AS high
    FROM signed AS s
    JOIN releases.current AS v ON v.time_period = s.time_period AND v.release_version = s.release_version),
answer AS (
    SELECT p.*, CASE WHEN q.low IS NOT NULL THEN q.points ELSE round(p.p1 - p.p2, 1) END AS points,
           coalesce(q.low, greatest(p.p1 - p.p2 - combined_arm(p.p1 - p.l1, p.u2 - p.p2, p.correlation), -100)) AS low,
           coalesce(q.high, least(p.p1 - p.p2 + combined_arm(p.u1 - p.p1, p.p2 - p.l2, p.correlation), 100)) AS high,
           CASE WHEN q.low IS NOT NULL THEN 'exact: gld_differences'
                WHEN p.p1 IS NULL OR p.p2 IS NULL THEN 'no figure: one of the two is withheld or not available'
                WHEN p.is_broken THEN 'not to be compared: a break in the series lies between'
                WHEN p.correlation = 0 THEN 'other children, other noise: independent'
                WHEN p.correlation = 1 THEN 'widest: whatever the correlation of their noise'
                ELSE concat('two councils: noise correlated by at most ', p.correlation) END AS basis
    FROM pair AS p LEFT JOIN published AS q ON true),
both_questions AS (
    SELECT *, greatest(points - arm_with_chance(points - low, greatest(v1 + v2 - 2 * shared, 0)), -100) AS lower_end,
           least(points + arm_with_chance(high - points, greatest(v1 + v2 - 2 * shared, 0)), 100) AS upper_end
    FROM answer)
SELECT name AS area_name, grp AS child_group, period AS time_period, less_name AS less_area_name,
       less_grp AS less_child_group, less_period AS less_time_period, points, round(lower_end, 2) AS lower_ci,
       round(upper_end, 2) AS upper_ci, CASE WHEN NOT is_broken THEN lower_end > 0 OR upper_end < 0 END AS is_certain,
       round(low, 2) AS these_children_lower_ci, round(high, 2) AS these_children_upper_ci, basis
FROM both_questions;

-- Councils against all of them together, with the control limits of a funnel plot at 95% and 99.8%.
--
-- Would it be so for children like these? Limits are those that a council's rate would keep within if it differed from
-- the rate of all together by chance and noise alone: binomial variance of its number of children (as in the funnel
-- plots of OHID; Spiegelhalter 2005) plus the variance of the noise. No allowance is made for overdispersion: where
-- most of z lies outside -2 to 2, judge by the spread of z.
--
--     FROM gld_funnel('Total')
CREATE MACRO gld_funnel(child_group, cohort := NULL) AS TABLE
WITH asked AS (SELECT meaning_of('group', child_group) AS group_key, cohort_or_newest(cohort) AS time_period),
figures AS (
    SELECT f.*, standard_error(f.gld_children_percent, f.gld_children_percent_lower_ci, f.gld_children_percent_upper_ci)
               AS noise
    FROM asked AS a, releases.gld_by_group AS f
    JOIN releases.current AS c ON c.time_period = f.time_period AND c.release_version = f.release_version
    WHERE f.group_key = a.group_key AND f.time_period = a.time_period),
limits AS (
    SELECT f.*, t.gld_children_percent AS target,
           sqrt(chance_variance(t.gld_children_percent, f.children_count_estimate) + f.noise ^ 2) AS spread
    FROM figures AS f JOIN figures AS t ON t.is_all_together
    WHERE f.geographic_level = 'Local authority')
SELECT area_name, round(children_count_estimate) AS children, gld_children_percent AS gld_percent,
       gld_children_percent_flag AS flag, target AS all_together_percent,
       round(greatest(target - 1.959964 * spread, 0), 2) AS lower_95,
       round(least(target + 1.959964 * spread, 100), 2) AS upper_95,
       round(greatest(target - 3.090232 * spread, 0), 2) AS lower_998,
       round(least(target + 3.090232 * spread, 100), 2) AS upper_998,
       round((gld_children_percent - target) / spread, 2) AS z,
       CASE WHEN gld_children_percent IS NULL THEN 'no figure'
            WHEN abs(gld_children_percent - target) <= 1.959964 * spread THEN 'within 95% limits'
            ELSE concat(CASE WHEN gld_children_percent > target THEN 'above ' ELSE 'below ' END,
                        CASE WHEN abs(gld_children_percent - target) <= 3.090232 * spread THEN '95' ELSE '99.8' END,
                        '% limits') END AS verdict
FROM limits ORDER BY children DESC;

-- Councils in order of their rate (1 is the highest), with the ranks that cannot be ruled out, and the chance of being
-- the highest or the lowest.
--
-- Noise and chance: where children like these would place a council. Only lower_ci and upper_ci are for these children:
-- noise alone. best_rank and worst_rank count the councils that are surely ahead or behind, pair by pair at 95%.
-- chance_highest and chance_lowest come from normal errors, taken as independent from council to council, by numerical
-- integration. Councils without a figure are left out.
--
--     FROM gld_rank('Eligible for free school meals')
CREATE MACRO gld_rank(child_group, cohort := NULL) AS TABLE
WITH asked AS (SELECT meaning_of('group', child_group) AS group_key, cohort_or_newest(cohort) AS time_period),
figures AS (
    SELECT f.*, standard_error(f.gld_children_percent, f.gld_children_percent_lower_ci, f.gld_children_percent_upper_ci)
               AS noise
    FROM asked AS a, releases.gld_by_group AS f
    JOIN releases.current AS c ON c.time_period = f.time_period AND c.release_version = f.release_version
    WHERE f.group_key = a.group_key AND f.time_period = a.time_period),
councils AS (
    SELECT f.*, f.gld_children_percent AS p, chance_variance(p, f.children_count_estimate) AS chance,
           greatest(sqrt(f.noise ^ 2 + chance), 0.01) AS s, r.council_noise_correlation AS correlation
    FROM figures AS f JOIN releases.release AS r ON r.release_version = f.release_version
    WHERE f.geographic_level = 'Local authority' AND f.gld_children_percent IS NOT NULL),
nodes AS (SELECT i / 50.0 - 5 AS node FROM range(501) AS t(i)),
each_pair AS (
    SELECT o.area_code, n.node, CASE WHEN e.area_code <> o.area_code
                                     THEN normal_cdf((o.p + o.s * n.node - e.p) / e.s) END AS is_lower
    FROM councils AS o, nodes AS n, councils AS e),
each_node AS (
    SELECT area_code, exp(-node * node / 2) / 2.5066282746310002 / 50 AS weight,
           coalesce(product(1 - is_lower), 1) AS none_lower, coalesce(product(is_lower), 1) AS none_higher
    FROM each_pair GROUP BY area_code, node),
chances AS (SELECT area_code, sum(weight * none_lower) AS lowest, sum(weight * none_higher) AS highest
            FROM each_node GROUP BY area_code),
certain AS (
    SELECT o.area_code, count(*) AS councils,
           count(*) FILTER (e.p - o.p > arm_with_chance(
               combined_arm(e.p - e.gld_children_percent_lower_ci, o.gld_children_percent_upper_ci - o.p, o.correlation),
               e.chance + o.chance)) AS ahead,
           count(*) FILTER (o.p - e.p > arm_with_chance(
               combined_arm(o.p - o.gld_children_percent_lower_ci, e.gld_children_percent_upper_ci - e.p, o.correlation),
               e.chance + o.chance)) AS behind
    FROM councils AS o, councils AS e GROUP BY o.area_code)
SELECT c.area_name, c.p AS gld_percent, lower_shown(c.gld_children_percent_lower_ci, c.p) AS lower_ci,
       upper_shown(c.gld_children_percent_upper_ci, c.p) AS upper_ci, c.gld_children_percent_flag AS flag,
       rank() OVER (ORDER BY c.p DESC) AS rank, s.ahead + 1 AS best_rank, s.councils - s.behind AS worst_rank,
       round(h.highest, 3) AS chance_highest, round(h.lowest, 3) AS chance_lowest
FROM councils AS c JOIN chances AS h USING (area_code) JOIN certain AS s USING (area_code)
ORDER BY c.p DESC, c.area_name;

-- A figure over cohorts and releases, with the change since the cohort before.
--
-- One row for each release that is not withdrawn; is_current marks the one that stands for its cohort, and the change
-- is between those. Where series_break is b, figures are not comparable with the cohort before, and is_certain is
-- empty: the methodology says why. lower_ci and upper_ci are of the noise: what the figure was for that cohort. Cohorts
-- are other children with noise of their own, so the interval of a change takes in the noise of both and the chance of
-- both, and is_certain says that the change is more than these would make. An earlier and a later release of one cohort
-- are about the same children.
--
--     FROM gld_over_time('Liverpool City Region', 'Total')
CREATE MACRO gld_over_time(area, child_group) AS TABLE
WITH asked AS (SELECT meaning_of('area', area) AS area_code, meaning_of('group', child_group) AS group_key),
series AS (
    SELECT f.*, r.position AS release_position, coalesce(v.release_version = f.release_version, false) AS is_current
    FROM asked AS a JOIN releases.gld_by_group AS f ON f.area_code = a.area_code AND f.group_key = a.group_key
    JOIN releases.release AS r ON r.release_version = f.release_version
    LEFT JOIN releases.current AS v ON v.time_period = f.time_period
    WHERE r.withdrawn_on IS NULL),
before AS (
    SELECT s.time_period, lag(s.gld_children_percent) OVER w AS p, lag(s.gld_children_percent_lower_ci) OVER w AS l,
           lag(s.gld_children_percent_upper_ci) OVER w AS u, lag(s.children_count_estimate) OVER w AS children
    FROM series AS s WHERE s.is_current WINDOW w AS (ORDER BY s.time_period)),
changes AS (
    SELECT s.*, s.gld_children_percent - b.p AS change,
           chance_variance(s.gld_children_percent, s.children_count_estimate) + chance_variance(b.p, b.children) AS chance,
           change - arm_with_chance(combined_arm(s.gld_children_percent - s.gld_children_percent_lower_ci, b.u - b.p, 0),
                                    chance) AS change_low,
           change + arm_with_chance(combined_arm(s.gld_children_percent_upper_ci - s.gld_children_percent, b.p - b.l, 0),
                                    chance) AS change_high
    FROM series AS s LEFT JOIN before AS b ON s.is_current AND b.time_period = s.time_period)
SELECT s.time_period, s.release_version, s.is_current, s.area_name, s.child_group,
       s.gld_children_percent AS gld_percent,
       lower_shown(s.gld_children_percent_lower_ci, s.gld_children_percent) AS lower_ci,
       upper_shown(s.gld_children_percent_upper_ci, s.gld_children_percent) AS upper_ci, s.gld_children_percent_flag AS flag, s.series_break,
       round(s.change, 1) AS change_points, round(s.change_low, 2) AS change_lower_ci,
       round(s.change_high, 2) AS change_upper_ci,
       CASE WHEN s.series_break IS DISTINCT FROM 'b' THEN s.change_low > 0 OR s.change_high < 0 END AS is_certain
FROM changes AS s
ORDER BY s.time_period, s.release_position;

-- How far each area is from a target for its children, what that is in children, and how sure it is.
--
-- Of all areas, or of the one that is named. Targets are those of dimension.target: the national ambition of 75% by
-- 2028 for every area, and local ones for their own. What was it for these children: points_to_go and children_to_go
-- are what the cohort's own children lack (negative where the target is passed), with the interval of the noise;
-- children count as many as are in the cohort. chance_met is the chance that these children meet it, given the noise;
-- the verdict says so where it is above 97.5% or below 2.5%. points_a_year is the rise that it takes each year until
-- then.
--
--     FROM gld_to_target('Girls', area := 'Leeds')
CREATE MACRO gld_to_target(child_group, area := NULL, cohort := NULL) AS TABLE
WITH asked AS (
    SELECT meaning_of('group', child_group) AS group_key, cohort_or_newest(cohort) AS time_period,
           CASE WHEN area IS NOT NULL THEN meaning_of('area', area) END AS area_code),
figures AS (
    SELECT f.*, t.target, t.target_percent, t.target_year, f.gld_children_percent AS p,
           least(f.gld_children_percent_lower_ci, p) AS l, greatest(f.gld_children_percent_upper_ci, p) AS u,
           t.target_year - 2000 - right(f.time_period, 2)::INTEGER AS years,
           greatest(standard_error(p, l, u), 0.001) AS noise
    FROM asked AS a, releases.gld_by_group AS f
    JOIN releases.current AS c ON c.time_period = f.time_period AND c.release_version = f.release_version
    JOIN dimension.target AS t ON t.area_code IN ('', f.area_code)
    WHERE f.group_key = a.group_key AND f.time_period = a.time_period
      AND f.area_code = coalesce(a.area_code, f.area_code))
SELECT f.area_name, f.child_group, f.time_period, target, target_percent, target_year, p AS gld_percent,
       round(target_percent - p, 1) AS points_to_go, round(target_percent - u, 1) AS points_lower_ci,
       round(target_percent - l, 1) AS points_upper_ci,
       round((target_percent - p) / 100 * children_count_estimate) AS children_to_go,
       round((target_percent - u) / 100 * children_count_estimate) AS children_lower_ci,
       round((target_percent - l) / 100 * children_count_estimate) AS children_upper_ci,
       round(normal_cdf((p - target_percent) / noise), 3) AS chance_met,
       CASE WHEN p IS NULL THEN 'no figure' WHEN l >= target_percent THEN 'met' WHEN u < target_percent THEN 'not met'
            ELSE 'cannot be told from the noise' END AS verdict,
       CASE WHEN years > 0 THEN round((target_percent - p) / years, 2) END AS points_a_year
FROM figures AS f ORDER BY is_all_together DESC, points_to_go DESC, area_name, target;
