-- The macros of the analyst database, for DuckDB 1.2 and later: it is the reader's version that parses them. Above
-- each: what it answers, how its figures are made, and a call that runs as it stands. `help.py` puts them into the
-- database.
--
-- Two questions have two intervals. "What was it for these children?" is uncertain by the noise alone (of linked
-- children by missed links too): rates and what lacks to a target have that interval, as in the tables. "Would it be so
-- for children like these?" is uncertain by chance as well: differences, changes, ranks, the funnel and is_certain
-- answer that one, because nobody acts on a difference that chance would make. Across a break in the series neither is
-- answered. 1.959964 is the normal quantile of an interval of 95%.
--
-- The answer of a table macro is in its first columns: in a narrow window a client leaves out those in the middle.
--
-- What may be concluded is decided here and nowhere else: gld_compared, gld_against_england and could_be_extreme hold
-- the lists of comparisons, certain_from says how far from 0 one must be. Other macros, views, worked queries, the
-- notebook and the release page ask these.

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

-- The decimals that a percentage with this flag, and the ends of its interval, are shown with.
--
-- None where the figure is unreliable, otherwise one.
--
--     SELECT decimals_shown('u')
CREATE MACRO decimals_shown(flagged) AS (CASE WHEN flagged::VARCHAR = 'u' THEN 0 ELSE 1 END);

-- A percentage with this flag, or an end of its interval, as text.
--
-- With the decimals of decimals_shown.
--
--     SELECT percent_shown(57.38, NULL)
CREATE MACRO percent_shown(percent, flagged) AS (printf('%.' || decimals_shown(flagged) || 'f', percent));

-- Lower end of an interval as it is shown beside a figure with this flag.
--
-- Never above the figure, whichever way both are rounded.
--
--     SELECT lower_shown(45.25, 45.2, NULL)
CREATE MACRO lower_shown(lower_end, figure, flagged) AS (
    least(round(lower_end::DOUBLE, decimals_shown(flagged)),
          coalesce(figure, round(lower_end::DOUBLE, decimals_shown(flagged)))));

-- Upper end of an interval as it is shown beside a figure with this flag.
--
-- Never below the figure, whichever way both are rounded.
--
--     SELECT upper_shown(46.43, 45.2, NULL)
CREATE MACRO upper_shown(upper_end, figure, flagged) AS (
    greatest(round(upper_end::DOUBLE, decimals_shown(flagged)),
             coalesce(figure, round(upper_end::DOUBLE, decimals_shown(flagged)))));

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

-- Normal quantile that a small share of values is beyond.
--
-- Beasley and Springer 1977 (AS 111), for shares from 1e-12 to 0.05; off by less than 1e-6.
--
--     SELECT normal_beyond(0.025)
CREATE MACRO normal_beyond(share) AS (
    (((2.32121276859 * sqrt(-ln(share)) + 4.85014127135) * sqrt(-ln(share)) - 2.29796479134) * sqrt(-ln(share))
     - 2.78718931138) / ((1.63706781897 * sqrt(-ln(share)) + 3.54388924762) * sqrt(-ln(share)) + 1));

-- Standard errors from 0 that a difference must exceed to be certain, at its place in its list: 1 is the farthest from 0.
--
-- A step of Holm 1979, in both directions: a list of n differences is 2n claims that one side is ahead.
--
--     SELECT asked_at(0.05, 28, 1)
CREATE MACRO asked_at(risk, many, place) AS (normal_beyond(risk / (2 * many - place + 1)));

-- Standard errors from 0 from which on the differences of a list are certain; an aggregate over the list.
--
-- Of each difference its distance from 0 in standard errors, and what asked_at says at its place. If no difference in
-- the list were real, the risk is the share of releases that would call any of them certain, and if some are, the share
-- that would call any other certain or get a direction wrong (Holm 1979). It controls that error, and not the share of
-- false ones among many (FDR), because a council quotes its own line alone, without the rest of the list. The result is
-- where Holm's steps end, so one number answers for the whole list; it is never below 1.96 for a risk of 0.05.
--
--     SELECT certain_from(d, asked_at(0.05, 3, n)) FROM (VALUES (4.1, 1), (2.9, 2), (0.3, 3)) AS list(d, n)
CREATE MACRO certain_from(distance, asked) AS (coalesce(max(asked) FILTER (distance <= asked), min(asked)));

-- What may be said of a difference: ahead, behind, or that the data cannot say.
--
-- By its interval for noise and chance, as wide as its list asks for.
--
--     SELECT verdict_of(0.4, 3.1)
CREATE MACRO verdict_of(lower_end, upper_end) AS (
    CASE WHEN lower_end > 0 THEN 'ahead' WHEN upper_end < 0 THEN 'behind' WHEN lower_end IS NOT NULL THEN 'cannot say' END);

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
shown AS (
    SELECT *, gld_children_percent AS percent, gld_children_percent_flag AS flag,
           lower_shown(gld_children_percent_lower_ci, gld_children_percent, gld_children_percent_flag) AS lower_ci,
           upper_shown(gld_children_percent_upper_ci, gld_children_percent, gld_children_percent_flag) AS upper_ci
    FROM figures),
answers AS (
    SELECT time_period, area_name, characteristic, child_group, percent AS gld_percent, lower_ci, upper_ci, flag,
           concat(area_name, ', ', child_group, ', ', label, ': ',
                  CASE WHEN percent IS NOT NULL THEN concat(percent_shown(percent, flag), '%') ELSE meaning END,
                  CASE WHEN lower_ci IS NOT NULL
                       THEN concat(' (95% interval ', percent_shown(lower_ci, flag), ' to ',
                                   percent_shown(upper_ci, flag), ')') END) AS in_words, position
    FROM shown
    UNION ALL
    SELECT p.time_period, a.area_name, g.characteristic, g.child_group, NULL, NULL, NULL, NULL,
           concat(a.area_name, ', ', g.child_group, ', ', y.label,
                  ': no figure of this group is published here: it would be too uncertain'), g.position
    FROM placed AS p JOIN dimension.area AS a ON a.area_code = p.area_code
    JOIN dimension.child_group AS g ON g.characteristic = p.asked OR g.group_key = p.asked
    JOIN dimension.cohort AS y ON y.time_period = p.time_period
    WHERE (SELECT count(*) FROM figures) = 0)
SELECT gld_percent, lower_ci, upper_ci, flag, time_period, area_name, characteristic, child_group, in_words
FROM answers ORDER BY position;

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
SELECT r.percent AS gld_percent, lower_shown(r.low, r.percent, NULL) AS lower_ci,
       upper_shown(r.high, r.percent, NULL) AS upper_ci,
       (SELECT string_agg(a.area_name, ' + ' ORDER BY a.area_name)
        FROM places AS p JOIN dimension.area AS a ON a.area_code = p.area_code) AS area_name,
       (SELECT concat(string_agg(g.child_group, ' + ' ORDER BY g.position),
                      CASE WHEN any_value(g.sex) <> 'Total' AND any_value(g.characteristic) <> 'Sex'
                           THEN concat(', ', any_value(g.sex)) END)
        FROM groups AS g) AS child_group,
       r.time_period, not_below_0(r.y) AS children,
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

-- Every difference of two groups, or of one group in two areas or cohorts, with what may be concluded from it.
--
-- Groups are keys of dimension.child_group, or a comparison of two groups in gld_differences: then their gaps are
-- compared. With is_within, areas are compared with themselves: two groups of them and all others of their
-- characteristics, or two cohorts; else areas with each other. Cohorts that are NULL are each compared with the one
-- before. Comparisons that involve all councils together are one list, all others are another. Where areas are compared
-- for one group and cohort, each of the two lists has a risk of 2.5%, 5% for both; in other cases each has 5%. lower_end
-- and upper_end are for noise and chance, as wide as certain_from asks of the list: at least 95%, and without 0 only
-- where the difference is certain. low and high are for the children themselves, without chance. Two answers:
-- more_than_noise by low and high, and verdict by lower_end and upper_end, for noise and chance. Of the noise: where
-- gld_differences has the pair, its exact interval; two councils, MOVER with the bound on the correlation of their noise
-- in releases.release; two cohorts, independent noise; any other pair the sum of both sides, which holds whatever the
-- correlation. Of chance: two groups of children who are not the same are independent; children in both of a group or
-- area and of what it is part of are counted so. Across a break in the series, verdict is empty.
--
--     FROM gld_compared('Total', 'Total', false, cohort_or_newest(NULL), cohort_or_newest(NULL)) WHERE less_is_all
CREATE MACRO gld_compared(first_group, second_group, is_within, first_cohort, second_cohort) AS TABLE
WITH cohorts AS (
    SELECT first_cohort::VARCHAR AS c1, second_cohort::VARCHAR AS c2 WHERE first_cohort IS NOT NULL
    UNION ALL
    SELECT * FROM (SELECT time_period, lag(time_period) OVER (ORDER BY time_period) FROM releases.current)
    WHERE first_cohort IS NULL),
wanted AS (
    SELECT first_group AS g1, second_group AS g2, true AS counts WHERE first_group = second_group OR NOT is_within
    UNION ALL
    SELECT one.group_key, two.group_key, one.characteristic <> two.characteristic OR one.position < two.position
    FROM dimension.child_group AS asked JOIN dimension.child_group AS one USING (characteristic),
         dimension.child_group AS less JOIN dimension.child_group AS two USING (characteristic)
    WHERE is_within AND first_group <> second_group AND asked.group_key = first_group
      AND less.group_key = second_group AND one.group_key <> two.group_key),
standing AS (
    SELECT v.time_period, r.release_version, r.council_noise_correlation
    FROM releases.current AS v JOIN releases.release AS r ON r.release_version = v.release_version),
groups AS MATERIALIZED (
    SELECT f.time_period, f.area_code, f.area_name, f.geographic_level = 'Local authority' AS is_council,
           f.is_all_together, f.characteristic, f.group_key, f.child_group, f.children_count_estimate AS children,
           f.gld_children_percent AS p, f.gld_children_percent_lower_ci AS l, f.gld_children_percent_upper_ci AS u,
           chance_variance(f.gld_children_percent, f.children_count_estimate) AS v,
           f.gld_children_percent_flag AS flag, f.series_break, s.council_noise_correlation
    FROM releases.gld_by_group AS f
    JOIN standing AS s ON s.time_period = f.time_period AND s.release_version = f.release_version),
published AS (
    SELECT d.*, c.first_group AS g1, c.second_group AS g2
    FROM releases.gld_differences AS d JOIN dimension.comparison AS c ON c.comparison = d.comparison
    JOIN standing AS s ON s.time_period = d.time_period AND s.release_version = d.release_version),
figures AS (
    SELECT * FROM groups
    UNION ALL
    SELECT one.time_period, one.area_code, one.area_name, one.is_council, one.is_all_together, d.comparison::VARCHAR,
           d.comparison::VARCHAR, d.comparison::VARCHAR, NULL, d.gld_difference_points,
           d.gld_difference_points_lower_ci, d.gld_difference_points_upper_ci, one.v + two.v,
           d.gld_difference_points_flag, d.series_break, one.council_noise_correlation
    FROM published AS d
    JOIN groups AS one ON one.time_period = d.time_period AND one.area_code = d.area_code AND one.group_key = d.g1
    JOIN groups AS two ON two.time_period = d.time_period AND two.area_code = d.area_code AND two.group_key = d.g2),
exact AS (
    SELECT d.time_period, d.area_code AS a1, d.g1, coalesce(t.area_code, d.area_code) AS a2, coalesce(d.g2, d.g1) AS g2,
           d.gld_difference_points AS given, d.gld_difference_points_lower_ci AS given_low,
           d.gld_difference_points_upper_ci AS given_high, d.gld_difference_points_flag AS given_flag
    FROM published AS d LEFT JOIN groups AS t ON d.g2 IS NULL AND t.is_all_together AND t.group_key = d.g1
                                              AND t.time_period = d.time_period),
either_way AS (
    FROM exact
    UNION ALL
    SELECT time_period, a2, g2, a1, g1, -given, -given_high, -given_low, given_flag FROM exact WHERE a1 <> a2 OR g1 <> g2),
breaks AS (
    SELECT area_code, group_key, list(time_period) AS periods FROM figures WHERE series_break = 'b' GROUP BY ALL),
pairs AS (
    SELECT k.c1, k.c2, one.area_code AS a1, two.area_code AS a2, w.g1, w.g2, one.area_name AS name,
           two.area_name AS less_name, one.child_group AS grp, two.child_group AS less_grp, one.is_council,
           two.is_council AS less_is_council, one.children, one.flag, two.flag AS less_flag, one.p AS p1, one.l AS l1, one.u AS u1,
           two.p AS p2, two.l AS l2, two.u AS u2, two.is_all_together AS less_is_all,
           one.is_all_together OR less_is_all AS with_all,
           w.counts AND (is_within OR w.g1 <> w.g2 OR k.c1 <> k.c2 OR a1 < a2) AS counts,
           -- Those of the smaller are among those of the larger: their covariance is the smaller's variance by its
           -- share.
           one.v + two.v - 2 * CASE WHEN k.c1 = k.c2
                                     AND ((a1 = a2 AND 'Total' IN (one.characteristic, two.characteristic))
                                          OR (w.g1 = w.g2 AND with_all))
                THEN coalesce(least(one.children, two.children) / greatest(one.children, two.children, 1)
                              * CASE WHEN one.children < two.children THEN one.v ELSE two.v END, 0)
                ELSE 0 END AS chance,
           CASE WHEN k.c1 <> k.c2 THEN 0
                WHEN a1 <> a2 AND one.is_council AND two.is_council THEN one.council_noise_correlation
                ELSE 1 END AS correlation
    FROM cohorts AS k, wanted AS w
    JOIN figures AS one ON one.group_key = w.g1 AND one.time_period = k.c1
    JOIN figures AS two ON two.group_key = w.g2 AND two.time_period = k.c2
                       AND (two.area_code = one.area_code) = is_within),
answers AS (
    SELECT p.*, CASE WHEN given_low IS NOT NULL THEN given ELSE round(p1 - p2, 1) END AS points,
           CASE WHEN given_low IS NOT NULL THEN given_flag::VARCHAR
                WHEN 'u' IN (flag::VARCHAR, less_flag::VARCHAR) THEN 'u' END AS points_flag,
           coalesce(given_low, greatest(p1 - p2 - combined_arm(p1 - l1, u2 - p2, correlation), -100)) AS low,
           coalesce(given_high, least(p1 - p2 + combined_arm(u1 - p1, p2 - l2, correlation), 100)) AS high,
           arm_with_chance(points - low, greatest(chance, 0)) AS down,
           arm_with_chance(high - points, greatest(chance, 0)) AS up,
           len([x FOR x IN list_concat(coalesce(one.periods, []), coalesce(two.periods, []))
                IF x > least(c1, c2) AND x <= greatest(c1, c2)]) > 0 AS is_broken,
           CASE WHEN NOT is_broken
                THEN 1.959964 * abs(points) / greatest(CASE WHEN points > 0 THEN down ELSE up END, 1e-9)
                END AS distance,
           CASE WHEN given_low IS NOT NULL AND given IS NULL THEN 'no figure: the difference is withheld'
                WHEN given_low IS NOT NULL THEN 'exact: gld_differences'
                WHEN p1 IS NULL OR p2 IS NULL THEN 'no figure: one of the two is withheld or not available'
                WHEN is_broken THEN 'not to be compared: a break in the series lies between'
                WHEN correlation = 0 THEN 'other children, other noise: independent'
                WHEN correlation = 1 THEN 'widest: whatever the correlation of their noise'
                ELSE concat('two councils: noise correlated by at most ', correlation) END AS basis
    FROM pairs AS p
    LEFT JOIN either_way AS q ON q.time_period = c1 AND c1 = c2 AND q.a1 = p.a1 AND q.a2 = p.a2 AND q.g1 = p.g1
                             AND q.g2 = p.g2
    LEFT JOIN breaks AS one ON one.area_code = p.a1 AND one.group_key = p.g1
    LEFT JOIN breaks AS two ON two.area_code = p.a2 AND two.group_key = p.g2),
lists AS (
    SELECT c1, c2, with_all, distance,
           asked_at(CASE WHEN is_within OR g1 <> g2 OR c1 <> c2 THEN 0.05 ELSE 0.025 END,
                    count(*) OVER (PARTITION BY c1, c2, with_all),
                    row_number() OVER (PARTITION BY c1, c2, with_all ORDER BY distance DESC)) AS asked
    FROM answers WHERE counts AND distance IS NOT NULL),
needed AS (SELECT c1, c2, with_all, certain_from(distance, asked) / 1.959964 AS times FROM lists GROUP BY c1, c2, with_all),
ends AS (
    SELECT a.*, CASE WHEN points IS NOT NULL THEN greatest(points - coalesce(times, 1) * down, -100) END AS lower_end,
           CASE WHEN points IS NOT NULL THEN least(points + coalesce(times, 1) * up, 100) END AS upper_end
    FROM answers AS a LEFT JOIN needed AS n ON n.c1 = a.c1 AND n.c2 = a.c2 AND n.with_all = a.with_all)
SELECT CASE WHEN NOT is_broken THEN verdict_of(lower_end, upper_end) END AS verdict,
       CASE WHEN NOT is_broken AND points IS NOT NULL THEN verdict_of(low, high) END AS more_than_noise,
       verdict <> 'cannot say' AS is_certain, points, points_flag, lower_end, upper_end, low, high, distance,
       c1 AS time_period,
       a1 AS area_code, name AS area_name, is_council, g1 AS group_key, grp AS child_group, children, p1 AS percent, flag,
       c2 AS less_time_period, a2 AS less_area_code, less_name AS less_area_name, less_is_council, less_is_all,
       g2 AS less_group_key, less_grp AS less_child_group, p2 AS less_percent, basis
FROM ends;

-- A comparison of gld_differences in each area, with both answers: is it more than the noise, and more than noise and
-- chance?
--
-- more_than_noise is about these children, by the published interval lower_ci to upper_ci; more_than_noise_and_chance is
-- about children like these, by the verdict of gld_compared. Chance often explains what is more than the noise.
--
--     FROM gld_differences_judged('Female less male')
CREATE MACRO gld_differences_judged(comparison_of, cohort := NULL) AS TABLE
WITH asked AS (
    SELECT c.first_group, c.second_group, cohort_or_newest(cohort) AS period
    FROM dimension.comparison AS c WHERE c.comparison::VARCHAR = comparison_of),
found AS (
    FROM gld_compared((SELECT a.first_group FROM asked AS a), (SELECT a.second_group FROM asked AS a), true,
                      (SELECT a.period FROM asked AS a), (SELECT a.period FROM asked AS a))
    UNION ALL
    SELECT * FROM gld_compared((SELECT a.first_group FROM asked AS a WHERE a.second_group IS NULL),
                               (SELECT a.first_group FROM asked AS a WHERE a.second_group IS NULL), false,
                               (SELECT a.period FROM asked AS a), (SELECT a.period FROM asked AS a))
    WHERE less_is_all)
SELECT f.points, round(f.low, 1) AS lower_ci, round(f.high, 1) AS upper_ci, f.more_than_noise, f.area_code,
       f.area_name, f.lower_end, f.upper_end, f.verdict AS more_than_noise_and_chance, f.points_flag AS flag
FROM found AS f JOIN asked AS a ON f.group_key = a.first_group
                               AND f.less_group_key = coalesce(a.second_group, a.first_group)
ORDER BY f.area_name;

-- Every difference of two figures of one measure, in two areas, groups or cohorts, with what may be concluded from it.
--
-- For measures that gld_compared does not have; levels are those of releases.figure. With is_within, areas are compared
-- with themselves: two groups and all others that differ from each other in the same filters, or two cohorts; else areas
-- with each other. Lists, risks, lower_end, upper_end, low and high are as in gld_compared. Of the noise: two cohorts,
-- independent; any other pair the sum of both sides, which holds whatever the correlation. Of chance, which counts have
-- not: other children are independent, and of two figures of the same children the standard errors add up, which holds
-- whatever their correlation. An average varies by chance at most as if each child had all or nothing (Bhatia and Davis
-- 2000).
--
--     FROM figures_compared('early_learning_goals', 'expected_children_percent', ['Writing', 'Total', 'Total'],
--                           ['Number', 'Total', 'Total'], true, cohort_or_newest(NULL), cohort_or_newest(NULL))
CREATE MACRO figures_compared(of_table, of_measure, levels_1, levels_2, is_within, cohort_1, cohort_2) AS TABLE
WITH asked AS MATERIALIZED (
    SELECT *, c1 <> c2 AS over_time FROM (SELECT cohort_1::VARCHAR AS c1, cohort_2::VARCHAR AS c2)),
figures AS MATERIALIZED (
    SELECT f.*, f.geographic_level = 'Local authority' AS is_council,
           CASE WHEN f.most IS NULL THEN 0
                ELSE greatest(f.figure * (f.most - f.figure), 0) / greatest(f.of_children, 1) END AS v
    FROM asked AS a, releases.figure AS f
    JOIN releases.current AS c ON c.time_period = f.time_period AND c.release_version = f.release_version
    WHERE f.table_name = of_table AND f.measure = of_measure AND f.time_period IN (a.c1, a.c2)),
breaks AS (
    SELECT area_code, levels, list(time_period) AS periods
    FROM releases.figure WHERE table_name = of_table AND measure = of_measure AND is_broken GROUP BY ALL),
differing AS (SELECT [levels_1[i] <> levels_2[i] FOR i IN range(1, len(levels_1) + 1)] AS places),
wanted AS (
    SELECT levels_1 AS g1, levels_2 AS g2, true AS counts WHERE levels_1 = levels_2 OR NOT is_within
    UNION ALL
    SELECT DISTINCT one.levels, two.levels, one.levels < two.levels
    FROM differing AS d, figures AS one
    JOIN figures AS two ON two.area_code = one.area_code AND two.levels <> one.levels
    WHERE is_within AND levels_1 <> levels_2
      AND [one.levels[i] <> two.levels[i] FOR i IN range(1, len(levels_1) + 1)] = d.places
      AND [CASE WHEN NOT d.places[i] THEN one.levels[i] END FOR i IN range(1, len(levels_1) + 1)]
          = [CASE WHEN NOT d.places[i] THEN levels_1[i] END FOR i IN range(1, len(levels_1) + 1)]),
pairs AS (
    SELECT one.area_code AS a1, two.area_code AS a2, w.g1, w.g2, one.area_name AS name, two.area_name AS less_name,
           one.is_council, two.is_council AS less_is_council, one.is_all_together, one.estimate AS p1,
           one.lower_ci AS l1, one.upper_ci AS u1, two.estimate AS p2, two.lower_ci AS l2, two.upper_ci AS u2,
           one.figure AS shown1, two.figure AS shown2, two.is_all_together AS less_is_all, one.kind,
           one.is_all_together OR less_is_all AS with_all, one.flag, two.flag AS less_flag,
           w.counts AND (is_within OR w.g1 <> w.g2 OR a1 < a2) AS counts,
           k.c1, k.c2, k.over_time,
           CASE WHEN a1 = a2 AND NOT k.over_time AND one.of_children = two.of_children
                THEN (sqrt(one.v) + sqrt(two.v)) ^ 2 ELSE one.v + two.v END AS chance
    FROM asked AS k, wanted AS w JOIN figures AS one ON one.levels = w.g1 AND one.time_period = k.c1
    JOIN figures AS two ON two.levels = w.g2 AND two.time_period = k.c2
                       AND (two.area_code = one.area_code) = is_within),
answers AS (
    SELECT p.*, CASE WHEN shown1 IS NOT NULL AND shown2 IS NOT NULL THEN round(p1 - p2, 1) END AS points,
           p1 - p2 - combined_arm(p1 - l1, u2 - p2, CASE WHEN over_time THEN 0 ELSE 1 END) AS low,
           p1 - p2 + combined_arm(u1 - p1, p2 - l2, CASE WHEN over_time THEN 0 ELSE 1 END) AS high,
           arm_with_chance(points - low, chance) AS down, arm_with_chance(high - points, chance) AS up,
           over_time AND len([x FOR x IN list_concat(coalesce(one.periods, []), coalesce(two.periods, []))
                IF x > least(c1, c2) AND x <= greatest(c1, c2)]) > 0
               AS is_broken,
           CASE WHEN NOT is_broken
                THEN 1.959964 * abs(points) / greatest(CASE WHEN points > 0 THEN down ELSE up END, 1e-9)
                END AS distance
    FROM pairs AS p LEFT JOIN breaks AS one ON one.area_code = p.a1 AND one.levels = p.g1
    LEFT JOIN breaks AS two ON two.area_code = p.a2 AND two.levels = p.g2),
lists AS (
    SELECT with_all, distance,
           asked_at(CASE WHEN is_within OR g1 <> g2 OR over_time THEN 0.05 ELSE 0.025 END,
                    count(*) OVER (PARTITION BY with_all),
                    row_number() OVER (PARTITION BY with_all ORDER BY distance DESC)) AS asked
    FROM answers WHERE counts AND distance IS NOT NULL),
needed AS (SELECT with_all, certain_from(distance, asked) / 1.959964 AS times FROM lists GROUP BY with_all),
ends AS (
    SELECT a.*, CASE WHEN points IS NOT NULL THEN points - coalesce(times, 1) * down END AS lower_end,
           CASE WHEN points IS NOT NULL THEN points + coalesce(times, 1) * up END AS upper_end
    FROM answers AS a LEFT JOIN needed AS n ON n.with_all = a.with_all)
SELECT CASE WHEN NOT is_broken THEN verdict_of(lower_end, upper_end) END AS verdict,
       verdict <> 'cannot say' AS is_certain, points, lower_end, upper_end, low, high, c1 AS time_period,
       a1 AS area_code, name AS area_name, is_council, is_all_together, g1 AS levels, shown1 AS figure, flag,
       c2 AS less_time_period, a2 AS less_area_code, less_name AS less_area_name, less_is_council,
       less_is_all, g2 AS less_levels, shown2 AS less_figure, less_flag,
       CASE WHEN points IS NULL THEN 'no figure: one of the two is withheld or not available'
            WHEN is_broken THEN 'not to be compared: a break in the series lies between'
            WHEN over_time THEN 'other children, other noise: independent'
            ELSE 'widest: whatever the correlation of their noise' END AS basis
FROM ends;

-- How many percentage points one group of children is ahead of another, in the same or another area or cohort.
--
-- lower_ci, upper_ci and is_certain are for children like these: noise and chance, with allowance for all comparisons of
-- this kind that the release makes, as gld_compared says. these_children_lower_ci and _upper_ci are for the children of
-- the cohorts themselves: without chance, this difference alone. Where a break in the series lies between two cohorts,
-- is_certain is empty: what was recorded is not the same.
--
--     FROM gld_difference('Leeds', 'Not eligible for free school meals', 'Leeds', 'Eligible for free school meals')
CREATE MACRO gld_difference(area, child_group, less_area, less_group, cohort := NULL, less_cohort := NULL) AS TABLE
WITH cohorts AS (
    SELECT cohort_or_newest(cohort) AS c1, cohort_or_newest(coalesce(less_cohort, cohort)) AS c2),
asked AS (SELECT area_in(area, k.c1) AS a1, area_in(less_area, k.c2) AS a2 FROM cohorts AS k)
SELECT d.points, round(d.lower_end, 2) AS lower_ci, round(d.upper_end, 2) AS upper_ci, d.is_certain, d.area_name,
       d.child_group, d.time_period, d.less_area_name, d.less_child_group, d.less_time_period,
       round(d.low, 2) AS these_children_lower_ci, round(d.high, 2) AS these_children_upper_ci, d.basis
FROM gld_compared(meaning_of('group', child_group), meaning_of('group', less_group),
                  meaning_of('area', area) = meaning_of('area', less_area), cohort_or_newest(cohort),
                  cohort_or_newest(coalesce(less_cohort, cohort))) AS d
JOIN asked AS k ON d.area_code = k.a1 AND d.less_area_code = k.a2
WHERE d.group_key = meaning_of('group', child_group) AND d.less_group_key = meaning_of('group', less_group);

-- Councils beside all of them together: which are ahead, which behind, and between which limits nobody can say.
--
-- Would it be so for children like these? A council's own limits are the rates that it could have by noise and chance if
-- it did not differ from all together: as in the funnel plots of OHID (Spiegelhalter 2005), with the noise, and as wide
-- as gld_compared asks of a list of so many councils. z is the distance from all together in standard errors. Where most
-- of z is outside -2 to 2, councils differ in more than chance (overdispersion): judge by the spread of z.
--
--     FROM gld_funnel('Total')
CREATE MACRO gld_funnel(child_group, cohort := NULL) AS TABLE
SELECT coalesce(d.verdict, 'no figure') AS verdict, d.area_name, round(d.children) AS children,
       d.percent AS gld_percent, d.flag, d.less_percent AS all_together_percent,
       round(greatest(d.percent - d.upper_end, 0), 2) AS lower_limit,
       round(least(d.percent - d.lower_end, 100), 2) AS upper_limit, round(sign(d.points) * d.distance, 2) AS z
FROM gld_compared(meaning_of('group', child_group), meaning_of('group', child_group), false, cohort_or_newest(cohort),
                  cohort_or_newest(cohort)) AS d
WHERE d.is_council AND d.less_is_all
ORDER BY children DESC;

-- Councils in order of their rate (1 is the highest), with the ranks that cannot be ruled out, and the chance of being
-- the highest or the lowest.
--
-- Noise and chance: where children like these would place a council. Only lower_ci and upper_ci are for these children:
-- without chance. best_rank and worst_rank count the councils that are certain to be ahead or behind in gld_compared, so in
-- 95 of 100 releases the ranks of all councils are in their sets together (as in Mogstad and others 2024).
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
    SELECT f.*, f.gld_children_percent AS p,
           greatest(sqrt(f.noise ^ 2 + chance_variance(p, f.children_count_estimate)), 0.01) AS s
    FROM figures AS f
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
    SELECT d.area_code, count(*) FILTER (d.verdict = 'behind') AS ahead, count(*) FILTER (d.verdict = 'ahead') AS behind
    FROM gld_compared(meaning_of('group', child_group), meaning_of('group', child_group), false,
                      cohort_or_newest(cohort), cohort_or_newest(cohort)) AS d
    WHERE d.is_council AND d.less_is_council GROUP BY d.area_code)
SELECT rank() OVER (ORDER BY c.p DESC) AS rank, coalesce(s.ahead, 0) + 1 AS best_rank,
       count(*) OVER () - coalesce(s.behind, 0) AS worst_rank, c.area_name, c.p AS gld_percent,
       lower_shown(c.gld_children_percent_lower_ci, c.p, c.gld_children_percent_flag) AS lower_ci,
       upper_shown(c.gld_children_percent_upper_ci, c.p, c.gld_children_percent_flag) AS upper_ci, c.gld_children_percent_flag AS flag,
       round(h.highest, 3) AS chance_highest, round(h.lowest, 3) AS chance_lowest
FROM councils AS c JOIN chances AS h ON h.area_code = c.area_code LEFT JOIN certain AS s ON s.area_code = c.area_code
ORDER BY c.p DESC, c.area_name;

-- A figure over cohorts and releases, with the change since the cohort before.
--
-- One row for each release that is not withdrawn; is_current marks the one that stands for its cohort, and the change
-- is between those. Where series_break is b, figures are not comparable with the cohort before, and is_certain is
-- empty: the methodology says why. lower_ci and upper_ci are of the noise: what the figure was for that cohort. Cohorts
-- are other children with noise of their own, so the interval of a change takes in the noise of both and the chance of
-- both, with allowance for the changes of all areas (gld_compared), and is_certain says that the change is more than
-- these would make. An earlier and a later release of one cohort are about the same children.
--
--     FROM gld_over_time('Liverpool City Region', 'Total')
CREATE MACRO gld_over_time(area, child_group) AS TABLE
SELECT f.gld_children_percent AS gld_percent,
       lower_shown(f.gld_children_percent_lower_ci, f.gld_children_percent, f.gld_children_percent_flag) AS lower_ci,
       upper_shown(f.gld_children_percent_upper_ci, f.gld_children_percent, f.gld_children_percent_flag) AS upper_ci, f.time_period,
       f.release_version, coalesce(v.release_version = f.release_version, false) AS is_current,
       f.gld_children_percent_flag AS flag, f.series_break, f.area_name, f.child_group, d.points AS change_points,
       round(d.lower_end, 2) AS change_lower_ci, round(d.upper_end, 2) AS change_upper_ci, d.is_certain
FROM releases.gld_by_group AS f JOIN releases.release AS r ON r.release_version = f.release_version
LEFT JOIN releases.current AS v ON v.time_period = f.time_period
LEFT JOIN gld_compared(meaning_of('group', child_group), meaning_of('group', child_group), true, NULL, NULL) AS d
       ON d.time_period = f.time_period AND d.area_code = f.area_code AND v.release_version = f.release_version
WHERE f.area_code = meaning_of('area', area) AND f.group_key = meaning_of('group', child_group)
  AND r.withdrawn_on IS NULL
ORDER BY f.time_period, r.position;

-- Groups of children in each area beside England's official figure, and what may be concluded.
--
-- England's figure is exact, ours has noise. low and high are for these children, without chance. lower_end, upper_end and
-- verdict are for children like these: noise, and the chance of our number of children. All groups of all councils
-- together are one list for certain_from, those of all other areas are another, at a risk of 5% each. These councils are
-- not a sample of England.
--
--     FROM gld_against_england('2024/25')
CREATE MACRO gld_against_england(cohort) AS TABLE
WITH pairs AS (
    SELECT f.time_period, f.area_code, f.area_name, f.geographic_level, f.is_all_together, f.breakdown_topic,
           f.breakdown, f.sex, f.gld_children_percent AS percent, f.gld_children_percent_lower_ci AS low,
           f.gld_children_percent_upper_ci AS high, f.gld_children_percent_flag AS flag,
           e.gld_children_percent AS england, e.source,
           percent - england AS points,
           arm_with_chance(percent - low, chance_variance(percent, f.children_count_estimate)) AS down,
           arm_with_chance(high - percent, chance_variance(percent, f.children_count_estimate)) AS up,
           1.959964 * abs(points) / greatest(CASE WHEN points > 0 THEN down ELSE up END, 1e-9) AS distance
    FROM releases.gld_headline AS f
    JOIN releases.current AS v ON v.time_period = f.time_period AND v.release_version = f.release_version
    JOIN official.gld AS e ON e.geographic_level = 'National' AND e.time_period = f.time_period
     AND e.breakdown_topic = f.breakdown_topic::VARCHAR AND e.breakdown = f.breakdown::VARCHAR
     AND e.sex = f.sex::VARCHAR
    WHERE f.time_period = cohort_or_newest(cohort) AND (f.sex = 'Total' OR f.breakdown = 'Total')),
lists AS (
    SELECT is_all_together, distance,
           asked_at(0.05, count(*) OVER (PARTITION BY is_all_together),
                    row_number() OVER (PARTITION BY is_all_together ORDER BY distance DESC)) AS asked
    FROM pairs WHERE distance IS NOT NULL),
needed AS (SELECT is_all_together, certain_from(distance, asked) / 1.959964 AS times FROM lists GROUP BY is_all_together),
ends AS (
    SELECT p.* EXCLUDE (down, up, distance), points - times * down AS lower_end, points + times * up AS upper_end
    FROM pairs AS p LEFT JOIN needed AS n ON n.is_all_together = p.is_all_together)
SELECT verdict_of(lower_end, upper_end) AS verdict, * FROM ends
ORDER BY is_all_together DESC, area_name, breakdown_topic, breakdown, sex;

-- The early learning goals that could be the lowest of an area, and the answers that could be the most frequent ones.
--
-- For children, or responses, like these: noise and chance. In 95 of 100 releases the goal that would be the lowest is
-- among those that could_be: none of the others is lower by more than normal_beyond asks of so many. of_what is the
-- breakdown of the goals, or the question. Goals are of the same children, who do alike in them, so chance is
-- overstated; each response has one answer, so the shares of answers draw on each other.
--
--     FROM could_be_extreme(NULL) WHERE of_what = 'Total'
CREATE MACRO could_be_extreme(cohort) AS TABLE
WITH standing AS (FROM releases.current AS v WHERE v.time_period = cohort_or_newest(cohort)),
responses AS (
    SELECT p.area_code, p.question, p.answer, p.response_percent AS p, p.response_percent_lower_ci AS l,
           p.response_percent_upper_ci AS u,
           sum(p.response_count_estimate) FILTER (p.response_percent_flag IS DISTINCT FROM 'z')
               OVER (PARTITION BY p.area_code, p.question) AS responses
    FROM releases.parent_experience AS p JOIN standing USING (time_period, release_version)
    WHERE p.breakdown = 'Total'),
candidates AS (
    SELECT g.area_code, g.breakdown::VARCHAR AS of_what, g.early_learning_goal::VARCHAR AS item, -1 AS direction,
           g.expected_children_percent AS p, g.expected_children_percent_lower_ci AS l,
           g.expected_children_percent_upper_ci AS u, chance_variance(p, h.children_count_estimate) AS v, 0 AS drawn
    FROM releases.early_learning_goals AS g JOIN standing USING (time_period, release_version)
    JOIN releases.gld_headline AS h ON h.release_version = g.release_version AND h.time_period = g.time_period
     AND h.area_code = g.area_code AND h.breakdown_topic::VARCHAR = g.breakdown_topic::VARCHAR
     AND h.breakdown::VARCHAR = g.breakdown::VARCHAR AND h.sex::VARCHAR = 'Total'
    UNION ALL
    SELECT area_code, question::VARCHAR, answer::VARCHAR, 1, p, l, u, chance_variance(p, responses),
           sqrt(2 / greatest(responses, 1)) * greatest(p, 0)
    FROM responses),
shown AS (SELECT *, count(*) OVER (PARTITION BY area_code, of_what, direction) AS many FROM candidates WHERE p IS NOT NULL)
SELECT NOT coalesce(bool_or(one.direction * (other.p - one.p) > normal_beyond(0.05 / (one.many - 1)) / 1.959964
           * arm_with_chance(CASE WHEN one.direction > 0 THEN one.u - one.p + other.p - other.l
                                  ELSE one.p - one.l + other.u - other.p END,
                             one.v + other.v + one.drawn * other.drawn)), false) AS could_be,
       one.item, one.area_code, one.of_what, any_value(one.direction) AS direction, any_value(one.p) AS percent,
       any_value(one.l) AS low, any_value(one.u) AS high
FROM shown AS one LEFT JOIN shown AS other
  ON other.area_code = one.area_code AND other.of_what = one.of_what AND other.direction = one.direction
 AND other.item <> one.item
GROUP BY one.area_code, one.of_what, one.item
ORDER BY one.area_code, one.of_what, percent, one.item;

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
SELECT round(target_percent - p, 1) AS points_to_go, round(target_percent - u, 1) AS points_lower_ci,
       round(target_percent - l, 1) AS points_upper_ci, f.area_name, f.child_group, f.time_period, target,
       target_percent, target_year, p AS gld_percent,
       round((target_percent - p) / 100 * children_count_estimate) AS children_to_go,
       round((target_percent - u) / 100 * children_count_estimate) AS children_lower_ci,
       round((target_percent - l) / 100 * children_count_estimate) AS children_upper_ci,
       round(normal_cdf((p - target_percent) / noise), 3) AS chance_met,
       CASE WHEN p IS NULL THEN 'no figure' WHEN l >= target_percent THEN 'met' WHEN u < target_percent THEN 'not met'
            ELSE 'cannot say' END AS verdict,
       CASE WHEN years > 0 THEN round((target_percent - p) / years, 2) END AS points_a_year, f.area_code,
       f.gld_children_percent_flag AS flag
FROM figures AS f ORDER BY is_all_together DESC, points_to_go DESC, area_name, target;
