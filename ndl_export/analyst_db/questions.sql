-- Views in the schema main that answer what people come with, for the newest cohort. What is said above a view or a
-- column is its comment in the database. `short_views.py` reads them.

-- Councils in order of their rate of a good level of development, with the ranks that cannot be ruled out, and whether
-- each differs from all together by more than chance and noise; both allow for the number of councils. Other groups:
-- gld_rank and gld_funnel
CREATE VIEW main.councils_compared AS
SELECT
    -- Name of the council
    r.area_name COLLATE NOCASE AS area,
    -- Academic year in which the children ended Reception
    y.label AS cohort,
    -- Percentage of children with a good level of development
    r.gld_percent AS percent,
    -- Lower end of the 95% interval: what it was for these children, give or take the noise
    r.lower_ci AS lower,
    -- Upper end of the 95% interval
    r.upper_ci AS upper,
    -- NULL where the figure can be used; unreliable: its interval is wide
    f.in_short AS flag,
    -- Ranks that children like these could have given the council; 1 is the highest. All hold together in 95 of 100
    -- releases
    concat(r.best_rank, ' to ', r.worst_rank) AS rank,
    -- Ahead of or behind all councils together, by more than chance and noise explain, or that nobody can say
    t.verdict AS beside_all
FROM gld_rank('Total') AS r JOIN gld_funnel('Total') AS t ON t.area_name = r.area_name
    JOIN dimension.cohort AS y ON y.time_period = cohort_or_newest(NULL)
    LEFT JOIN dimension.flag AS f ON f.flag = r.flag
ORDER BY r.gld_percent DESC, r.area_name;

-- How far children eligible for free school meals are behind the others, by area, the widest gap first. Whether two gaps
-- differ: the worked query on the widest gap
CREATE VIEW main.free_school_meal_gap AS
SELECT
    -- Name of the area
    d.area AS area,
    -- Academic year in which the children ended Reception
    d.cohort AS cohort,
    -- Percentage points that eligible children are behind at a good level of development
    d.points AS points,
    -- Lower end of the 95% interval: what it was for these children, give or take the noise
    d.lower AS lower,
    -- Upper end of the 95% interval
    d.upper AS upper,
    -- NULL where the figure can be used; unreliable: its interval is wide; withheld: too uncertain to show
    d.flag AS flag
FROM gld_differences AS d
WHERE d.comparison = in_short('Comparison', 'Not eligible less eligible')
ORDER BY d.cohort DESC, d.points DESC NULLS LAST, d.area;

-- How far each area is from its targets for a good level of development: 75% by 2028 for all, and local ones. Groups of
-- children: gld_to_target
CREATE VIEW main.distance_to_target AS
SELECT
    -- Name of the area
    t.area_name COLLATE NOCASE AS area,
    -- Academic year in which the children ended Reception
    y.label AS cohort,
    -- The target, and the year by which it is to be reached
    concat(regexp_replace(t.target_percent::VARCHAR, '[.]0$', ''), '% by ', t.target_year) AS target,
    -- Percentage of children with a good level of development
    t.gld_percent AS percent,
    -- Percentage points that lack; below 0 where the target is passed
    t.points_to_go AS points,
    -- Children that lack, of as many as are in the cohort
    t.children_to_go::BIGINT AS children,
    -- Lower end of the 95% interval of those children, give or take the noise
    t.children_lower_ci::BIGINT AS lower,
    -- Upper end of it
    t.children_upper_ci::BIGINT AS upper,
    -- Whether the target is met: met, not met, or cannot say because of the noise
    t.verdict AS verdict
FROM gld_to_target('Total') AS t JOIN dimension.cohort AS y ON y.time_period = t.time_period;

-- Tables that somebody asked for: who, what for and when, the first release that had each, and what was charged for it.
-- Each has a view of its own here, under its name
CREATE VIEW main.requests AS
SELECT
    -- Name of the table
    r.table_name AS name,
    -- Who asked for it
    r.asked_by AS asked_by,
    -- The day on which it was asked for
    r.asked_on AS asked_on,
    -- The first release that had it
    r.first_release AS first_release,
    -- Academic years in which the children that it counts ended Reception
    array_to_string([concat(left(y, 4), '/', right(y, 2)) FOR y IN list_sort(r.cohorts)], ', ') AS cohorts,
    -- Privacy loss (rho) charged for it, by cohort and release; for all tables together that were measured with it
    c.rho AS rho,
    -- Title of the table
    r.title AS title,
    -- What it was asked for
    r.purpose AS purpose,
    -- Family of tables that it was added to
    r.family AS family
FROM releases.requests AS r LEFT JOIN (
    SELECT table_name, string_agg(concat(rho, ' (', left(time_period, 4), '/', right(time_period, 2), ' for ',
                                         release_version, ')'), ', ' ORDER BY time_period, release_version) AS rho
    FROM (SELECT unnest(tables) AS table_name, * EXCLUDE (tables) FROM releases.request_charges) AS each
    GROUP BY table_name) AS c ON c.table_name = r.table_name
ORDER BY r.asked_on, r.table_name;
