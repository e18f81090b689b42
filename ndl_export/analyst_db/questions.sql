-- Views in the schema main that answer what people come with, for the newest cohort. What is said above a view or a
-- column is its comment in the database. `short_views.py` reads them.

-- Councils in order of their rate of a good level of development, with the ranks that cannot be ruled out, and whether
-- each differs from all together by more than chance and noise. Other groups: gld_rank and gld_funnel
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
    -- Ranks that children like these could have given the council; 1 is the highest
    concat(r.best_rank, ' to ', r.worst_rank) AS rank,
    -- Where it lies among the limits of chance and noise round the rate of all councils together
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
    -- Whether the target is met, as far as the noise lets one tell
    CASE WHEN t.verdict LIKE 'cannot%' THEN 'too close to tell' ELSE t.verdict END AS verdict
FROM gld_to_target('Total') AS t JOIN dimension.cohort AS y ON y.time_period = t.time_period;
